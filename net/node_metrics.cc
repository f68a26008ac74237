#include "net/node_metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "replica/member.h"
#include "replica/request_stats.h"

namespace dovetail::net {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using replica::LevelClass;
using replica::NodeId;
using replica::RequestCounts;
using replica::RequestKind;
using replica::ShardStats;

using Labels = std::vector<ClientMetric::Label>;

// Families in the order in which they are shown.
class Families {
 public:
  void Counter(const std::string& name, const char* help, uint64_t value,
               Labels labels = {}) {
    Sample(name, help, MetricType::Counter, std::move(labels)).counter.value =
        static_cast<double>(value);
  }
  void Gauge(const std::string& name, const std::string& help, double value,
             Labels labels = {}) {
    Sample(name, help, MetricType::Gauge, std::move(labels)).gauge.value =
        value;
  }
  void Gauge(const std::string& name, const std::string& help, uint64_t value,
             Labels labels = {}) {
    Gauge(name, help, static_cast<double>(value), std::move(labels));
  }
  void Histogram(const std::string& name, const char* help,
                 const RequestCounts::Durations& durations, Labels labels) {
    ClientMetric::Histogram& histogram =
        Sample(name, help, MetricType::Histogram, std::move(labels)).histogram;
    histogram.sample_count = durations.count;
    histogram.sample_sum = static_cast<double>(durations.sum_us) / 1e6;
    uint64_t cumulative = 0;
    for (size_t i = 0; i < replica::kDurationBucketsUs.size(); ++i) {
      cumulative += durations.buckets[i];
      histogram.bucket.push_back(
          {cumulative,
           static_cast<double>(replica::kDurationBucketsUs[i]) / 1e6});
    }
  }

  std::string Text() const {
    return prometheus::TextSerializer().Serialize(families_);
  }

 private:
  ClientMetric& Sample(const std::string& name, const std::string& help,
                       MetricType type, Labels labels) {
    auto it = std::find_if(families_.begin(), families_.end(),
                           [&](const auto& f) { return f.name == name; });
    if (it == families_.end()) {
      it = families_.insert(families_.end(), {name, help, type, {}});
    }
    it->metric.emplace_back();
    it->metric.back().label = std::move(labels);
    return it->metric.back();
  }

  std::vector<MetricFamily> families_;
};

// Sums over the shards. A name that ends in _total only grows; the others say
// how it is now.
struct ShardNumber {
  const char* name;
  const char* help;
  uint64_t ShardStats::*value;
};
constexpr ShardNumber kShardNumbers[] = {
    {"dovetail_deltas_applied_total", "Changes joined, own and others'.",
     &ShardStats::deltas_applied},
    {"dovetail_deltas_duplicate_total", "Changes that were there already.",
     &ShardStats::deltas_duplicate},
    {"dovetail_operations_minted_total", "Operations that made a change here.",
     &ShardStats::operations_minted},
    {"dovetail_commits_total", "Turns written.", &ShardStats::commits},
    {"dovetail_commits_failed_total", "Turns that could not be written.",
     &ShardStats::commits_failed},
    {"dovetail_fsyncs_total", "Turns and background rounds fsynced.",
     &ShardStats::fsyncs},
    {"dovetail_row_cache_hits_total", "Rows found in the row cache.",
     &ShardStats::cache_hits},
    {"dovetail_row_cache_misses_total", "Rows read from RocksDB.",
     &ShardStats::cache_misses},
    {"dovetail_sync_deltas_sent_total",
     "Changes that a peer lacked and got from the log here.",
     &ShardStats::sync_deltas_sent},
    {"dovetail_log_given_up_total",
     "Changes removed from logs that an owner may lack: the log was over its "
     "budget.",
     &ShardStats::log_given_up},
    {"dovetail_log_gaps_total",
     "Times that a peer lacked changes which are in no log here.",
     &ShardStats::log_gaps},
    {"dovetail_read_mismatches_total", "Reads whose replicas differed.",
     &ShardStats::read_mismatches},
    {"dovetail_clock_refusals_total", "Timestamps too far ahead.",
     &ShardStats::clock_refusals},
    {"dovetail_corruptions_total",
     "Rows or changes that did not decode or contradict others.",
     &ShardStats::corruptions},
    {"dovetail_operation_ids_reused_total",
     "Ids of exactly-once operations used for another one.",
     &ShardStats::ids_reused},
    {"dovetail_expired_removed_total",
     "Objects whose time had come and that this node removed.",
     &ShardStats::expired_removed},
    {"dovetail_expiry_held_back",
     "Shards in which expired objects stay, since this node's clock does not "
     "agree with those of enough owners.",
     &ShardStats::expiry_held_back},
    {"dovetail_partitions_quarantined",
     "Partitions that refuse service because they are damaged.",
     &ShardStats::quarantined},
    {"dovetail_range_syncs_total",
     "Syncs by ranges begun here, since no log reached.",
     &ShardStats::range_syncs},
    {"dovetail_range_syncs_done_total", "Of these, come to their end.",
     &ShardStats::range_syncs_done},
    {"dovetail_range_rows_total", "Rows that syncs by ranges brought here.",
     &ShardStats::range_rows},
    {"dovetail_range_bytes_sent_total",
     "Bytes of rows answered to others' syncs by ranges.",
     &ShardStats::range_bytes_sent},
    {"dovetail_transfer_pace_bytes",
     "Bytes a second that ranges may take in now, 0 without a limit; below "
     "transfer_mb_per_second, they yield to requests or have just begun.",
     &ShardStats::transfer_pace},
    {"dovetail_transfer_yields_total",
     "How often transfers became slower, since requests took longer than "
     "usual.",
     &ShardStats::transfer_yields},
    {"dovetail_partitions_filling",
     "Partitions that are being filled or mended and not read here.",
     &ShardStats::filling},
    {"dovetail_partitions_incomplete",
     "Partitions owned here that are still on their way to this node.",
     &ShardStats::incomplete},
    {"dovetail_partitions_filled_total",
     "Partitions that have come to this node by a change of the ring.",
     &ShardStats::filled},
    {"dovetail_scrubbed_leaves_total",
     "Digest leaves whose rows were compared with the digest.",
     &ShardStats::scrubbed_leaves},
    {"dovetail_damaged_leaves_total",
     "Digest leaves found with rows lost or altered.",
     &ShardStats::damaged_leaves},
    {"dovetail_partitions_mended_total", "Partitions put right after damage.",
     &ShardStats::mended},
    {"dovetail_values_restored_total",
     "Values that had been lost here and were put back.",
     &ShardStats::restored},
    {"dovetail_losses_accepted_total",
     "Stretches of damaged rows that no owner could give back and that were "
     "given up (--accept-loss).",
     &ShardStats::losses_accepted},
    {"dovetail_divergences_total",
     "Times that a peer had applied the same and held other rows.",
     &ShardStats::divergences},
    {"dovetail_hints", "Changes held for owners out of reach.",
     &ShardStats::hints},
    {"dovetail_hint_bytes", "Bytes of changes held for owners out of reach.",
     &ShardStats::hint_bytes},
    {"dovetail_partitions_handed_over_total",
     "Partitions given up since their owners have what was held here.",
     &ShardStats::handed_over},
    {"dovetail_partitions_emptying",
     "Partitions given up and not yet removed altogether.",
     &ShardStats::emptying},
};

void AddProcess(const NodeMetrics& metrics, Families& families) {
  families.Gauge("dovetail_build_info", "1; what runs is in the labels.",
                 uint64_t{1}, {{"version", metrics.version}});
  families.Gauge("process_start_time_seconds",
                 "When this process started, since the Unix epoch.",
                 absl::ToDoubleSeconds(metrics.started - absl::UnixEpoch()));
}

void AddRequests(const NodeMetrics& metrics, Families& families) {
  RequestCounts counts;
  for (const ShardMeasures& shard : metrics.shards) counts.Add(shard.requests);
  for (size_t k = 0; k < replica::kRequestKinds; ++k) {
    for (size_t l = 0; l < replica::kLevelClasses; ++l) {
      const auto kind = static_cast<RequestKind>(k);
      const auto level = static_cast<LevelClass>(l);
      const auto& durations = counts.durations(kind, level);
      if (durations.count == 0) continue;
      const Labels labels = {{"kind", std::string(NameOf(kind))},
                             {"level", std::string(NameOf(level))}};
      families.Histogram(
          "dovetail_request_duration_seconds",
          "From arrival to reply, with the wait in the queue and the commit.",
          durations, labels);
      for (size_t o = 0; o < replica::kOutcomes; ++o) {
        const auto outcome = static_cast<absl::StatusCode>(o);
        const uint64_t count = counts.count(kind, level, outcome);
        if (count == 0) continue;
        Labels more = labels;
        more.push_back({"outcome", replica::OutcomeName(outcome)});
        families.Counter("dovetail_requests_total", "Requests answered.", count,
                         std::move(more));
      }
    }
  }
  families.Counter("dovetail_requests_refused_total",
                   "Requests refused because a shard's queue was full.",
                   metrics.host.requests_refused);
  families.Gauge("dovetail_client_connections", "Open client connections.",
                 uint64_t{metrics.client_connections});
}

void AddShards(const NodeMetrics& metrics, Families& families) {
  for (size_t i = 0; i < metrics.shards.size(); ++i) {
    const ShardMeasures& shard = metrics.shards[i];
    const Labels labels = {{"shard", absl::StrCat(i)}};
    families.Gauge("dovetail_requests_in_flight",
                   "Requests taken up and not answered yet.",
                   uint64_t{shard.requests_in_flight}, labels);
    families.Gauge("dovetail_shard_queue_inputs",
                   "Inputs that wait for the shard.",
                   uint64_t{shard.queued_inputs}, labels);
    families.Gauge("dovetail_shard_queue_bytes",
                   "Bytes of inputs that wait for the shard.",
                   uint64_t{shard.queued_bytes}, labels);
  }
  for (const ShardNumber& number : kShardNumbers) {
    uint64_t sum = 0;
    for (const ShardMeasures& shard : metrics.shards) {
      sum += shard.stats.*number.value;
    }
    if (std::string(number.name).ends_with("_total")) {
      families.Counter(number.name, number.help, sum);
    } else {
      families.Gauge(number.name, number.help, sum);
    }
  }
  families.Counter("dovetail_peer_messages_dropped_total",
                   "Messages of peers dropped because a queue was full.",
                   metrics.host.messages_dropped);
  families.Counter("dovetail_peer_messages_unsent_total",
                   "Messages to peers that were too large to send.",
                   metrics.host.messages_unsent);
}

void AddPeers(const NodeMetrics& metrics, Families& families) {
  for (const NodeMetrics::Peer& peer : metrics.peers) {
    const Labels labels = {{"peer", peer.name}};
    families.Gauge("dovetail_peer_up", "1 if the link to the peer works.",
                   uint64_t{peer.link.up}, labels);
    families.Gauge("dovetail_peer_reachable",
                   "1 if the node uses the peer: its link works, and gossip "
                   "does not say that it is dead.",
                   uint64_t{peer.reachable}, labels);
    families.Counter("dovetail_peer_frames_sent_total", "Frames sent.",
                     peer.link.frames_sent, labels);
    families.Counter("dovetail_peer_frames_received_total", "Frames received.",
                     peer.link.frames_received, labels);
    families.Counter("dovetail_peer_frames_dropped_total",
                     "Frames dropped: queue full, or no connection.",
                     peer.link.frames_dropped, labels);
    families.Counter("dovetail_peer_frame_bytes_total",
                     "Bytes of frames queued for the peer.",
                     peer.link.bytes_queued, labels);
    families.Counter("dovetail_peer_sent_bytes_total",
                     "Bytes that these became: fewer where they are "
                     "compressed, to other regions.",
                     peer.link.bytes_sent, labels);
    families.Counter("dovetail_peer_times_up_total",
                     "Times that the link came up.", peer.link.times_up,
                     labels);
  }
}

void AddPeerTimes(const NodeMetrics& metrics, Families& families) {
  struct OverShards {
    replica::AnswerTimes times;
    uint64_t slow = 0;
  };
  std::map<NodeId, OverShards> peers;
  for (const ShardMeasures& shard : metrics.shards) {
    for (const replica::PeerTime& part : shard.peer_times) {
      OverShards& peer = peers[part.peer];
      peer.times.Add(part.times);
      peer.slow += part.slow ? 1 : 0;
    }
  }
  for (const NodeMetrics::Peer& peer : metrics.peers) {
    const auto it = peers.find(peer.id);
    if (it == peers.end()) continue;  // it was asked nothing
    const Labels labels = {{"peer", peer.name}};
    if (it->second.times.answers() > 0) {
      families.Gauge("dovetail_peer_answer_p95_seconds",
                     "Within this the peer has answered 95 of 100 questions of "
                     "reads, of late.",
                     absl::ToDoubleSeconds(it->second.times.p95()), labels);
    }
    families.Gauge("dovetail_peer_slow_shards",
                   "Shards here that ask the peer last: it answers far more "
                   "slowly than the others.",
                   it->second.slow, labels);
  }
}

void AddSync(const NodeMetrics& metrics, Families& families) {
  std::map<NodeId, replica::SyncLag> lags;
  for (const ShardMeasures& shard : metrics.shards) {
    for (const replica::SyncLag& part : shard.sync_lags) {
      replica::SyncLag& lag = lags[part.peer];
      lag.events += part.events;
      lag.has_all_until = std::min(lag.has_all_until, part.has_all_until);
      lag.partitions_behind += part.partitions_behind;
      lag.partitions_unheard += part.partitions_unheard;
    }
  }
  for (const NodeMetrics::Peer& peer : metrics.peers) {
    const auto it = lags.find(peer.id);
    if (it == lags.end()) continue;  // it owns nothing that is here
    const replica::SyncLag& lag = it->second;
    const Labels labels = {{"peer", peer.name}};
    families.Gauge("dovetail_sync_lag_events",
                   "Changes applied here and, as it said last, not there.",
                   lag.events, labels);
    families.Gauge("dovetail_sync_lag_seconds",
                   "Age of the oldest change that the peer may lack.",
                   absl::ToDoubleSeconds(std::max(
                       absl::ZeroDuration(), metrics.now - lag.has_all_until)),
                   labels);
    families.Gauge("dovetail_sync_partitions_behind",
                   "Partitions of which it lacks changes.",
                   uint64_t{lag.partitions_behind}, labels);
    families.Gauge("dovetail_sync_partitions_unheard",
                   "Partitions of which it has said nothing since the start.",
                   uint64_t{lag.partitions_unheard}, labels);
  }
}

void AddGossip(const NodeMetrics& metrics, Families& families) {
  constexpr std::array<const char*, replica::kMemberStates> kStates = {
      "alive", "suspect", "dead", "left"};
  for (size_t i = 0; i < metrics.members.size(); ++i) {
    families.Gauge("dovetail_gossip_members",
                   "Members that gossip knows, this node too.",
                   metrics.members[i], {{"state", kStates[i]}});
  }
  const replica::MembershipCounters& gossip = metrics.gossip;
  families.Counter("dovetail_gossip_probes_failed_total",
                   "Probes of members that were not answered.",
                   gossip.probes_failed);
  families.Counter("dovetail_gossip_suspicions_total",
                   "Members suspected by this node's own probes.",
                   gossip.suspicions_raised);
  families.Counter("dovetail_gossip_refutations_total",
                   "Suspicions of this node that it refuted.",
                   gossip.refutations);
  families.Counter("dovetail_gossip_stalls_total",
                   "Times that this node noticed it had stood still.",
                   gossip.stalls);
  families.Counter("dovetail_gossip_members_refused_total",
                   "Members beyond the limit.", gossip.members_refused);
  families.Counter("dovetail_gossip_relays_refused_total",
                   "Probes for others beyond the limit.",
                   gossip.relays_refused);
  families.Counter("dovetail_gossip_pings_for_others_total",
                   "Probes meant for another node at this address.",
                   gossip.pings_for_others);
  families.Gauge("dovetail_gossip_local_health",
                 "0 if this node keeps up; larger the slower it is.",
                 uint64_t{metrics.local_health});
  families.Gauge("dovetail_gossip_rumors_queued", "Rumours being passed on.",
                 uint64_t{metrics.rumors_queued});
  families.Gauge("dovetail_ring_epoch", "Epoch of the ring it goes by.",
                 metrics.ring_epoch);
}

}  // namespace

std::string ToPrometheusText(const NodeMetrics& metrics) {
  Families families;
  AddProcess(metrics, families);
  AddRequests(metrics, families);
  AddShards(metrics, families);
  AddPeers(metrics, families);
  AddPeerTimes(metrics, families);
  AddSync(metrics, families);
  AddGossip(metrics, families);
  for (const auto& [name, value] : metrics.storage) {
    families.Gauge(absl::StrCat("dovetail_rocksdb_", name),
                   absl::StrCat("RocksDB: ", name, "."), value);
  }
  return families.Text();
}

}  // namespace dovetail::net
