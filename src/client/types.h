// The words of the client library: options that go into a call, answers that
// come out. client.h is where to start.
#ifndef DOVETAIL_SRC_CLIENT_TYPES_H_
#define DOVETAIL_SRC_CLIENT_TYPES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "crdt/query.h"
#include "crdt/token.h"
#include "crdt/type.h"
#include "net/client_types.h"
#include "replica/request.h"

namespace dovetail {

using crdt::Field;     // name and type of a field of a map
using crdt::ObjectId;  // bucket, key and type of an object
using crdt::Type;
using crdt::View;  // what a reader sees of anything; for maps

// What a read observed, exactly. Given to a remove, clear, reset, write or
// delete it makes that act on what the reader saw and on nothing else.
// Encode() and Token::Decode() turn it into bytes and back.
using Token = crdt::ObservedToken;

// How many replicas must answer: Level{} (unsaid: as the bucket says, else as
// the node is configured),
// Level::Count(n), Level::Quorum(), Level::All(); LocalOne(), LocalQuorum() of
// the region of the node that is asked, EachQuorum() in every region.
using replica::Level;
// kSloppy: nodes that can be reached stand in for owners that cannot. kStrict:
// only owners count. kDefault: unsaid, as above; a node is sloppy unless
// configured otherwise.
using replica::Quorums;
// kWal: in the operating system's log, fsynced within a second. kFsync: on
// stable storage before the answer.
using replica::Durability;
// Which nodes vouch for an answer, and how durably.
using replica::Receipt;

using net::BackupMade;
using net::BucketPage;
using net::BucketRequest;
using net::BucketView;
using net::DeleteBucket;
using net::DescribeBucket;
using net::ListBuckets;
using replica::BucketChange;      // a create or an update
using replica::BucketProperties;  // what a bucket says
using replica::BucketSettings;    // some of it: SettingsOf, PropertiesOf

using net::ClusterAdmin;
using net::ClusterView;
using net::MayHaveTakenEffect;
using net::NodeDigests;
using net::NodeStatus;
using net::PlanView;
using net::RetryAfterOf;

// --- Options ---------------------------------------------------------------

struct ReadOptions {
  Level r = {};
  // In all, retries included. Zero: the bucket's at the node, and here
  // ClientOptions::timeout.
  absl::Duration timeout = absl::ZeroDuration();
  // Whether the answer is to have a token.
  bool want_token = false;
  Quorums quorums = Quorums::kDefault;
  // What the node that is asked holds is the answer, even if it owns nothing of
  // it: for comparing replicas.
  bool here = false;
};

struct WriteOptions {
  Level w = {};
  // Unsaid: as the bucket says, kWal if it says nothing.
  std::optional<Durability> durability = std::nullopt;
  absl::Duration timeout = absl::ZeroDuration();
  std::optional<Token> token = std::nullopt;
  Quorums quorums = Quorums::kDefault;
  // If not zero: in one atomic change with the mutation, the whole object (of a
  // field the map that it is in) expires after this. As Handle::ExpireIn.
  absl::Duration ttl = absl::ZeroDuration();
};

// Of a mutation that goes into a batch; the rest is said when the batch runs.
struct BatchedOptions {
  std::optional<Token> token = std::nullopt;
};

// A part of a large set: elements in byte order.
struct Page {
  std::optional<std::string> after = std::nullopt;  // greater than this
  uint64_t limit = 0;  // 0: as many as one answer holds
};

// A part of a large map: fields in order of name and type.
struct FieldPage {
  std::optional<Field> after = std::nullopt;
  uint64_t limit = 0;
};

// --- Answers ---------------------------------------------------------------

// Of a mutation that was acknowledged as its options asked.
struct Written {
  Receipt receipt;
  // It changed nothing, since nothing of what it was to remove was observed.
  bool not_observed = false;
  // How many deltas it took: 0 if it changed nothing, more than 1 for clearing
  // something large, where each is atomic but not all together.
  uint32_t deltas = 0;
};

// Of a batch.
struct BatchWritten {
  Receipt receipt;
  std::vector<bool> not_observed;  // one for each operation
};

// Of a read.
template <class T>
struct Reading {
  T value{};
  // Whether the object (or field) is there at all: an absent counter also
  // reads 0, an absent set {}, an absent disable-wins flag true.
  bool present = false;
  // Sets and maps: there is more after the last one of `value`.
  bool more = false;
  // When the object expires, by the clocks of the nodes; nullopt: never.
  std::optional<absl::Time> expires;
  std::optional<Token> token;  // if it was asked for
  Receipt receipt;
};

// Of a listing.
struct Listing {
  std::vector<ObjectId> objects;  // in order of key and type
  bool more = false;
};

// --- The form below the typed handles ---------------------------------------

// One typed mutation, as data.
using Mutation = crdt::Operation;
// A WriteRequest (one mutation, or several as one atomic batch) or a
// ReadRequest.
using Operation = net::ClientOperation;
// WriteReply or ReadReply, or why there is none.
using Result = net::ClientResult;
// R, W, durability and timeout of an Operation.
using CallOptions = replica::RequestOptions;

}  // namespace dovetail

#endif  // DOVETAIL_SRC_CLIENT_TYPES_H_
