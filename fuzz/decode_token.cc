// Bytes of a client as an observed token: refused, or the one encoding of what
// they say. What is accepted must do as the token of a delete: the operation
// validates, and its delta supersedes nothing but dots of the token.
#include <algorithm>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "crdt/check.h"
#include "crdt/token.h"
#include "tests/crdt/canonical.h"
#include "tests/crdt/replica_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dovetail::crdt;  // NOLINT: a program of one function
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto token = ObservedToken::Decode(bytes);
  if (!token.ok()) return 0;
  DOVETAIL_CHECK(token->Encode() == bytes);
  DOVETAIL_CHECK(model::IsCanonical(*token));

  Operation operation;
  operation.object = token->object;
  operation.verb = Verb::kDelete;
  operation.observed = *token;
  model::Replica replica(ActorId{1});
  const auto made = replica.Mutate({operation}, [](Timestamp) {
    return Timestamp{1, 0};
  });
  if (!made.ok() || !made->delta.has_value()) return 0;
  const auto delta = Delta::Decode(made->delta->Encode());
  DOVETAIL_CHECK(delta.ok());
  DOVETAIL_CHECK(*delta == *made->delta);
  for (const DeltaLeaf& leaf : delta->leaves) {
    const auto observed = token->leaves.find(leaf.path);
    DOVETAIL_CHECK(observed != token->leaves.end());
    const auto& dots = observed->second.dots;
    for (const Dot dot : leaf.superseded) {
      DOVETAIL_CHECK(std::binary_search(dots.begin(), dots.end(), dot));
    }
  }
  return 0;
}
