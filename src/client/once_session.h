// Exactly-once sessions: operations that may be repeated until they are known
// to have taken effect, and take effect once.
//
//   auto once = *db->ExactlyOnceSession();
//   auto paid = once->bucket("shop").counter("paid").Add(100);
//   if (!paid.ok() && dovetail::MayHaveTakenEffect(paid.status())) {
//     once->Resolve(absl::Minutes(1));   // sends it again, under its old id
//   }
//
// Each mutation gets an id, and until its deadline it is sent again under that
// id, to one node after the other. Wherever it runs it is the same delta
// (crdt/session.h). What differs from the client's own handles:
//  - A verb that removes or replaces something reads first what that is, unless
//    it has a token: one more round trip, and not one of W and Durability.
//  - An element added to a set takes nothing with it but what this session
//    added before.
//  - Clearing or deleting more than crdt::kDotsPerClearDelta values is
//    InvalidArgument: it would take several deltas.
//  - Mutations of one partition run one after the other.
//
// What it costs: 16 bytes and more in the context of each partition that it
// wrote to, on every node, for ever, and an entry of some 32 bytes in each
// counter it added to (one more after each failure). So make one session for a
// process, not one for an operation. It has a thread and a connection of its
// own. It keeps nothing on disk: what is in doubt when the process ends stays
// in doubt.
//
// Safe for use from any thread, but Resolve() and the destructor must not run
// inside a callback.
#ifndef DOVETAIL_SRC_CLIENT_ONCE_SESSION_H_
#define DOVETAIL_SRC_CLIENT_ONCE_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "crdt/dot.h"
#include "src/client/handles.h"
#include "src/client/types.h"

namespace dovetail {

namespace internal {

// What a session needs of the client below it.
class Caller : public Submitter {
 public:
  // Runs `task` on the client's thread; false if the client was stopped.
  virtual bool Post(std::function<void()> task) = 0;
  // When an operation with this timeout has to be answered.
  virtual absl::Duration Deadline(absl::Duration timeout) const = 0;
  // No callback runs after it.
  virtual void Stop() = 0;

  // --- On the client's thread only ---
  virtual void After(absl::Duration pause, std::function<void()> task) = 0;
  // Names the connection of now.
  virtual uint64_t connection() const = 0;
  // Gives it up for one to the next node, if there is another.
  virtual void NextNode() = 0;
};

class OnceSubmitter;

}  // namespace internal

class OnceSession {
 public:
  // Made by Client::ExactlyOnceSession().
  OnceSession(std::unique_ptr<internal::Caller> caller, crdt::ActorId session,
              uint32_t partitions);
  // What is unanswered fails with Unavailable.
  ~OnceSession();
  OnceSession(const OnceSession&) = delete;
  OnceSession& operator=(const OnceSession&) = delete;

  // As of the client. A failure with MayHaveTakenEffect() is in doubt: it has
  // happened once, or not yet, or never will. Making the same call again would
  // be another operation; Resolve() is how to try again.
  Bucket bucket(absl::string_view name);
  AsyncBucket async_bucket(absl::string_view name);
  absl::StatusOr<BatchWritten> Run(const Batch& batch,
                                   const WriteOptions& options = {});
  std::future<absl::StatusOr<BatchWritten>> RunAsync(
      const Batch& batch, const WriteOptions& options = {});

  // Sends everything in doubt again, each under its id. OK: all of it has now
  // taken effect, once. Else the first failure; the rest stays in doubt.
  // Zero: ClientOptions::timeout.
  absl::Status Resolve(absl::Duration timeout = absl::ZeroDuration());
  // Operations in doubt. At kInDoubtMax mutations fail with ResourceExhausted.
  size_t in_doubt() const;
  static constexpr size_t kInDoubtMax = 1'000;

  // As it stands in dots, logs and tokens.
  crdt::ActorId id() const { return id_; }

 private:
  const crdt::ActorId id_;
  std::unique_ptr<internal::OnceSubmitter> submitter_;
};

}  // namespace dovetail

#endif  // DOVETAIL_SRC_CLIENT_ONCE_SESSION_H_
