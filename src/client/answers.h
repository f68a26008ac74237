// From the one form in which results come over the wire to what each verb of
// the handles promises.
#ifndef DOVETAIL_SRC_CLIENT_ANSWERS_H_
#define DOVETAIL_SRC_CLIENT_ANSWERS_H_

#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "src/client/handles.h"
#include "src/client/types.h"

namespace dovetail::internal {

// Errors of all: those of the result; InvalidArgument if the node answered a
// write like a read or the other way round.
absl::StatusOr<Written> ToWritten(Result result);
absl::StatusOr<BatchWritten> ToBatchWritten(Result result);
absl::StatusOr<Reading<std::optional<std::string>>> ToRegister(Result result);
absl::StatusOr<Reading<std::vector<std::string>>> ToValues(Result result);
absl::StatusOr<Reading<bool>> ToFlag(Result result);
absl::StatusOr<Reading<int64_t>> ToNumber(Result result);
absl::StatusOr<Reading<View>> ToView(Result result);

// Runs a batch at `submitter`.
std::future<absl::StatusOr<BatchWritten>> RunBatch(Submitter& submitter,
                                                   const Batch& batch,
                                                   const WriteOptions& options);

}  // namespace dovetail::internal

#endif  // DOVETAIL_SRC_CLIENT_ANSWERS_H_
