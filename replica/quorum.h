// The quorum decision as a value: who has answered, and is that enough, or can
// it never be? "Impossible" is decided as eagerly as "met", so that a client
// does not wait for a deadline that cannot help.
#ifndef DOVETAIL_REPLICA_QUORUM_H_
#define DOVETAIL_REPLICA_QUORUM_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "crdt/check.h"
#include "replica/ids.h"

namespace dovetail::replica {

enum class Verdict : uint8_t { kPending, kMet, kImpossible };

class Tally {
 public:
  // `required` answers of `asked` replicas. Requires: required >= 1.
  Tally(uint32_t required, uint32_t asked)
      : required_(required), asked_(asked) {
    DOVETAIL_CHECK(required >= 1);
  }

  // A second answer of the same node changes nothing.
  Verdict AddSuccess(NodeId node) {
    if (!Answered(node)) succeeded_.push_back(node);
    return verdict();
  }
  Verdict AddFailure(NodeId node) {
    if (!Answered(node)) failed_.push_back(node);
    return verdict();
  }

  Verdict verdict() const {
    if (succeeded_.size() >= required_) return Verdict::kMet;
    if (failed_.size() + required_ > asked_) return Verdict::kImpossible;
    return Verdict::kPending;
  }

  bool Answered(NodeId node) const {
    return std::count(succeeded_.begin(), succeeded_.end(), node) +
               std::count(failed_.begin(), failed_.end(), node) >
           0;
  }

  uint32_t required() const { return required_; }
  uint32_t asked() const { return asked_; }
  // In order of arrival.
  const std::vector<NodeId>& succeeded() const { return succeeded_; }

 private:
  uint32_t required_;
  uint32_t asked_;
  std::vector<NodeId> succeeded_;
  std::vector<NodeId> failed_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_QUORUM_H_
