#include "replica/bucket_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/limits.h"
#include "crdt/text.h"

namespace dovetail::replica {
namespace {

// A clock that is beyond this (the year 37,648) is not heeded: it would use up
// the counters.
constexpr uint64_t kWallMsMax = uint64_t{1} << 50;

absl::Status CheckName(const std::string& bucket) {
  if (bucket.empty()) {
    return absl::InvalidArgumentError("a bucket without a name");
  }
  if (bucket.size() > crdt::kBucketBytesMax) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a bucket name of ", bucket.size(), " bytes; the limit is ",
        crdt::kBucketBytesMax, " (bucket_bytes_max)"));
  }
  return absl::OkStatus();
}

void JoinRecord(BucketTable::Record& into, const BucketTable::Record& from) {
  for (const auto& [property, written] : from) {
    const auto [at, is_new] = into.emplace(property, written);
    if (!is_new && at->second.written < written.written) at->second = written;
  }
}

}  // namespace

bool BucketTable::Seen(const Stamp& stamp) const {
  const auto found = seen_.find(stamp.node);
  return found != seen_.end() && stamp.counter <= found->second;
}

bool BucketTable::Has(const std::string& bucket) const {
  const auto at = records_.lower_bound({bucket, {}});
  return at != records_.end() && at->first.first == bucket;
}

size_t BucketTable::size() const {
  size_t count = 0;
  const std::string* last = nullptr;
  for (const auto& [key, record] : records_) {
    if (last == nullptr || *last != key.first) ++count;
    last = &key.first;
  }
  return count;
}

BucketTable::Record BucketTable::Joined(const std::string& bucket) const {
  Record joined;
  for (auto at = records_.lower_bound({bucket, {}});
       at != records_.end() && at->first.first == bucket; ++at) {
    JoinRecord(joined, at->second);
  }
  return joined;
}

std::map<std::string, BucketInfo> BucketTable::All() const {
  std::map<std::string, Record> joined;
  std::map<std::string, BucketInfo> all;
  for (const auto& [key, record] : records_) {
    JoinRecord(joined[key.first], record);
    Stamp& changed = all[key.first].changed;
    changed = std::max(changed, key.second);
  }
  for (const auto& [bucket, record] : joined) {
    for (const auto& [property, written] : record) {
      if (written.value == 0) continue;
      all[bucket].settings.emplace(property, written.value);
    }
  }
  return all;
}

void BucketTable::Erase(const std::string& bucket) {
  std::erase_if(records_, [&](const auto& record) {
    return record.first.first == bucket;
  });
}

absl::Status BucketTable::Create(NodeId node, uint64_t wall_ms,
                                 const std::string& bucket,
                                 const BucketSettings& settings) {
  DOVETAIL_RETURN_IF_ERROR(CheckName(bucket));
  if (Has(bucket)) {
    return absl::FailedPreconditionError(
        absl::StrCat("bucket ", crdt::QuoteJson(bucket),
                     " has properties already; update them"));
  }
  if (size() >= kBucketsMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat(kBucketsMax,
                     " buckets have properties; that is the limit "
                     "(buckets_max)"));
  }
  return Put(node, wall_ms, bucket, settings);
}

absl::Status BucketTable::Update(NodeId node, uint64_t wall_ms,
                                 const std::string& bucket,
                                 const BucketSettings& settings) {
  DOVETAIL_RETURN_IF_ERROR(CheckName(bucket));
  if (!Has(bucket)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "bucket ", crdt::QuoteJson(bucket), " has no properties; create them"));
  }
  if (settings.empty()) {
    return absl::InvalidArgumentError("an update of no property");
  }
  return Put(node, wall_ms, bucket, settings);
}

absl::Status BucketTable::Delete(const std::string& bucket) {
  DOVETAIL_RETURN_IF_ERROR(CheckName(bucket));
  if (!Has(bucket)) {
    return absl::FailedPreconditionError(
        absl::StrCat("bucket ", crdt::QuoteJson(bucket), " has no properties"));
  }
  Erase(bucket);
  return absl::OkStatus();
}

absl::Status BucketTable::Put(NodeId node, uint64_t wall_ms,
                              const std::string& bucket,
                              const BucketSettings& settings) {
  for (const auto& [property, value] : settings) {
    if (!IsSetting(property, value)) {
      return absl::InvalidArgumentError(absl::StrCat("bucket property ",
                                                     static_cast<int>(property),
                                                     " cannot be ", value));
    }
  }
  uint64_t counter = wall_ms > kWallMsMax ? 0 : wall_ms;
  for (const auto& [other, last] : seen_) counter = std::max(counter, last + 1);
  counter = std::max<uint64_t>(counter, 1);
  if (counter > kCounterMax) {
    return absl::ResourceExhaustedError("no stamp is left for a bucket");
  }
  if (!seen_.contains(node) && seen_.size() >= kBucketNodesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("buckets were changed at ", seen_.size(),
                     " nodes; the limit is ", kBucketNodesMax));
  }
  const Stamp stamp{counter, node};
  Record record = Joined(bucket);
  for (const auto& [property, value] : settings) {
    record[property] = {value, stamp};
  }
  Erase(bucket);
  seen_[node] = counter;
  records_.emplace(Key{bucket, stamp}, std::move(record));
  return absl::OkStatus();
}

size_t BucketTable::Merge(const BucketTable& theirs) {
  std::map<NodeId, uint64_t> seen = seen_;
  for (const auto& [node, counter] : theirs.seen_) {
    if (!seen.contains(node) && seen.size() >= kBucketNodesMax) continue;
    uint64_t& mine = seen[node];
    mine = std::max(mine, counter);
  }
  std::erase_if(records_, [&](const auto& record) {
    return theirs.Seen(record.first.second) &&
           !theirs.records_.contains(record.first);
  });
  for (const auto& record : theirs.records_) {
    const Stamp& stamp = record.first.second;
    if (!Seen(stamp) && seen.contains(stamp.node)) records_.insert(record);
  }
  size_t dropped = 0;
  while (records_.size() > kBucketRecordsMax) {
    records_.erase(--records_.end());
    ++dropped;
  }
  seen_ = std::move(seen);
  return dropped;
}

// --- Bytes ------------------------------------------------------------------

namespace {

void AppendStamp(crdt::Writer& out, const Stamp& stamp) {
  out.Varint(stamp.counter);
  out.Fixed64(Index(stamp.node));
}

Stamp ReadStamp(crdt::Reader& in) {
  Stamp stamp;
  stamp.counter = in.Varint();
  stamp.node = NodeId{in.Fixed64()};
  return stamp;
}

// A property, its value, its stamp.
constexpr size_t kRegisterBytesMin = 1 + 1 + 1 + 8;

BucketTable::Record ReadRecord(crdt::Reader& in, const Stamp& written) {
  BucketTable::Record record;
  const size_t count = in.Count(kRegisterBytesMin);
  for (size_t i = 0; i < count && in.ok(); ++i) {
    const uint8_t number = in.Byte();
    const auto property = static_cast<BucketProperty>(number);
    BucketTable::Register value;
    value.value = in.Varint();
    value.written = ReadStamp(in);
    if (!in.ok()) break;
    if (!IsSetting(property, value.value)) {
      in.Fail(absl::StrCat("no bucket property: ", number, " = ", value.value));
    }
    if (i > 0 && property <= record.rbegin()->first) {
      in.Fail("bucket properties out of order");
    }
    if (value.written.counter == 0 || written < value.written) {
      in.Fail("a bucket property newer than its record");
    }
    record.emplace(property, value);
  }
  return record;
}

}  // namespace

void AppendBuckets(crdt::Writer& out, const BucketTable& table) {
  out.Varint(table.records_.size());
  for (const auto& [key, record] : table.records_) {
    out.Bytes(key.first);
    AppendStamp(out, key.second);
    out.Varint(record.size());
    for (const auto& [property, value] : record) {
      out.Byte(static_cast<uint8_t>(property));
      out.Varint(value.value);
      AppendStamp(out, value.written);
    }
  }
  out.Varint(table.seen_.size());
  for (const auto& [node, counter] : table.seen_) {
    out.Fixed64(Index(node));
    out.Varint(counter);
  }
}

BucketTable ReadBuckets(crdt::Reader& in) {
  BucketTable table;
  const size_t records = in.Count(1 + 1 + 1 + 8 + 1);
  if (records > kBucketRecordsMax) in.Fail("more buckets than there may be");
  for (size_t i = 0; i < records && in.ok(); ++i) {
    BucketTable::Key key;
    key.first = std::string(in.Bytes(crdt::kBucketBytesMax));
    if (in.ok() && key.first.empty()) in.Fail("a bucket without a name");
    key.second = ReadStamp(in);
    if (i > 0 && key <= table.records_.rbegin()->first) {
      in.Fail("buckets out of order");
    }
    table.records_.emplace(key, ReadRecord(in, key.second));
  }
  const size_t nodes = in.Count(8 + 1);
  if (nodes > kBucketNodesMax) in.Fail("a count out of range");
  for (size_t i = 0; i < nodes && in.ok(); ++i) {
    const NodeId node{in.Fixed64()};
    if (i > 0 && node <= table.seen_.rbegin()->first) {
      in.Fail("nodes out of order");
    }
    const uint64_t counter = in.Varint();
    if (counter < 1 || counter > kCounterMax) in.Fail("a stamp out of range");
    table.seen_[node] = counter;
  }
  for (const auto& [key, record] : table.records_) {
    if (key.second.counter == 0 || !table.Seen(key.second)) {
      in.Fail("a bucket that was not seen");
    }
  }
  return table;
}

}  // namespace dovetail::replica
