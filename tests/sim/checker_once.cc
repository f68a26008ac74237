// The checker's exactly-once client: operations with op=N are sent under an id,
// and again, by later lines of the plan, at other nodes. The oracle knows each
// once, from the session's own point of view.
//
// Additions to counters, sets and grow-only sets only: they carry all that they
// act on, so no token is needed.
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/sim/checker.h"
#include "tests/sim/convert.h"

namespace dovetail::sim {
namespace {

const crdt::ActorId kSession =
    crdt::MakeActorId(crdt::ActorKind::kSession, 0x5e55);

}  // namespace

bool Checker::Identify(uint64_t id, replica::WriteRequest& write,
                       Pending& pending) {
  auto sent = once_sent_.find(id);
  if (sent == once_sent_.end()) {
    for (const crdt::Operation& operation : write.operations) {
      if (crdt::NeedsToken(operation)) return false;
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
    oracle.Record(pending.batch, crdt::ActorBits(kSession), run.first,
                  run.count, before);
    session.events.InsertRun(run);
    sent = once_sent_
               .emplace(id, OnceSent{*std::move(prepared), pending.batch,
                                     expected, run})
               .first;
    if (write.operations.front().object.key == "exact") {
      exact_attempted_ += write.operations.front().amount;
    }
  }
  write.operations = sent->second.prepared.operations;
  write.id = sent->second.prepared.id;
  pending.batch = sent->second.batch;
  pending.expected = sent->second.expected;
  pending.once = sent->second.run;
  return true;
}

void Checker::AfterOnce(Pending& pending, const crdt::EventSet& minted,
                        const crdt::EventSet& applied) {
  crdt::EventSet own;
  own.InsertRun(*pending.once);
  if (!minted.empty() && !(minted == own)) {
    return OnViolation(absl::StrCat(
        Story(pending), " minted something else than the events of its id"));
  }
  if (applied.ContainsRun(*pending.once)) pending.minted = pending.once;
}

}  // namespace dovetail::sim
