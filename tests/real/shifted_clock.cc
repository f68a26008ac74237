// A wall clock that a test moves: for LD_PRELOAD into a process whose time of
// day is to be wrong, or to jump. The monotonic clock stays true.
//
// The file that $SHIFTED_CLOCK names holds the shift, an int64_t in
// nanoseconds; it is mapped, so what is written there counts from the next
// look at the clock on.
//
// libfaketime does the same and more, but not to a process that uses jemalloc:
// it allocates while it starts, jemalloc looks at the clock while it starts,
// and each waits for the other. So nothing here allocates.
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace {

constexpr int64_t kNanosPerSecond = 1'000'000'000;
// A time of day is beyond this (2001), a time since the start of the machine
// is not: how an absolute time is told from the other.
constexpr int64_t kTimeOfDayMin = 1'000'000'000;

const std::atomic<int64_t>* Map() {
  static const std::atomic<int64_t> none{0};
  const char* const path = ::getenv("SHIFTED_CLOCK");
  const int fd = path == nullptr ? -1 : ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return &none;
  void* const mapped =
      ::mmap(nullptr, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
  ::close(fd);
  if (mapped == MAP_FAILED) return &none;
  return static_cast<const std::atomic<int64_t>*>(mapped);
}

int64_t Shift() {
  // No local static: its guard could be waited for by the thread that holds it.
  static std::atomic<const std::atomic<int64_t>*> shift{nullptr};
  const std::atomic<int64_t>* mapped = shift.load(std::memory_order_acquire);
  if (mapped == nullptr) {
    mapped = Map();
    shift.store(mapped, std::memory_order_release);
  }
  return mapped->load(std::memory_order_relaxed);
}

timespec Plus(const timespec& time, int64_t nanos) {
  int64_t sum = time.tv_sec * kNanosPerSecond + time.tv_nsec + nanos;
  timespec out;
  out.tv_sec = sum / kNanosPerSecond;
  out.tv_nsec = sum % kNanosPerSecond;
  return out;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* out) noexcept {
  const auto result =
      static_cast<int>(::syscall(SYS_clock_gettime, clock, out));
  if (result == 0 &&
      (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    *out = Plus(*out, Shift());
  }
  return result;
}

int gettimeofday(timeval* out, void*) noexcept {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t* out) noexcept {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}

// The kernel's clock is not shifted: a deadline that was reckoned with ours has
// to be shifted back.
int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                           const timespec* deadline) {
  if (deadline->tv_sec < kTimeOfDayMin) {
    return ::pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC,
                                    deadline);
  }
  const timespec true_deadline = Plus(*deadline, -Shift());
  return ::pthread_cond_clockwait(condition, mutex, CLOCK_REALTIME,
                                  &true_deadline);
}

}  // extern "C"
