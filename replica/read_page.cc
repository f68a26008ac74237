// Pages of leaves as they travel: compared by a hash, and not trusted.
#include <string>

#include "crdt/codec.h"
#include "replica/hash.h"
#include "replica/read_coordinator.h"

namespace dovetail::replica {

using crdt::LeafPage;

Hash128 DigestOf(crdt::Type type, const LeafPage& page) {
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Byte(page.truncated ? 1 : 0);
  out.Bytes(page.truncated ? page.end.bytes() : std::string());
  for (const auto& [path, leaf] : page.leaves.children()) {
    out.Bytes(path.bytes());
    crdt::AppendLeaf(out, crdt::LeafTypeOf(type, path.bytes()), leaf);
  }
  return HashBytes(bytes);
}

// A page is a peer's word: before anything trusts its paths, each must be that
// of a leaf of the object, with payloads of that leaf's type.
absl::Status CheckPage(crdt::Type type, const LeafPage& page) {
  for (const auto& [path, leaf] : page.leaves.children()) {
    absl::StatusOr<crdt::ParsedPath> parsed =
        crdt::ParseLeafPath(type, path.bytes());
    if (!parsed.ok()) return parsed.status();
    for (const crdt::Leaf::Entry& entry : leaf.entries()) {
      if (!crdt::PayloadMatches(parsed->leaf_type, entry.second)) {
        return absl::InvalidArgumentError(
            "a peer answered with a payload of another type");
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace dovetail::replica
