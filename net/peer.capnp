# The wire between nodes: one-way frames, each a PeerFrame. The meaning of the
# messages stands in replica/message.h, the connection's rules in
# net/peer_link.h. Fields are only ever added.
@0xfbccf6da258f1f9d;

using Cxx = import "/capnp/c++.capnp";
# A forwarded request is what the client has sent.
using Client = import "operation.capnp";
using Load = import "admin.capnp".NodeLoad;
$Cxx.namespace("dovetail::net::peer_wire");

struct PeerFrame {
  union {
    # First on every connection, from both ends.
    hello @0 :Hello;
    # Instead of a hello: why this connection is closed again.
    refused @1 :Text;
    # From the dialer only.
    messages @2 :List(PeerMessage);
    # From the dialer, so that silence means that it is gone.
    keepalive @3 :Void;
    # From the dialer: replica/cluster.h has what they mean.
    gossip @4 :Data;         # replica/gossip_message.h
    clusterConfig @5 :Data;  # docs/formats.md, "Cluster configuration"
    configRequest @6 :Void;
    # From the dialer, if the other's hello says that it knows them: a piece of
    # a zstd stream over frames, cut anywhere (docs/formats.md, "Frames").
    compressed @11 :Data;
  }
  # Beside messages: the committed ring by which the sender placed them.
  ringEpoch @7 :UInt64;
  ringDigestHigh @8 :UInt64;
  ringDigestLow @9 :UInt64;
  # Beside a keepalive: what the sender carries. Null: it does not say.
  load @10 :Load;
}

struct Hello {
  protocol @0 :UInt32;
  cluster @1 :Text;
  node @2 :UInt64;     # the hash of its name
  members @3 :UInt32;  # no longer used
  partitions @4 :UInt32;
  # The actor of this start of the process.
  incarnation @5 :UInt64;
  memberNames @6 :Text;  # no longer used
  # HOST:PORT for clients.
  clientAddress @7 :Text;
  name @8 :Text;
  # HOST:PORT for the other nodes.
  peerAddress @9 :Text;
  zone @10 :Text;
  region @11 :Text;
  # It understands compressed frames.
  expands @12 :Bool;
}

struct PeerMessage {
  partition @0 :UInt16;
  union {
    replicate :group {
      delta @1 :Data;  # docs/formats.md, "delta"
      sync @2 :Bool;
    }
    ack :group {
      events @3 :DotRun;
      synced @4 :Bool;
      epoch @67 :UInt64;
      ringHigh @72 :UInt64;  # with `epoch`: the ring that the sender goes by
      ringLow @73 :UInt64;
    }
    refuse :group {
      events @5 :DotRun;
      reason @6 :Status;
    }
    summary :group {
      applied @7 :Data;  # docs/formats.md, "event set"
      durable @8 :Data;
      answer @9 :Bool;
      periodic @10 :Bool;
      pull @46 :Bool;
      epoch @53 :UInt64;
      ringHigh @74 :UInt64;  # as in ack
      ringLow @75 :UInt64;
      stateHigh @65 :UInt64;
      stateLow @66 :UInt64;
      standing @68 :UInt8;  # replica/standing.h
      wallMs @71 :UInt64;  # the sender's clock; 0: not said
    }
    syncDeltas :group {
      deltas @11 :List(Data);
      more @12 :Bool;
      unlogged @54 :Data;  # an event set; absent: none
    }
    readQuery :group {
      ticket @13 :ReadTicket;
      spec @14 :ReadSpec;
      digestHigh @15 :UInt64;
      digestLow @16 :UInt64;
      wantContext @23 :Bool;
    }
    readAnswer :group {
      ticket @17 :ReadTicket;
      status @18 :Status;
      same @19 :Bool;
      page @20 :LeafPage;
      # The context; with `same` if the query wanted it, else absent.
      applied @21 :Data;
      superseded @22 :Data;
      standing @69 :UInt8;  # replica/standing.h
      epoch @70 :UInt64;
      ringHigh @76 :UInt64;  # as in ack
      ringLow @77 :UInt64;
    }
    listQuery :group {
      ticket @24 :ReadTicket;
      bucket @25 :Data;
      prefix @26 :Data;
      after :union {
        none @27 :Void;
        some @28 :Object;
      }
      limit @29 :UInt32;
      digestHigh @30 :UInt64;
      digestLow @31 :UInt64;
    }
    listAnswer :group {
      ticket @32 :ReadTicket;
      status @33 :Status;
      same @34 :Bool;
      objects @35 :List(Listed);  # in order, each once
      more @36 :Bool;
      unlisted @86 :List(UInt16);  # partitions, in order
    }
    presenceQuery :group {
      ticket @37 :ReadTicket;
      place @38 :UInt32;
      object @39 :Object;
      required @40 :UInt32;
      timeoutUs @41 :UInt64;
      session @78 :Data;  # docs/formats.md, "session token"; absent: none
    }
    presenceAnswer :group {
      ticket @42 :ReadTicket;
      place @43 :UInt32;
      status @44 :Status;
      present @45 :Bool;
    }
    coverQuery :group {
      ticket @79 :ReadTicket;
      seen @80 :Data;  # an event set
    }
    coverAnswer :group {
      ticket @81 :ReadTicket;
      partition @82 :UInt16;
      status @83 :Status;
      missing @84 :UInt64;
      process @85 :UInt64;  # an actor
    }
    forward :group {
      ticket @47 :ReadTicket;
      number @48 :UInt64;
      receiver @49 :UInt64;
      request @50 :Client.ExecuteRequest;  # of one operation
    }
    forwarded :group {
      ticket @51 :ReadTicket;
      reply @52 :Client.ExecuteReply;  # of one result
    }
    rangeQuery :group {
      ticket @55 :ReadTicket;
      salt @56 :UInt64;
      contextPrint @57 :UInt64;
      asks @58 :Data;  # docs/formats.md, "sync by ranges"
      unused @64 :Bool;  # whether the rows had to be vouched for: all are
    }
    rangeAnswer :group {
      ticket @59 :ReadTicket;
      status @60 :Status;
      # Absent both: the asker has it.
      applied @61 :Data;
      superseded @62 :Data;
      parts @63 :Data;
      ahead @87 :Data;  # absent: none
    }
  }
}

struct DotRun {
  actor @0 :UInt64;
  first @1 :UInt64;
  count @2 :UInt64;
}

struct Status {
  # The number of the absl::StatusCode; only those that docs/semantics.md
  # lists.
  code @0 :UInt8;
  text @1 :Text;
}

struct ReadTicket {
  incarnation @0 :UInt64;
  sequence @1 :UInt64;
}

struct Object {
  bucket @0 :Data;
  key @1 :Data;
  type @2 :UInt8;
}

# An object of the bucket that was asked for.
struct Listed {
  key @0 :Data;
  type @1 :UInt8;
}

struct Field {
  name @0 :Data;
  type @1 :UInt8;
}

struct ReadSpec {
  bucket @0 :Data;
  key @1 :Data;
  type @2 :UInt8;
  fields @3 :List(Field);
  element :union {
    none @4 :Void;
    some @5 :Data;
  }
  afterElement :union {
    none @6 :Void;
    some @7 :Data;
  }
  afterField :union {
    none @8 :Void;
    some @9 :Field;
  }
  limit @10 :UInt64;
  wantToken @11 :Bool;
}

struct LeafPage {
  leaves @0 :List(PageLeaf);  # in order of their paths, each once
  end @1 :Data;
  truncated @2 :Bool;
}

struct PageLeaf {
  path @0 :Data;
  # A type with this kind of payload: what is in `leaf` (docs/formats.md).
  type @1 :UInt8;
  leaf @2 :Data;
}
