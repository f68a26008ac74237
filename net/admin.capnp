# What operators ask a node: how it and the cluster are, changes of members and
# of buckets' properties, backups. The calls stand in net/dovetail.capnp, with
# the rules for changing any of it.
@0xbb856e1a3e5b0c68;

using Cxx = import "/capnp/c++.capnp";
using Error = import "operation.capnp".Error;
using Level = import "operation.capnp".Level;
using Quorums = import "operation.capnp".Quorums;
using Durability = import "operation.capnp".Durability;
$Cxx.namespace("dovetail::net::wire");

# --- Inspection ------------------------------------------------------------

struct NodeStatus {
  nodeId @0 :UInt64;
  nodeName @1 :Text;
  version @2 :Text;
  uptimeMs @3 :UInt64;
  actor @4 :Text;  # of this start of the process, 16 hexadecimal digits
  partitions @5 :UInt32;
  members @6 :List(Member);
  shards @7 :List(ShardStats);
  # Numbers of the storage engine by name, in bytes or counts as the name says.
  storage @8 :List(Number);
  transfers @9 :List(PartitionTransfer);  # by partition
}

# A partition that the node owns and does not yet have all of
# (replica/transfer_rates.h).
struct PartitionTransfer {
  partition @0 :UInt16;
  fromNode @1 :Bool;  # `source` says which
  source @2 :UInt64;
  eventsLacking @3 :UInt64;
  rangesDone @4 :Float64;
  bytes @5 :UInt64;
  bytesPerSecond @6 :UInt64;
  known @7 :Bool;  # whether the time that is left is
  leftMs @8 :UInt64;
}

struct Member {
  id @0 :UInt64;
  name @1 :Text;
  address @2 :Text;  # HOST:PORT for clients
  up @3 :Bool;       # this node has a working link to it (or is it)
}

struct Number {
  name @0 :Text;
  value @1 :UInt64;
}

# Counters since the start; meanings in replica/shard.h.
struct ShardStats {
  deltasApplied @0 :UInt64;
  deltasDuplicate @1 :UInt64;
  operationsMinted @2 :UInt64;
  commits @3 :UInt64;
  commitsFailed @4 :UInt64;
  fsyncs @5 :UInt64;
  cacheHits @6 :UInt64;
  cacheMisses @7 :UInt64;
  syncDeltasSent @8 :UInt64;
  readMismatches @9 :UInt64;
  clockRefusals @10 :UInt64;
  corruptions @11 :UInt64;
  logGaps @12 :UInt64;
  quarantined @13 :UInt64;  # partitions, now
  hints @14 :UInt64;        # deltas held for other nodes, now
  hintBytes @15 :UInt64;
  handedOver @16 :UInt64;
  emptying @18 :UInt64;  # partitions, now
  idsReused @17 :UInt64;
}

struct NodeDigests {
  nodeId @0 :UInt64;
  nodeName @1 :Text;
  partitions @2 :List(PartitionDigest);  # in order of partition
  more @3 :Bool;  # there are more after the last one
}

# Meanings in replica/shard.h. A 128-bit hash is a high and a low half.
struct PartitionDigest {
  partition @0 :UInt16;
  rowsHigh @1 :UInt64;
  rowsLow @2 :UInt64;
  rowEntries @3 :UInt64;
  contextHigh @4 :UInt64;
  contextLow @5 :UInt64;
  events @6 :UInt64;
  logEntries @7 :UInt64;
  logBytes @8 :UInt64;
}

# --- The cluster -----------------------------------------------------------

struct ClusterView {
  cluster @0 :Text;
  nodeId @1 :UInt64;
  nodeName @2 :Text;
  config @3 :Data;  # docs/formats.md, "Cluster configuration"
  supersededEpoch @4 :UInt64;
  supersededBy @5 :Text;
  members @6 :List(ClusterMember);
  hints @7 :UInt64;
  hintBytes @8 :UInt64;
  dataBytes @9 :UInt64;
  transfersPaused @10 :Bool;
}

struct ClusterMember {
  id @0 :UInt64;
  name @1 :Text;
  zone @2 :Text;
  region @3 :Text;
  weight @4 :UInt32;
  clientAddress @5 :Text;
  peerAddress @6 :Text;
  condition @7 :Condition;
  sinceMs @8 :UInt64;
  reachable @9 :Bool;
  epoch @10 :UInt64;
  inRing @11 :Bool;
  partitions @12 :UInt32;
  staged @13 :Bool;
  # What it said last of what it carries, and how long ago that was. Null:
  # nothing since the start of the node that answers.
  load @14 :NodeLoad;
  loadAgeMs @15 :UInt64;
  slowFor @16 :List(Text);  # names of the nodes that find it slow
}

# Meanings in replica/node_load.h.
struct NodeLoad {
  epoch @0 :UInt64;
  dataBytes @1 :UInt64;
  entries @2 :UInt64;
  hints @3 :UInt64;
  hintBytes @4 :UInt64;
  held @5 :UInt32;
  filling @6 :UInt32;
  slow @7 :List(UInt64);
  transferRate @8 :UInt64;
  transferRateMax @9 :UInt64;
}

# As the node that answers sees it.
enum Condition {
  unknown @0;
  alive @1;
  suspect @2;
  dead @3;
  left @4;
}

struct ClusterAdmin {
  union {
    plan @0 :Void;               # shows what is staged
    stageJoins @1 :List(Text);   # names; none: all who are alive and no members
    abort @2 :Void;              # takes back all that is staged
    commit @3 :UInt64;           # the epoch the plan was made from, or 0
    leave @4 :Text;  # as those below, stages a change of a member, by names
    replace :group {
      name @5 :Text;
      by @6 :Text;
    }
    weight :group {
      member @7 :Text;
      weight @8 :UInt32;
    }
    remove @9 :Text;  # as leave; its disk is lost
    pause @10 :Void;  # transfers rest, in the whole cluster
    resume @11 :Void;
  }
  force @12 :Bool;  # beside commit: though data is still on its way
}

struct ClusterAdminReply {
  union {
    error @0 :Error;
    plan @1 :ClusterPlan;
  }
}

struct ClusterPlan {
  epoch @0 :UInt64;
  staged @1 :List(Text);
  planned @2 :Bool;
  partitionsMoved @3 :UInt64;
  nodes @4 :List(NodeChange);
  belowN @5 :UInt64;
  zonesShared @6 :UInt64;
  changes @7 :List(Text);  # in words, in the order of `staged`
  bytesUnknown @8 :UInt64;
  belowNMeanwhile @9 :UInt64;
  transfersPaused @10 :Bool;
  secondsMeanwhile @11 :UInt64;  # at the limit of the rate; 0: nobody can tell
}

struct NodeChange {
  id @0 :UInt64;
  name @1 :Text;
  before @2 :UInt32;
  after @3 :UInt32;
  gained @4 :UInt32;
  lost @5 :UInt32;
  bytesIn @6 :UInt64;  # estimated
  bytesOut @7 :UInt64;
}

# --- Properties of buckets ---------------------------------------------------

struct BucketRequest {
  union {
    # Those after `after`, in byte order of their names, as many as fit a reply.
    list @0 :BucketList;
    describe @1 :Data;  # of one; none if it has none
    create @2 :BucketChange;
    update @3 :BucketChange;
    delete @4 :BucketDelete;
  }
}

struct BucketList {
  after @0 :Data;  # null: from the start
  # Also the names of buckets without properties of which the node that answers
  # holds an object.
  inUse @1 :Bool;
}

struct BucketChange {
  bucket @0 :Data;
  settings @1 :List(BucketSetting);  # the others stay as they are
}

struct BucketDelete {
  bucket @0 :Data;
  keepObjects @1 :Bool;  # it may hold objects: they stay
}

# One property. Its default takes it back.
struct BucketSetting {
  union {
    unknown @0 :Void;  # never valid
    r @1 :Level;
    w @2 :Level;
    quorums @3 :Quorums;
    durability @4 :Durability;
    noDurability @5 :Void;  # takes it back
    timeoutMs @6 :UInt32;
    valueBytesMax @7 :UInt32;  # of one value or element; 0: no own limit
    ttlMs @8 :UInt64;  # of objects that a write begins; 0: for ever
  }
}

struct BucketReply {
  union {
    error @0 :Error;
    page @1 :BucketPage;  # asked for, or as it is after the change
  }
}

struct BucketPage {
  buckets @0 :List(BucketView);
  more @1 :Bool;
}

struct BucketView {
  bucket @0 :Data;
  configured @1 :Bool;  # it has properties
  settings @2 :List(BucketSetting);  # those that are not their default
  changedMs @3 :UInt64;  # since 1970, of the last change
  changedAt @4 :UInt64;  # the node where it was made
}

struct BackupReply {
  union {
    error @0 :Error;
    made @1 :Backup;
  }
}

struct Backup {
  path @0 :Text;  # on the machine of the node
  files @1 :UInt64;
  bytes @2 :UInt64;
}
