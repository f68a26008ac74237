// A node for testing clients: the client schema over a real socket of this
// machine, one in-memory replica of crdt/ behind it, and every misbehaviour a
// client must live through. A thread of its own.
#ifndef DOVETAIL_TESTS_CLIENT_FAKE_NODE_H_
#define DOVETAIL_TESTS_CLIENT_FAKE_NODE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "net/client_types.h"
#include "replica/request.h"
#include "replica/ring_stamp.h"

namespace dovetail {

// What the node does with the execute calls it gets.
enum class Behaviour {
  kServe,
  // Takes the call and closes the connection instead of answering.
  kHangUp,
  // The same, but carries the call out first.
  kServeThenHangUp,
  // Never answers, and keeps the connection.
  kSilent,
  // Throws, as a broken server would.
  kThrow,
};

class FakeNode {
 public:
  // Listens on 127.0.0.1 at `port`, 0 for any.
  explicit FakeNode(uint16_t port = 0);
  ~FakeNode();
  FakeNode(const FakeNode&) = delete;
  FakeNode& operator=(const FakeNode&) = delete;

  std::string address() const;
  uint16_t port() const;

  // From any thread; what follows acts on calls that arrive from now on.
  void SetBehaviour(Behaviour behaviour);
  // Answers the next so many operations with `why`.
  void Refuse(size_t operations, absl::Status why);
  // Holds calls back until Release(): what a slow node looks like.
  void Hold();
  void Release();
  // Answers each call that much later.
  void SetDelay(absl::Duration delay);
  // Says this of its protocol in hello.
  void SetVersions(uint32_t oldest, uint32_t newest);
  // Says of itself in hello: its id and the epoch of its ring.
  void SetHello(replica::NodeId id, uint64_t epoch);
  // Says beside its answers, to who goes by an older ring, that it goes by
  // this.
  void SetRing(const replica::RingStamp& ring);
  // What it answers when asked for the cluster. Without one it is a node that
  // does not know this call.
  void SetView(net::ClusterView view);
  // What else it answers when asked for its status.
  void SetTransfers(std::vector<replica::TransferProgress> transfers);
  // Does what operators ask, on its thread. Without it, as without a view.
  void SetAdmin(
      std::function<absl::StatusOr<net::PlanView>(const net::ClusterAdmin&)>
          admin);
  // Closes every connection.
  void HangUpAll();

  // Operations in each execute call so far, in order.
  std::vector<size_t> call_sizes() const;
  // The key of each operation so far (of a batch: its first), in order.
  std::vector<std::string> keys() const;
  size_t lists() const;
  size_t views() const;
  // The options of the last call.
  replica::RequestOptions last_options() const;
  // The ring that the last call named, and the last listing.
  replica::RingStamp last_ring() const;
  replica::RingStamp last_list_ring() const;
  // What came with the last operation of the last execute call.
  std::optional<replica::SessionToken> last_session() const;
  // What came with the last listing.
  std::vector<replica::SessionToken> last_list_session() const;
  size_t connections() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dovetail

#endif  // DOVETAIL_TESTS_CLIENT_FAKE_NODE_H_
