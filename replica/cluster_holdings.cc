// Cluster: who has said what of its data, and what follows from it.
//
// Nodes gossip how many partitions they own and do not yet have all of, by
// which ring. When all owners of a ring have said "none", nothing is on its way
// any more: the ring before is forgotten, and requests are as by a first ring.
// Who has heard so says so, too, for those that start when not all run.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "crdt/hooks.h"
#include "replica/cluster.h"

namespace dovetail::replica {
namespace {

constexpr absl::string_view kData = "holds";
constexpr absl::string_view kNoData = "empty";
constexpr absl::string_view kSettled = "settled";

std::string Partitions(uint64_t count) {
  return absl::StrCat(count, count == 1 ? " partition" : " partitions");
}

}  // namespace

// "holds", or "empty", and of which ring how many partitions are incomplete:
// " EPOCH DIGEST COUNT", and " settled". Earlier versions say the first word
// alone.
std::string EncodeHoldings(const Holdings& holdings) {
  std::string bytes =
      absl::StrFormat("%s %d %016x%016x %d", holdings.data ? kData : kNoData,
                      holdings.ring.epoch, holdings.ring.digest.high,
                      holdings.ring.digest.low, holdings.incomplete);
  if (holdings.settled) absl::StrAppend(&bytes, " ", kSettled);
  return bytes;
}

std::optional<Holdings> HoldingsOf(const MemberInfo& info) {
  const std::vector<absl::string_view> words =
      absl::StrSplit(info.payload, ' ');
  Holdings holdings;
  holdings.data = words[0] == kData;
  if (!holdings.data && words[0] != kNoData) return std::nullopt;
  if (words.size() == 1) return holdings;
  constexpr size_t kHalf = 16;
  holdings.settled = words.size() == 5 && words[4] == kSettled;
  if ((words.size() != 4 && !holdings.settled) ||
      words[2].size() != 2 * kHalf ||
      !absl::SimpleAtoi(words[1], &holdings.ring.epoch) ||
      !absl::SimpleHexAtoi(words[2].substr(0, kHalf),
                           &holdings.ring.digest.high) ||
      !absl::SimpleHexAtoi(words[2].substr(kHalf), &holdings.ring.digest.low) ||
      !absl::SimpleAtoi(words[3], &holdings.incomplete)) {
    return std::nullopt;
  }
  return holdings;
}

bool HoldsData(const MemberInfo& info) {
  const std::optional<Holdings> holdings = HoldingsOf(info);
  return holdings && holdings->data;
}

std::optional<Holdings> Cluster::SaidOf(const RingMember& member) const {
  const auto known = membership_.members().find(member.id);
  if (known == membership_.members().end()) return std::nullopt;
  const std::optional<Holdings> said = HoldingsOf(known->second.info);
  if (!said || said->ring != ring_stamp()) return std::nullopt;
  return said;
}

void Cluster::TellRing() {
  ClusterEvent::NewRing event{ring_, config_.ring->lineage(), nullptr, {}};
  if (!settled_) {
    event.before = ring_before_;
    event.gone = config_.ring->before()->gone;
  }
  events_.push_back(std::move(event));
}

void Cluster::UpdateSettled() {
  if (settled_) return;
  // This node's own word first: it may have lost its disk since all said so.
  const RingMember* self = ring_->Find(membership_.self().info.id);
  if (self != nullptr && self->weight > 0) {
    const std::optional<Holdings> mine = SaidOf(*self);
    if (!mine || mine->incomplete > 0) return;
  }
  bool all = true;
  bool told = false;
  for (const RingMember& member : ring_->spec().members) {
    const std::optional<Holdings> said = SaidOf(member);
    told = told || (said && said->settled);
    if (member.weight == 0) continue;  // it owns nothing
    all = all && said && said->incomplete == 0;
  }
  if (!all && !told) return;
  DOVETAIL_MARK("cluster: all owners are complete");
  settled_ = true;
  Log(absl::StrCat("all owners by the ring of epoch ", config_.epoch(),
                   " have what they own"));
  TellRing();
}

absl::Status Cluster::CheckTransfers() const {
  if (settled_) return absl::OkStatus();
  bool data = false;
  bool all_said = true;
  for (const auto& [id, member] : membership_.members()) {
    const std::optional<Holdings> said = HoldingsOf(member.info);
    data = data || (said && said->data);
    all_said = all_said && said;
  }
  if (all_said && !data) return absl::OkStatus();  // there is nothing to move
  std::vector<std::string> filling;
  std::vector<std::string> silent;
  for (const RingMember& member : ring_->spec().members) {
    if (member.weight == 0) continue;
    const std::optional<Holdings> said = SaidOf(member);
    if (said && said->incomplete > 0) {
      filling.push_back(
          absl::StrCat(Partitions(said->incomplete), " at ", member.name));
    }
    // Who cannot be reached may never be again: that is what changes are for.
    if (!said &&
        (IsReachable(member.id) || member.id == membership_.self().info.id)) {
      silent.push_back(member.name);
    }
  }
  if (!filling.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "data is still on its way by the ring of epoch ", config_.epoch(), ": ",
        absl::StrJoin(filling, ", "), "; wait until it has come"));
  }
  if (!silent.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        absl::StrJoin(silent, ", "),
        " did not say yet whether all is there by the ring of epoch ",
        config_.epoch(), "; try again"));
  }
  return absl::OkStatus();
}

}  // namespace dovetail::replica
