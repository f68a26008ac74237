#include "replica/request_stats.h"

#include <algorithm>
#include <variant>

#include "absl/strings/ascii.h"
#include "crdt/check.h"

namespace dovetail::replica {

static_assert(static_cast<size_t>(absl::StatusCode::kUnauthenticated) + 1 ==
              kOutcomes);
static_assert(static_cast<size_t>(RequestKind::kList) + 1 == kRequestKinds);
static_assert(static_cast<size_t>(LevelClass::kEachQuorum) + 1 ==
              kLevelClasses);

RequestKind KindOf(const ClientRequest& request) {
  if (std::holds_alternative<ReadRequest>(request.body)) {
    return RequestKind::kRead;
  }
  return std::holds_alternative<WriteRequest>(request.body)
             ? RequestKind::kWrite
             : RequestKind::kList;
}

LevelClass LevelClassOf(const ClientRequest& request) {
  const Level& level = KindOf(request) == RequestKind::kWrite
                           ? request.options.write
                           : request.options.read;
  switch (level.kind) {
    case Level::Kind::kDefault:
      return LevelClass::kDefault;
    case Level::Kind::kCount:
      return level.count == 1 ? LevelClass::kOne : LevelClass::kCount;
    case Level::Kind::kQuorum:
      return LevelClass::kQuorum;
    case Level::Kind::kAll:
      return LevelClass::kAll;
    case Level::Kind::kLocalOne:
      return LevelClass::kLocalOne;
    case Level::Kind::kLocalQuorum:
      return LevelClass::kLocalQuorum;
    case Level::Kind::kEachQuorum:
      return LevelClass::kEachQuorum;
  }
  return LevelClass::kDefault;
}

absl::string_view NameOf(RequestKind kind) {
  constexpr std::array<absl::string_view, kRequestKinds> kNames = {
      "read", "write", "list"};
  return kNames[static_cast<size_t>(kind)];
}

absl::string_view NameOf(LevelClass level) {
  constexpr std::array<absl::string_view, kLevelClasses> kNames = {
      "default", "one",       "count",        "quorum",
      "all",     "local_one", "local_quorum", "each_quorum"};
  return kNames[static_cast<size_t>(level)];
}

std::string OutcomeName(absl::StatusCode code) {
  return absl::AsciiStrToLower(absl::StatusCodeToString(code));
}

void RequestCounts::Count(RequestKind kind, LevelClass level,
                          absl::StatusCode outcome, absl::Duration took) {
  DOVETAIL_CHECK(static_cast<size_t>(outcome) < kOutcomes);
  ++outcomes_[Cell(kind, level)][static_cast<size_t>(outcome)];
  const int64_t us = std::max<int64_t>(0, absl::ToInt64Microseconds(took));
  const auto bucket = std::lower_bound(kDurationBucketsUs.begin(),
                                       kDurationBucketsUs.end(), us);
  Durations& durations = durations_[Cell(kind, level)];
  ++durations.buckets[static_cast<size_t>(bucket - kDurationBucketsUs.begin())];
  ++durations.count;
  durations.sum_us += static_cast<uint64_t>(us);
}

void RequestCounts::Add(const RequestCounts& other) {
  for (size_t cell = 0; cell < outcomes_.size(); ++cell) {
    for (size_t i = 0; i < kOutcomes; ++i) {
      outcomes_[cell][i] += other.outcomes_[cell][i];
    }
    Durations& mine = durations_[cell];
    const Durations& theirs = other.durations_[cell];
    for (size_t i = 0; i < mine.buckets.size(); ++i) {
      mine.buckets[i] += theirs.buckets[i];
    }
    mine.count += theirs.count;
    mine.sum_us += theirs.sum_us;
  }
}

void RequestWatch::Begin(const ClientRequest& request, absl::Duration arrived) {
  under_way_.insert_or_assign(
      request.id, UnderWay{arrived, KindOf(request), LevelClassOf(request)});
}

std::optional<absl::Duration> RequestWatch::End(const ClientReply& reply,
                                                absl::Duration left) {
  const auto it = under_way_.find(reply.id);
  if (it == under_way_.end()) return std::nullopt;
  const UnderWay was = it->second;
  under_way_.erase(it);
  // Codes of other servers, which a reply may quote, stay within ours.
  const auto code = static_cast<size_t>(reply.body.status().code());
  counts_.Count(was.kind, was.level,
                code < kOutcomes ? reply.body.status().code()
                                 : absl::StatusCode::kUnknown,
                left - was.arrived);
  return left - was.arrived;
}

}  // namespace dovetail::replica
