// The Dovetail client library. A first program:
//
//   #include "src/client/client.h"
//
//   auto db = dovetail::Client::Connect({"127.0.0.1:7101", "127.0.0.1:7102"});
//   if (!db.ok()) { std::cerr << db.status() << "\n"; return 1; }
//   auto cart = (*db)->bucket("shop").set("cart:1");
//   absl::StatusOr<dovetail::Written> added = cart.Add("milk");
//   auto page = cart.Read({}, {.want_token = true});
//   for (const std::string& element : page->value) { ... }
//   cart.Remove("milk", {.token = page->token});   // exactly what was read
//
// What the client does for you:
//  - Operations that are in flight at the same time, from any thread, share
//    calls to the node; one at a time costs a round trip, a thousand together
//    not much more.
//  - It asks a node who owns what, and sends each operation straight to an
//    owner of its partition, near ones first (ClientOptions::zone and region).
//    It follows when the ring changes, and passes over owners that are down.
//    ClientOptions::route = false keeps it on one connection.
//  - Until it knows, and for listings and inspection, it talks to the first
//    node of the list that answers. When that cannot be reached it goes to the
//    next, and to other members at last.
//  - An operation that an overloaded node refused, and so had no effect, is
//    sent again after a while (ClientOptions::overload_retries).
//  - Operations that were not sent yet when a connection breaks, and reads, go
//    to another node.
//  - A mutation whose fate is unknown, because the connection broke before the
//    answer, is never repeated: it fails with Unavailable and "may have taken
//    effect". Repeating an add of an element or a write is harmless, repeating
//    a counter's add is not: that is for you to decide, or for an
//    ExactlyOnceSession() to do right.
//
// A client is safe for use from any thread. It has one thread of its own, and a
// connection to each node that owns something it is asked for. Callbacks run on
// that thread: they must not block, and must not destroy the client.
#ifndef DOVETAIL_SRC_CLIENT_CLIENT_H_
#define DOVETAIL_SRC_CLIENT_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "src/client/causal_session.h"
#include "src/client/handles.h"
#include "src/client/once_session.h"
#include "src/client/types.h"

namespace dovetail {

struct ClientOptions {
  // For one node to accept the connection and say hello, before the next one
  // is tried.
  absl::Duration connect_timeout = absl::Seconds(2);
  // Of operations that name none. 5 s: above the 2 s that a node takes by
  // default, so that a node's own answer comes first, with time for a retry.
  absl::Duration timeout = absl::Seconds(5);
  // Calls that may wait for one node's answers at once. While so many do, what
  // is submitted gathers for the next one: more calls mean smaller ones. 4
  // keeps the node busy while answers travel.
  size_t calls_in_flight_max = 4;
  // While calls are unanswered, the next one leaves no sooner than this after
  // the last, so that what is submitted one by one gathers as well. With
  // nothing on its way an operation never waits. Half a millisecond: about what
  // an answer takes.
  absl::Duration call_spacing = absl::Microseconds(500);
  // Operations in one call, a bound on how long its first waits for its last.
  size_t operations_per_call_max = 1'000;
  // Submitted and not answered, at whatever node; one more fails with
  // ResourceExhausted.
  size_t operations_in_flight_max = 65'536;
  size_t bytes_in_flight_max = 256 << 20;
  // Times that an operation is sent again which an overloaded node has refused,
  // after the time that the node names and within the deadline; 0: never, the
  // refusal is the result.
  uint32_t overload_retries = 5;
  // Shown in the node's log.
  std::string name = "dovetail-client";
  // Whether operations go straight to owners. False: all to one node.
  bool route = true;
  // Where this client is, in the words of the nodes' configurations. Owners in
  // the same zone of the region are asked first, then those in the region.
  // Region left out: that of the node in use for listings. Zone left out: the
  // zones of the region are alike.
  std::string zone = "";
  std::string region = "";
  // How often the cluster is asked for changes that nothing else told of.
  absl::Duration view_refresh = absl::Seconds(10);
};

class Client {
 public:
  // Connects to the first of `nodes` ("HOST:PORT", at least one) that answers.
  // Errors: InvalidArgument (an address that is none), Unavailable (no node
  // answers, or none in a protocol version that this client speaks; the message
  // says of each why).
  static absl::StatusOr<std::unique_ptr<Client>> Connect(
      const std::vector<std::string>& nodes, const ClientOptions& options = {});

  // What is unanswered fails with Unavailable.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // --- Typed values: src/client/handles.h ---
  Bucket bucket(absl::string_view name);
  AsyncBucket async_bucket(absl::string_view name);

  // A session: src/client/causal_session.h.
  CausalSession NewSession();

  // Runs a batch. `options.token` is not for batches and must be empty.
  // Errors: as of mutations, and InvalidArgument if the keys do not share a
  // partition or the batch is empty.
  absl::StatusOr<BatchWritten> Run(const Batch& batch,
                                   const WriteOptions& options = {});
  std::future<absl::StatusOr<BatchWritten>> RunAsync(
      const Batch& batch, const WriteOptions& options = {});

  // A session whose mutations may be repeated and take effect once, with a
  // connection of its own (src/client/once_session.h says what it costs). It
  // may outlive the client. Errors: as of Connect().
  absl::StatusOr<std::unique_ptr<OnceSession>> ExactlyOnceSession();

  // --- Listings and inspection ---

  // One page of the objects of `bucket` whose key starts with `prefix`, after
  // `after` if that is given, as options.read replicas know them together.
  // `limit` 0: as many as a node gives at once.
  absl::StatusOr<Listing> List(
      absl::string_view bucket, absl::string_view prefix,
      const std::optional<ObjectId>& after = std::nullopt, uint32_t limit = 0,
      const CallOptions& options = {});
  // Of the node in use for these: node().
  absl::StatusOr<NodeStatus> Status();
  absl::StatusOr<NodeDigests> Digests();
  // The cluster as that node sees it.
  absl::StatusOr<ClusterView> Cluster();
  // Stages, shows or commits changes of the membership. A connection that
  // breaks meanwhile has it asked again of the next node: a commit that had
  // taken effect is then refused as one of an old plan.
  absl::StatusOr<PlanView> Administer(const ClusterAdmin& admin);
  // Shows or changes what buckets say for requests that leave it unsaid. The
  // node that answers has it on disk and goes by it; the others hear of it.
  // Errors: InvalidArgument (no such value), FailedPrecondition (it has
  // properties already, has none, or holds objects and is to be deleted),
  // ResourceExhausted (too many).
  absl::StatusOr<BucketPage> Buckets(const BucketRequest& request);
  // Has that node copy its data to the folder `name` of its backup_dir. Errors:
  // InvalidArgument (the name), FailedPrecondition (there is one by that name,
  // or one is being made), ResourceExhausted (its disk is full).
  absl::StatusOr<BackupMade> MakeBackup(const std::string& name);
  // "127.0.0.1:7101": the node that listings and inspection go to, or last did.
  std::string node() const;

  // --- The form below: operations as data ---

  // Runs `operation`; calls `done` once, on the client's thread.
  void Submit(Operation operation, const CallOptions& options,
              absl::AnyInvocable<void(Result)> done);
  // As List, for many at once.
  void SubmitList(replica::ListRequest request, const CallOptions& options,
                  absl::AnyInvocable<void(absl::StatusOr<Listing>)> done);
  // Runs all, independently of each other, and waits. Results in order.
  std::vector<Result> Execute(std::vector<Operation> operations,
                              const CallOptions& options = {});

 private:
  class Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dovetail

#endif  // DOVETAIL_SRC_CLIENT_CLIENT_H_
