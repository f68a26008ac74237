// Which node, which call, and again or not: the client's policy, on the thread
// of its event loop.
//
//  - Operations wait in one queue, in order. While fewer than
//    calls_in_flight_max calls are unanswered, all that fit go out as one call;
//    while any are, call_spacing lets some gather for it first.
//  - A connection that breaks, or owes an answer for too long, is given up:
//    the reads it owed go back to the front of the queue, the mutations fail
//    as ones that may have taken effect. Then the next node is dialled; after
//    a round without success there is a pause, doubling up to pause_max.
//  - With a router above (router.h) what waits when a connection breaks is its
//    to place again.
//  - What an overloaded node has refused, with a hint, is sent again after that
//    time and a random part of half of it, overload_retries times at the most.
//  - Nothing waits longer than its deadline.
#ifndef DOVETAIL_SRC_CLIENT_DISPATCHER_H_
#define DOVETAIL_SRC_CLIENT_DISPATCHER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "net/endpoint.h"
#include "net/event_loop.h"
#include "src/client/client.h"
#include "src/client/packing.h"
#include "src/client/session.h"
#include "src/client/steady_clock.h"

namespace dovetail::internal {

// An operation from its submission to its result.
struct Pending {
  Operation operation;
  CallOptions options;
  Weight weight;
  absl::Duration deadline;  // SteadyNow()
  absl::AnyInvocable<void(Result)> done;
  uint32_t sent = 0;     // connections that were lost with it
  uint32_t refused = 0;  // times, for overload
};

// A listing or inspection: it changes nothing, so it may be asked again.
struct Lookup {
  // Asks `session`; calls `answered` once the answer was delivered.
  std::function<void(Session& session, std::function<void()> answered)> ask;
  absl::Duration deadline;
  std::function<void(absl::Status)> fail;
};

// What has not been sent, or may be sent again.
struct Waiting {
  std::deque<Pending> operations;
  std::deque<Lookup> lookups;
};

// What a dispatcher tells of its connection. Each may be left out.
struct ConnectionEvents {
  // Once: OK when a node has said hello, or what each of them failed with.
  std::function<void(absl::Status)> first;
  // At each hello.
  std::function<void(const net::Endpoint&)> connected;
  // A node that had said hello is gone; takes over all that waits. Left out:
  // that waits for the next node.
  std::function<void(Waiting)> lost;
  // Of execute calls, by a number that no other of this dispatcher has. Those
  // on a connection that is lost are not answered.
  std::function<void(uint64_t call)> sent;
  std::function<void(uint64_t call)> answered;
  // By which ring operations and listings come here; epoch 0, or left out: by
  // none.
  std::function<replica::RingStamp()> ring;
  // The node goes by a newer one than that.
  std::function<void(const replica::RingStamp&)> newer_ring;
};

class Dispatcher {
 public:
  static constexpr absl::Duration kPauseMax = absl::Seconds(1);

  // Starts to dial. Not to be destroyed inside a callback of its own.
  Dispatcher(net::EventLoop& loop, std::vector<net::Endpoint> nodes,
             const ClientOptions& options, ConnectionEvents events,
             absl::Duration pause_max = kPauseMax);
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  void Add(Pending pending) { queue_.push_back(std::move(pending)); }
  void Add(Lookup lookup) { lookups_.push_back(std::move(lookup)); }
  // Sends what may be sent; call it after some Add().
  void Pump();
  // A node has said hello(), and its connection is not known to be broken.
  bool ready() const { return greeted_; }
  const net::Hello& hello() const { return hello_; }
  // That the node said last it goes by.
  const replica::RingStamp& node_ring() const { return node_ring_; }
  // Not ready, and the last attempt at that has failed.
  bool failing() const { return failing_; }
  // Nothing waits or is unanswered.
  bool idle() const {
    return queue_.empty() && lookups_.empty() && calls_.empty() &&
           asked_.empty() && resting_.empty();
  }
  Waiting TakeWaiting();
  // To be tried after the nodes it was made with, in place of such nodes of
  // before. The connection of now stays.
  void SetFallbacks(const std::vector<net::Endpoint>& nodes);
  // Raised with every change of connection.
  uint64_t epoch() const { return epoch_; }
  // Gives up the connection for one to the next node, if there is another. What
  // is on its way goes as if the connection had broken.
  void NextNode();
  // Fails everything that is unanswered. Nothing else may be called after it.
  void Shutdown();

 private:
  // An execute call on its way.
  struct Call {
    std::vector<Pending> operations;
    absl::Duration overdue;  // when the connection is taken for dead
  };

  void Dial();
  void OnDialed(absl::StatusOr<net::Socket> socket);
  void OnHello(absl::StatusOr<net::Hello> hello);
  void OnNodeFailed(absl::Status why);
  absl::Status EveryNodeFailed() const;

  // Whether the queue is to fill some more before its next call; if so, Pump()
  // runs again by itself.
  bool Gathering();
  void SendCall();
  void SendLookup();
  void OnAnswer(uint64_t call, absl::StatusOr<std::vector<Result>> results);
  // Whether `result` is no answer yet: a refusal for overload, after which
  // `pending` is to be sent again. Then `rest` is at least the hint.
  bool IsToRest(const Pending& pending, const Result& result,
                absl::Duration& rest) const;
  void Rest(std::vector<Pending> operations, absl::Duration rest);
  void OnLost(absl::Status why);

  // Runs while anything has a deadline.
  void ArmTimer();
  void OnTimer();
  bool Overdue(absl::Duration now) const;
  void FailExpired(absl::Duration now);

  // Runs `task` after `delay`, unless this is gone by then.
  void After(absl::Duration delay, std::function<void()> task);

  net::EventLoop& loop_;
  std::vector<net::Endpoint> nodes_;
  const size_t nodes_given_;  // the others are fallbacks
  const ClientOptions options_;
  ConnectionEvents events_;  // `first` is empty once it ran
  const absl::Duration pause_max_;

  // The node that is dialled or connected, and what each last failed with.
  size_t node_ = 0;
  std::vector<absl::Status> failures_;
  size_t failed_in_row_ = 0;
  absl::Duration pause_;
  // Callbacks of older ones are void.
  uint64_t epoch_ = 0;
  std::unique_ptr<Session> session_;
  bool greeted_ = false;  // the session may be used
  bool failing_ = false;
  net::Hello hello_;
  replica::RingStamp node_ring_;
  absl::Duration greet_deadline_;

  std::deque<Pending> queue_;
  std::deque<Lookup> lookups_;
  uint64_t next_id_ = 0;
  std::map<uint64_t, Call> calls_;
  // Refused by an overloaded node, until their time has come.
  std::map<uint64_t, std::vector<Pending>> resting_;
  std::map<uint64_t, Lookup> asked_;
  absl::Duration last_call_ = -absl::InfiniteDuration();
  bool gathering_ = false;  // a Pump() is scheduled
  bool timer_armed_ = false;
  std::minstd_rand random_{std::random_device{}()};
  // What callbacks look at that may come after the end of this.
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace dovetail::internal

#endif  // DOVETAIL_SRC_CLIENT_DISPATCHER_H_
