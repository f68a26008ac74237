// One thread's loop, on which Boost.Asio (sockets, timers) and KJ (Cap'n Proto
// RPC) both run: how do the two share a thread?
//
// KJ's loop is the outer one; it sees Asio as its source of events: when KJ has
// nothing to do it calls wait() of our kj::EventPort, which runs Asio's
// handlers, blocking for the first. So an Asio handler may fulfil a KJ promise
// and a KJ continuation may start an Asio operation, both on this thread and
// without locks. All KJ work that is ready runs before Asio is looked at again;
// whatever it wrote leaves in one system call (message_stream.h).
//
//   EventLoop loop;                      // on the thread that will run it
//   ... open sockets, start operations ...
//   loop.Run();                          // until someone calls loop.Stop()
//
// Construct, run and destroy it on one thread; a thread has at most one. What
// uses it must be destroyed before it, on that thread.
#ifndef DOVETAIL_NET_EVENT_LOOP_H_
#define DOVETAIL_NET_EVENT_LOOP_H_

#include <functional>
#include <memory>

#include "absl/time/time.h"

namespace boost::asio {
class io_context;
}
namespace kj {
class WaitScope;
}

namespace dovetail::net {

class EventLoop {
 public:
  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Runs what is posted and what sockets bring, until Stop(). May be called
  // again afterwards.
  void Run();

  // --- From any thread, while the loop exists ---

  // Runs `task` on the loop's thread, soon, in the order of the calls of one
  // thread. Never runs it inside the call.
  void Post(std::function<void()> task);
  // Makes Run() return once what was posted before has run. A Stop() before
  // Run() counts.
  void Stop();

  // --- On the loop's thread only ---

  // Runs `task` once after `delay`, unless the loop is destroyed first.
  void After(absl::Duration delay, std::function<void()> task);
  boost::asio::io_context& context();
  // For promise.wait(loop.wait_scope()), outside of Run() only.
  kj::WaitScope& wait_scope();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_EVENT_LOOP_H_
