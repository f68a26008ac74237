// Observed tokens: what a read saw, exactly, so that a later remove, clear,
// reset or overwrite acts on that and on nothing else.
//
// A token lists, for each leaf the read visited, the dots that were there (for
// counters with their tallies, since a reset must know how much it saw). It is
// bound to the object and to the place read, and validated when it comes back;
// it is not secret and not signed. A client that forges one can remove what it
// could have read and removed anyway, and also what it guesses: a dot of
// another writer that has not happened yet, or a tally above the real one. It
// needs the right to write the object for that, and can damage nothing else.
//
// Never a version vector: "everything up to (a,7)" as the context of removing
// one element would remove the others too.
#ifndef DOVETAIL_CRDT_TOKEN_H_
#define DOVETAIL_CRDT_TOKEN_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "crdt/leaf.h"
#include "crdt/path.h"
#include "crdt/type.h"

namespace dovetail::crdt {

// What was seen at one leaf: its dots, sorted; for a counter also the tallies,
// in the same order (empty for all other types).
struct ObservedLeaf {
  std::vector<Dot> dots;
  std::vector<Tally> tallies;
  friend bool operator==(const ObservedLeaf&, const ObservedLeaf&) = default;
};

ObservedLeaf ObserveLeaf(Type leaf_type, const Leaf& leaf);

struct ObservedToken {
  ObjectId object;
  // The place that was read; every leaf below lies under it.
  Path scope;
  std::map<Path, ObservedLeaf> leaves;

  void Observe(const Path& path, Type leaf_type, const Leaf& leaf);

  std::string Encode() const;
  // Errors: InvalidArgument (malformed, not canonical, a path that is no leaf
  // of the object or lies outside the scope, over kTokenBytesMax).
  static absl::StatusOr<ObservedToken> Decode(absl::string_view bytes);
  friend bool operator==(const ObservedToken&, const ObservedToken&) = default;
};

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_TOKEN_H_
