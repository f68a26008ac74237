#include "src/client/answers.h"

#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "crdt/check.h"

namespace dovetail::internal {
namespace {

template <class Reply>
absl::StatusOr<Reply> Take(Result result) {
  if (!result.ok()) return result.status();
  if (Reply* reply = std::get_if<Reply>(&*result)) return std::move(*reply);
  return absl::InvalidArgumentError(
      "the node answered a read as a write, or the other way round");
}

// All of a Reading but its value.
template <class T>
Reading<T> About(replica::ReadReply& reply) {
  Reading<T> out;
  out.present = reply.result.view.present;
  out.more = reply.result.more;
  if (reply.result.expires_ms > 0) {
    out.expires =
        absl::FromUnixMillis(static_cast<int64_t>(reply.result.expires_ms));
  }
  out.token = std::move(reply.result.token);
  out.receipt = std::move(reply.receipt);
  return out;
}

}  // namespace

absl::StatusOr<Written> ToWritten(Result result) {
  DOVETAIL_ASSIGN_OR_RETURN(auto reply,
                            Take<replica::WriteReply>(std::move(result)));
  Written out;
  out.receipt = std::move(reply.receipt);
  out.not_observed = !reply.not_observed.empty() && reply.not_observed.front();
  out.deltas = reply.deltas;
  return out;
}

absl::StatusOr<BatchWritten> ToBatchWritten(Result result) {
  DOVETAIL_ASSIGN_OR_RETURN(auto reply,
                            Take<replica::WriteReply>(std::move(result)));
  BatchWritten out;
  out.receipt = std::move(reply.receipt);
  out.not_observed = std::move(reply.not_observed);
  return out;
}

absl::StatusOr<Reading<std::optional<std::string>>> ToRegister(Result result) {
  DOVETAIL_ASSIGN_OR_RETURN(auto reply,
                            Take<replica::ReadReply>(std::move(result)));
  auto out = About<std::optional<std::string>>(reply);
  std::vector<std::string>& values = reply.result.view.values;
  if (!values.empty()) out.value = std::move(values.front());
  return out;
}

absl::StatusOr<Reading<std::vector<std::string>>> ToValues(Result result) {
  DOVETAIL_ASSIGN_OR_RETURN(auto reply,
                            Take<replica::ReadReply>(std::move(result)));
  auto out = About<std::vector<std::string>>(reply);
  out.value = std::move(reply.result.view.values);
  return out;
}

absl::StatusOr<Reading<bool>> ToFlag(Result result) {
  DOVETAIL_ASSIGN_OR_RETURN(auto reply,
                            Take<replica::ReadReply>(std::move(result)));
  auto out = About<bool>(reply);
  out.value = reply.result.view.flag;
  return out;
}

absl::StatusOr<Reading<int64_t>> ToNumber(Result result) {
  DOVETAIL_ASSIGN_OR_RETURN(auto reply,
                            Take<replica::ReadReply>(std::move(result)));
  auto out = About<int64_t>(reply);
  out.value = reply.result.view.number;
  return out;
}

absl::StatusOr<Reading<View>> ToView(Result result) {
  DOVETAIL_ASSIGN_OR_RETURN(auto reply,
                            Take<replica::ReadReply>(std::move(result)));
  auto out = About<View>(reply);
  out.value = std::move(reply.result.view);
  return out;
}

std::future<absl::StatusOr<BatchWritten>> RunBatch(
    Submitter& submitter, const Batch& batch, const WriteOptions& options) {
  std::promise<absl::StatusOr<BatchWritten>> promise;
  auto future = promise.get_future();
  if (batch.empty()) {
    promise.set_value(absl::InvalidArgumentError("batch without operations"));
    return future;
  }
  if (options.token.has_value()) {
    promise.set_value(absl::InvalidArgumentError(
        "tokens belong to the operations of a batch, not to the batch"));
    return future;
  }
  CallOptions call;
  call.write = options.w;
  call.durability = options.durability;
  call.quorums = options.quorums;
  call.timeout = options.timeout;
  submitter.Submit(
      replica::WriteRequest{batch.mutations()}, call,
      [promise = std::move(promise)](Result result) mutable {
        promise.set_value(ToBatchWritten(std::move(result)));
      });
  return future;
}

}  // namespace dovetail::internal
