// What stands on a disk, and what of it a power failure may take away.
//
// A Medium is a tree of files and directories in memory, a value that can be
// copied at any moment. It knows which bytes of a file were fsynced and which
// names of a directory were (POSIX promises no more):
//  - un-synced bytes go by pages of 4 KiB, each kept, dropped or turned into
//    something else; a page that was being written may be torn at a sector;
//  - un-synced names (made, renamed, linked, removed) go by the change; a
//    rename is one change.
// After an fsync that failed, the system forgets that the bytes are not safe:
// later ones say OK and do nothing (Rebello et al., "Can Applications Recover
// from fsync Failures?", 2020). FailSync() leaves a file so.
#ifndef DOVETAIL_TESTS_SIM_MEDIUM_H_
#define DOVETAIL_TESTS_SIM_MEDIUM_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace dovetail::sim {

enum class UnsyncedPages {
  kKeep,     // all are there
  kDrop,     // none is
  kTorn,     // each page is kept, dropped or torn, as drawn
  kGarbage,  // or holds something else
};
enum class UnsyncedNames {
  kKeep,
  kDrop,
  kPrefix,  // the oldest changes of each directory, as a journal keeps them
  kAny,     // each change is drawn
};

struct PowerFailure {
  UnsyncedPages pages = UnsyncedPages::kDrop;
  UnsyncedNames names = UnsyncedNames::kDrop;
  uint64_t seed = 0;
};

// The contents of a file. Hard links share it; copies of the medium share the
// bytes until one of them changes.
class MediumFile {
 public:
  const std::string& bytes() const { return *bytes_; }
  size_t synced() const { return synced_; }

  void Append(absl::string_view more) {
    Own().append(more.data(), more.size());
  }
  // Also of synced bytes: that much is safe at once.
  void Truncate(size_t size);
  void Replace(std::string bytes);  // all of it, synced
  void Sync() {
    if (!deaf_) synced_ = bytes_->size();
  }
  void FailSync() { deaf_ = true; }

  // What is left of it.
  MediumFile After(const PowerFailure& failure, std::mt19937_64& random) const;

 private:
  std::string& Own();

  std::shared_ptr<std::string> bytes_ = std::make_shared<std::string>();
  size_t synced_ = 0;  // a prefix: RocksDB only appends
  bool deaf_ = false;  // after FailSync
};

struct MediumNode {
  using Pointer = std::shared_ptr<MediumNode>;
  using Names = std::map<std::string, Pointer, std::less<>>;
  // Names that change together; null: removed.
  using Change = std::vector<std::pair<std::string, Pointer>>;

  bool is_directory = false;
  MediumFile file;
  // Of a directory: as it is, as it was when last fsynced, and what happened
  // since.
  Names names;
  Names synced_names;
  std::vector<Change> changes;

  void Apply(Change change);
  void SyncNames();
};

class Medium {
 public:
  using Pointer = MediumNode::Pointer;

  Medium();
  Medium(const Medium& other);
  Medium& operator=(const Medium& other);
  Medium(Medium&&) = default;
  Medium& operator=(Medium&&) = default;

  // The node at an absolute path, or null.
  Pointer Find(absl::string_view path) const;
  // The directory that holds `path`, or null, and the last part of `path`.
  std::pair<Pointer, std::string> FindParent(absl::string_view path) const;

  // All files are of this size together, each counted once.
  uint64_t bytes() const;
  Medium After(const PowerFailure& failure) const;

 private:
  Pointer root_;
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_MEDIUM_H_
