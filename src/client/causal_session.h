// A causal session: one user's view of the store, which only moves forward.
//
//   dovetail::CausalSession ann = (*db)->NewSession();
//   ann.bucket("shop").set("cart").Add("milk");
//   ann.bucket("shop").set("cart").Read();   // has milk, whoever answers
//   ann.List("shop", "");                    // has cart
//
// Whatever node coordinates, stand-ins included: reads show what the session
// wrote (read your writes) and nothing it saw is undone by a later read, a
// delete neither (monotonic reads); its writes come after what it saw and wrote
// (writes follow reads, monotonic writes). If nobody who can be reached has it,
// the operation fails: a read with DeadlineExceeded, a write with Unavailable.
// A mutation that failed but may have taken effect is not part of it.
//
// How: every answer brings a token of what it rests on, a set of intervals for
// its partition; the next request on that partition takes it along, and a
// listing those of all partitions.
//
// Copies share what was seen; use them from any thread. Operations in flight at
// the same time do not wait for each other, so only what was answered before
// an operation began is sure to be seen by it. Handles made from a session must
// not outlive it, nor it its client.
#ifndef DOVETAIL_SRC_CLIENT_CAUSAL_SESSION_H_
#define DOVETAIL_SRC_CLIENT_CAUSAL_SESSION_H_

#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "src/client/handles.h"
#include "src/client/types.h"

namespace dovetail {

class CausalSession {
 public:
  Bucket bucket(absl::string_view name);
  AsyncBucket async_bucket(absl::string_view name);
  // As Client::Run.
  absl::StatusOr<BatchWritten> Run(const Batch& batch,
                                   const WriteOptions& options = {});
  std::future<absl::StatusOr<BatchWritten>> RunAsync(
      const Batch& batch, const WriteOptions& options = {});

  // The form below: an operation as data, as Client::Submit.
  void Submit(Operation operation, const CallOptions& options,
              absl::AnyInvocable<void(Result)> done);

  // As Client::List: the page shows all that the session has seen. It adds
  // nothing to it. Errors beside those of a listing: ResourceExhausted (the
  // session is over list_session_bytes_max), FailedPrecondition (the node is of
  // a version without listings for sessions).
  absl::StatusOr<Listing> List(
      absl::string_view bucket, absl::string_view prefix,
      const std::optional<ObjectId>& after = std::nullopt, uint32_t limit = 0,
      const CallOptions& options = {});
  // As Client::SubmitList.
  void SubmitList(replica::ListRequest request, const CallOptions& options,
                  absl::AnyInvocable<void(absl::StatusOr<Listing>)> done);

  // What the session has seen so far, as bytes: for going on with it in
  // another process. Not secret.
  std::string Save() const;
  // Adds what a saved session has seen. Errors: InvalidArgument (no saved
  // session, or one of a cluster with another number of partitions); then
  // nothing is added.
  absl::Status Restore(absl::string_view saved);

 private:
  friend class Client;
  class Impl;
  CausalSession(internal::Submitter& client, internal::Lister& lister);

  std::shared_ptr<Impl> impl_;
};

}  // namespace dovetail

#endif  // DOVETAIL_SRC_CLIENT_CAUSAL_SESSION_H_
