// One connection to one node: calls go out, answers come back, and if it breaks
// everybody is told once. What to do then is the dispatcher's to decide.
//
// All of it on the thread of the event loop.
#ifndef DOVETAIL_SRC_CLIENT_SESSION_H_
#define DOVETAIL_SRC_CLIENT_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "net/client_types.h"
#include "net/event_loop.h"
#include "net/socket.h"
#include "replica/request.h"
#include "replica/ring_stamp.h"

namespace dovetail::internal {

class Session {
 public:
  template <class T>
  using Done = std::function<void(absl::StatusOr<T>)>;

  // `lost` runs at most once, with the reason, when the connection is of no
  // more use; the session must not be destroyed inside of it. From then on no
  // callback of a call runs any more.
  Session(net::EventLoop& loop, net::Socket socket,
          std::function<void(absl::Status)> lost);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Each calls `done` when the answer is there, never inside the call. A
  // failure that leaves open whether the node did it is marked (MarkMaybe).
  void Hello(const std::string& client_name, Done<net::Hello> done);
  // What comes of an answer by a newer ring than the one that was named.
  void OnNewerRing(std::function<void(const replica::RingStamp&)> newer);
  // By which ring nodes are chosen, for operations and listings to name; epoch
  // 0 for none.
  void NameRing(std::function<replica::RingStamp()> ring);
  // `operations` is read within the call only.
  void Execute(absl::Span<const net::ClientOperation* const> operations,
               const replica::RequestOptions& options, size_t bytes,
               Done<std::vector<net::ClientResult>> done);
  // FailedPrecondition for one with a session, at a node that does not know of
  // these.
  void List(const replica::ListRequest& request,
            const replica::RequestOptions& options,
            Done<replica::ListReply> done);
  void Status(Done<net::NodeStatus> done);
  void Digest(uint32_t first, Done<net::NodeDigests> done);
  void Cluster(Done<net::ClusterView> done);
  void Admin(const net::ClusterAdmin& admin, Done<net::PlanView> done);
  void Buckets(const net::BucketRequest& request, Done<net::BucketPage> done);
  void Backup(const std::string& name, Done<net::BackupMade> done);

  // Gives the connection up for `reason`, as if it had broken.
  void Drop(absl::Status reason);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dovetail::internal

#endif  // DOVETAIL_SRC_CLIENT_SESSION_H_
