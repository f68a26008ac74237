#include "net/event_loop.h"

#include <kj/async.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <utility>

namespace dovetail::net {
namespace {

namespace asio = boost::asio;

// KJ events in a row before sockets are looked at again, so that work that
// always has a successor cannot starve them.
constexpr unsigned kKjEventsPerPoll = 1024;

// KJ's interfaces have no virtual destructor; nothing is deleted through them.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"

class AsioPort final : public kj::EventPort {
 public:
  AsioPort()
      : context_(std::make_unique<asio::io_context>(1)),
        // Without the guard a context that ran dry would stay stopped, and
        // wait() would spin.
        guard_(asio::make_work_guard(*context_)) {}

  bool wait() override {
    context_->run_one();
    context_->poll();
    return std::exchange(woken_, false);
  }
  bool poll() override {
    context_->poll();
    return std::exchange(woken_, false);
  }
  void wake() const override {
    asio::post(*context_, [this] { woken_ = true; });
  }

  asio::io_context& context() { return *context_; }
  // Destroys the handlers that never ran, while KJ is still there for the
  // promises they hold.
  void Destroy() {
    guard_.reset();
    context_.reset();
  }

 private:
  std::unique_ptr<asio::io_context> context_;
  asio::executor_work_guard<asio::io_context::executor_type> guard_;
  mutable bool woken_ = false;  // on the loop's thread only
};

#pragma GCC diagnostic pop

}  // namespace

struct EventLoop::State {
  State() : kj_loop(port), wait_scope(kj_loop) {
    wait_scope.setBusyPollInterval(kKjEventsPerPoll);
  }
  ~State() { port.Destroy(); }
  AsioPort port;
  kj::EventLoop kj_loop;
  kj::WaitScope wait_scope;
  bool stopped = false;
  kj::Own<kj::PromiseFulfiller<void>> stop;
};

EventLoop::EventLoop() : state_(std::make_unique<State>()) {}
EventLoop::~EventLoop() = default;

void EventLoop::Run() {
  if (!state_->stopped) {
    auto paf = kj::newPromiseAndFulfiller<void>();
    state_->stop = kj::mv(paf.fulfiller);
    paf.promise.wait(state_->wait_scope);
    state_->stop = nullptr;
  }
  state_->stopped = false;
}

void EventLoop::Post(std::function<void()> task) {
  asio::post(state_->port.context(), std::move(task));
}

void EventLoop::Stop() {
  Post([this] {
    state_->stopped = true;
    if (state_->stop.get() != nullptr) state_->stop->fulfill();
  });
}

void EventLoop::After(absl::Duration delay, std::function<void()> task) {
  auto timer = std::make_shared<asio::steady_timer>(state_->port.context());
  timer->expires_after(
      absl::ToChronoNanoseconds(std::max(delay, absl::ZeroDuration())));
  timer->async_wait(
      [timer, task = std::move(task)](const boost::system::error_code& error) {
        if (!error) task();
      });
}

asio::io_context& EventLoop::context() { return state_->port.context(); }
kj::WaitScope& EventLoop::wait_scope() { return state_->wait_scope; }

}  // namespace dovetail::net
