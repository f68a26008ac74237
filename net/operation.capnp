# What clients ask for and are answered: operations, their results, listings.
# The calls that carry them stand in net/dovetail.capnp, with the rules for
# changing any of it. Forwarded requests between nodes are of these, too.
@0xbbd4e99a363112d3;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("dovetail::net::wire");

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
  # By which the client chose the node; null: it goes by none. A node that has
  # not heard of it asks others for it first.
  ring @2 :RingStamp;
}

# A committed ring: two of one epoch have other digests.
struct RingStamp {
  epoch @0 :UInt64;
  digestHigh @1 :UInt64;
  digestLow @2 :UInt64;
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
  # That the node goes by, if the request named an older one: the client is to
  # ask for the cluster's view. Else null.
  newerRing @2 :RingStamp;
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
  # What the client has seen, a token for each partition, at most 1 MiB in all:
  # the page shows all of it. It adds nothing to the session. Needs protocol
  # version 3: an older node ignores it. Bytes: docs/formats.md, "session token".
  session @5 :List(Data);
  ring @6 :RingStamp;  # as in ExecuteRequest
}

struct ListReply {
  union {
    error @0 :Error;
    page @1 :ListPage;
  }
  newerRing @2 :RingStamp;  # as in ExecuteReply
}

struct ListPage {
  objects @0 :List(Object);
  more @1 :Bool;
}
