# What clients and nodes say to each other. One call carries many operations: a
# call for each would cost thirty times as much (docs/benchmarks.md). Rules for changing this file: fields and union members are only ever added,
# with new numbers; a change of meaning raises the protocol version. Keys,
# elements, fields and values are bytes (Data), never assumed to be text.
# net/client_codec.h turns these into the plain structs of replica/request.h
# and enforces the limits of crdt/limits.h.
@0xb9d0f6c1a2e84f17;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("dovetail::net::wire");

# The version of what stands here: since 2 nodes have 64-bit ids, and operations
# may have ids of their clients. A node serves versions
# oldestProtocolVersion..protocolVersion, see HelloReply.
const protocolVersion :UInt32 = 2;
const oldestProtocolVersion :UInt32 = 2;

# What a connection starts with: the bootstrap capability.
interface Dovetail {
  # First call of a connection; it may be pipelined with those that follow.
  hello @0 HelloRequest -> HelloReply;

  # Runs the operations independently of each other (but for what is inside
  # one batch) and answers when all are decided: results in the same order.
  execute @1 ExecuteRequest -> ExecuteReply;

  # One page of the objects of a bucket, in order of key and type, as far as
  # this node holds them.
  list @2 ListRequest -> ListReply;

  status @3 () -> (status :NodeStatus);

  # What this node holds of each partition from number `first` on, for comparing
  # replicas.
  digest @4 (first :UInt32) -> (digests :NodeDigests);

  # The cluster as this node sees it: who is in it, who owns what.
  cluster @5 () -> (cluster :ClusterView);

  # Changes of the membership, which take effect when they are committed.
  clusterAdmin @6 ClusterAdmin -> ClusterAdminReply;

  # The properties of buckets: shows or changes them.
  buckets @7 BucketRequest -> BucketReply;

  # Copies this node's data, as it is, to the folder `name` of its backup_dir.
  backup @8 (name :Text) -> BackupReply;
}

struct HelloRequest {
  protocolVersion @0 :UInt32;  # the newest that the client speaks
  client @1 :Text;             # name and version, for the node's log
}

struct HelloReply {
  protocolVersion @0 :UInt32;        # the newest that this node speaks
  oldestProtocolVersion @1 :UInt32;  # and the oldest
  server @2 :Text;                   # name and version
  nodeId @3 :UInt64;
  nodeName @4 :Text;
  partitions @5 :UInt32;
  epoch @6 :UInt64;  # of the ring that the node goes by
}

# --- What a place in an object is ------------------------------------------

# The numbers are those of crdt/type.h, for ever. `none` is what an unset
# field reads as; it is never valid.
enum ObjectType {
  none @0;
  register @1;
  multiValue @2;
  set @3;
  removeSet @4;
  growSet @5;
  enableFlag @6;
  disableFlag @7;
  counter @8;
  map @9;
}

struct Object {
  bucket @0 :Data;
  key @1 :Data;
  type @2 :ObjectType;
}

struct Field {
  name @0 :Data;
  type @1 :ObjectType;
}

# --- Operations ------------------------------------------------------------

struct ExecuteRequest {
  operations @0 :List(Operation);
  options @1 :Options;
}

# For all operations of the call. What is left unsaid is what the bucket says
# (BucketSetting), and if that says nothing, what the node is configured for.
struct Options {
  r @0 :Level;  # replicas that must answer a read
  w @1 :Level;  # replicas that must acknowledge a write
  durability @2 :Durability;
  timeoutMs @3 :UInt32;  # from arrival at the node; 0: unsaid
  quorums @4 :Quorums;
  # The asked node coordinates whatever it is to the partition, and what it
  # holds is an answer even if it is no owner: for inspecting replicas.
  here @5 :Bool;
  # `durability` is not said; it is then `wal`, for nodes that do not know this
  # field. Clients that do not know it say one always.
  durabilityUnsaid @6 :Bool;
}

struct Level {
  union {
    default @0 :Void;  # unsaid
    count @1 :UInt32;  # 1..N
    quorum @2 :Void;  # a majority of all owners
    all @3 :Void;
    localOne @4 :Void;     # one of the region of the asked node
    localQuorum @5 :Void;  # a majority of the owners in that region
    eachQuorum @6 :Void;   # a majority in each region
  }
}

# Who counts when owners cannot be reached.
enum Quorums {
  default @0;  # unsaid
  sloppy @1;   # the next reachable nodes stand in for them
  strict @2;   # owners alone
}

enum Durability {
  wal @0;    # in the log of the operating system, fsynced within a second
  fsync @1;  # on stable storage before the acknowledgement
}

struct Operation {
  union {
    mutation @0 :Mutation;
    # One atomic delta: all of it or nothing. All in one partition.
    batch @1 :Batch;
    read @2 :Read;
  }
  # Of a mutation or batch; null: none. The same operation with the same id
  # again, at any node, takes effect once. It acts on what it carries alone:
  # without a token a removal observes nothing, and a counter's increment
  # carries in its token the session's own entry of that counter as the session
  # last wrote it. Needs protocol version 2: an older node ignores it.
  id @3 :OperationId;
  # What the client has seen of the operation's partition; empty: nothing yet.
  # The answer shows all of it, a write comes after it, and the result has a
  # token too. Null: no session. Bytes: docs/formats.md, "session token".
  session @4 :Data;
}

# Drawn and numbered by the client (crdt/session.h): all events of a session in
# a partition count up from 1, a number is used for one operation only, and an
# operation uses one for each element, value and flag it writes and each counter
# entry it begins, but at least one if it changes anything.
struct OperationId {
  session @0 :UInt64;   # 62 random bits; the two top bits are 10
  sequence @1 :UInt64;  # of its first event
  # The session's hybrid clock; decides between concurrent register writes.
  wallMs @2 :UInt64;
  logical @3 :UInt16;
}

struct Batch {
  mutations @0 :List(Mutation);
}

struct Mutation {
  object @0 :Object;
  # The map fields from the object to what is changed; empty: the object.
  fields @1 :List(Field);
  # The token of a read: acts on exactly what that observed. Null: on what the
  # coordinating replica holds.
  token @2 :Data;
  action :union {
    add @3 :List(Data);      # set, rwset, gset: these elements
    remove @4 :List(Data);   # set, rwset: these elements
    increment @5 :Int64;     # counter, any sign
    reset @6 :Void;          # counter
    write @7 :Data;          # register, mv: supersedes what was observed
    writeBlind @8 :Data;     # mv: supersedes nothing
    clear @9 :Void;          # set, rwset, register, mv, map
    enable @10 :Void;        # ewflag, dwflag
    disable @11 :Void;       # ewflag, dwflag
    removeField @12 :Field;  # map
    # Of the whole object; `fields` must be empty.
    delete @13 :Void;
    expireIn @14 :Int64;  # milliseconds from now, by the node that coordinates
    expireAt @15 :Int64;  # milliseconds since 1970
    persist @16 :Void;    # never
  }
}

struct Read {
  object @0 :Object;
  fields @1 :List(Field);
  # Sets: only this element. Null: all.
  element @2 :Data;
  # Sets: elements greater than this. Null: from the start.
  afterElement @3 :Data;
  # Maps: fields after this one. Null: from the start.
  afterField @4 :Field;
  # At most so many elements or fields; 0: as many as one reply holds.
  limit @5 :UInt64;
  wantToken @6 :Bool;
  # If not empty: exactly these are asked beside the coordinator; all must answer.
  only @7 :List(UInt64);
}

# --- Results ---------------------------------------------------------------

struct Error {
  code @0 :ErrorCode;
  message @1 :Text;
  # The operation was a mutation and may have taken effect, or may still.
  maybe @2 :Bool;
  # Of resourceExhausted for overload, else 0: when to ask again, about. It had
  # no effect.
  retryAfterMs @3 :UInt32;
}

# What each means: docs/semantics.md, "Errors".
enum ErrorCode {
  none @0;  # never valid
  invalidArgument @1;
  dataLoss @2;
  unavailable @3;
  deadlineExceeded @4;
  failedPrecondition @5;
  resourceExhausted @6;
  permissionDenied @7;
}

struct ExecuteReply {
  union {
    error @0 :Error;  # of the call as a whole: nothing was done
    results @1 :List(Result);
  }
}

struct Result {
  union {
    error @0 :Error;
    write @1 :WriteResult;  # of a mutation or a batch
    read @2 :ReadResult;
    # A read whose answer did not fit into this reply any more. Ask again; the
    # first read of a call is never deferred.
    deferred @3 :Void;
  }
}

# Who vouches for an answer.
struct Receipt {
  nodes @0 :List(UInt64);  # the coordinator first, then in order of arrival
  required @1 :UInt32;     # R or W, resolved
  durability @2 :Durability;
  standIns @3 :List(UInt64);  # those of `nodes` that own nothing of it
}

struct WriteResult {
  receipt @0 :Receipt;
  # For each mutation: it changed nothing, since nothing it was to remove was
  # observed.
  notObserved @1 :List(Bool);
  deltas @2 :UInt32;
  session @3 :Data;  # what this adds to the session; null without one
}

struct ReadResult {
  receipt @0 :Receipt;
  view @1 :View;
  more @2 :Bool;    # there is more after the last element or field
  token @3 :Data;   # null unless asked for
  session @4 :Data;  # as in WriteResult
  expiresMs @5 :UInt64;  # milliseconds since 1970; 0: never
}

# What a reader sees. An absent counter reads 0, an absent dwflag true:
# `present` tells.
struct View {
  type @0 :ObjectType;
  present @1 :Bool;
  flag @2 :Bool;             # ewflag, dwflag; whether `element` is there
  number @3 :Int64;          # counter
  values @4 :List(Data);     # register, mv, sets; in byte order
  fields @5 :List(FieldView);  # map, in field order
}

struct FieldView {
  field @0 :Field;
  view @1 :View;
}

# --- Listing ---------------------------------------------------------------

struct ListRequest {
  bucket @0 :Data;
  prefix @1 :Data;   # of the key
  after @2 :Object;  # null: from the start
  limit @3 :UInt32;  # objects; 0: as many as a node gives at once
  options @4 :Options;  # r and timeoutMs; null: the node's defaults
}

struct ListReply {
  union {
    error @0 :Error;
    page @1 :ListPage;
  }
}

struct ListPage {
  objects @0 :List(Object);
  more @1 :Bool;
}

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
