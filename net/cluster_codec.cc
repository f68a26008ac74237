// The part of client_codec.h that is about the cluster.
#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "net/client_codec.h"
#include "net/guarded.h"

namespace dovetail::net {

using replica::ChangeKind;

namespace {

static_assert(static_cast<int>(wire::Condition::LEFT) ==
              static_cast<int>(Condition::kLeft));

capnp::Text::Reader AsText(const std::string& text) {
  return capnp::Text::Reader(text.c_str(), text.size());
}

unsigned Size(size_t size) {
  DOVETAIL_CHECK(size <= std::numeric_limits<unsigned>::max());
  return static_cast<unsigned>(size);
}

void EncodeNames(const std::vector<std::string>& names,
                 capnp::List<capnp::Text>::Builder out) {
  for (unsigned i = 0; i < out.size(); ++i) out.set(i, AsText(names[i]));
}

uint64_t ToMs(absl::Duration duration) {
  return static_cast<uint64_t>(
      std::max<int64_t>(0, absl::ToInt64Milliseconds(duration)));
}

absl::Duration FromMs(uint64_t ms) {
  constexpr uint64_t kMsMax = uint64_t{1} << 50;
  return absl::Milliseconds(static_cast<int64_t>(std::min(ms, kMsMax)));
}

void EncodeMember(const ClusterMember& member,
                  wire::ClusterMember::Builder out) {
  out.setId(replica::Index(member.id));
  out.setName(AsText(member.name));
  out.setZone(AsText(member.zone));
  out.setRegion(AsText(member.region));
  out.setWeight(member.weight);
  out.setClientAddress(AsText(member.client_address));
  out.setPeerAddress(AsText(member.peer_address));
  out.setCondition(static_cast<wire::Condition>(member.condition));
  out.setSinceMs(ToMs(member.since));
  out.setReachable(member.reachable);
  out.setEpoch(member.epoch);
  out.setInRing(member.in_ring);
  out.setPartitions(member.partitions);
  out.setStaged(member.staged);
  if (member.load.has_value()) EncodeLoad(*member.load, out.initLoad());
  out.setLoadAgeMs(ToMs(member.load_age));
  EncodeNames(member.slow_for, out.initSlowFor(Size(member.slow_for.size())));
}

absl::StatusOr<ClusterMember> DecodeMember(wire::ClusterMember::Reader in) {
  ClusterMember member;
  member.id = replica::NodeId{in.getId()};
  member.name = AsString(in.getName());
  member.zone = AsString(in.getZone());
  member.region = AsString(in.getRegion());
  member.weight = in.getWeight();
  member.client_address = AsString(in.getClientAddress());
  member.peer_address = AsString(in.getPeerAddress());
  // Also a condition of a later version.
  if (in.getCondition() <= wire::Condition::LEFT) {
    member.condition = static_cast<Condition>(in.getCondition());
  }
  member.since = FromMs(in.getSinceMs());
  member.reachable = in.getReachable();
  member.epoch = in.getEpoch();
  member.in_ring = in.getInRing();
  member.partitions = in.getPartitions();
  member.staged = in.getStaged();
  if (in.hasLoad()) {
    DOVETAIL_ASSIGN_OR_RETURN(member.load, DecodeLoad(in.getLoad()));
  }
  member.load_age = FromMs(in.getLoadAgeMs());
  for (const auto name : in.getSlowFor()) {
    member.slow_for.push_back(AsString(name));
  }
  return member;
}

void EncodePlan(const PlanView& plan, wire::ClusterPlan::Builder out) {
  out.setEpoch(plan.epoch);
  EncodeNames(plan.staged, out.initStaged(Size(plan.staged.size())));
  out.setPlanned(plan.planned);
  out.setPartitionsMoved(plan.partitions_moved);
  auto nodes = out.initNodes(Size(plan.nodes.size()));
  for (unsigned i = 0; i < nodes.size(); ++i) {
    const replica::NodeChange& change = plan.nodes[i].change;
    nodes[i].setId(replica::Index(change.id));
    nodes[i].setName(AsText(change.name));
    nodes[i].setBefore(change.before);
    nodes[i].setAfter(change.after);
    nodes[i].setGained(change.gained);
    nodes[i].setLost(change.lost);
    nodes[i].setBytesIn(plan.nodes[i].bytes_in);
    nodes[i].setBytesOut(plan.nodes[i].bytes_out);
  }
  out.setBelowN(plan.below_n);
  out.setZonesShared(plan.zones_shared);
  EncodeNames(plan.changes, out.initChanges(Size(plan.changes.size())));
  out.setBytesUnknown(plan.bytes_unknown);
  out.setBelowNMeanwhile(plan.below_n_meanwhile);
  out.setTransfersPaused(plan.transfers_paused);
  if (plan.meanwhile.has_value()) {
    out.setSecondsMeanwhile(static_cast<uint64_t>(
        std::max<int64_t>(1, absl::ToInt64Seconds(*plan.meanwhile))));
  }
}

PlanView DecodePlan(wire::ClusterPlan::Reader in) {
  PlanView plan;
  plan.epoch = in.getEpoch();
  for (const auto name : in.getStaged()) plan.staged.push_back(AsString(name));
  plan.planned = in.getPlanned();
  plan.partitions_moved = in.getPartitionsMoved();
  for (const auto change : in.getNodes()) {
    plan.nodes.push_back(
        {{replica::NodeId{change.getId()}, AsString(change.getName()),
          change.getBefore(), change.getAfter(), change.getGained(),
          change.getLost()},
         change.getBytesIn(),
         change.getBytesOut()});
  }
  plan.below_n = in.getBelowN();
  plan.zones_shared = in.getZonesShared();
  for (const auto words : in.getChanges()) {
    plan.changes.push_back(AsString(words));
  }
  plan.bytes_unknown = in.getBytesUnknown();
  plan.below_n_meanwhile = in.getBelowNMeanwhile();
  plan.transfers_paused = in.getTransfersPaused();
  if (in.getSecondsMeanwhile() > 0) {
    constexpr uint64_t kSecondsMax = uint64_t{1} << 40;
    plan.meanwhile = absl::Seconds(
        static_cast<int64_t>(std::min(in.getSecondsMeanwhile(), kSecondsMax)));
  }
  return plan;
}

}  // namespace

void EncodeTransfer(const replica::TransferProgress& progress,
                    wire::PartitionTransfer::Builder out) {
  const replica::Transfer& transfer = progress.transfer;
  out.setPartition(replica::Index(transfer.partition));
  out.setFromNode(transfer.source.has_value());
  if (transfer.source) out.setSource(replica::Index(*transfer.source));
  out.setEventsLacking(transfer.events_lacking);
  out.setRangesDone(transfer.ranges_done);
  out.setBytes(transfer.bytes);
  out.setBytesPerSecond(progress.bytes_per_second);
  out.setKnown(progress.left.has_value());
  if (progress.left) out.setLeftMs(ToMs(*progress.left));
}

replica::TransferProgress DecodeTransfer(wire::PartitionTransfer::Reader in) {
  replica::TransferProgress progress;
  progress.transfer.partition = replica::PartitionId{in.getPartition()};
  if (in.getFromNode()) {
    progress.transfer.source = replica::NodeId{in.getSource()};
  }
  progress.transfer.events_lacking = in.getEventsLacking();
  // Also of a number that is none.
  const double done = in.getRangesDone();
  progress.transfer.ranges_done = done > 0 ? std::min(done, 1.0) : 0;
  progress.transfer.bytes = in.getBytes();
  progress.bytes_per_second = in.getBytesPerSecond();
  if (in.getKnown()) progress.left = FromMs(in.getLeftMs());
  return progress;
}

void EncodeLoad(const replica::NodeLoad& load, wire::NodeLoad::Builder out) {
  out.setEpoch(load.epoch);
  out.setDataBytes(load.data_bytes);
  out.setEntries(load.entries);
  out.setHints(load.hints);
  out.setHintBytes(load.hint_bytes);
  out.setHeld(load.held);
  out.setFilling(load.filling);
  out.setTransferRate(load.transfer_rate);
  out.setTransferRateMax(load.transfer_rate_max);
  auto slow = out.initSlow(Size(load.slow.size()));
  for (unsigned i = 0; i < slow.size(); ++i) {
    slow.set(i, replica::Index(load.slow[i]));
  }
}

absl::StatusOr<replica::NodeLoad> DecodeLoad(wire::NodeLoad::Reader in) {
  replica::NodeLoad load;
  load.epoch = in.getEpoch();
  load.data_bytes = in.getDataBytes();
  load.entries = in.getEntries();
  load.hints = in.getHints();
  load.hint_bytes = in.getHintBytes();
  load.held = in.getHeld();
  load.filling = in.getFilling();
  load.transfer_rate = in.getTransferRate();
  load.transfer_rate_max = in.getTransferRateMax();
  const auto slow = in.getSlow();
  if (slow.size() > replica::kMembersMax) {
    return absl::InvalidArgumentError("more slow peers than members may be");
  }
  for (const uint64_t id : slow) load.slow.push_back(replica::NodeId{id});
  return load;
}

void EncodeClusterView(const ClusterView& view,
                       wire::ClusterView::Builder out) {
  out.setCluster(AsText(view.cluster));
  out.setNodeId(replica::Index(view.node));
  out.setNodeName(AsText(view.node_name));
  out.setConfig(
      capnp::Data::Reader(reinterpret_cast<const kj::byte*>(view.config.data()),
                          view.config.size()));
  out.setSupersededEpoch(view.superseded_epoch);
  out.setSupersededBy(AsText(view.superseded_by));
  auto members = out.initMembers(Size(view.members.size()));
  for (unsigned i = 0; i < members.size(); ++i) {
    EncodeMember(view.members[i], members[i]);
  }
  out.setHints(view.hints);
  out.setHintBytes(view.hint_bytes);
  out.setDataBytes(view.data_bytes);
  out.setTransfersPaused(view.transfers_paused);
}

absl::StatusOr<ClusterView> DecodeClusterView(wire::ClusterView::Reader in) {
  return Guarded([&]() -> absl::StatusOr<ClusterView> {
    ClusterView view;
    view.cluster = AsString(in.getCluster());
    view.node = replica::NodeId{in.getNodeId()};
    view.node_name = AsString(in.getNodeName());
    const auto config = in.getConfig();
    view.config.assign(reinterpret_cast<const char*>(config.begin()),
                       config.size());
    view.superseded_epoch = in.getSupersededEpoch();
    view.superseded_by = AsString(in.getSupersededBy());
    for (const auto member : in.getMembers()) {
      DOVETAIL_ASSIGN_OR_RETURN(ClusterMember decoded, DecodeMember(member));
      view.members.push_back(std::move(decoded));
    }
    view.hints = in.getHints();
    view.hint_bytes = in.getHintBytes();
    view.data_bytes = in.getDataBytes();
    view.transfers_paused = in.getTransfersPaused();
    return view;
  });
}

namespace {

void EncodeChange(const replica::NamedChange& change,
                  wire::ClusterAdmin::Builder out) {
  switch (change.kind) {
    case ChangeKind::kJoin:
      break;
    case ChangeKind::kLeave:
      return out.setLeave(AsText(change.name));
    case ChangeKind::kRemove:
      return out.setRemove(AsText(change.name));
    case ChangeKind::kReplace: {
      auto replace = out.initReplace();
      replace.setName(AsText(change.name));
      return replace.setBy(AsText(change.by));
    }
    case ChangeKind::kWeight: {
      auto weight = out.initWeight();
      weight.setMember(AsText(change.name));
      return weight.setWeight(change.weight);
    }
  }
  DOVETAIL_CHECK(false);  // joins are not staged so
}

}  // namespace

void EncodeClusterAdmin(const ClusterAdmin& admin,
                        wire::ClusterAdmin::Builder out) {
  if (const auto* stage = std::get_if<StageJoins>(&admin)) {
    EncodeNames(stage->names, out.initStageJoins(Size(stage->names.size())));
  } else if (const auto* change = std::get_if<replica::NamedChange>(&admin)) {
    EncodeChange(*change, out);
  } else if (std::holds_alternative<AbortStaged>(admin)) {
    out.setAbort();
  } else if (const auto* commit = std::get_if<CommitPlan>(&admin)) {
    out.setCommit(commit->base_epoch);
    out.setForce(commit->force);
  } else if (const auto* pause = std::get_if<PauseTransfers>(&admin)) {
    pause->paused ? out.setPause() : out.setResume();
  } else {
    out.setPlan();
  }
}

absl::StatusOr<ClusterAdmin> DecodeClusterAdmin(wire::ClusterAdmin::Reader in) {
  return Guarded([&]() -> absl::StatusOr<ClusterAdmin> {
    switch (in.which()) {
      case wire::ClusterAdmin::PLAN:
        return ShowPlan{};
      case wire::ClusterAdmin::ABORT:
        return AbortStaged{};
      case wire::ClusterAdmin::COMMIT:
        return CommitPlan{in.getCommit(), in.getForce()};
      case wire::ClusterAdmin::PAUSE:
        return PauseTransfers{true};
      case wire::ClusterAdmin::RESUME:
        return PauseTransfers{false};
      case wire::ClusterAdmin::REMOVE:
        return replica::NamedChange{ChangeKind::kRemove,
                                    AsString(in.getRemove()), "", 0};
      case wire::ClusterAdmin::LEAVE:
        return replica::NamedChange{ChangeKind::kLeave, AsString(in.getLeave()),
                                    "", 0};
      case wire::ClusterAdmin::REPLACE:
        return replica::NamedChange{ChangeKind::kReplace,
                                    AsString(in.getReplace().getName()),
                                    AsString(in.getReplace().getBy()), 0};
      case wire::ClusterAdmin::WEIGHT:
        return replica::NamedChange{ChangeKind::kWeight,
                                    AsString(in.getWeight().getMember()), "",
                                    in.getWeight().getWeight()};
      case wire::ClusterAdmin::STAGE_JOINS: {
        StageJoins stage;
        const auto names = in.getStageJoins();
        if (names.size() > replica::kMembersMax) {
          return absl::InvalidArgumentError("more names than members may be");
        }
        for (const auto name : names) stage.names.push_back(AsString(name));
        return stage;
      }
    }
    return absl::InvalidArgumentError("an unknown change of the cluster");
  });
}

void EncodeClusterAdminReply(const absl::StatusOr<PlanView>& reply,
                             wire::ClusterAdminReply::Builder out) {
  if (!reply.ok()) return EncodeError(reply.status(), out.initError());
  EncodePlan(*reply, out.initPlan());
}

absl::StatusOr<PlanView> DecodeClusterAdminReply(
    wire::ClusterAdminReply::Reader in) {
  return Guarded([&]() -> absl::StatusOr<PlanView> {
    switch (in.which()) {
      case wire::ClusterAdminReply::ERROR:
        return DecodeError(in.getError());
      case wire::ClusterAdminReply::PLAN:
        return DecodePlan(in.getPlan());
    }
    return absl::InvalidArgumentError("an unknown answer");
  });
}

}  // namespace dovetail::net
