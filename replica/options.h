// Every limit and timeout of a node: meaning, unit, default and why.
#ifndef DOVETAIL_REPLICA_OPTIONS_H_
#define DOVETAIL_REPLICA_OPTIONS_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"
#include "replica/request.h"

namespace dovetail::replica {

struct ShardOptions {
  // R and W of requests that name none; 0: a majority of N, so that a read
  // meets every acknowledged write.
  uint32_t read_default = 0;
  uint32_t write_default = 0;

  // Of requests that do not say; never kDefault. Sloppy: writes go on while
  // owners are unreachable, which is what the store is for.
  Quorums quorums_default = Quorums::kSloppy;

  // A request without a timeout. 2 s: far above any healthy answer, below what
  // people wait for.
  // An owner that starts with nothing, as on a new disk, answers no reads until
  // it has all that the other owners in reach say that they have. For so long
  // after the start also those count that are not in reach yet.
  absl::Duration newborn_patience = absl::ZeroDuration();
  absl::Duration request_timeout_default = absl::Seconds(2);
  absl::Duration request_timeout_max = absl::Minutes(5);

  // A read that waits longer than 95 of 100 answers of whom it has asked asks
  // the owners it has not asked yet (peer_times.h): one question more in twenty
  // reads, and a pause of one peer costs a millisecond or two. Never sooner
  // than the minimum, below which the question costs more than the wait; at
  // the latest after `read_hedge_after`, and then too while a peer has answered
  // too few. 50 ms: well above a healthy answer.
  absl::Duration read_hedge_min = absl::Milliseconds(1);
  absl::Duration read_hedge_after = absl::Milliseconds(50);

  // A peer whose 95th percentile is over the floor and `slow_factor` times the
  // median of the others' is asked last. 20 ms and 4: beyond what a compaction
  // or a busy moment does, far below what people notice. Judged by so many
  // answers at the least, its own and each other's.
  absl::Duration slow_floor = absl::Milliseconds(20);
  int slow_factor = 4;
  uint64_t slow_answers_min = 16;
  // While it is slow, one read asks it on top of those it needs each period, at
  // each shard; so many answers in a row within half of the limit, and it is
  // like the others again. 8 of 100 ms: not before a second of health.
  absl::Duration slow_probe_period = absl::Milliseconds(100);
  uint32_t slow_quick_answers = 8;

  // A sloppy write that still waits after this asks stand-ins for the owners
  // that are silent. 100 ms: later than a read, for a stand-in's copy has to be
  // handed over afterwards.
  absl::Duration write_hedge_after = absl::Milliseconds(100);

  // A request whose session has seen what no replica that was asked has: they
  // are asked again after this, then after twice as long, up to the maximum.
  // 10 ms: what is on its way mostly comes within it.
  absl::Duration session_ask_again_min = absl::Milliseconds(10);
  absl::Duration session_ask_again_max = absl::Milliseconds(200);

  // What a shard may hold for owners that cannot be reached, in bytes of
  // deltas; beyond it, it stands in for nobody else (ResourceExhausted).
  // 256 MiB: about half an hour of 1,000 small writes a second.
  size_t hint_bytes_max = 256 << 20;
  // What is held for an owner longer than this is given up once a majority of
  // the owners has it on stable storage: anti-entropy between them does the
  // rest. 3 hours, as Cassandra's hint window.
  absl::Duration hint_age_max = absl::Hours(3);
  // Rows removed in one turn of a partition that is given up, and when the next
  // turn does so. 256 and 50 ms: a few ms each, 5,000 rows a second.
  size_t empty_rows_per_turn = 256;
  absl::Duration empty_again_after = absl::Milliseconds(50);

  // Objects of one page of a listing about which replicas may disagree, each
  // of which takes a read; the page ends before the next. 64: about what a
  // page costs anyway.
  size_t list_reads_max = 64;

  // Requests waiting for other replicas in one shard; one more is refused with
  // ResourceExhausted. 65,536 at about 1 KiB each stay under 64 MiB.
  size_t requests_in_flight_max = 65'536;
  // When who was refused for that is to ask again. 100 ms: of so many, those
  // that are answered at all mostly are by then.
  absl::Duration retry_after_in_flight = absl::Milliseconds(100);

  // Bytes of rows kept decoded-ready in memory per shard. The read before a
  // write is the dear part of it (docs/benchmarks.md).
  size_t row_cache_bytes = 64 << 20;

  // An object is kept in one row until it has more leaves or bytes than this,
  // then it gets a row per leaf. Small enough that rewriting the one row costs
  // about what a second small row would.
  size_t inline_leaves_max = 16;
  size_t inline_bytes_max = 1 << 10;

  // The background fsync; what an acknowledgement at Durability::kWal may lose
  // when the machine (not the process) dies.
  absl::Duration fsync_period = absl::Seconds(1);
  // Who does it: the shard, in a turn that waits for the disk; or its driver,
  // beside the turns, when Output::fsync_due asks for it.
  bool background_fsync = false;

  // Summaries go out so often while a partition changes; while nothing changes
  // and the peers are equal the period doubles up to the maximum.
  absl::Duration sync_period_min = absl::Seconds(1);
  absl::Duration sync_period_max = absl::Seconds(60);
  // Deltas in one SyncDeltas. 64 KiB: some hundred small ones, each of which
  // the receiver reads and writes, while requests wait: 5 to 10 ms.
  size_t sync_chunk_bytes = 64 << 10;

  // Rows that damage took here and that no other owner within reach can give
  // back are lost: an operator has said so. Otherwise their partition waits for
  // somebody who has them, and answers no reads.
  bool accept_loss = false;

  // Rows in one answer of a sync by ranges, in bytes. 64 KiB: as above.
  size_t range_chunk_bytes = 64 << 10;

  // Partitions that are brought up to date by ranges at once, in a shard. 4:
  // one more would only wait for the same disks.
  size_t transfers_at_once = 4;
  // What these take in, in bytes a second, of all shards together, and what
  // this node gives to others; 0: as much as comes. 32 MiB: a quarter of a
  // gigabit, so that requests keep the rest.
  uint64_t transfer_bytes_per_second = 32 << 20;
  // They go more slowly while the 99th percentile of what this node is asked is
  // above the floor and above the factor times what is usual
  // (transfer_pace.h), down to the minimum. 10 ms: what a busy moment does,
  // too; infinite: never more slowly. 256 KiB: a gigabyte in an hour, 1,000
  // small rows a second.
  absl::Duration transfer_yield_floor = absl::Milliseconds(10);
  int transfer_yield_factor = 2;
  uint64_t transfer_bytes_per_second_min = 256 << 10;

  // Rows that the scrub compares with the digest in a maintenance round (one a
  // second) of a shard. 1,000: all of 25 million rows in 7 hours on a node of
  // 1 shard at 0.1% of a core.
  uint64_t scrub_rows_per_round = 1000;

  // A digest leaf of more rows than this is divided into pieces (pieces.h),
  // until it has less than half of them. 4,096: about 10 ms to read, which is
  // what a turn may take.
  uint64_t big_leaf_rows = 4096;
  // A row begins a piece if its key's hash has so many zero bits: 1,024 rows a
  // piece, on average. All nodes must have the same, or they compare row by
  // row.
  int piece_bits = 10;
  // Rows that are read in a maintenance round of a shard to divide leaves that
  // were big before there were pieces. 4,096: as above.
  uint64_t divide_rows_per_round = 4096;

  // How far the clocks of a majority of a partition's owners may be apart for
  // what expired to be removed. 2 s: four times what hybrid clocks allow, and
  // more than a summary is mostly on its way.
  absl::Duration expiry_clock_agreement = absl::Seconds(2);
  // How long after its time an object is removed; it is hidden meanwhile. 10 s:
  // more than clocks that agree differ, and than a write takes to its owners.
  absl::Duration expiry_grace = absl::Seconds(10);
  // Objects that a shard looks at for that in a maintenance round (one a
  // second). 1,000: a read from a quorum and a delete each, a few percent of
  // what a shard does.
  size_t expiry_objects_per_round = 1000;

  // A partition's context and digest sums are written out after so many
  // applied deltas, or when it has been idle for a sync period. Log entries
  // are kept at least until then. 4096: about 1 MiB of log.
  uint64_t checkpoint_deltas = 4096;
  // Log entries removed in one turn at the most, so that truncation never
  // holds up requests.
  size_t truncate_entries_per_turn = 2048;
  // As long as there is more to remove, again after this: 40,000 a second.
  absl::Duration truncate_again_after = absl::Milliseconds(50);
  // What all owners have is removed from the log; what one of them lacks is
  // kept for it, but not beyond so many bytes in a shard or for longer than so:
  // then an owner that cannot be reached is given up, and beyond twice the
  // bytes one that can. It is stale: ranges bring it up to date when it is
  // back, unless another owner has in its log what it lacks. 1 GiB and a day:
  // well over an hour of 1,000 small writes a second, and an outage in which
  // rows of a good part of the data changed.
  uint64_t log_bytes_max = uint64_t{1} << 30;
  absl::Duration log_age_max = absl::Hours(24);
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_OPTIONS_H_
