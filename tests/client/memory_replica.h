// One replica of crdt/ in memory, for a FakeNode: real types, no storage.
#ifndef DOVETAIL_TESTS_CLIENT_MEMORY_REPLICA_H_
#define DOVETAIL_TESTS_CLIENT_MEMORY_REPLICA_H_

#include <cstdint>
#include <map>

#include "crdt/delta.h"
#include "crdt/dot.h"
#include "crdt/event_set.h"
#include "crdt/hlc.h"
#include "crdt/leaf.h"
#include "net/client_types.h"
#include "replica/request.h"

namespace dovetail {

class MemoryReplica {
 public:
  static constexpr uint32_t kPartitions = 4;

  net::ClientResult Run(const net::ClientOperation& operation);
  replica::ListReply List(const replica::ListRequest& request) const;

 private:
  class State;
  net::ClientResult Write(const replica::WriteRequest& request);
  net::ClientResult Read(const replica::ReadRequest& request);
  void Apply(const crdt::Delta& delta);

  std::map<crdt::ObjectId, crdt::Store> objects_;
  // By partition: sessions number their events in each from 1.
  std::map<replica::PartitionId, crdt::EventSet> applied_;
  uint64_t next_counter_ = 1;
  crdt::HybridClock clock_;
};

}  // namespace dovetail

#endif  // DOVETAIL_TESTS_CLIENT_MEMORY_REPLICA_H_
