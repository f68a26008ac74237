// Which events had the replicas applied that a quorum read was joined from?
// Followed from the outside: the queries a coordinator sends, and what each
// replica held when it answered.
//
// A read cannot be told from another one of the same place by the same
// coordinator, so there may be several candidates; a view that fits none of
// them is wrong.
#ifndef DOVETAIL_TESTS_SIM_READ_WATCH_H_
#define DOVETAIL_TESTS_SIM_READ_WATCH_H_

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "crdt/event_set.h"
#include "replica/message.h"
#include "replica/request.h"

namespace dovetail::sim {

class ReadWatch {
 public:
  // A coordinator that holds `applied` sent this query.
  void OnQuerySent(replica::PartitionId partition,
                   const replica::ReadQuery& query,
                   const crdt::EventSet& applied);
  // `node`, which holds `applied`, answered it.
  void OnQueryAnswered(uint32_t node, replica::PartitionId partition,
                       const replica::ReadQuery& query,
                       const crdt::EventSet& applied);
  // The coordinator, which holds `applied`, got an answer.
  void OnAnswer(replica::PartitionId partition,
                const replica::ReadAnswer& answer,
                const crdt::EventSet& applied);

  // Whether the coordinator `actor` went on reading `spec` from some place in
  // the middle: then its answer is not of one moment.
  bool WentOn(replica::PartitionId partition, crdt::ActorId actor,
              const crdt::ReadSpec& spec) const;

  // What the coordinator `actor` and the others in `nodes` may have held
  // together when they answered a read of `spec` that began when the
  // coordinator held `begun`; nullopt: they are too many to be looked at.
  std::optional<std::vector<crdt::EventSet>> Candidates(
      replica::PartitionId partition, crdt::ActorId actor, uint32_t self,
      const crdt::ReadSpec& spec, const crdt::EventSet& begun,
      const std::vector<replica::NodeId>& nodes) const;

 private:
  struct Read {
    crdt::ReadSpec spec;
    crdt::EventSet sent;
    std::vector<crdt::EventSet> at_answers;  // of the coordinator
    std::map<uint32_t, std::vector<crdt::EventSet>> answered;
  };
  // Shards of one process number their reads apart.
  using Key = std::pair<replica::PartitionId, replica::ReadTicket>;
  std::map<Key, Read> reads_;
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_READ_WATCH_H_
