// A few replicas, the naive specification beside them, and every law that can
// be checked after each step. Each verb returns "" or says which law broke.
//
// Messages live in no queue: any delta may reach any replica at any time, in
// any order, any number of times or (until Heal) never.
#ifndef DOVETAIL_TESTS_CRDT_WORLD_H_
#define DOVETAIL_TESTS_CRDT_WORLD_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "crdt/delta.h"
#include "crdt/token.h"
#include "tests/crdt/model.h"
#include "tests/crdt/replica_model.h"
#include "tests/crdt/subject.h"

namespace dovetail::crdt::model {

class World {
 public:
  // Checking every step costs far more than taking it.
  enum class Checks { kEveryStep, kOnDemand };

  // `subject` must outlive the world.
  World(const Subject& subject, size_t replicas,
        Checks checks = Checks::kEveryStep);

  // Runs one step of a schedule and checks what it touched.
  std::string Do(const Move& move);

  std::string Mutate(size_t replica, const std::vector<Operation>& batch,
                     const std::vector<const Sight*>& tokens, uint64_t stamp);
  std::string Deliver(size_t delta, size_t replica);
  std::string JoinState(size_t from, size_t into);
  // Delivers everything everywhere, in an order drawn from `salt`, some of it
  // twice; then all replicas must be the same bytes.
  std::string Heal(uint32_t salt);

  // P4, P6, P11, P13: `replica` against the specification, in full.
  std::string Check(size_t replica) const;

  const Subject& subject() const { return subject_; }
  const std::vector<Replica>& replicas() const { return replicas_; }
  // States of replicas at some steps on the way.
  const std::vector<Replica>& snapshots() const { return snapshots_; }
  const std::vector<Delta>& deltas() const { return deltas_; }
  const std::vector<ObservedToken>& token_history() const {
    return token_history_;
  }
  const Spec& spec() const { return spec_; }
  // The story so far, one line each step.
  const std::vector<std::string>& story() const { return story_; }

 private:
  using RowKey = std::pair<ObjectId, Path>;
  struct Token {
    Target scope;
    std::optional<std::string> element;
    ObservedToken observed;
    Sight sight;
  };

  std::string DoMutate(const Move& move);
  std::string DoDeliver(const Move& move);
  std::string ReadToken(const Move& move);
  // The newest token that `operation` may carry.
  const Token* TokenFor(const Operation& operation) const;

  // P2, P5, P11, P14 of a delta just made.
  std::string CheckBuilder(const Replica& before, size_t replica,
                           const std::vector<Operation>& batch,
                           const Delta& delta, uint64_t stamp) const;
  std::string CheckNewDelta(GroupId group, const Delta& delta);
  // Learns which dots the delta gave to the facts that outlived their batch.
  std::string NameDots(GroupId group, const Delta& delta);
  std::string CheckSuperseded(GroupId group, const Delta& delta) const;
  // What every step checks of the replica it touched; `delta` is what it
  // applied, null for a state join.
  std::string CheckStep(const Replica& before, size_t replica,
                        const Delta* delta);
  // P9, P10: what left and what came.
  std::string CheckPassage(const Replica& before, size_t replica,
                           const Delta* delta);
  std::string CheckContext(size_t replica) const;
  std::string CheckRows(size_t replica) const;
  std::string CheckCounterRow(const RowKey& row, const Leaf& leaf,
                              const Sight& live) const;
  std::string CheckViews(size_t replica) const;
  std::string CheckEqualEvents(size_t replica) const;

  const Subject& subject_;
  const Checks checks_;
  std::vector<Replica> replicas_;
  std::vector<Replica> snapshots_;
  Spec spec_;
  std::vector<Delta> deltas_;   // by GroupId
  std::map<FactId, Dot> dots_;  // of all facts but amounts
  std::map<Dot, std::pair<RowKey, std::string>> payload_of_;
  std::set<Dot> minted_;
  std::set<Dot> superseded_somewhere_;
  std::vector<std::set<Dot>> gone_;  // by replica
  std::vector<Token> tokens_;
  std::vector<ObservedToken> token_history_;
  std::vector<std::string> story_;
};

// The path of a payload's leaf.
Path PathOf(const Place& place);

// "" or the first difference of two states.
std::string Differences(const Replica& a, const Replica& b);

}  // namespace dovetail::crdt::model

#endif  // DOVETAIL_TESTS_CRDT_WORLD_H_
