// The part of the client codec that is about the cluster.
#include <capnp/message.h>
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "net/client_codec.h"

namespace dovetail::net {
namespace {

TEST_CASE("Codec: the view of the cluster comes back") {
  net::ClusterMember member;
  member.id = replica::NodeId{~uint64_t{0}};
  member.name = "a";
  member.zone = "z";
  member.region = "r";
  member.weight = 7;
  member.client_address = "127.0.0.1:1";
  member.peer_address = "127.0.0.1:2";
  member.condition = net::Condition::kLeft;
  member.since = absl::Milliseconds(1'234);
  member.reachable = true;
  member.epoch = 8;
  member.in_ring = true;
  member.partitions = 9;
  member.staged = true;
  member.load = replica::NodeLoad{.epoch = 1,
                                  .data_bytes = 2,
                                  .entries = 3,
                                  .hints = 4,
                                  .hint_bytes = 5,
                                  .held = 6,
                                  .filling = 7,
                                  .slow = {replica::NodeId{8}},
                                  .transfer_rate = 9,
                                  .transfer_rate_max = 10};
  member.load_age = absl::Milliseconds(1'500);
  member.slow_for = {"b", "c"};
  net::ClusterView view;
  view.cluster = "demo";
  view.node = replica::NodeId{3};
  view.node_name = "n";
  view.config = std::string("\0ring", 5);
  view.superseded_epoch = 4;
  view.superseded_by = "b";
  view.members = {member, {}};
  view.hints = 5;
  view.hint_bytes = 6;
  view.data_bytes = 7;
  view.transfers_paused = true;
  capnp::MallocMessageBuilder message;
  auto wire_view = message.initRoot<wire::ClusterView>();
  net::EncodeClusterView(view, wire_view);
  CHECK(*net::DecodeClusterView(wire_view.asReader()) == view);
}

TEST_CASE("Codec: what operators want and the plan they get come back") {
  for (const net::ClusterAdmin& admin : std::vector<net::ClusterAdmin>{
           net::ShowPlan{}, net::AbortStaged{}, net::CommitPlan{12},
           net::CommitPlan{12, true}, net::PauseTransfers{true},
           net::PauseTransfers{false},
           replica::NamedChange{replica::ChangeKind::kRemove, "a", "", 0},
           net::StageJoins{{"a", "b"}}, net::StageJoins{},
           replica::NamedChange{replica::ChangeKind::kLeave, "a", "", 0},
           replica::NamedChange{replica::ChangeKind::kReplace, "a", "b", 0},
           replica::NamedChange{replica::ChangeKind::kWeight, "a", "", 50}}) {
    capnp::MallocMessageBuilder call;
    auto wire_admin = call.initRoot<wire::ClusterAdmin>();
    net::EncodeClusterAdmin(admin, wire_admin);
    CHECK(*net::DecodeClusterAdmin(wire_admin.asReader()) == admin);
  }

  net::PlanView plan;
  plan.epoch = 2;
  plan.staged = {"a"};
  plan.planned = true;
  plan.partitions_moved = 3;
  plan.changes = {"a leaves"};
  plan.nodes = {{{replica::NodeId{1}, "a", 1, 2, 3, 4}, 8, 9}};
  plan.bytes_unknown = 10;
  plan.below_n_meanwhile = 11;
  plan.meanwhile = absl::Seconds(12);
  plan.transfers_paused = true;
  plan.below_n = 5;
  plan.zones_shared = 6;
  const absl::Status refused = absl::FailedPreconditionError("no");
  for (const absl::StatusOr<net::PlanView>& reply :
       {absl::StatusOr<net::PlanView>(plan),
        absl::StatusOr<net::PlanView>(refused)}) {
    capnp::MallocMessageBuilder answer;
    auto wire_reply = answer.initRoot<wire::ClusterAdminReply>();
    net::EncodeClusterAdminReply(reply, wire_reply);
    CHECK(net::DecodeClusterAdminReply(wire_reply.asReader()) == reply);
  }
}

}  // namespace
}  // namespace dovetail::net
