// The open files of a FaultFileSystem, as RocksDB gets them: each hands its
// calls on, with the name it was opened by. Only fault_file_system.cc uses it.
#ifndef DOVETAIL_TESTS_SIM_FAULT_FILE_HANDLES_H_
#define DOVETAIL_TESTS_SIM_FAULT_FILE_HANDLES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "rocksdb/file_system.h"
#include "tests/sim/fault_file_system.h"
#include "tests/sim/medium.h"

namespace dovetail::sim {

class FaultSequentialFile final : public rocksdb::FSSequentialFile {
 public:
  FaultSequentialFile(FaultFileSystem& files, std::string path,
                      Medium::Pointer node)
      : files_(files), path_(std::move(path)), node_(std::move(node)) {}

  rocksdb::IOStatus Read(size_t n, const rocksdb::IOOptions& /*options*/,
                         rocksdb::Slice* result, char* scratch,
                         rocksdb::IODebugContext* /*debug*/) override {
    const rocksdb::IOStatus status =
        files_.ReadAt(*node_, path_, position_, n, result, scratch);
    if (status.ok()) position_ += result->size();
    return status;
  }
  rocksdb::IOStatus Skip(uint64_t n) override {
    position_ += n;
    return rocksdb::IOStatus::OK();
  }

 private:
  FaultFileSystem& files_;
  const std::string path_;
  const Medium::Pointer node_;
  uint64_t position_ = 0;
};

class FaultRandomAccessFile final : public rocksdb::FSRandomAccessFile {
 public:
  FaultRandomAccessFile(FaultFileSystem& files, std::string path,
                        Medium::Pointer node)
      : files_(files), path_(std::move(path)), node_(std::move(node)) {}

  rocksdb::IOStatus Read(uint64_t offset, size_t n,
                         const rocksdb::IOOptions& /*options*/,
                         rocksdb::Slice* result, char* scratch,
                         rocksdb::IODebugContext* /*debug*/) const override {
    return files_.ReadAt(*node_, path_, offset, n, result, scratch);
  }

 private:
  FaultFileSystem& files_;
  const std::string path_;
  const Medium::Pointer node_;
};

class FaultWritableFile final : public rocksdb::FSWritableFile {
 public:
  FaultWritableFile(FaultFileSystem& files, std::string path,
                    Medium::Pointer node)
      : files_(files), path_(std::move(path)), node_(std::move(node)) {}

  using FSWritableFile::Append;
  using Options = rocksdb::IOOptions;
  using Debug = rocksdb::IODebugContext;
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const Options&,
                           Debug*) override {
    return files_.Append(*node_, path_, {data.data(), data.size()});
  }
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const Options& options,
                           const rocksdb::DataVerificationInfo&,
                           Debug* debug) override {
    return Append(data, options, debug);
  }
  rocksdb::IOStatus Truncate(uint64_t size, const Options&, Debug*) override {
    return files_.Truncate(path_, size, {}, nullptr);
  }
  rocksdb::IOStatus Close(const Options&, Debug*) override {
    return rocksdb::IOStatus::OK();
  }
  // RocksDB's own buffer ends here; the system's does not.
  rocksdb::IOStatus Flush(const Options&, Debug*) override {
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus Sync(const Options&, Debug*) override {
    return files_.Sync(*node_, path_);
  }
  bool IsSyncThreadSafe() const override { return true; }
  uint64_t GetFileSize(const Options&, Debug*) override {
    const absl::MutexLock lock(&files_.mutex_);
    return node_->file.bytes().size();
  }

 private:
  FaultFileSystem& files_;
  const std::string path_;
  const Medium::Pointer node_;
};

class FaultDirectory final : public rocksdb::FSDirectory {
 public:
  FaultDirectory(FaultFileSystem& files, std::string path, Medium::Pointer node)
      : files_(files), path_(std::move(path)), node_(std::move(node)) {}

  rocksdb::IOStatus Fsync(const rocksdb::IOOptions&,
                          rocksdb::IODebugContext*) override {
    return files_.SyncDirectory(*node_, path_);
  }

 private:
  FaultFileSystem& files_;
  const std::string path_;
  const Medium::Pointer node_;
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_FAULT_FILE_HANDLES_H_
