// A file system for RocksDB in memory, on which every call can be made to fail
// and power can be cut between any two.
//
// It stands for the system that one process sees: its locks end with it, its
// Medium can be taken to the next one. Safe for RocksDB's threads.
#ifndef DOVETAIL_TESTS_SIM_FAULT_FILE_SYSTEM_H_
#define DOVETAIL_TESTS_SIM_FAULT_FILE_SYSTEM_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"
#include "tests/sim/medium.h"

namespace dovetail::sim {

enum class FileCall {
  kOpen,  // for reading, or a directory
  kRead,
  kLook,    // size, age, existence, a directory's names, free space
  kCreate,  // a file for writing, a directory
  kAppend,
  kTruncate,
  kSync,
  kSyncDirectory,
  kRename,
  kLink,
  kDelete,
  kLock,
};

// Which calls fail, with an I/O error.
struct CallFailure {
  uint64_t nth = 0;  // counted from 1, from when the failure is set; 0: none
  bool persistent = false;  // that one and all later ones
  // Empty: calls of any kind. Else only these count and fail.
  std::set<FileCall> kinds;
  // How much a failing append writes all the same.
  size_t append_percent = 50;
};

class FaultFileSystem final : public rocksdb::FileSystem {
 public:
  explicit FaultFileSystem(Medium medium = Medium());

  // --- Faults ---
  void Fail(CallFailure failure);
  // Appends that go beyond so many bytes in all files write what fits and then
  // fail: the disk is full.
  void SetCapacity(uint64_t bytes);
  // The same for appends that make one file longer than this.
  void SetFileCapacity(uint64_t bytes);
  // Calls that create files of this extension, ".sst", wait until the hold is
  // taken back by an empty one.
  void Hold(std::string extension);
  // Called before each call that may change the medium, with what is there;
  // under this object's lock. Null: none.
  void OnChange(std::function<void(const Medium&)> hook);

  // --- Queries ---
  uint64_t calls() const;
  // The planned failure has happened.
  bool failed() const;
  // A copy of what is there now.
  Medium medium() const;
  std::vector<std::string> Names(absl::string_view directory) const;
  // Changes the file at `path`, which there must be, as no process would.
  void Edit(absl::string_view path,
            absl::FunctionRef<void(MediumFile& file)> edit);

  // --- rocksdb::FileSystem ---
  using IOStatus = rocksdb::IOStatus;
  using IOOptions = rocksdb::IOOptions;
  using FileOptions = rocksdb::FileOptions;
  using Debug = rocksdb::IODebugContext;

  const char* Name() const override { return "FaultFileSystem"; }
  IOStatus NewSequentialFile(const std::string& path, const FileOptions&,
                             std::unique_ptr<rocksdb::FSSequentialFile>* file,
                             Debug*) override;
  IOStatus NewRandomAccessFile(
      const std::string& path, const FileOptions&,
      std::unique_ptr<rocksdb::FSRandomAccessFile>* file, Debug*) override;
  IOStatus NewWritableFile(const std::string& path, const FileOptions&,
                           std::unique_ptr<rocksdb::FSWritableFile>* file,
                           Debug*) override;
  IOStatus ReopenWritableFile(const std::string& path, const FileOptions&,
                              std::unique_ptr<rocksdb::FSWritableFile>* file,
                              Debug*) override;
  IOStatus NewDirectory(const std::string& path, const IOOptions&,
                        std::unique_ptr<rocksdb::FSDirectory>* directory,
                        Debug*) override;
  IOStatus FileExists(const std::string& path, const IOOptions&,
                      Debug*) override;
  IOStatus GetChildren(const std::string& path, const IOOptions&,
                       std::vector<std::string>* names, Debug*) override;
  IOStatus GetChildrenFileAttributes(const std::string& path, const IOOptions&,
                                     std::vector<rocksdb::FileAttributes>* out,
                                     Debug*) override;
  IOStatus DeleteFile(const std::string& path, const IOOptions&,
                      Debug*) override;
  IOStatus Truncate(const std::string& path, size_t size, const IOOptions&,
                    Debug*) override;
  IOStatus CreateDir(const std::string& path, const IOOptions&,
                     Debug*) override;
  IOStatus CreateDirIfMissing(const std::string& path, const IOOptions&,
                              Debug*) override;
  IOStatus DeleteDir(const std::string& path, const IOOptions&,
                     Debug*) override;
  IOStatus GetFileSize(const std::string& path, const IOOptions&,
                       uint64_t* size, Debug*) override;
  IOStatus GetFileModificationTime(const std::string& path, const IOOptions&,
                                   uint64_t* time, Debug*) override;
  IOStatus GetAbsolutePath(const std::string& path, const IOOptions&,
                           std::string* absolute, Debug*) override;
  IOStatus RenameFile(const std::string& from, const std::string& to,
                      const IOOptions&, Debug*) override;
  IOStatus LinkFile(const std::string& from, const std::string& to,
                    const IOOptions&, Debug*) override;
  IOStatus AreFilesSame(const std::string& first, const std::string& second,
                        const IOOptions&, bool* same, Debug*) override;
  IOStatus LockFile(const std::string& path, const IOOptions&,
                    rocksdb::FileLock** lock, Debug*) override;
  IOStatus UnlockFile(rocksdb::FileLock* lock, const IOOptions&,
                      Debug*) override;
  IOStatus GetTestDirectory(const IOOptions&, std::string*, Debug*) override;
  IOStatus NewLogger(const std::string&, const IOOptions&,
                     std::shared_ptr<rocksdb::Logger>*, Debug*) override;
  IOStatus GetFreeSpace(const std::string& path, const IOOptions&,
                        uint64_t* free, Debug*) override;
  IOStatus IsDirectory(const std::string& path, const IOOptions&,
                       bool* is_directory, Debug*) override;

 private:
  friend class FaultSequentialFile;
  friend class FaultRandomAccessFile;
  friend class FaultWritableFile;
  friend class FaultDirectory;

  // Counts the call; not OK if it is to fail.
  IOStatus Enter(FileCall call, absl::string_view path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsFree(absl::string_view path) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return held_.empty() || !absl::EndsWith(path, held_);
  }
  // Enter, and the node at `path`, PathNotFound without one.
  IOStatus EnterAt(FileCall call, const std::string& path,
                   Medium::Pointer* node) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  IOStatus Change(
      FileCall call, const std::string& path,
      absl::FunctionRef<IOStatus(MediumNode& parent, const std::string& name)>
          change);
  IOStatus Append(MediumNode& node, const std::string& path,
                  absl::string_view bytes);
  IOStatus Sync(MediumNode& node, const std::string& path);
  IOStatus SyncDirectory(MediumNode& node, const std::string& path);
  IOStatus ReadAt(const MediumNode& node, const std::string& path,
                  uint64_t offset, size_t n, rocksdb::Slice* result,
                  char* scratch);

  mutable absl::Mutex mutex_;
  Medium medium_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> locks_ ABSL_GUARDED_BY(mutex_);
  CallFailure failure_ ABSL_GUARDED_BY(mutex_);
  uint64_t counted_ ABSL_GUARDED_BY(mutex_) = 0;  // against failure_.nth
  bool failed_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t calls_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string held_ ABSL_GUARDED_BY(mutex_);
  uint64_t file_capacity_ ABSL_GUARDED_BY(mutex_) =
      std::numeric_limits<uint64_t>::max();
  uint64_t capacity_ ABSL_GUARDED_BY(mutex_) =
      std::numeric_limits<uint64_t>::max();
  std::function<void(const Medium&)> hook_ ABSL_GUARDED_BY(mutex_);
};

// For RocksOptions::env: `files`, and no patience. After a failed flush or
// compaction RocksDB waits a second, at the end of which nothing is different.
std::shared_ptr<rocksdb::Env> MakeFaultEnv(
    std::shared_ptr<FaultFileSystem> files);

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_FAULT_FILE_SYSTEM_H_
