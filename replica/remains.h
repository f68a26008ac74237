// What is left of an object, to be held against its header
// (partition_repair.cc, partition_pieces.cc).
#ifndef DOVETAIL_REPLICA_REMAINS_H_
#define DOVETAIL_REPLICA_REMAINS_H_

#include <utility>

#include "crdt/expiry.h"
#include "crdt/leaf.h"
#include "crdt/type.h"
#include "replica/object_rows.h"

namespace dovetail::replica {

// What the rows that are there make of one object.
struct Remains {
  crdt::ObjectId object;
  bool header = false;
  bool inline_rows = false;  // its leaves stand in its header
  bool hidden = false;       // and yet there are rows of leaves
  ObjectHeader there;        // what its rows come to, without leaves
  ObjectHeader decoded;      // what its header says, without leaves

  explicit Remains(crdt::ObjectId of = {}) : object(std::move(of)) {}
  void Add(const FoundRow& row) {
    header |= row.header;
    inline_rows |= row.header && !row.exploded;
    hidden |= !row.header && inline_rows;
    if (row.header) {
      decoded.visible = row.decoded.visible;
      decoded.count = row.decoded.count;
      decoded.expires_ms = row.decoded.expires_ms;
    }
    for (const auto& [path, leaf] : row.leaves) {
      const crdt::Type type = crdt::LeafTypeOf(object.type, path.bytes());
      there.visible += crdt::IsVisible(type, leaf) ? 1 : 0;
      ++there.count;
      if (path.IsExpiry()) there.expires_ms = crdt::ExpiresMs(leaf);
    }
  }
  // Whether readers, who begin at the header, see all of it.
  bool Fits() const {
    return inline_rows ? !hidden
                       : header && decoded.count == there.count &&
                             decoded.visible == there.visible &&
                             decoded.expires_ms == there.expires_ms;
  }
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_REMAINS_H_
