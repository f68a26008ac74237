#include "src/client/client.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "net/client_codec.h"
#include "net/dovetail.capnp.h"
#include "net/endpoint.h"
#include "net/event_loop.h"
#include "net/frame.h"
#include "src/client/answers.h"
#include "src/client/dispatcher.h"
#include "src/client/router.h"

namespace dovetail {
namespace {

using internal::Lookup;
using internal::Pending;
using internal::Router;
using internal::Session;
using internal::SteadyNow;

// What RPC puts around an operation in its frame, with room to spare.
constexpr size_t kFrameOverhead = 4 << 10;
// Nodes heed Operation.id since 2.
static_assert(net::wire::OLDEST_PROTOCOL_VERSION >= 2);

// Statuses share what they hold by counting references. One failure may be
// that of many operations, so each caller gets a copy of its own: whatever it
// does with it then stays on its thread.
absl::Status Unshared(const absl::Status& status) {
  absl::Status out(status.code(), status.message());
  status.ForEachPayload([&out](absl::string_view type, const absl::Cord& data) {
    out.SetPayload(type, data);
  });
  return out;
}

// A lookup whose answer comes in one piece: `ask` sends it, `done` gets it.
template <class T>
Lookup MakeLookup(
    std::function<void(Session&, std::function<void(absl::StatusOr<T>)>)> ask,
    absl::AnyInvocable<void(absl::StatusOr<T>)> done, absl::Duration deadline) {
  auto shared = std::make_shared<absl::AnyInvocable<void(absl::StatusOr<T>)>>(
      std::move(done));
  Lookup lookup;
  lookup.deadline = deadline;
  lookup.ask = [shared, ask = std::move(ask)](Session& session,
                                              std::function<void()> answered) {
    ask(session,
        [shared, answered = std::move(answered)](absl::StatusOr<T> answer) {
          answered();
          (*shared)(std::move(answer));
        });
  };
  lookup.fail = [shared](absl::Status why) { (*shared)(Unshared(why)); };
  return lookup;
}

// Collects the pages of one node's digests.
void AskDigests(Session& session, NodeDigests so_far,
                std::function<void(absl::StatusOr<NodeDigests>)> done) {
  const uint32_t first =
      so_far.partitions.empty()
          ? 0
          : uint32_t{replica::Index(so_far.partitions.back().partition)} + 1;
  session.Digest(first, [&session, so_far = std::move(so_far),
                         done = std::move(done)](
                            absl::StatusOr<NodeDigests> page) mutable {
    if (!page.ok()) return done(page.status());
    const bool more = page->more && !page->partitions.empty();
    page->partitions.insert(page->partitions.begin(), so_far.partitions.begin(),
                            so_far.partitions.end());
    if (!more) return done(std::move(page));
    AskDigests(session, *std::move(page), std::move(done));
  });
}

}  // namespace

// Everything of the client that other threads touch, and its own thread.
class Client::Impl final : public internal::Caller, public internal::Lister {
 public:
  Impl(std::vector<net::Endpoint> nodes, const ClientOptions& options)
      : nodes_(std::move(nodes)), options_(options) {}
  ~Impl() override { Stop(); }

  // Starts the thread and waits for the first connection.
  absl::Status Start() {
    std::promise<absl::Status> first;
    auto outcome = first.get_future();
    thread_ = std::thread(
        [this, first = std::move(first)]() mutable { Run(std::move(first)); });
    return outcome.get();
  }

  void Submit(Operation operation, const CallOptions& options,
              absl::AnyInvocable<void(Result)> done) override;
  void Submit(Lookup lookup);
  void SubmitList(
      replica::ListRequest request, const CallOptions& options,
      absl::AnyInvocable<void(absl::StatusOr<Listing>)> done) override;

  // --- For an exactly-once session ---
  bool Post(std::function<void()> task) override;
  void Stop() override;
  void After(absl::Duration pause, std::function<void()> task) override {
    thread_loop_->After(pause, std::move(task));
  }
  uint64_t connection() const override { return router_->home().epoch(); }
  void NextNode() override { router_->home().NextNode(); }
  // A client of the same nodes on one connection, which is what the two above
  // are about.
  std::unique_ptr<Impl> ForSession() const {
    ClientOptions options = options_;
    options.route = false;
    return std::make_unique<Impl>(nodes_, options);
  }

  void CheckMayBlock() const override {
    if (std::this_thread::get_id() != thread_.get_id()) return;
    std::fputs(
        "dovetail: a blocking call inside a callback of the client would wait "
        "for itself; use the asynchronous form\n",
        stderr);
    std::abort();
  }

  // Asks for a T and waits for it.
  template <class T>
  absl::StatusOr<T> Await(
      std::function<void(Session&, std::function<void(absl::StatusOr<T>)>)>
          ask) {
    CheckMayBlock();
    std::promise<absl::StatusOr<T>> promise;
    auto future = promise.get_future();
    Submit(MakeLookup<T>(
        std::move(ask),
        [promise = std::move(promise)](absl::StatusOr<T> answer) mutable {
          promise.set_value(std::move(answer));
        },
        Deadline(absl::ZeroDuration())));
    return future.get();
  }

  absl::StatusOr<NodeStatus> Status() {
    return Await<NodeStatus>(
        [](Session& session,
           std::function<void(absl::StatusOr<NodeStatus>)> then) {
          session.Status(std::move(then));
        });
  }

  absl::Duration Deadline(absl::Duration timeout) const override {
    return SteadyNow() +
           (timeout > absl::ZeroDuration() ? timeout : options_.timeout);
  }

  std::string node() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return node_;
  }

 private:
  void Run(std::promise<absl::Status> first);
  // On the client's thread: takes over what was submitted.
  void Drain(Router& router);
  // Reserves room for `weight`, or says why there is none.
  absl::Status Reserve(const internal::Weight& weight);
  absl::AnyInvocable<void(Result)> Releasing(
      const internal::Weight& weight, absl::AnyInvocable<void(Result)> done);

  const std::vector<net::Endpoint> nodes_;
  const ClientOptions options_;
  std::thread thread_;
  net::EventLoop* thread_loop_ = nullptr;  // for the client's thread
  std::atomic<size_t> operations_in_flight_{0};
  std::atomic<size_t> bytes_in_flight_{0};

  mutable std::mutex mutex_;
  net::EventLoop* loop_ = nullptr;  // while the thread takes submissions
  Router* router_ = nullptr;        // for the client's thread
  std::vector<Pending> submitted_;
  std::vector<Lookup> submitted_lookups_;
  bool drain_posted_ = false;
  std::string node_;
};

void Client::Impl::Run(std::promise<absl::Status> first) {
  net::EventLoop loop;
  thread_loop_ = &loop;
  Router router(
      loop, nodes_, options_,
      [&first](absl::Status status) { first.set_value(std::move(status)); },
      [this](const net::Endpoint& node) {
        std::lock_guard<std::mutex> lock(mutex_);
        node_ = net::ToString(node);
      });
  {
    std::lock_guard<std::mutex> lock(mutex_);
    loop_ = &loop;
    router_ = &router;
  }
  loop.Run();
  // Stop() has closed the door: what came in before it still gets an answer.
  Drain(router);
  router.Shutdown();
}

void Client::Impl::Stop() {
  if (!thread_.joinable()) return;
  CheckMayBlock();
  net::EventLoop* loop = nullptr;
  while (loop == nullptr) {  // until the thread has come up
    std::lock_guard<std::mutex> lock(mutex_);
    loop = std::exchange(loop_, nullptr);
  }
  loop->Stop();
  thread_.join();
}

void Client::Impl::Drain(Router& router) {
  std::vector<Pending> submitted;
  std::vector<Lookup> lookups;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    submitted.swap(submitted_);
    lookups.swap(submitted_lookups_);
    drain_posted_ = false;
  }
  for (Pending& pending : submitted) router.Add(std::move(pending));
  for (Lookup& lookup : lookups) router.Add(std::move(lookup));
}

bool Client::Impl::Post(std::function<void()> task) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (loop_ == nullptr) return false;
  loop_->Post(std::move(task));
  return true;
}

absl::Status Client::Impl::Reserve(const internal::Weight& weight) {
  if (weight.bytes + kFrameOverhead > net::kClientFrameBytesMax) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "operation of ", weight.bytes,
        " bytes is over client_frame_bytes_max = ", net::kClientFrameBytesMax,
        "; split it"));
  }
  const size_t operations = operations_in_flight_ += weight.operations;
  const size_t bytes = bytes_in_flight_ += weight.bytes;
  if (operations <= options_.operations_in_flight_max &&
      bytes <= options_.bytes_in_flight_max) {
    return absl::OkStatus();
  }
  operations_in_flight_ -= weight.operations;
  bytes_in_flight_ -= weight.bytes;
  return absl::ResourceExhaustedError(absl::StrCat(
      "client has ", operations - weight.operations, " operations and ",
      bytes - weight.bytes, " bytes in flight; its limits are ",
      options_.operations_in_flight_max, " and ",
      options_.bytes_in_flight_max));
}

absl::AnyInvocable<void(Result)> Client::Impl::Releasing(
    const internal::Weight& weight, absl::AnyInvocable<void(Result)> done) {
  return [this, weight, done = std::move(done)](Result result) mutable {
    operations_in_flight_ -= weight.operations;
    bytes_in_flight_ -= weight.bytes;
    if (!result.ok()) result = Unshared(result.status());
    done(std::move(result));
  };
}

void Client::Impl::Submit(Operation operation, const CallOptions& options,
                          absl::AnyInvocable<void(Result)> done) {
  const internal::Weight weight = internal::Weigh(operation);
  const absl::Status room = Reserve(weight);
  std::unique_lock<std::mutex> lock(mutex_);
  if (loop_ == nullptr) {
    lock.unlock();
    if (room.ok()) {
      operations_in_flight_ -= weight.operations;
      bytes_in_flight_ -= weight.bytes;
    }
    return done(absl::UnavailableError("the client was closed"));
  }
  if (!room.ok()) {
    auto shared =
        std::make_shared<absl::AnyInvocable<void(Result)>>(std::move(done));
    return loop_->Post([shared, room] { (*shared)(Unshared(room)); });
  }
  submitted_.push_back({std::move(operation), options, weight,
                        Deadline(options.timeout),
                        Releasing(weight, std::move(done))});
  if (std::exchange(drain_posted_, true)) return;
  loop_->Post([this] {
    Drain(*router_);
    router_->Pump();
  });
}

void Client::Impl::Submit(Lookup lookup) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (loop_ == nullptr) {
    lock.unlock();
    return lookup.fail(absl::UnavailableError("the client was closed"));
  }
  submitted_lookups_.push_back(std::move(lookup));
  if (std::exchange(drain_posted_, true)) return;
  loop_->Post([this] {
    Drain(*router_);
    router_->Pump();
  });
}

void Client::Impl::SubmitList(
    replica::ListRequest request, const CallOptions& options,
    absl::AnyInvocable<void(absl::StatusOr<Listing>)> done) {
  size_t bytes = 0;
  for (const replica::SessionToken& token : request.session) {
    bytes += token.Encode().size();
  }
  if (absl::Status fits = net::CheckListSession(bytes); !fits.ok()) {
    auto shared = std::make_shared<decltype(done)>(std::move(done));
    auto refuse = [shared, fits] { (*shared)(Unshared(fits)); };
    if (!Post(refuse)) refuse();
    return;
  }
  Submit(MakeLookup<replica::ListReply>(
      [request = std::move(request), options](
          Session& session,
          std::function<void(absl::StatusOr<replica::ListReply>)> then) {
        session.List(request, options, std::move(then));
      },
      [done =
           std::move(done)](absl::StatusOr<replica::ListReply> reply) mutable {
        if (!reply.ok()) return done(reply.status());
        done(Listing{std::move(reply->objects), reply->more});
      },
      Deadline(options.timeout)));
}

// --- Client ----------------------------------------------------------------

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(
    const std::vector<std::string>& nodes, const ClientOptions& options) {
  if (nodes.empty()) {
    return absl::InvalidArgumentError("no node to connect to");
  }
  std::vector<net::Endpoint> endpoints;
  for (const std::string& node : nodes) {
    DOVETAIL_ASSIGN_OR_RETURN(net::Endpoint endpoint, net::ParseEndpoint(node));
    endpoints.push_back(std::move(endpoint));
  }
  auto impl = std::make_unique<Impl>(std::move(endpoints), options);
  DOVETAIL_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<Client>(new Client(std::move(impl)));
}

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

Bucket Client::bucket(absl::string_view name) {
  return Bucket(internal::PlaceOfBucket(*impl_, name));
}

AsyncBucket Client::async_bucket(absl::string_view name) {
  return AsyncBucket(internal::PlaceOfBucket(*impl_, name));
}

CausalSession Client::NewSession() { return CausalSession(*impl_, *impl_); }

std::future<absl::StatusOr<BatchWritten>> Client::RunAsync(
    const Batch& batch, const WriteOptions& options) {
  return internal::RunBatch(*impl_, batch, options);
}

absl::StatusOr<BatchWritten> Client::Run(const Batch& batch,
                                         const WriteOptions& options) {
  impl_->CheckMayBlock();
  return RunAsync(batch, options).get();
}

absl::StatusOr<std::unique_ptr<OnceSession>> Client::ExactlyOnceSession() {
  impl_->CheckMayBlock();
  std::unique_ptr<Impl> caller = impl_->ForSession();
  DOVETAIL_RETURN_IF_ERROR(caller->Start());
  DOVETAIL_ASSIGN_OR_RETURN(const NodeStatus status, caller->Status());
  std::random_device random;
  const uint64_t bits = (uint64_t{random()} << 32) | random();
  return std::make_unique<OnceSession>(
      std::move(caller), crdt::MakeActorId(crdt::ActorKind::kSession, bits),
      status.partitions);
}

void Client::SubmitList(
    replica::ListRequest request, const CallOptions& options,
    absl::AnyInvocable<void(absl::StatusOr<Listing>)> done) {
  impl_->SubmitList(std::move(request), options, std::move(done));
}

absl::StatusOr<Listing> Client::List(absl::string_view bucket,
                                     absl::string_view prefix,
                                     const std::optional<ObjectId>& after,
                                     uint32_t limit,
                                     const CallOptions& options) {
  impl_->CheckMayBlock();
  return impl_->ListNow(bucket, prefix, after, limit, options);
}

absl::StatusOr<NodeStatus> Client::Status() { return impl_->Status(); }

absl::StatusOr<NodeDigests> Client::Digests() {
  return impl_->Await<NodeDigests>(
      [](Session& session,
         std::function<void(absl::StatusOr<NodeDigests>)> then) {
        AskDigests(session, {}, std::move(then));
      });
}

absl::StatusOr<ClusterView> Client::Cluster() {
  return impl_->Await<ClusterView>(
      [](Session& session,
         std::function<void(absl::StatusOr<ClusterView>)> then) {
        session.Cluster(std::move(then));
      });
}

absl::StatusOr<PlanView> Client::Administer(const ClusterAdmin& admin) {
  return impl_->Await<PlanView>(
      [admin](Session& session,
              std::function<void(absl::StatusOr<PlanView>)> then) {
        session.Admin(admin, std::move(then));
      });
}

absl::StatusOr<BucketPage> Client::Buckets(const BucketRequest& request) {
  return impl_->Await<BucketPage>(
      [request](Session& session,
                std::function<void(absl::StatusOr<BucketPage>)> then) {
        session.Buckets(request, std::move(then));
      });
}

absl::StatusOr<BackupMade> Client::MakeBackup(const std::string& name) {
  return impl_->Await<BackupMade>(
      [name](Session& session,
             std::function<void(absl::StatusOr<BackupMade>)> then) {
        session.Backup(name, std::move(then));
      });
}

std::string Client::node() const { return impl_->node(); }

void Client::Submit(Operation operation, const CallOptions& options,
                    absl::AnyInvocable<void(Result)> done) {
  impl_->Submit(std::move(operation), options, std::move(done));
}

std::vector<Result> Client::Execute(std::vector<Operation> operations,
                                    const CallOptions& options) {
  impl_->CheckMayBlock();
  std::vector<Result> results(operations.size(),
                              Result(absl::UnavailableError("not answered")));
  if (operations.empty()) return results;
  // Shared: set_value() may still be at work in it when the wait is over.
  const auto all = std::make_shared<std::promise<void>>();
  std::atomic<size_t> left{operations.size()};
  for (size_t i = 0; i < operations.size(); ++i) {
    impl_->Submit(std::move(operations[i]), options,
                  [&results, &left, all, i](Result result) {
                    results[i] = std::move(result);
                    if (--left == 0) all->set_value();
                  });
  }
  all->get_future().wait();
  return results;
}

}  // namespace dovetail
