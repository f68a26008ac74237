# What clients and nodes say to each other: the calls. What they carry stands in
# operation.capnp and admin.capnp. One call carries many operations: a call for
# each would cost thirty times as much (docs/benchmarks.md).
#
# Rules for changing these files: fields and union members are only ever added,
# with new numbers; a change of meaning raises the protocol version. Keys,
# elements, fields and values are bytes (Data), never assumed to be text.
# net/client_codec.h turns these into the plain structs of replica/request.h
# and enforces the limits of crdt/limits.h.
@0xb9d0f6c1a2e84f17;

using Cxx = import "/capnp/c++.capnp";
using Operations = import "operation.capnp";
using Admin = import "admin.capnp";
$Cxx.namespace("dovetail::net::wire");

# The version of what stands here: since 2 nodes have 64-bit ids, and operations
# may have ids of their clients; since 3 listings may come with a session. A node
# serves versions
# oldestProtocolVersion..protocolVersion, see HelloReply.
const protocolVersion :UInt32 = 3;
const oldestProtocolVersion :UInt32 = 2;

# What a connection starts with: the bootstrap capability.
interface Dovetail {
  # First call of a connection; it may be pipelined with those that follow.
  hello @0 HelloRequest -> HelloReply;

  # Runs the operations independently of each other (but for what is inside
  # one batch) and answers when all are decided: results in the same order.
  execute @1 Operations.ExecuteRequest -> Operations.ExecuteReply;

  # One page of the objects of a bucket, in order of key and type, as R replicas
  # of each partition know them together.
  list @2 Operations.ListRequest -> Operations.ListReply;

  status @3 () -> (status :Admin.NodeStatus);

  # What this node holds of each partition from number `first` on, for comparing
  # replicas.
  digest @4 (first :UInt32) -> (digests :Admin.NodeDigests);

  # The cluster as this node sees it: who is in it, who owns what.
  cluster @5 () -> (cluster :Admin.ClusterView);

  # Changes of the membership, which take effect when they are committed.
  clusterAdmin @6 Admin.ClusterAdmin -> Admin.ClusterAdminReply;

  # The properties of buckets: shows or changes them.
  buckets @7 Admin.BucketRequest -> Admin.BucketReply;

  # Copies this node's data, as it is, to the folder `name` of its backup_dir.
  backup @8 (name :Text) -> Admin.BackupReply;
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
