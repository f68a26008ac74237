#include "src/client/once_session.h"

#include <utility>

#include "src/client/answers.h"
#include "src/client/once_submitter.h"

namespace dovetail {
namespace {

internal::Place PlaceOf(internal::Submitter& submitter,
                        absl::string_view bucket) {
  internal::Place place;
  place.submitter = &submitter;
  place.object.bucket = std::string(bucket);
  return place;
}

}  // namespace

OnceSession::OnceSession(std::unique_ptr<internal::Caller> caller,
                         crdt::ActorId session, uint32_t partitions)
    : id_(session),
      submitter_(std::make_unique<internal::OnceSubmitter>(
          std::move(caller), session, partitions)) {}
OnceSession::~OnceSession() = default;

Bucket OnceSession::bucket(absl::string_view name) {
  return Bucket(PlaceOf(*submitter_, name));
}
AsyncBucket OnceSession::async_bucket(absl::string_view name) {
  return AsyncBucket(PlaceOf(*submitter_, name));
}

std::future<absl::StatusOr<BatchWritten>> OnceSession::RunAsync(
    const Batch& batch, const WriteOptions& options) {
  return internal::RunBatch(*submitter_, batch, options);
}

absl::StatusOr<BatchWritten> OnceSession::Run(const Batch& batch,
                                              const WriteOptions& options) {
  submitter_->CheckMayBlock();
  return RunAsync(batch, options).get();
}

absl::Status OnceSession::Resolve(absl::Duration timeout) {
  submitter_->CheckMayBlock();
  // Shared: set_value() may still be at work in it when the wait is over.
  const auto promise = std::make_shared<std::promise<absl::Status>>();
  submitter_->Resolve(timeout, [promise](absl::Status status) {
    promise->set_value(std::move(status));
  });
  return promise->get_future().get();
}

size_t OnceSession::in_doubt() const { return submitter_->in_doubt(); }

}  // namespace dovetail
