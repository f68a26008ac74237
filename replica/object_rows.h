// Objects as rows. A small object is one row, its header, with all its leaves
// in it; when it outgrows that, each leaf gets a row of its own and the header
// keeps two counts. So adding to a set of a million elements writes one small
// row, and reading a map of five fields reads one.
//
//   header  = version 00 | count | { path leaf }            inline
//           | version 01 | visible | leaves                 exploded
//           | version 02 | visible | leaves | expires_ms     and it expires
//   leaf    = version | leaf
//
// What a replica holds is defined on (path, dot, payload) alone: two replicas
// may explode the same object at different times and are still identical.
// An object that has visible leaves has an index entry, for listings; one that
// expires has an entry by time, visible or not.
#ifndef DOVETAIL_REPLICA_OBJECT_ROWS_H_
#define DOVETAIL_REPLICA_OBJECT_ROWS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "crdt/leaf.h"
#include "crdt/path.h"
#include "crdt/state_view.h"
#include "crdt/type.h"
#include "replica/digest.h"
#include "replica/keys.h"
#include "replica/options.h"
#include "replica/pieces.h"
#include "replica/row_store.h"

namespace dovetail::replica {

// A header, decoded.
struct ObjectHeader {
  bool exploded = false;
  crdt::Store leaves;       // inline
  uint64_t visible = 0;     // leaves a reader can see
  uint64_t count = 0;       // leaves in all
  uint64_t expires_ms = 0;  // crdt/expiry.h; 0: never
};

// All rows that do not decode are DataLoss.
class ObjectRows final : public crdt::StateView {
 public:
  // References must outlive the object.
  ObjectRows(RowStore& rows, const ShardOptions& options, Pieces& pieces)
      : rows_(rows), options_(options), pieces_(pieces) {}

  absl::StatusOr<crdt::Leaf> Get(const crdt::ObjectId& object,
                                 const crdt::Path& path) override;
  absl::Status Scan(
      const crdt::ObjectId& object, const crdt::Path& prefix,
      const crdt::Path& after,
      absl::FunctionRef<bool(const crdt::Path&, const crdt::Leaf&)> visit)
      override;

  // Whether anything of `object` is visible. Cost: a row, or none if hot.
  absl::StatusOr<bool> IsListed(const crdt::ObjectId& object);
  // Whether it has any leaf, visible or not.
  absl::StatusOr<bool> Exists(const crdt::ObjectId& object);

  // When it expires (0: never), and whether it is a large one.
  struct Expiring {
    uint64_t expires_ms = 0;
    bool large = false;
  };
  absl::StatusOr<Expiring> ExpiryOf(const crdt::ObjectId& object);
  // Counts entries by time that were written.
  uint64_t expiries_set() const { return expiries_set_; }

  // Replaces the leaf at `path` by what `change` makes of it, keeping header,
  // index and `changes` of the sums right, and noting those of pieces. An error
  // of `change` is returned as it is and leaves this object's rows alone. Cost:
  // a small object, one row read and written; a large one, two.
  absl::Status Update(const crdt::ObjectId& object, const crdt::Path& path,
                      uint32_t partitions,
                      absl::FunctionRef<absl::Status(crdt::Leaf&)> change,
                      SumChanges& changes);

 private:
  // An object's header, found and decoded.
  struct Located {
    crdt::ObjectId object;
    ObjectKey key;
    ObjectHeader header;
    uint64_t changes = 0;  // of rows_, when it was true
  };

  // Where `object` is and what its header says. Valid until the next call. One
  // write asks two or three times: what it computed is kept until a row
  // changes, and only if it is small, for there is one of these in every
  // partition.
  absl::StatusOr<Located*> Locate(const crdt::ObjectId& object);
  absl::StatusOr<crdt::Leaf> ReadLeafRow(const Located& at,
                                         const crdt::Path& path,
                                         crdt::Type leaf_type);
  void WriteHeader(Located& at);
  // The entries by name and by time, after what was `before`.
  void WriteIndex(const Located& at, uint32_t partitions, bool was_listed,
                  uint64_t expired_before);
  void Explode(Located& at);

  RowStore& rows_;
  const ShardOptions& options_;
  Pieces& pieces_;
  Located located_;
  bool keep_located_ = false;
  uint64_t expiries_set_ = 0;
};

// Visits every leaf of the rows in [begin, end), in key order: how a partition
// is dumped and verified. DataLoss as above.
absl::Status ForEachLeaf(
    RowStore& rows, const KeyRange& range,
    absl::FunctionRef<void(const crdt::ObjectId&, const crdt::Path&,
                           const crdt::Leaf&)>
        visit);

// A leaf and the key that its row has, or would have if its object were large:
// the order of these keys is the same on all replicas.
struct FoundLeaf {
  std::string key;
  crdt::ObjectId object;
  crdt::Path path;
  crdt::Leaf leaf;
};
// Visits the leaves whose keys lie in `range`, in order, until `visit` returns
// false. DataLoss as above.
absl::Status ForEachLeafIn(RowStore& rows, const KeyRange& range,
                           absl::FunctionRef<bool(FoundLeaf&&)> visit);

// The rows of one object, as they are on disk: what can be read of them.
struct FoundRow {
  std::string key;
  // nullopt: its key or its value does not decode.
  std::optional<crdt::ObjectId> object;
  bool header = false;
  bool exploded = false;  // of a header
  // Of a header, all that stand in it.
  std::vector<std::pair<crdt::Path, crdt::Leaf>> leaves;
  ObjectHeader decoded;
};
// Visits the rows in [begin, end), those that do not decode too.
absl::Status ForEachRow(RowStore& rows, const KeyRange& range,
                        absl::FunctionRef<void(FoundRow&&)> visit);
// The header row of an object whose leaves have rows of their own.
std::string EncodeExplodedHeader(const ObjectHeader& header);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_OBJECT_ROWS_H_
