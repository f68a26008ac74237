#include "src/bench/runner.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "crdt/check.h"
#include "src/client/steady_clock.h"

namespace dovetail::bench {
namespace {

using internal::SteadyNow;

constexpr uint64_t kMapFields = 10;
// How finely an open loop keeps its clock: what comes due meanwhile starts
// together, and its latency counts from when it was due. Waking for each
// operation would cost more than the operation.
constexpr absl::Duration kPace = absl::Milliseconds(1);

Operation WriteOf(Mutation mutation) {
  replica::WriteRequest request;
  request.operations.push_back(std::move(mutation));
  return request;
}

absl::Duration OwnCpu() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return absl::DurationFromTimeval(usage.ru_utime) +
         absl::DurationFromTimeval(usage.ru_stime);
}

}  // namespace

absl::StatusOr<absl::Duration> CpuTime(const std::vector<int>& pids) {
  const auto ticks_per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
  absl::Duration sum;
  for (int pid : pids) {
    std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
    std::string text;
    std::getline(file, text);
    // The name, in parentheses, may hold anything: what follows the last one
    // starts with field 3; utime and stime are fields 14 and 15.
    const size_t name_end = text.rfind(')');
    if (name_end == std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("no process ", pid, " to take the CPU time of"));
    }
    std::istringstream fields(text.substr(name_end + 1));
    std::string skipped;
    for (int i = 3; i < 14; ++i) fields >> skipped;
    double utime = 0;
    double stime = 0;
    fields >> utime >> stime;
    sum += absl::Seconds((utime + stime) / ticks_per_second);
  }
  return sum;
}

// What all connections of one phase look at.
struct Runner::Shared {
  explicit Shared(const Workload& the_workload, uint64_t records_now,
                  uint64_t zipfian_records)
      : workload(the_workload),
        zipfian(zipfian_records),
        records(records_now) {}

  // Whether another operation may start.
  bool Take() {
    if (SteadyNow() >= end) return false;
    return left.fetch_sub(1) > 0;
  }

  const Workload& workload;
  const Zipfian zipfian;
  std::atomic<uint64_t> records;
  std::atomic<int64_t> left{INT64_MAX};
  absl::Duration end = absl::InfiniteDuration();
};

// One client's share of a phase. Its client's thread runs the callbacks; the
// mutex is for the thread that starts and paces it.
class Runner::Connection {
 public:
  Connection(const RunOptions& options, Client& client, Shared& shared,
             uint64_t seed)
      : options_(options),
        client_(client),
        shared_(shared),
        chooser_(shared.workload, shared.zipfian, shared.records, seed) {}

  // Closed loop: keeps in_flight going, then returns when all have ended.
  void RunClosed() {
    const size_t in_flight = options_.InFlight(Loop::kClosed);
    for (size_t i = 0; i < in_flight; ++i) {
      {
        std::lock_guard<std::mutex> lock(mutex_);
        ++active_;
      }
      StartNext();
    }
    WaitIdle();
  }

  // Open loop: starts the i-th operation at start + i / rate.
  void RunOpen(absl::Duration start, double rate) {
    open_loop_ = true;
    uint64_t i = 0;
    while (true) {
      const absl::Duration due =
          start + absl::Seconds(static_cast<double>(i) / rate);
      const absl::Duration now = SteadyNow();
      if (due > now) {
        if (due > shared_.end) break;
        absl::SleepFor(std::max(due - now, kPace));
        continue;
      }
      // Behind the clock with everything in flight: what is due waits, and its
      // latency grows.
      ClaimSlot();
      if (!shared_.Take()) {
        FreeSlot();
        break;
      }
      Start(Choose(), due);
      ++i;
    }
    WaitIdle();
  }

  void AddTo(Report& report) const {
    for (size_t i = 0; i < kKinds; ++i) {
      report.by_kind[i].Merge(latencies_[i]);
      report.all.Merge(latencies_[i]);
      report.operations += latencies_[i].count();
    }
    for (const auto& [code, count] : errors_) report.errors[code] += count;
  }

 private:
  // Waits for one of the slots of an open loop.
  void ClaimSlot() {
    const size_t in_flight = options_.InFlight(Loop::kOpen);
    std::unique_lock<std::mutex> lock(mutex_);
    idle_.wait(lock, [&] { return active_ < in_flight; });
    ++active_;
  }
  void WaitIdle() {
    std::unique_lock<std::mutex> lock(mutex_);
    idle_.wait(lock, [&] { return active_ == 0; });
  }
  void FreeSlot() {
    std::lock_guard<std::mutex> lock(mutex_);
    --active_;
    idle_.notify_all();
  }

  Step Choose() {
    std::lock_guard<std::mutex> lock(mutex_);
    return chooser_.Next();
  }
  void StartNext() {
    if (!shared_.Take()) return FreeSlot();
    Start(Choose(), SteadyNow());
  }

  void Start(const Step& step, absl::Duration since) {
    if (step.kind == Kind::kScan) return StartScan(step, since);
    Operation operation = Make(step);
    client_.Submit(std::move(operation), options_.call,
                   [this, step, since](Result result) {
                     if (step.kind == Kind::kReadModifyWrite && result.ok() &&
                         std::holds_alternative<replica::ReadReply>(*result)) {
                       return FinishModify(step, since);
                     }
                     Finish(step.kind, since, result.status());
                   });
  }
  void StartScan(const Step& step, absl::Duration since) {
    replica::ListRequest request;
    request.bucket = options_.bucket;
    request.after =
        ObjectId{options_.bucket, RecordKey(step.record), Type::kRegister};
    request.limit = step.scan_length;
    client_.SubmitList(std::move(request), options_.call,
                       [this, since](absl::StatusOr<Listing> listing) {
                         Finish(Kind::kScan, since, listing.status());
                       });
  }
  // The write of a read-modify-write.
  void FinishModify(const Step& step, absl::Duration since) {
    Operation write = Make({Kind::kUpdate, step.record, 0});
    client_.Submit(std::move(write), options_.call,
                   [this, since](Result result) {
                     Finish(Kind::kReadModifyWrite, since, result.status());
                   });
  }

  void Finish(Kind kind, absl::Duration since, const absl::Status& status) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (status.ok()) {
        latencies_[static_cast<size_t>(kind)].Record(SteadyNow() - since);
      } else {
        ++errors_[absl::StatusCodeToString(status.code())];
      }
    }
    if (open_loop_) return FreeSlot();
    StartNext();
  }

  Operation Make(const Step& step) {
    std::lock_guard<std::mutex> lock(mutex_);
    const std::string key = RecordKey(step.record);
    if (step.kind == Kind::kRead || step.kind == Kind::kReadModifyWrite) {
      replica::ReadRequest read;
      read.spec.object = {options_.bucket, key, Type::kRegister};
      return read;
    }
    Mutation mutation;
    mutation.object = {options_.bucket, key, Type::kRegister};
    mutation.verb = crdt::Verb::kWrite;
    const absl::string_view value = chooser_.Value(options_.value_bytes);
    switch (step.kind) {
      case Kind::kSetAdd:
        mutation.object.type = Type::kSet;
        mutation.verb = crdt::Verb::kAdd;
        mutation.elements = {std::string(value)};
        break;
      case Kind::kCounterAdd:
        mutation.object.type = Type::kCounter;
        mutation.verb = crdt::Verb::kAdd;
        mutation.amount = 1;
        break;
      case Kind::kMapUpdate:
        mutation.object.type = Type::kMap;
        mutation.fields = {
            {absl::StrCat("field", chooser_.random()() % kMapFields),
             Type::kRegister}};
        mutation.value = std::string(value);
        break;
      default:
        mutation.value = std::string(value);
    }
    return WriteOf(std::move(mutation));
  }

  const RunOptions& options_;
  Client& client_;
  Shared& shared_;
  std::mutex mutex_;
  std::condition_variable idle_;
  size_t active_ = 0;
  std::atomic<bool> open_loop_{false};
  Chooser chooser_;
  std::array<Histogram, kKinds> latencies_;
  std::map<std::string, uint64_t> errors_;
};

Runner::Runner(const RunOptions& options) : options_(options) {}
Runner::~Runner() = default;

absl::StatusOr<std::unique_ptr<Runner>> Runner::Open(
    const RunOptions& options) {
  std::unique_ptr<Runner> runner(new Runner(options));
  for (size_t i = 0; i < options.connections; ++i) {
    std::vector<std::string> nodes = options.nodes;
    std::rotate(nodes.begin(),
                nodes.begin() + static_cast<ptrdiff_t>(i % nodes.size()),
                nodes.end());
    ClientOptions client_options;
    client_options.name = "dovetail-bench";
    client_options.route = options.route;
    DOVETAIL_ASSIGN_OR_RETURN(auto client,
                              Client::Connect(nodes, client_options));
    runner->clients_.push_back(std::move(client));
  }
  DOVETAIL_RETURN_IF_ERROR(CpuTime(options.server_pids).status());
  return runner;
}

Report Runner::Measure(Shared& shared, double rate) {
  std::vector<std::unique_ptr<Connection>> connections;
  for (size_t i = 0; i < clients_.size(); ++i) {
    connections.push_back(std::make_unique<Connection>(
        options_, *clients_[i], shared, options_.seed + 1000 * i));
  }
  Report report;
  const auto server_before = CpuTime(options_.server_pids);
  const absl::Duration client_before = OwnCpu();
  const absl::Duration start = SteadyNow();
  std::vector<std::thread> threads;
  for (size_t i = 0; i < connections.size(); ++i) {
    threads.emplace_back([&, i] {
      if (rate > 0) {
        // Out of step with each other, as independent clients are.
        const double own = rate / static_cast<double>(connections.size());
        connections[i]->RunOpen(
            start + absl::Seconds(static_cast<double>(i) / rate), own);
      } else {
        connections[i]->RunClosed();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  report.elapsed = SteadyNow() - start;
  report.client_cpu = OwnCpu() - client_before;
  const auto server_after = CpuTime(options_.server_pids);
  if (server_before.ok() && server_after.ok()) {
    report.server_cpu = *server_after - *server_before;
  }
  for (const auto& connection : connections) connection->AddTo(report);
  return report;
}

Report Runner::Load(const Workload& workload, uint64_t records) {
  const Workload load = LoadOf(workload);
  Shared shared(load, 0, 1);
  shared.left = static_cast<int64_t>(records);
  return Measure(shared, 0);
}

Report Runner::Run(const Workload& workload, uint64_t records) {
  Shared shared(workload, records, records);
  if (options_.operations > 0) {
    shared.left = static_cast<int64_t>(options_.operations);
  }
  if (options_.duration > absl::ZeroDuration()) {
    shared.end = SteadyNow() + options_.duration;
  }
  return Measure(shared, options_.rate);
}

}  // namespace dovetail::bench
