#include "src/client/dispatcher.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "net/dovetail.capnp.h"
#include "net/frame.h"

namespace dovetail::internal {
namespace {

// One call: a quarter of a frame, so that one answer is never far behind.
constexpr size_t kCallBytesMax = net::kClientFrameBytesMax / 4;
// How late an answer may be before its connection is taken for dead: a node
// answers at the deadline at the latest, so this is for the way there and back.
constexpr absl::Duration kAnswerGrace = absl::Seconds(1);
constexpr absl::Duration kPauseMin = absl::Milliseconds(20);
// Times a read is sent before it fails: one that brings nodes down, or is cut
// off every time, must not go on for ever.
constexpr uint32_t kSendsMax = 3;
// So many operations are a call that is worth sending.
constexpr size_t kGatheredMax = 64;
// How precisely deadlines are kept.
constexpr absl::Duration kTick = absl::Milliseconds(20);

// Why a hello is no good, if it is not.
absl::Status CheckVersions(const net::Hello& hello) {
  constexpr uint32_t oldest = net::wire::OLDEST_PROTOCOL_VERSION;
  if (hello.protocol_version >= oldest &&
      hello.oldest_protocol_version <= net::wire::PROTOCOL_VERSION) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(
      absl::StrCat("speaks protocol versions ", hello.oldest_protocol_version,
                   " to ", hello.protocol_version, ", this client ", oldest,
                   " to ", net::wire::PROTOCOL_VERSION));
}

}  // namespace

Dispatcher::Dispatcher(net::EventLoop& loop, std::vector<net::Endpoint> nodes,
                       const ClientOptions& options, ConnectionEvents events,
                       absl::Duration pause_max)
    : loop_(loop),
      nodes_(std::move(nodes)),
      nodes_given_(nodes_.size()),
      options_(options),
      events_(std::move(events)),
      pause_max_(pause_max),
      failures_(nodes_.size()),
      pause_(kPauseMin) {
  Dial();
}

// --- Which node ------------------------------------------------------------

void Dispatcher::Dial() {
  const uint64_t epoch = ++epoch_;
  net::Dial(loop_, nodes_[node_], options_.connect_timeout,
            [this, epoch, alive = std::weak_ptr<char>(alive_)](
                absl::StatusOr<net::Socket> socket) {
              if (alive.expired()) return;
              if (epoch == epoch_) OnDialed(std::move(socket));
            });
}

void Dispatcher::OnDialed(absl::StatusOr<net::Socket> socket) {
  if (!socket.ok()) return OnNodeFailed(socket.status());
  const uint64_t epoch = epoch_;
  session_ = std::make_unique<Session>(loop_, *std::move(socket),
                                       [this, epoch](absl::Status why) {
                                         if (epoch == epoch_)
                                           OnLost(std::move(why));
                                       });
  session_->OnNewerRing([this, epoch](const replica::RingStamp& ring) {
    if (epoch != epoch_) return;
    node_ring_ = ring;
    if (events_.newer_ring) events_.newer_ring(ring);
  });
  session_->NameRing(events_.ring);
  greet_deadline_ = SteadyNow() + options_.connect_timeout;
  session_->Hello(options_.name,
                  [this, epoch](absl::StatusOr<net::Hello> hello) {
                    if (epoch == epoch_) OnHello(std::move(hello));
                  });
  ArmTimer();
}

void Dispatcher::OnHello(absl::StatusOr<net::Hello> hello) {
  absl::Status status = hello.status();
  if (status.ok()) status = CheckVersions(*hello);
  if (!status.ok()) return OnLost(std::move(status));
  greeted_ = true;
  failing_ = false;
  hello_ = *std::move(hello);
  node_ring_ = {hello_.epoch, {}};
  failed_in_row_ = 0;
  pause_ = kPauseMin;
  if (events_.connected) events_.connected(nodes_[node_]);
  if (events_.first) std::exchange(events_.first, nullptr)(absl::OkStatus());
  Pump();
}

// Goes on to the next node, after a pause if none of them answered.
void Dispatcher::OnNodeFailed(absl::Status why) {
  failing_ = true;
  failures_[node_] = std::move(why);
  node_ = (node_ + 1) % nodes_.size();
  if (++failed_in_row_ < nodes_.size()) return Dial();
  failed_in_row_ = 0;
  if (events_.first) std::exchange(events_.first, nullptr)(EveryNodeFailed());
  const uint64_t epoch = ++epoch_;
  After(pause_, [this, epoch] {
    if (epoch == epoch_) Dial();
  });
  pause_ = std::min(2 * pause_, pause_max_);
}

void Dispatcher::SetFallbacks(const std::vector<net::Endpoint>& nodes) {
  const net::Endpoint now = nodes_[node_];
  const auto place = [this](const net::Endpoint& node) {
    return std::find(nodes_.begin(), nodes_.end(), node);
  };
  nodes_.resize(nodes_given_);
  failures_.resize(nodes_given_);
  for (const net::Endpoint& node : nodes) {
    if (place(node) == nodes_.end()) nodes_.push_back(node);
  }
  if (place(now) == nodes_.end()) nodes_.push_back(now);
  failures_.resize(nodes_.size());
  node_ = static_cast<size_t>(place(now) - nodes_.begin());
}

Waiting Dispatcher::TakeWaiting() {
  return {std::exchange(queue_, {}), std::exchange(lookups_, {})};
}

absl::Status Dispatcher::EveryNodeFailed() const {
  std::string message = "no node can be reached:";
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const std::string node = net::ToString(nodes_[i]);
    const absl::string_view why =
        failures_[i].ok() ? "not tried" : failures_[i].message();
    absl::StrAppend(&message, i == 0 ? " " : "; ");
    if (!absl::StrContains(why, node)) absl::StrAppend(&message, node, ": ");
    absl::StrAppend(&message, why);
  }
  return absl::UnavailableError(message);
}

void Dispatcher::NextNode() {
  if (nodes_.size() < 2 || !greeted_) return;
  session_->Drop(absl::UnavailableError("given up for the next node"));
}

void Dispatcher::OnLost(absl::Status why) {
  ++epoch_;
  // Not destroyed here: this may be running inside of it.
  loop_.Post([session = std::shared_ptr<Session>(std::move(session_))] {});
  const bool greeted = std::exchange(greeted_, false);
  const std::string lost =
      absl::StrCat("lost ", net::ToString(nodes_[node_]),
                   " before its answer (", why.message(), ")");
  std::vector<Pending> failed;
  for (auto it = calls_.rbegin(); it != calls_.rend(); ++it) {
    std::vector<Pending>& operations = it->second.operations;
    for (auto each = operations.rbegin(); each != operations.rend(); ++each) {
      if (IsMutation(each->operation) || ++each->sent >= kSendsMax) {
        failed.push_back(std::move(*each));
      } else {
        queue_.push_front(std::move(*each));
      }
    }
  }
  calls_.clear();
  for (auto& [id, lookup] : asked_) lookups_.push_back(std::move(lookup));
  asked_.clear();
  if (greeted) {
    // It was a good node until now: the round begins after it.
    failures_[node_] = std::move(why);
    node_ = (node_ + 1) % nodes_.size();
    Dial();
  } else {
    OnNodeFailed(std::move(why));
  }
  if (greeted && events_.lost) events_.lost(TakeWaiting());
  // In order of submission, and last: they may submit more.
  std::reverse(failed.begin(), failed.end());
  for (Pending& pending : failed) {
    pending.done(IsMutation(pending.operation)
                     ? net::MarkMaybe(absl::UnavailableError(absl::StrCat(
                           lost, "; the operation may have taken effect")))
                     : absl::UnavailableError(lost));
  }
}

// --- Which call ------------------------------------------------------------

void Dispatcher::Pump() {
  if (greeted_) {
    while (!lookups_.empty()) SendLookup();
    while (!queue_.empty() && calls_.size() < options_.calls_in_flight_max &&
           !Gathering()) {
      SendCall();
    }
  }
  ArmTimer();
}

bool Dispatcher::Gathering() {
  if (calls_.empty() || queue_.size() >= kGatheredMax) return false;
  const absl::Duration left = last_call_ + options_.call_spacing - SteadyNow();
  if (left <= absl::ZeroDuration()) return false;
  if (!gathering_) {
    gathering_ = true;
    After(left, [this] {
      gathering_ = false;
      Pump();
    });
  }
  return true;
}

void Dispatcher::SendCall() {
  CallShape shape(options_.operations_per_call_max, kCallBytesMax);
  Call call;
  std::vector<const Operation*> operations;
  absl::Duration latest;
  while (!queue_.empty() &&
         shape.TryAdd(queue_.front().operation, queue_.front().options,
                      queue_.front().weight)) {
    latest = std::max(latest, queue_.front().deadline);
    call.operations.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  call.overdue = latest + kAnswerGrace;
  operations.reserve(call.operations.size());
  for (const Pending& pending : call.operations) {
    operations.push_back(&pending.operation);
  }
  const uint64_t id = next_id_++;
  const uint64_t epoch = epoch_;
  last_call_ = SteadyNow();
  if (events_.sent) events_.sent(id);
  session_->Execute(
      operations, shape.options(), shape.bytes(),
      [this, id, epoch](absl::StatusOr<std::vector<Result>> results) {
        if (epoch == epoch_) OnAnswer(id, std::move(results));
      });
  calls_.emplace(id, std::move(call));
}

void Dispatcher::SendLookup() {
  const uint64_t id = next_id_++;
  const uint64_t epoch = epoch_;
  Lookup& lookup =
      asked_.emplace(id, std::move(lookups_.front())).first->second;
  lookups_.pop_front();
  lookup.ask(*session_, [this, id, epoch] {
    if (epoch == epoch_) asked_.erase(id);
  });
}

void Dispatcher::OnAnswer(uint64_t id,
                          absl::StatusOr<std::vector<Result>> results) {
  if (events_.answered) events_.answered(id);
  const auto it = calls_.find(id);
  std::vector<Pending> operations = std::move(it->second.operations);
  calls_.erase(it);
  if (results.ok() && results->size() != operations.size()) {
    results = net::MarkMaybe(absl::InvalidArgumentError(
        absl::StrCat(operations.size(), " operations were answered with ",
                     results->size(), " results")));
  }
  Pump();  // the node works while the callbacks run
  std::vector<Pending> refused;
  absl::Duration rest;
  for (size_t i = 0; i < operations.size(); ++i) {
    Result result =
        results.ok() ? std::move((*results)[i]) : Result(results.status());
    if (net::IsDeferredRead(result.status())) {
      queue_.push_back(std::move(operations[i]));
    } else if (IsToRest(operations[i], result, rest)) {
      refused.push_back(std::move(operations[i]));
    } else {
      operations[i].done(std::move(result));
    }
  }
  if (!refused.empty()) Rest(std::move(refused), rest);
  Pump();
}

bool Dispatcher::IsToRest(const Pending& pending, const Result& result,
                          absl::Duration& rest) const {
  const auto hint = net::RetryAfterOf(result.status());
  if (!hint || net::MayHaveTakenEffect(result.status()) ||
      pending.refused >= options_.overload_retries ||
      SteadyNow() + 2 * *hint >= pending.deadline) {
    return false;
  }
  rest = std::max(rest, *hint);
  return true;
}

// With a random part on top, or all who were refused together come back
// together.
void Dispatcher::Rest(std::vector<Pending> operations, absl::Duration rest) {
  for (Pending& pending : operations) ++pending.refused;
  const double part = std::uniform_real_distribution<double>(1.0, 1.5)(random_);
  const uint64_t id = next_id_++;
  resting_.emplace(id, std::move(operations));
  After(rest * part, [this, id] {
    auto rested = resting_.extract(id);
    if (rested.empty()) return;
    for (Pending& pending : rested.mapped()) Add(std::move(pending));
    Pump();
  });
}

// --- Deadlines -------------------------------------------------------------

void Dispatcher::ArmTimer() {
  const bool wanted = !queue_.empty() || !lookups_.empty() || !calls_.empty() ||
                      !asked_.empty() || (session_ != nullptr && !greeted_);
  if (timer_armed_ || !wanted) return;
  timer_armed_ = true;
  After(kTick, [this] { OnTimer(); });
}

void Dispatcher::After(absl::Duration delay, std::function<void()> task) {
  loop_.After(delay,
              [alive = std::weak_ptr<char>(alive_), task = std::move(task)] {
                if (!alive.expired()) task();
              });
}

void Dispatcher::OnTimer() {
  timer_armed_ = false;
  const absl::Duration now = SteadyNow();
  if (Overdue(now)) {
    session_->Drop(absl::UnavailableError("no answer in time"));
  }
  FailExpired(now);
  ArmTimer();
}

bool Dispatcher::Overdue(absl::Duration now) const {
  if (session_ == nullptr) return false;
  if (!greeted_) return now > greet_deadline_;
  return std::any_of(
             calls_.begin(), calls_.end(),
             [now](const auto& call) { return now > call.second.overdue; }) ||
         std::any_of(asked_.begin(), asked_.end(), [now](const auto& lookup) {
           return now > lookup.second.deadline + kAnswerGrace;
         });
}

// What waits has not been sent, or is a read: it had no effect.
void Dispatcher::FailExpired(absl::Duration now) {
  const absl::Status why =
      greeted_ ? absl::ResourceExhaustedError(
                     "not sent before its deadline: too much is in flight")
               : EveryNodeFailed();
  const auto late = [now](const Pending& pending) {
    return now > pending.deadline;
  };
  std::vector<Pending> expired;
  std::deque<Pending> kept;
  if (std::any_of(queue_.begin(), queue_.end(), late)) {
    for (Pending& pending : queue_) {
      if (late(pending)) {
        expired.push_back(std::move(pending));
      } else {
        kept.push_back(std::move(pending));
      }
    }
    queue_ = std::move(kept);
  }
  std::vector<Lookup> unasked;
  while (!lookups_.empty() && now > lookups_.front().deadline) {
    unasked.push_back(std::move(lookups_.front()));
    lookups_.pop_front();
  }
  for (Pending& pending : expired) pending.done(why);
  for (Lookup& lookup : unasked) lookup.fail(why);
}

void Dispatcher::Shutdown() {
  ++epoch_;
  greeted_ = false;
  session_.reset();
  const absl::Status closed = absl::UnavailableError("the client was closed");
  const absl::Status maybe = net::MarkMaybe(absl::UnavailableError(
      "the client was closed before the answer; the operation may have taken "
      "effect"));
  for (auto& [id, call] : std::exchange(calls_, {})) {
    for (Pending& pending : call.operations) {
      pending.done(IsMutation(pending.operation) ? maybe : closed);
    }
  }
  for (auto& [id, resting] : std::exchange(resting_, {})) {
    for (Pending& pending : resting) pending.done(closed);
  }
  for (Pending& pending : std::exchange(queue_, {})) pending.done(closed);
  for (auto& [id, lookup] : std::exchange(asked_, {})) lookup.fail(closed);
  for (Lookup& lookup : std::exchange(lookups_, {})) lookup.fail(closed);
  if (events_.first) std::exchange(events_.first, nullptr)(closed);
}

}  // namespace dovetail::internal
