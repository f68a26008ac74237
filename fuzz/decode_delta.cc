// Bytes of a peer as a delta: refused, or the one encoding of what they say.
// What is accepted must also apply to a replica, whole or not at all.
#include <cstdint>

#include "absl/strings/string_view.h"
#include "crdt/check.h"
#include "crdt/delta.h"
#include "tests/crdt/canonical.h"
#include "tests/crdt/replica_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using dovetail::crdt::ActorId;
  using dovetail::crdt::Delta;
  using dovetail::crdt::model::Replica;
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto delta = Delta::Decode(bytes);
  if (!delta.ok()) return 0;
  DOVETAIL_CHECK(delta->Encode() == bytes);
  DOVETAIL_CHECK(dovetail::crdt::model::IsCanonical(*delta));

  Replica replica(ActorId{1});
  DOVETAIL_CHECK(replica.Apply(*delta) == Replica::Applied::kNew);
  DOVETAIL_CHECK(replica.Apply(*delta) == Replica::Applied::kDuplicate);
  for (const auto& leaf : delta->leaves) {
    auto view = replica.view();
    DOVETAIL_CHECK(*view.Get(leaf.object, leaf.path) == leaf.store);
  }
  // The same dots under other events: a liar's delta. It is taken as one that
  // has them all or refused as dot reuse, and then changes nothing.
  const Replica before = replica;
  delta->events.actor = ActorId{~static_cast<uint64_t>(delta->events.actor)};
  if (replica.Apply(*delta) != Replica::Applied::kNew) {
    DOVETAIL_CHECK(replica.SameState(before));
  }
  DOVETAIL_CHECK(replica.RecomputeRowSum() == replica.row_sum());
  return 0;
}
