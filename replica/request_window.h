// How long did what a shard was asked take, in the short while that is over?
// For TransferPace. No clock here: whoever counts says what time it is.
#ifndef DOVETAIL_REPLICA_REQUEST_WINDOW_H_
#define DOVETAIL_REPLICA_REQUEST_WINDOW_H_

#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "replica/message.h"
#include "replica/transfer_pace.h"

namespace dovetail::replica {

// Whether another node's request waits for what this brings or asks, so that it
// counts like a client's.
bool IsPartOfRequest(const Message& message);

class RequestWindow {
 public:
  void Add(absl::Duration took);
  // What a window of a quarter of a second has seen, once it is over: then the
  // next one begins.
  std::optional<RequestTimes> Look(absl::Duration now);

 private:
  std::vector<absl::Duration> took_;
  uint64_t requests_ = 0;
  absl::Duration began_ = -absl::InfiniteDuration();
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_REQUEST_WINDOW_H_
