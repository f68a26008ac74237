// Every limit and period of membership: meaning, unit, default and why. The
// defaults are for one data centre; they follow the Lifeguard paper and what
// its authors' library uses on a LAN, except where a line says otherwise.
#ifndef DOVETAIL_REPLICA_MEMBERSHIP_OPTIONS_H_
#define DOVETAIL_REPLICA_MEMBERSHIP_OPTIONS_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"
#include "replica/gossip_message.h"

namespace dovetail::replica {

struct MembershipOptions {
  // One member is probed each period. Half of it means twice the messages and
  // half the time to detect.
  absl::Duration probe_period = absl::Seconds(1);
  // A direct answer is waited for so long before others are asked to try; far
  // above a round trip of a LAN (1 ms), with room for a busy node.
  absl::Duration probe_timeout = absl::Milliseconds(500);
  // How many are asked. With 3 a loss of 5% of the messages fails one probe in
  // about 10,000.
  size_t indirect_probes = 3;
  // Part of `probe_timeout` after which a relay sends its nack, so that it is
  // back before the prober's period ends.
  double nack_after = 0.8;

  // Least time to refute: this many probe periods times log10 of the number of
  // members (at least 1). Long enough for the rumour to get there and back.
  double suspicion_min = 4;
  // Most: so many times the least, while a single node accuses.
  double suspicion_max = 6;
  // Further accusers that bring the time down to the least.
  size_t suspicion_confirmations = 3;

  // A rumour is sent so often times log10(members + 1), rounded up.
  uint32_t retransmit = 4;
  // Bytes of rumours on one message. What fits a UDP datagram, though links
  // are TCP: a probe should stay small.
  size_t piggyback_bytes_max = 1400;

  // Periods and timeouts of probes grow up to this plus one times.
  uint32_t local_health_max = 8;
  // An input that comes so much later than the deadline it should have met
  // tells that this node itself stood still: its open probes prove nothing, and
  // suspicions are extended by that time. (Not in the paper.)
  absl::Duration stall_min = absl::Milliseconds(500);

  // Views are compared with a random member so often; with more than 32
  // members, once more as long for each doubling. Only if they differ, or on
  // contact with one thought dead, they are sent whole.
  absl::Duration exchange_period = absl::Seconds(30);
  // So often a dead member is tried again, by as many nodes on average as
  // there are dead ones; and seeds that are nobody's address.
  absl::Duration reconnect_period = absl::Seconds(5);
  // What was forgotten is not taken up again from rumours for so long. A day:
  // longer than any node that still tells of it stays cut off unnoticed.
  absl::Duration forgotten_kept = absl::Hours(24);

  // Who says good-bye tells so many members itself; they pass it on.
  size_t leave_fanout = 4;

  // Limits. A further member is refused and counted; at about 500 bytes each
  // they stay under 2 MiB.
  size_t members_max = kMembersMax;
  // Probes under way at once: the regular one (two while its period has grown)
  // and those after a broken link; further ones wait at the head of the order.
  size_t probes_max = 16;
  // Pings made for others at once; a further request is dropped and counted.
  size_t relays_max = 64;
  size_t seeds_max = 64;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_MEMBERSHIP_OPTIONS_H_
