#include "crdt/dot.h"

#include "absl/strings/str_format.h"

namespace dovetail::crdt {

std::string ToString(Dot dot) {
  return absl::StrFormat("%016x:%u", ActorBits(dot.actor), dot.counter);
}

}  // namespace dovetail::crdt
