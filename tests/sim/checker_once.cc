// The checker's exactly-once client: operations with op=N are sent under an id,
// and again, by later lines of the plan, at other nodes. The oracle knows each
// once, from the session's own point of view.
//
// Additions to counters, sets and grow-only sets and blind writes carry all
// that they act on; others need a token. No registers: their timestamps are the
// session's, which has no clock here.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/limits.h"
#include "tests/sim/checker.h"
#include "tests/sim/convert.h"

namespace dovetail::sim {
namespace {

const crdt::ActorId kSession =
    crdt::MakeActorId(crdt::ActorKind::kSession, 0x5e55);
// Of operations that no id can cover; nothing ever happens under it.
const crdt::ActorId kTooMuch =
    crdt::MakeActorId(crdt::ActorKind::kSession, 0x5e56);

}  // namespace

bool Checker::Identify(uint64_t id, replica::WriteRequest& write,
                       Pending& pending) {
  auto sent = once_sent_.find(id);
  if (sent == once_sent_.end()) {
    for (const crdt::Operation& operation : write.operations) {
      if (crdt::NeedsToken(operation)) return false;
    }
    if (IsTooMuchForOne(pending)) {
      write.id = {{kTooMuch, 1}, {}};
      pending.must_refuse = true;
      return true;
    }
    OnceSession& session =
        once_sessions_
            .try_emplace(pending.partition,
                         OnceSession{crdt::SessionWriter(kSession), {}})
            .first->second;
    auto prepared = session.writer.Prepare(write.operations, {});
    if (!prepared.ok()) {
      OnViolation(absl::StrCat(Story(pending), " cannot be prepared: ",
                               prepared.status().ToString()));
      return false;
    }
    // It acts on what the session itself has done and on nothing else.
    const oracle::Events before = ToOracle(session.events);
    oracle::Oracle& oracle = OracleOf(pending.partition);
    const oracle::Expectation expected =
        oracle.Expect(pending.batch, crdt::ActorBits(kSession), before);
    const crdt::DotRun run{kSession, prepared->id.first.counter,
                           expected.events};
    if (run.count > 0) {
      oracle.Record(pending.batch, crdt::ActorBits(kSession), run.first,
                    run.count, before);
    }
    if (run.count > 0) session.events.InsertRun(run);
    sent = once_sent_
               .emplace(id, OnceSent{*std::move(prepared), pending.batch,
                                     expected, run})
               .first;
    if (write.operations.front().object.key == "exact") {
      exact_attempted_ += write.operations.front().amount;
    }
  }
  if (Misuse(sent->second, write, pending)) return true;
  write.operations = sent->second.prepared.operations;
  write.id = sent->second.prepared.id;
  pending.batch = sent->second.batch;
  pending.expected = sent->second.expected;
  pending.once = sent->second.run;
  return true;
}

bool Checker::IsTooMuchForOne(const Pending& pending) {
  return std::any_of(
      pending.batch.begin(), pending.batch.end(),
      [&](const oracle::Mutation& mutation) {
        return mutation.token &&
               OracleOf(pending.partition).ListOf(*mutation.token).size() >
                   crdt::kDotsPerClearDelta;
      });
}

// Only at a node that has the operation, and its log entry for ever: elsewhere
// nobody can know better. A ring that changes may take it away meanwhile.
bool Checker::Misuse(const OnceSent& sent, replica::WriteRequest& write,
                     Pending& pending) {
  Stream chance(plan_.seed, "misuse", pending.event);
  if (!chance.OneIn(6) || sent.run.count == 0 || moves_ ||
      plan_.options.truncate_entries_per_turn > 0 ||
      !cluster_->node(pending.node).running() ||
      !Owns(pending.node, pending.partition) ||
      !Holds(pending.node, pending.partition, sent.run)) {
    return false;
  }
  std::vector<crdt::Operation> others = sent.prepared.operations;
  crdt::Operation& first = others.front();
  if (first.verb != crdt::Verb::kAdd) return false;
  if (first.object.type == crdt::Type::kCounter) {
    ++first.amount;
  } else {
    first.elements.back() += "!";
  }
  write.operations = std::move(others);
  write.id = sent.prepared.id;
  pending.must_refuse = true;
  return true;
}

void Checker::LookForRoom(Pending& pending) {
  const oracle::Mutation& first = pending.batch.front();
  pending.full = false;
  if (pending.unknown) return;
  if (first.verb != oracle::Verb::kWriteBlind ||
      pending.visible.ContainsRun(*pending.once)) {
    return;
  }
  const oracle::View view =
      OracleOf(pending.partition)
          .Read(first.object, first.fields, ToOracle(pending.visible));
  pending.full = view.values.size() >= crdt::kSiblingsMax;
}

}  // namespace dovetail::sim
