// Were listings right? What a listing at R must say of an object is known
// without knowing whom it asked, if
//
//   - N - R + 1 nodes had applied every write of the object when the listing
//     began, and still run: any R nodes have one of them among them, so any
//     join of R is the whole truth; or, while partitions move, as many of those
//     who owned it before had, and every owner that was complete; and
//   - nobody wrote the object meanwhile.
//
// or if
//
//   - the session that the listing came with had seen every write of the
//     object, and nobody wrote it meanwhile: whom it asks, and how many, is all
//     the same then, and so is what they have forgotten.
//
// Then it is listed if, and only if, all its writes together show something.
// Of other objects either answer may be right.
#ifndef DOVETAIL_TESTS_SIM_LIST_WATCH_H_
#define DOVETAIL_TESTS_SIM_LIST_WATCH_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "tests/sim/oracle.h"
#include "tests/sim/sim_cluster.h"

namespace dovetail::sim {

class ListWatch {
 public:
  // `oracles` by partition; must outlive this.
  explicit ListWatch(const std::vector<oracle::Oracle>& oracles)
      : oracles_(oracles) {}

  // Asks `node` for a page of the listing at R.
  void Submit(SimCluster& cluster, uint32_t node, uint32_t r,
              replica::ListRequest request);
  // The same with random values.
  void SubmitAny(SimCluster& cluster, uint32_t node, Stream& chance);

  // Listings have request numbers of their own.
  static bool IsListing(replica::RequestId id) {
    return static_cast<uint64_t>(id) >= kFirstRequest;
  }
  // What is wrong with the page; empty: nothing. Requires: it was asked for.
  // `is_known(object, since_us)`: whether the oracle can say what every node
  // has shown of it since then.
  std::string Judge(
      SimCluster& cluster, replica::RequestId id,
      const replica::ListReply& reply,
      absl::FunctionRef<bool(const crdt::ObjectId&, int64_t)> is_known);
  // Nobody waits for it any more.
  void Forget(replica::RequestId id) { asked_.erase(id); }
  bool Awaits(replica::RequestId id) const { return asked_.contains(id); }
  void OnStopped(uint32_t node);

  uint64_t pages() const { return pages_; }
  uint64_t judged() const { return judged_; }

 private:
  static constexpr uint64_t kFirstRequest = uint64_t{1} << 62;
  struct Known {
    size_t writes = 0;
    bool seen = false;              // all of them, by the session
    std::vector<uint32_t> holders;  // owners that had applied all of them
    std::vector<uint32_t> before;   // likewise, of those of before
    uint32_t lacking = 0;  // owners that had not, though they were complete
    bool kept = false;     // some complete owner had
  };
  struct Asked {
    uint32_t node = 0;
    uint32_t r = 1;
    replica::ListRequest request;
    std::vector<uint64_t> starts;  // of all nodes
    int64_t at_us = 0;
    bool moves = false;  // by what the node knows, which then asks for both
    bool still = false;  // nothing moves by what any node knows
    std::map<replica::PartitionId, oracle::Events> seen;  // by its session
    std::map<crdt::ObjectId, Known> known;
  };
  std::vector<replica::SessionToken> AnySession(SimCluster& cluster,
                                                Stream& chance) const;
  void Learn(SimCluster& cluster, Asked& asked) const;
  // Whether an owner that counts, by now, has not applied all writes to it.
  bool SomeLack(SimCluster& cluster, replica::PartitionId partition,
                const oracle::Object& object) const;
  // Whether `object` must be listed; nullopt: it may.
  std::optional<bool> Expect(SimCluster& cluster, const Asked& asked,
                             const crdt::ObjectId& object,
                             const Known& known) const;

  const std::vector<oracle::Oracle>& oracles_;
  std::map<replica::RequestId, Asked> asked_;
  uint64_t next_request_ = kFirstRequest;
  uint64_t pages_ = 0;
  uint64_t judged_ = 0;
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_LIST_WATCH_H_
