#include "replica/rocks_hooks.h"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <utility>

#include "crdt/check.h"

namespace dovetail::replica {
namespace {

// A batch begins with its sequence number: 64 bits, little-endian.
uint64_t SequenceOf(const rocksdb::WriteBatch& batch) {
  const std::string& bytes = batch.Data();
  DOVETAIL_CHECK(bytes.size() >= sizeof(uint64_t));
  uint64_t sequence = 0;
  for (size_t i = sizeof(uint64_t); i > 0; --i) {
    sequence = sequence << 8 | static_cast<unsigned char>(bytes[i - 1]);
  }
  return sequence;
}

}  // namespace

CallbackLogger::CallbackLogger(std::function<void(absl::string_view)> log)
    : Logger(rocksdb::InfoLogLevel::WARN_LEVEL), log_(std::move(log)) {}

CallbackLogger::~CallbackLogger() { Close().PermitUncheckedError(); }

void CallbackLogger::Logv(const char* format, va_list arguments) {
  if (!log_) return;
  char line[1024];
  std::vsnprintf(line, sizeof line, format, arguments);
  log_(line);
}

Listener::Listener(std::function<void(rocksdb::DB&)> on_manifest,
                   std::function<bool(const rocksdb::Status&)> is_table)
    : on_manifest_(std::move(on_manifest)), is_table_(std::move(is_table)) {}

void Listener::OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason /*reason*/,
                                    rocksdb::Status /*error*/,
                                    bool* auto_recovery) {
  *auto_recovery = false;
}

void Listener::OnBackgroundError(rocksdb::BackgroundErrorReason reason,
                                 rocksdb::Status* error) {
  if (reason == rocksdb::BackgroundErrorReason::kCompaction &&
      (error->IsNoSpace() || is_table_(*error))) {
    *error = rocksdb::Status::OK();
  }
}

void Listener::OnFlushCompleted(rocksdb::DB* db,
                                const rocksdb::FlushJobInfo& /*info*/) {
  on_manifest_(*db);
}

void Listener::OnCompactionCompleted(
    rocksdb::DB* db, const rocksdb::CompactionJobInfo& /*info*/) {
  on_manifest_(*db);
}

void GapFilter::ColumnFamilyLogNumberMap(
    const std::map<uint32_t, uint64_t>& logs,
    const std::map<std::string, uint32_t>& /*ids*/) {
  for (const auto& [family, log] : logs) {
    newest_first_log_ = std::max(newest_first_log_, log);
  }
}

rocksdb::WalFilter::WalProcessingOption GapFilter::LogRecordFound(
    unsigned long long log, const std::string& /*file_name*/,
    const rocksdb::WriteBatch& batch, rocksdb::WriteBatch* new_batch,
    bool* batch_changed) {
  *batch_changed = false;
  const uint64_t sequence = SequenceOf(batch);
  const bool is_first = next_ == 0;
  const bool is_gap =
      is_first ? first_log_ != 0 && log > first_log_ : sequence != next_;
  if (!is_gap) {
    next_ = sequence + batch.Count();
    log_ = log;
    return WalProcessingOption::kContinueProcessing;
  }
  const uint64_t torn_log = is_first ? first_log_ : log_;
  if (newest_first_log_ <= torn_log) return WalProcessingOption::kStopReplay;
  // RocksDB gives up if a filter adds something. It offers no other way.
  has_split_families_ = true;
  for (uint32_t i = 0; i <= batch.Count(); ++i) {
    const rocksdb::Status added = new_batch->Put("", "");
    DOVETAIL_CHECK(added.ok());
  }
  *batch_changed = true;
  return WalProcessingOption::kContinueProcessing;
}

}  // namespace dovetail::replica
