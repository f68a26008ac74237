// What runs the operations of an exactly-once session: reads the tokens they
// need, gives them their ids, and sends each until its fate is known.
//
// All state belongs to the client's thread. A lane for each partition runs one
// mutation at a time, so that the session's numbers and counter entries follow
// each other:
//
//   Submit → Enqueue → [ReadTokens] → Send → OnResult → Finish → the next
//                                      ↑ pause, other node ↓
#ifndef DOVETAIL_SRC_CLIENT_ONCE_SUBMITTER_H_
#define DOVETAIL_SRC_CLIENT_ONCE_SUBMITTER_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "crdt/hlc.h"
#include "crdt/session.h"
#include "replica/ids.h"
#include "src/client/once_session.h"

namespace dovetail::internal {

class OnceSubmitter final : public Submitter {
 public:
  OnceSubmitter(std::unique_ptr<Caller> caller, crdt::ActorId session,
                uint32_t partitions);
  ~OnceSubmitter() override;

  void Submit(Operation operation, const CallOptions& options,
              absl::AnyInvocable<void(Result)> done) override;
  void CheckMayBlock() const override { caller_->CheckMayBlock(); }

  // Sends what is in doubt again; `done` gets how it went.
  void Resolve(absl::Duration timeout, std::function<void(absl::Status)> done);
  size_t in_doubt() const { return in_doubt_count_; }

 private:
  using Prepared = crdt::SessionWriter::Prepared;
  struct Job {
    replica::WriteRequest request;
    CallOptions options;
    absl::AnyInvocable<void(Result)> done;
    absl::Duration deadline;
    std::optional<Prepared> prepared;
    // Some attempt may have taken effect.
    bool in_doubt = false;
    absl::Duration pause;
    uint64_t connection = 0;  // when it was last submitted
    // Reads of tokens that are unanswered, and how they went.
    size_t reads_left = 0;
    absl::Status read_status;
  };
  struct Lane {
    explicit Lane(crdt::ActorId session) : writer(session) {}
    crdt::SessionWriter writer;
    std::deque<std::unique_ptr<Job>> jobs;  // the first is under way
  };
  struct Doubtful {
    replica::PartitionId partition{};
    CallOptions options;
    Prepared prepared;
  };
  using LaneId = replica::PartitionId;

  void Enqueue(std::unique_ptr<Job> job);
  void Add(LaneId id, std::unique_ptr<Job> job);
  // The partition of all operations.
  absl::StatusOr<LaneId> LaneOf(const replica::WriteRequest& request) const;
  void Begin(LaneId id);
  void ReadTokens(LaneId id, Job& job);
  void OnToken(LaneId id, size_t operation, Result result);
  void Prepare(LaneId id, Job& job);
  void Send(LaneId id);
  void OnResult(LaneId id, Result result);
  // Tries again after a pause, or gives up with `why` if there is no time.
  void TryAgain(LaneId id, const absl::Status& why,
                void (OnceSubmitter::*next)(LaneId));
  void Finish(LaneId id, Result result);
  absl::Duration AttemptTimeout(const Job& job) const;

  const std::unique_ptr<Caller> caller_;
  const crdt::ActorId session_;
  const uint32_t partitions_;
  std::map<LaneId, Lane> lanes_;
  std::vector<Doubtful> in_doubt_;
  std::atomic<size_t> in_doubt_count_{0};
  crdt::HybridClock clock_;
  std::atomic<bool> closing_{false};
};

}  // namespace dovetail::internal

#endif  // DOVETAIL_SRC_CLIENT_ONCE_SUBMITTER_H_
