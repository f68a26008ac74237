#include "tests/sim/fault_file_system.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "crdt/check.h"
#include "rocksdb/system_clock.h"
#include "tests/sim/fault_file_handles.h"

namespace dovetail::sim {

using rocksdb::Slice;
using IOStatus = rocksdb::IOStatus;

namespace {

constexpr uint64_t kEndless = std::numeric_limits<uint64_t>::max();

bool IsChange(FileCall call) {
  switch (call) {
    case FileCall::kOpen:
    case FileCall::kRead:
    case FileCall::kLook:
    case FileCall::kLock:
      return false;
    case FileCall::kCreate:
    case FileCall::kAppend:
    case FileCall::kTruncate:
    case FileCall::kSync:
    case FileCall::kSyncDirectory:
    case FileCall::kRename:
    case FileCall::kLink:
    case FileCall::kDelete:
      return true;
  }
  DOVETAIL_CHECK(false);
}

uint64_t Left(uint64_t capacity, uint64_t used) {
  return capacity > used ? capacity - used : 0;
}

IOStatus NotThere(absl::string_view path) {
  return IOStatus::PathNotFound(std::string(path), "No such file or directory");
}

class Lock final : public rocksdb::FileLock {
 public:
  explicit Lock(std::string path) : path_(std::move(path)) {}
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

class ImpatientClock final : public rocksdb::SystemClockWrapper {
 public:
  ImpatientClock()
      : SystemClockWrapper(rocksdb::Env::Default()->GetSystemClock()) {}

  const char* Name() const override { return "ImpatientClock"; }
  void SleepForMicroseconds(int micros) override {
    target_->SleepForMicroseconds(std::min(micros, 100));
  }
};

class FaultEnv final : public rocksdb::EnvWrapper {
 public:
  explicit FaultEnv(const std::shared_ptr<FaultFileSystem>& files)
      : EnvWrapper(rocksdb::NewCompositeEnv(files)) {
    file_system_ = files;
    system_clock_ = std::make_shared<ImpatientClock>();
  }

  const char* Name() const override { return "FaultEnv"; }
};

}  // namespace

FaultFileSystem::FaultFileSystem(Medium medium) : medium_(std::move(medium)) {}

void FaultFileSystem::Fail(CallFailure failure) {
  const absl::MutexLock lock(&mutex_);
  failure_ = std::move(failure);
  counted_ = 0;
  failed_ = false;
}

void FaultFileSystem::SetCapacity(uint64_t bytes) {
  const absl::MutexLock lock(&mutex_);
  capacity_ = bytes;
}

void FaultFileSystem::SetFileCapacity(uint64_t bytes) {
  const absl::MutexLock lock(&mutex_);
  file_capacity_ = bytes;
}

void FaultFileSystem::Hold(std::string extension) {
  const absl::MutexLock lock(&mutex_);
  held_ = std::move(extension);
}

void FaultFileSystem::OnChange(std::function<void(const Medium&)> hook) {
  const absl::MutexLock lock(&mutex_);
  hook_ = std::move(hook);
}

uint64_t FaultFileSystem::calls() const {
  const absl::MutexLock lock(&mutex_);
  return calls_;
}

bool FaultFileSystem::failed() const {
  const absl::MutexLock lock(&mutex_);
  return failed_;
}

Medium FaultFileSystem::medium() const {
  const absl::MutexLock lock(&mutex_);
  return medium_;
}

std::vector<std::string> FaultFileSystem::Names(
    absl::string_view directory) const {
  const absl::MutexLock lock(&mutex_);
  std::vector<std::string> names;
  const Medium::Pointer node = medium_.Find(directory);
  if (node == nullptr) return names;
  for (const auto& [name, child] : node->names) names.push_back(name);
  return names;
}

void FaultFileSystem::Edit(absl::string_view path,
                           absl::FunctionRef<void(MediumFile& file)> edit) {
  const absl::MutexLock lock(&mutex_);
  const Medium::Pointer node = medium_.Find(path);
  DOVETAIL_CHECK(node != nullptr && !node->is_directory);
  edit(node->file);
}

IOStatus FaultFileSystem::Enter(FileCall call, absl::string_view path) {
  ++calls_;
  if (hook_ && IsChange(call)) hook_(medium_);
  if (failure_.nth == 0) return IOStatus::OK();
  if (!failure_.kinds.empty() && !failure_.kinds.contains(call)) {
    return IOStatus::OK();
  }
  ++counted_;
  // RocksDB 7.8 answers an error here with a failed assertion, and Debian's has
  // assertions on (WalManager::GetSortedWalFiles). That is a dead process.
  if (call == FileCall::kLook && absl::EndsWith(path, "/archive")) {
    return IOStatus::OK();
  }
  const bool fails =
      failure_.persistent ? counted_ >= failure_.nth : counted_ == failure_.nth;
  if (!fails) return IOStatus::OK();
  failed_ = true;
  return IOStatus::IOError("injected fault, " + std::string(path),
                           std::strerror(EIO));
}

IOStatus FaultFileSystem::EnterAt(FileCall call, const std::string& path,
                                  Medium::Pointer* node) {
  IOStatus status = Enter(call, path);
  if (!status.ok()) return status;
  *node = medium_.Find(path);
  return *node == nullptr ? NotThere(path) : IOStatus::OK();
}

IOStatus FaultFileSystem::Change(
    FileCall call, const std::string& path,
    absl::FunctionRef<IOStatus(MediumNode&, const std::string&)> change) {
  const absl::MutexLock lock(&mutex_);
  if (call == FileCall::kCreate) {
    const auto is_free = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return IsFree(path);
    };
    mutex_.Await(absl::Condition(&is_free));
  }
  IOStatus status = Enter(call, path);
  if (!status.ok()) return status;
  const auto [parent, name] = medium_.FindParent(path);
  return parent == nullptr ? NotThere(path) : change(*parent, name);
}

IOStatus FaultFileSystem::Append(MediumNode& node, const std::string& path,
                                 absl::string_view bytes) {
  const absl::MutexLock lock(&mutex_);
  IOStatus status = Enter(FileCall::kAppend, path);
  if (!status.ok()) {
    bytes = bytes.substr(0, bytes.size() * failure_.append_percent / 100);
  } else {
    const uint64_t room = std::min(
        capacity_ == kEndless ? kEndless : Left(capacity_, medium_.bytes()),
        Left(file_capacity_, node.file.bytes().size()));
    if (bytes.size() > room) {
      bytes = bytes.substr(0, room);
      status = IOStatus::NoSpace(path, std::strerror(ENOSPC));
      status.SetRetryable(true);  // as the real one has it
    }
  }
  node.file.Append(bytes);
  return status;
}

IOStatus FaultFileSystem::Sync(MediumNode& node, const std::string& path) {
  const absl::MutexLock lock(&mutex_);
  IOStatus status = Enter(FileCall::kSync, path);
  if (status.ok()) {
    node.file.Sync();
  } else {
    node.file.FailSync();
  }
  return status;
}

IOStatus FaultFileSystem::SyncDirectory(MediumNode& node,
                                        const std::string& path) {
  const absl::MutexLock lock(&mutex_);
  IOStatus status = Enter(FileCall::kSyncDirectory, path);
  if (status.ok()) node.SyncNames();
  return status;
}

IOStatus FaultFileSystem::ReadAt(const MediumNode& node,
                                 const std::string& path, uint64_t offset,
                                 size_t n, Slice* result, char* scratch) {
  const absl::MutexLock lock(&mutex_);
  *result = Slice(scratch, 0);
  IOStatus status = Enter(FileCall::kRead, path);
  if (!status.ok()) return status;
  const std::string& bytes = node.file.bytes();
  if (offset >= bytes.size()) return status;
  const size_t read = std::min<size_t>(n, bytes.size() - offset);
  std::memcpy(scratch, bytes.data() + offset, read);
  *result = Slice(scratch, read);
  return status;
}

IOStatus FaultFileSystem::NewSequentialFile(
    const std::string& path, const FileOptions& /*options*/,
    std::unique_ptr<rocksdb::FSSequentialFile>* file, Debug* /*debug*/) {
  const absl::MutexLock lock(&mutex_);
  Medium::Pointer node;
  IOStatus status = EnterAt(FileCall::kOpen, path, &node);
  if (!status.ok()) return status;
  *file = std::make_unique<FaultSequentialFile>(*this, path, std::move(node));
  return status;
}

IOStatus FaultFileSystem::NewRandomAccessFile(
    const std::string& path, const FileOptions& /*options*/,
    std::unique_ptr<rocksdb::FSRandomAccessFile>* file, Debug* /*debug*/) {
  const absl::MutexLock lock(&mutex_);
  Medium::Pointer node;
  IOStatus status = EnterAt(FileCall::kOpen, path, &node);
  if (!status.ok()) return status;
  *file = std::make_unique<FaultRandomAccessFile>(*this, path, std::move(node));
  return status;
}

IOStatus FaultFileSystem::NewWritableFile(
    const std::string& path, const FileOptions& /*options*/,
    std::unique_ptr<rocksdb::FSWritableFile>* file, Debug* /*debug*/) {
  return Change(FileCall::kCreate, path,
                [&](MediumNode& parent, const std::string& name) {
                  auto node = std::make_shared<MediumNode>();
                  parent.Apply({{name, node}});
                  *file = std::make_unique<FaultWritableFile>(*this, path,
                                                              std::move(node));
                  return IOStatus::OK();
                });
}

IOStatus FaultFileSystem::ReopenWritableFile(
    const std::string& path, const FileOptions& options,
    std::unique_ptr<rocksdb::FSWritableFile>* file, Debug* debug) {
  {
    const absl::MutexLock lock(&mutex_);
    Medium::Pointer node = medium_.Find(path);
    if (node != nullptr) {
      IOStatus status = Enter(FileCall::kCreate, path);
      if (!status.ok()) return status;
      *file = std::make_unique<FaultWritableFile>(*this, path, std::move(node));
      return status;
    }
  }
  return NewWritableFile(path, options, file, debug);
}

IOStatus FaultFileSystem::NewDirectory(
    const std::string& path, const IOOptions& /*options*/,
    std::unique_ptr<rocksdb::FSDirectory>* directory, Debug* /*debug*/) {
  const absl::MutexLock lock(&mutex_);
  Medium::Pointer node;
  IOStatus status = EnterAt(FileCall::kOpen, path, &node);
  if (!status.ok()) return status;
  if (!node->is_directory) return NotThere(path);
  *directory = std::make_unique<FaultDirectory>(*this, path, std::move(node));
  return status;
}

IOStatus FaultFileSystem::FileExists(const std::string& path,
                                     const IOOptions& /*options*/,
                                     Debug* /*debug*/) {
  const absl::MutexLock lock(&mutex_);
  IOStatus status = Enter(FileCall::kLook, path);
  if (!status.ok()) return status;
  return medium_.Find(path) == nullptr ? IOStatus::NotFound() : status;
}

IOStatus FaultFileSystem::GetChildren(const std::string& path,
                                      const IOOptions& /*options*/,
                                      std::vector<std::string>* names,
                                      Debug* /*debug*/) {
  const absl::MutexLock lock(&mutex_);
  names->clear();
  Medium::Pointer node;
  IOStatus status = EnterAt(FileCall::kLook, path, &node);
  if (!status.ok()) return status;
  for (const auto& [name, child] : node->names) names->push_back(name);
  return status;
}

IOStatus FaultFileSystem::GetChildrenFileAttributes(
    const std::string& path, const IOOptions& /*options*/,
    std::vector<rocksdb::FileAttributes>* out, Debug* /*debug*/) {
  const absl::MutexLock lock(&mutex_);
  out->clear();
  Medium::Pointer node;
  IOStatus status = EnterAt(FileCall::kLook, path, &node);
  if (!status.ok()) return status;
  for (const auto& [name, child] : node->names) {
    out->push_back({name, child->file.bytes().size()});
  }
  return status;
}

IOStatus FaultFileSystem::DeleteFile(const std::string& path,
                                     const IOOptions& /*options*/,
                                     Debug* /*debug*/) {
  return Change(FileCall::kDelete, path,
                [&](MediumNode& parent, const std::string& name) {
                  if (!parent.names.contains(name)) return NotThere(path);
                  parent.Apply({{name, nullptr}});
                  return IOStatus::OK();
                });
}

IOStatus FaultFileSystem::Truncate(const std::string& path, size_t size,
                                   const IOOptions& /*options*/,
                                   Debug* /*debug*/) {
  const absl::MutexLock lock(&mutex_);
  Medium::Pointer node;
  IOStatus status = EnterAt(FileCall::kTruncate, path, &node);
  if (status.ok()) node->file.Truncate(size);
  return status;
}

IOStatus FaultFileSystem::CreateDir(const std::string& path,
                                    const IOOptions& /*options*/,
                                    Debug* /*debug*/) {
  return Change(FileCall::kCreate, path,
                [&](MediumNode& parent, const std::string& name) {
                  if (parent.names.contains(name)) {
                    return IOStatus::IOError(path, std::strerror(EEXIST));
                  }
                  auto node = std::make_shared<MediumNode>();
                  node->is_directory = true;
                  parent.Apply({{name, std::move(node)}});
                  return IOStatus::OK();
                });
}

IOStatus FaultFileSystem::CreateDirIfMissing(const std::string& path,
                                             const IOOptions& options,
                                             Debug* debug) {
  {
    const absl::MutexLock lock(&mutex_);
    const Medium::Pointer node = medium_.Find(path);
    if (node != nullptr && node->is_directory) {
      return Enter(FileCall::kLook, path);
    }
  }
  return CreateDir(path, options, debug);
}

IOStatus FaultFileSystem::DeleteDir(const std::string& path,
                                    const IOOptions& options, Debug* debug) {
  {
    const absl::MutexLock lock(&mutex_);
    const Medium::Pointer node = medium_.Find(path);
    if (node != nullptr && !node->names.empty()) {
      return IOStatus::IOError(path, std::strerror(ENOTEMPTY));
    }
  }
  return DeleteFile(path, options, debug);
}

IOStatus FaultFileSystem::GetFileSize(const std::string& path,
                                      const IOOptions& /*options*/,
                                      uint64_t* size, Debug* /*debug*/) {
  const absl::MutexLock lock(&mutex_);
  Medium::Pointer node;
  IOStatus status = EnterAt(FileCall::kLook, path, &node);
  *size = status.ok() ? node->file.bytes().size() : 0;
  return status;
}

IOStatus FaultFileSystem::GetFileModificationTime(const std::string& path,
                                                  const IOOptions& /*options*/,
                                                  uint64_t* time,
                                                  Debug* /*debug*/) {
  const absl::MutexLock lock(&mutex_);
  *time = 0;
  Medium::Pointer node;
  return EnterAt(FileCall::kLook, path, &node);
}

IOStatus FaultFileSystem::GetAbsolutePath(const std::string& path,
                                          const IOOptions& /*options*/,
                                          std::string* absolute,
                                          Debug* /*debug*/) {
  *absolute = path.empty() || path[0] != '/' ? "/" + path : path;
  return IOStatus::OK();
}

IOStatus FaultFileSystem::RenameFile(const std::string& from,
                                     const std::string& to,
                                     const IOOptions& /*options*/,
                                     Debug* /*debug*/) {
  return Change(FileCall::kRename, from,
                [&](MediumNode& parent, const std::string& name) {
                  const auto [target, new_name] = medium_.FindParent(to);
                  const auto node = parent.names.find(name);
                  if (node == parent.names.end()) return NotThere(from);
                  // Otherwise it would be two changes.
                  DOVETAIL_CHECK(target.get() == &parent);
                  parent.Apply({{new_name, node->second}, {name, nullptr}});
                  return IOStatus::OK();
                });
}

IOStatus FaultFileSystem::LinkFile(const std::string& from,
                                   const std::string& to,
                                   const IOOptions& /*options*/,
                                   Debug* /*debug*/) {
  return Change(FileCall::kLink, to,
                [&](MediumNode& parent, const std::string& name) {
                  const Medium::Pointer node = medium_.Find(from);
                  if (node == nullptr) return NotThere(from);
                  parent.Apply({{name, node}});
                  return IOStatus::OK();
                });
}

IOStatus FaultFileSystem::AreFilesSame(const std::string& first,
                                       const std::string& second,
                                       const IOOptions& /*options*/, bool* same,
                                       Debug* /*debug*/) {
  const absl::MutexLock lock(&mutex_);
  Medium::Pointer node;
  IOStatus status = EnterAt(FileCall::kLook, first, &node);
  *same = status.ok() && node == medium_.Find(second);
  return status;
}

IOStatus FaultFileSystem::LockFile(const std::string& path,
                                   const IOOptions& /*options*/,
                                   rocksdb::FileLock** lock, Debug* /*debug*/) {
  const absl::MutexLock guard(&mutex_);
  *lock = nullptr;
  IOStatus status = Enter(FileCall::kLock, path);
  if (!status.ok()) return status;
  if (!locks_.insert(path).second) {
    return IOStatus::IOError("While lock file: " + path,
                             "Resource temporarily unavailable");
  }
  *lock = new Lock(path);  // UnlockFile's
  return status;
}

IOStatus FaultFileSystem::UnlockFile(rocksdb::FileLock* lock,
                                     const IOOptions& /*options*/,
                                     Debug* /*debug*/) {
  const absl::MutexLock guard(&mutex_);
  const std::unique_ptr<Lock> ours(static_cast<Lock*>(lock));
  locks_.erase(ours->path());
  return IOStatus::OK();
}

IOStatus FaultFileSystem::GetFreeSpace(const std::string& path,
                                       const IOOptions& /*options*/,
                                       uint64_t* free, Debug* /*debug*/) {
  const absl::MutexLock lock(&mutex_);
  *free = 0;
  IOStatus status = Enter(FileCall::kLook, path);
  if (!status.ok()) return status;
  *free = capacity_ == kEndless ? kEndless : Left(capacity_, medium_.bytes());
  return status;
}

IOStatus FaultFileSystem::IsDirectory(const std::string& path,
                                      const IOOptions& /*options*/,
                                      bool* is_directory, Debug* /*debug*/) {
  const absl::MutexLock lock(&mutex_);
  Medium::Pointer node;
  IOStatus status = EnterAt(FileCall::kLook, path, &node);
  *is_directory = status.ok() && node->is_directory;
  return status;
}

std::shared_ptr<rocksdb::Env> MakeFaultEnv(
    std::shared_ptr<FaultFileSystem> files) {
  return std::make_shared<FaultEnv>(files);
}

// RocksDB asks for neither with our options.

IOStatus FaultFileSystem::GetTestDirectory(const IOOptions& /*options*/,
                                           std::string* /*path*/,
                                           Debug* /*debug*/) {
  return IOStatus::NotSupported("a directory for tests");
}

IOStatus FaultFileSystem::NewLogger(
    const std::string& /*path*/, const IOOptions& /*options*/,
    std::shared_ptr<rocksdb::Logger>* /*logger*/, Debug* /*debug*/) {
  return IOStatus::NotSupported("a log file");
}

}  // namespace dovetail::sim
