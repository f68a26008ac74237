// The quorum decision as a value: who has answered, and is that enough, or can
// it never be? "Impossible" is decided as eagerly as "met", so that a client
// does not wait for a deadline that cannot help.
//
// A tally has one demand or several, all of which must be met: `each_quorum`
// is one for each region. Whoever is asked counts for one of them, or for none
// (a node of another region at `local_quorum`), and more may be asked later: a
// stand-in for an owner that does not answer.
#ifndef DOVETAIL_REPLICA_QUORUM_H_
#define DOVETAIL_REPLICA_QUORUM_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "crdt/check.h"
#include "replica/ids.h"

namespace dovetail::replica {

enum class Verdict : uint8_t { kPending, kMet, kImpossible };

class Tally {
 public:
  // Of a node whose answer counts for nothing.
  static constexpr size_t kNoDemand = SIZE_MAX;

  // One demand. Requires: required >= 1.
  explicit Tally(uint32_t required) { AddDemand(required); }
  // None yet.
  Tally() = default;

  // The number by which Ask() names it. Requires: required >= 1.
  size_t AddDemand(uint32_t required) {
    DOVETAIL_CHECK(required >= 1);
    demands_.push_back({required, 0, 0});
    return demands_.size() - 1;
  }
  // `node` is asked and may answer. Asking twice changes nothing.
  void Ask(NodeId node, size_t demand = 0) {
    if (Find(node) != nullptr) return;
    asked_.push_back({node, demand, State::kSilent});
    if (demand != kNoDemand) ++demands_[demand].silent;
  }

  // Of who was not asked: changes nothing. A second answer of the same node
  // neither, but a success overrules the failure that it was taken for.
  Verdict AddSuccess(NodeId node) {
    Asked* asked = Find(node);
    if (asked == nullptr || asked->state == State::kSucceeded) return verdict();
    if (asked->demand != kNoDemand) {
      Demand& demand = demands_[asked->demand];
      if (asked->state == State::kSilent) --demand.silent;
      ++demand.succeeded;
    }
    asked->state = State::kSucceeded;
    succeeded_.push_back(node);
    return verdict();
  }
  Verdict AddFailure(NodeId node) {
    Asked* asked = Find(node);
    if (asked == nullptr || asked->state != State::kSilent) return verdict();
    asked->state = State::kFailed;
    if (asked->demand != kNoDemand) --demands_[asked->demand].silent;
    return verdict();
  }

  Verdict verdict() const {
    bool met = true;
    for (const Demand& demand : demands_) {
      if (demand.succeeded + demand.silent < demand.required) {
        return Verdict::kImpossible;
      }
      met = met && demand.succeeded >= demand.required;
    }
    return met ? Verdict::kMet : Verdict::kPending;
  }

  // Whether more should be asked for `demand` to be met.
  bool Wants(size_t demand) const {
    return demand != kNoDemand &&
           demands_[demand].succeeded + demands_[demand].silent <
               demands_[demand].required;
  }
  bool WasAsked(NodeId node) const { return Find(node) != nullptr; }
  bool Answered(NodeId node) const {
    const Asked* asked = Find(node);
    return asked != nullptr && asked->state != State::kSilent;
  }
  bool Failed(NodeId node) const {
    const Asked* asked = Find(node);
    return asked != nullptr && asked->state == State::kFailed;
  }
  // Whether anybody of whom `matters(node)` was asked and has neither answered
  // nor failed.
  template <class Matters>
  bool AnySilent(Matters matters) const {
    return std::any_of(asked_.begin(), asked_.end(), [&](const Asked& asked) {
      return asked.state == State::kSilent && matters(asked.node);
    });
  }
  // Those who were asked, count for something and have not answered, in the
  // order in which they were asked.
  std::vector<NodeId> Silent() const {
    std::vector<NodeId> silent;
    for (const Asked& asked : asked_) {
      if (asked.state == State::kSilent && asked.demand != kNoDemand) {
        silent.push_back(asked.node);
      }
    }
    return silent;
  }

  // Over all demands.
  uint32_t required() const {
    uint32_t sum = 0;
    for (const Demand& demand : demands_) sum += demand.required;
    return sum;
  }
  // In order of arrival.
  const std::vector<NodeId>& succeeded() const { return succeeded_; }

 private:
  enum class State : uint8_t { kSilent, kSucceeded, kFailed };
  struct Asked {
    NodeId node{};
    size_t demand = 0;
    State state = State::kSilent;
  };
  struct Demand {
    uint32_t required = 0;
    uint32_t silent = 0;
    uint32_t succeeded = 0;
  };
  const Asked* Find(NodeId node) const {
    for (const Asked& asked : asked_) {
      if (asked.node == node) return &asked;
    }
    return nullptr;
  }
  Asked* Find(NodeId node) {
    return const_cast<Asked*>(std::as_const(*this).Find(node));
  }

  absl::InlinedVector<Demand, 1> demands_;
  absl::InlinedVector<Asked, 4> asked_;
  std::vector<NodeId> succeeded_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_QUORUM_H_
