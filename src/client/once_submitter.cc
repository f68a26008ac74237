#include "src/client/once_submitter.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "crdt/check.h"
#include "crdt/limits.h"
#include "crdt/path.h"
#include "replica/hash.h"
#include "src/client/packing.h"
#include "src/client/steady_clock.h"

namespace dovetail::internal {
namespace {

constexpr absl::Duration kPauseMin = absl::Milliseconds(20);
constexpr absl::Duration kPauseMax = absl::Milliseconds(500);
// An attempt gets a part of the time, so that some is left for other nodes.
constexpr int kAttempts = 4;
constexpr absl::Duration kAttemptMin = absl::Milliseconds(200);
// Waiting in one partition; one more fails.
constexpr size_t kWaitingMax = 10'000;

// Only these say for certain that the operation had no effect, here or later.
bool HadNoEffect(const absl::Status& status) {
  return !MayHaveTakenEffect(status) && (absl::IsInvalidArgument(status) ||
                                         absl::IsResourceExhausted(status) ||
                                         absl::IsPermissionDenied(status));
}

bool IsFinal(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsPermissionDenied(status);
}

// The reads that show what `operation` is to remove or to replace.
// Whether all that it observes is when the object expires, which every page
// has.
bool IsOfExpiry(const Mutation& operation) {
  return operation.verb == crdt::Verb::kExpireIn ||
         operation.verb == crdt::Verb::kExpireAt ||
         operation.verb == crdt::Verb::kPersist;
}

std::vector<replica::ReadRequest> ReadsFor(const Mutation& operation) {
  replica::ReadRequest read;
  read.spec.object = operation.object;
  read.spec.fields = operation.fields;
  read.spec.want_token = true;
  if (operation.verb == crdt::Verb::kRemoveField) {
    read.spec.fields.push_back(operation.child);
  }
  if (IsOfExpiry(operation)) read.spec.limit = 1;
  if (operation.elements.empty()) return {read};
  std::vector<replica::ReadRequest> reads;
  for (const std::string& element : operation.elements) {
    read.spec.element = element;
    reads.push_back(read);
  }
  return reads;
}

}  // namespace

OnceSubmitter::OnceSubmitter(std::unique_ptr<Caller> caller,
                             crdt::ActorId session, uint32_t partitions)
    : caller_(std::move(caller)), session_(session), partitions_(partitions) {}

OnceSubmitter::~OnceSubmitter() {
  closing_ = true;
  caller_->Stop();
  // The client's thread has ended: what it leaves is failed here.
  const absl::Status closed = absl::UnavailableError(
      "the session was closed before the answer; the operation may have taken "
      "effect");
  for (auto& [id, lane] : lanes_) {
    for (auto& job : lane.jobs) {
      if (job->done == nullptr) continue;
      job->done(job->prepared
                    ? net::MarkMaybe(closed)
                    : absl::UnavailableError("the session was closed"));
    }
  }
}

void OnceSubmitter::Submit(Operation operation, const CallOptions& options,
                           absl::AnyInvocable<void(Result)> done) {
  if (!IsMutation(operation)) {
    return caller_->Submit(std::move(operation), options, std::move(done));
  }
  // Shared, since a std::function must be copyable; there is one owner.
  auto job = std::make_shared<std::unique_ptr<Job>>(std::make_unique<Job>());
  (*job)->request = std::get<replica::WriteRequest>(std::move(operation));
  (*job)->options = options;
  (*job)->deadline = caller_->Deadline(options.timeout);
  (*job)->done = std::move(done);
  if (!caller_->Post([this, job] { Enqueue(std::move(*job)); })) {
    (*job)->done(absl::UnavailableError("the session was closed"));
  }
}

absl::StatusOr<OnceSubmitter::LaneId> OnceSubmitter::LaneOf(
    const replica::WriteRequest& request) const {
  std::optional<LaneId> lane;
  for (const Mutation& operation : request.operations) {
    const LaneId its = replica::PartitionOf(operation.object.bucket,
                                            operation.object.key, partitions_);
    if (lane && *lane != its) {
      return absl::InvalidArgumentError(
          "an atomic batch lies in one partition; keys that share a {tag} "
          "share a partition");
    }
    lane = its;
  }
  if (!lane) return absl::InvalidArgumentError("a write without operations");
  return *lane;
}

void OnceSubmitter::Enqueue(std::unique_ptr<Job> job) {
  const absl::StatusOr<LaneId> lane = LaneOf(job->request);
  if (!lane.ok()) return job->done(lane.status());
  if (in_doubt_.size() >= OnceSession::kInDoubtMax) {
    return job->done(absl::ResourceExhaustedError(
        absl::StrCat(in_doubt_.size(),
                     " operations of the session are in doubt (kInDoubtMax): "
                     "Resolve() them first")));
  }
  const auto waiting = lanes_.find(*lane);
  if (waiting != lanes_.end() && waiting->second.jobs.size() >= kWaitingMax) {
    return job->done(absl::ResourceExhaustedError(absl::StrCat(
        kWaitingMax, " operations of the session wait for one partition")));
  }
  Add(*lane, std::move(job));
}

void OnceSubmitter::Add(LaneId id, std::unique_ptr<Job> job) {
  Lane& lane = lanes_.try_emplace(id, session_).first->second;
  job->pause = kPauseMin;
  lane.jobs.push_back(std::move(job));
  if (lane.jobs.size() == 1) Begin(id);
}

void OnceSubmitter::Begin(LaneId id) {
  Job& job = *lanes_.at(id).jobs.front();
  if (job.prepared) return Send(id);
  job.read_status = absl::OkStatus();
  ReadTokens(id, job);
}

void OnceSubmitter::ReadTokens(LaneId id, Job& job) {
  CallOptions options;
  options.timeout = AttemptTimeout(job);
  job.connection = caller_->connection();
  std::vector<std::pair<size_t, replica::ReadRequest>> reads;
  std::vector<Mutation>& operations = job.request.operations;
  for (size_t i = 0; i < operations.size(); ++i) {
    if (!crdt::NeedsToken(operations[i])) continue;
    for (replica::ReadRequest& read : ReadsFor(operations[i])) {
      reads.emplace_back(i, std::move(read));
    }
  }
  if (reads.empty()) return Prepare(id, job);
  job.reads_left = reads.size();
  for (auto& [operation, read] : reads) {
    caller_->Submit(std::move(read), options,
                    [this, id, index = operation](Result result) {
                      OnToken(id, index, std::move(result));
                    });
  }
}

void OnceSubmitter::OnToken(LaneId id, size_t operation, Result result) {
  Job& job = *lanes_.at(id).jobs.front();
  job.read_status.Update(result.status());
  if (result.ok()) {
    auto* read = std::get_if<replica::ReadReply>(&*result);
    if (read == nullptr || !read->result.token) {
      job.read_status.Update(
          absl::InvalidArgumentError("the node answered without a token"));
    } else if (read->result.more &&
               !IsOfExpiry(job.request.operations[operation])) {
      job.read_status.Update(absl::InvalidArgumentError(
          "too large to be removed in one delta, as an exactly-once operation "
          "must be: remove in parts"));
    } else {
      Mutation& mutation = job.request.operations[operation];
      Token token{mutation.object, crdt::Path::OfFields(mutation.fields), {}};
      if (mutation.observed) token = *std::move(mutation.observed);
      token.leaves.merge(read->result.token->leaves);
      mutation.observed = std::move(token);
    }
  }
  if (--job.reads_left > 0) return;
  if (job.read_status.ok()) return Prepare(id, job);
  // Tokens of one reading only: the next attempt reads all of them again.
  for (Mutation& mutation : job.request.operations) {
    Mutation bare = mutation;
    bare.observed.reset();
    if (crdt::NeedsToken(bare)) mutation.observed.reset();
  }
  if (IsFinal(job.read_status)) return Finish(id, job.read_status);
  TryAgain(id, job.read_status, &OnceSubmitter::Begin);
}

void OnceSubmitter::Prepare(LaneId id, Job& job) {
  const crdt::Timestamp stamp =
      clock_.Next(static_cast<uint64_t>(absl::ToUnixMillis(absl::Now())));
  auto prepared =
      lanes_.at(id).writer.Prepare(std::move(job.request.operations), stamp);
  if (!prepared.ok()) return Finish(id, prepared.status());
  job.prepared = *std::move(prepared);
  Send(id);
}

absl::Duration OnceSubmitter::AttemptTimeout(const Job& job) const {
  const absl::Duration left = job.deadline - SteadyNow();
  const absl::Duration whole =
      caller_->Deadline(job.options.timeout) - SteadyNow();
  return std::max(std::min(left, std::max(whole / kAttempts, kAttemptMin)),
                  absl::Milliseconds(1));
}

void OnceSubmitter::Send(LaneId id) {
  Job& job = *lanes_.at(id).jobs.front();
  CallOptions options = job.options;
  options.timeout = AttemptTimeout(job);
  job.connection = caller_->connection();
  caller_->Submit(
      replica::WriteRequest{job.prepared->operations, job.prepared->id},
      options, [this, id](Result result) { OnResult(id, std::move(result)); });
}

void OnceSubmitter::OnResult(LaneId id, Result result) {
  if (result.ok()) return Finish(id, std::move(result));
  Job& job = *lanes_.at(id).jobs.front();
  job.in_doubt |= !HadNoEffect(result.status());
  if (IsFinal(result.status())) return Finish(id, std::move(result));
  TryAgain(id, result.status(), &OnceSubmitter::Send);
}

void OnceSubmitter::TryAgain(LaneId id, const absl::Status& why,
                             void (OnceSubmitter::*next)(LaneId)) {
  Job& job = *lanes_.at(id).jobs.front();
  if (closing_) return;  // the destructor answers
  job.pause = std::max(job.pause,
                       net::RetryAfterOf(why).value_or(absl::ZeroDuration()));
  if (SteadyNow() + job.pause >= job.deadline) return Finish(id, why);
  // Overload is no reason to go; and of all that failed over one connection,
  // unless it broke by itself, one gives it up.
  if (!absl::IsResourceExhausted(why) &&
      job.connection == caller_->connection()) {
    caller_->NextNode();
  }
  caller_->After(job.pause, [this, id, next] { (this->*next)(id); });
  job.pause = std::min(2 * job.pause, kPauseMax);
}

void OnceSubmitter::Finish(LaneId id, Result result) {
  if (closing_) return;
  Lane& lane = lanes_.at(id);
  const std::unique_ptr<Job> job = std::move(lane.jobs.front());
  lane.jobs.pop_front();
  if (!result.ok() && job->prepared) {
    lane.writer.Forget(*job->prepared);
    if (job->in_doubt) {
      result = net::MarkMaybe(
          absl::Status(result.status().code(),
                       absl::StrCat(result.status().message(),
                                    "; in doubt: Resolve() sends it again")));
      in_doubt_.push_back({id, job->options, *std::move(job->prepared)});
      in_doubt_count_ = in_doubt_.size();
    }
  }
  job->done(std::move(result));
  if (!lane.jobs.empty()) {
    // Not from here: a long queue of failures would nest as deep.
    caller_->After(absl::ZeroDuration(), [this, id] { Begin(id); });
  }
}

void OnceSubmitter::Resolve(absl::Duration timeout,
                            std::function<void(absl::Status)> done) {
  const bool posted = caller_->Post([this, timeout, done] {
    std::vector<Doubtful> all = std::exchange(in_doubt_, {});
    in_doubt_count_ = 0;
    if (all.empty()) return done(absl::OkStatus());
    struct Outcome {
      size_t left;
      absl::Status status;
    };
    auto outcome = std::make_shared<Outcome>(Outcome{all.size(), {}});
    for (Doubtful& each : all) {
      auto job = std::make_unique<Job>();
      job->options = each.options;
      job->options.timeout = timeout;
      job->deadline = caller_->Deadline(timeout);
      job->prepared = std::move(each.prepared);
      job->in_doubt = true;
      job->done = [outcome, done](Result result) {
        outcome->status.Update(result.status());
        if (--outcome->left == 0) done(outcome->status);
      };
      Add(each.partition, std::move(job));
    }
  });
  if (!posted) done(absl::UnavailableError("the session was closed"));
}

}  // namespace dovetail::internal
