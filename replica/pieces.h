// Pieces of digest leaves: a leaf with very many rows, mostly of one large
// object, has sums of parts of it, so that nobody has to read all of it at once
// to compare it with its digest or with another replica's.
//
//   where   a row begins a piece if its key has a hash of some zero bits: all
//           replicas cut alike, whatever came to them in which order
//   when    of a leaf of more than ShardOptions::big_leaf_rows, until it has
//           less than half as many
//   kept    with each change of a row, as the leaf's sum is; a row that begins
//           a piece and comes or goes cuts or joins pieces at the end of the
//           turn. In the batch of the rows: a crash keeps both or none.
//
// A leaf that was never divided is so from its beginning, in steps: what is
// behind the last cut is one piece, the tail, that nothing says where to cut.
// Only when the last row has been read do its pieces count, for a row that was
// lost before would else be missed in the wrong one.
#ifndef DOVETAIL_REPLICA_PIECES_H_
#define DOVETAIL_REPLICA_PIECES_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "replica/digest.h"
#include "replica/keys.h"
#include "replica/options.h"
#include "replica/row_store.h"

namespace dovetail::replica {

// What stands in a piece.
struct PieceSum {
  LeafSum sum;
  int64_t rows = 0;     // leaves, each of which has a row or stands in a header
  int64_t visible = 0;  // of these
  void Merge(const PieceSum& more);
  void Subtract(const PieceSum& less);
  friend bool operator==(const PieceSum&, const PieceSum&) = default;
};

class Pieces {
 public:
  // By where they begin; each ends where the next one does.
  using Cut = absl::btree_map<std::string, PieceSum>;

  // `options` must outlive this.
  Pieces(PartitionId partition, uint32_t partitions,
         const ShardOptions& options)
      : partition_(partition), partitions_(partitions), options_(options) {}

  // Whether a row begins a piece, by its key.
  bool IsBoundary(absl::string_view key) const;

  // --- Rows change; what is noted counts with Take ---
  // Whether changes of the leaf's rows are to be noted.
  bool Has(uint32_t leaf) const { return leaves_.contains(leaf); }
  void Note(uint32_t leaf, std::string key, const PieceSum& change) {
    noted_.push_back({leaf, std::move(key), change});
  }
  void Take();
  void RollBack() { noted_.clear(); }

  // --- Dividing a leaf ---
  // The whole leaf is the tail. Requires: !Has(leaf).
  void Begin(uint32_t leaf, const LeafSum& sum);
  // Where it goes on. Requires: Has(leaf), and not Divided(leaf).
  KeyRange Tail(uint32_t leaf) const;
  // Puts `cut` in the place of the tail up to `rest`, where what is left of the
  // tail begins, or up to its end. False: the rows were not all that they
  // should have been; nothing of the leaf is kept.
  bool CutTail(uint32_t leaf, const Cut& cut,
               const std::optional<std::string>& rest);
  // Whether it has pieces that count.
  bool Divided(uint32_t leaf) const;
  // It is a leaf like others again.
  void Drop(uint32_t leaf, RowStore& rows);

  // --- The end of a turn ---
  // Joins pieces whose first row has gone, and returns those in which a row has
  // come that begins one. In order.
  std::vector<std::pair<uint32_t, KeyRange>> Joined();
  // Puts `cut` in the place of the piece where it begins. False: it is not what
  // the piece is.
  bool Replace(uint32_t leaf, const Cut& cut);
  // Writes what has changed.
  void Write(RowStore& rows);

  // --- What is there, of a leaf that is divided ---
  const Cut& Of(uint32_t leaf) const;
  // The pieces of which some lies in `range`, as one range.
  KeyRange Around(uint32_t leaf, const KeyRange& range) const;
  // All leaves that have pieces or are being divided.
  std::vector<uint32_t> Leaves() const;

  // --- Disk ---
  // What is there on disk; leaves of which it does not add up to `sums` are
  // given up.
  absl::Status Load(Storage& storage, RowStore& rows, const DigestSums& sums);
  void Forget();
  // Whether what is on disk is this. For tests, between turns.
  absl::Status VerifyStored(Storage& storage) const;

 private:
  struct Leaf {
    Cut pieces;
    bool divided = false;
    // Of the last turn: pieces that changed or went, and the rows that begin
    // one and came (true) or went.
    std::set<std::string> changed;
    std::map<std::string, bool> boundaries;
  };
  struct Noted {
    uint32_t leaf;
    std::string key;
    PieceSum change;
  };

  KeyRange RangeOf(uint32_t leaf) const {
    return RowsOfLeaves(partition_, partitions_, leaf, leaf + 1);
  }
  // Where the piece ends that `it` is.
  std::string EndOf(uint32_t leaf, const Cut& pieces,
                    Cut::const_iterator it) const;
  absl::Status ForEachStored(
      Storage& storage, absl::FunctionRef<void(uint32_t leaf, std::string begin,
                                               const PieceSum& piece)>
                            visit) const;

  const PartitionId partition_;
  const uint32_t partitions_;
  const ShardOptions& options_;
  std::map<uint32_t, Leaf> leaves_;
  std::set<uint32_t> changed_;  // leaves of which pieces did since Write
  std::vector<Noted> noted_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_PIECES_H_
