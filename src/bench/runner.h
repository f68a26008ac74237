// Runs steps against a cluster and measures: closed loop (so many operations
// are in flight, the next starts when one ends) or open loop (operations start
// by the clock, whatever the cluster does).
#ifndef DOVETAIL_SRC_BENCH_RUNNER_H_
#define DOVETAIL_SRC_BENCH_RUNNER_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "src/bench/histogram.h"
#include "src/bench/workload.h"
#include "src/client/client.h"

namespace dovetail::bench {

// Closed: an operation starts when one ends. Open: when the clock says so.
enum class Loop : bool { kClosed, kOpen };

struct RunOptions {
  std::vector<std::string> nodes;
  size_t connections = 3;  // connection i starts at node i mod nodes
  // Operations of each connection. Left out: InFlight().
  std::optional<size_t> in_flight;
  // Each connection is a client; with this it has one to every owner.
  bool route = false;
  double rate = 0;          // operations a second of all; 0: closed loop
  uint64_t operations = 0;  // 0: no limit
  absl::Duration duration = absl::ZeroDuration();  // zero: no limit
  size_t value_bytes = 100;
  uint64_t seed = 1;
  std::string bucket = "bench";
  CallOptions call;
  std::vector<int> server_pids;

  // In an open loop what is due starts, however much is unanswered: a limit
  // that a stall reaches would turn it into a closed loop, and the cluster
  // would never see the load that it is to work off. 4,096 only bounds memory.
  size_t InFlight(Loop loop) const {
    return in_flight.value_or(loop == Loop::kOpen ? 4096 : 64);
  }
};

struct Report {
  absl::Duration elapsed;
  uint64_t operations = 0;                 // that succeeded
  std::map<std::string, uint64_t> errors;  // by code
  Histogram all;
  std::array<Histogram, kKinds> by_kind;
  // CPU time over the run, all threads.
  absl::Duration server_cpu;
  absl::Duration client_cpu;
};

class Runner {
 public:
  // Connects. Errors: of Client::Connect.
  static absl::StatusOr<std::unique_ptr<Runner>> Open(
      const RunOptions& options);
  ~Runner();

  // Makes records 0..records-1 of `workload`, as fast as in_flight allows.
  Report Load(const Workload& workload, uint64_t records);
  // Runs `workload` on `records` that exist, to the first limit. Latencies of
  // an open loop count from when an operation was due, so that a cluster that
  // stalls cannot hide it.
  Report Run(const Workload& workload, uint64_t records);

 private:
  class Connection;
  struct Shared;
  explicit Runner(const RunOptions& options);
  Report Measure(Shared& shared, double rate);

  const RunOptions options_;
  std::vector<std::unique_ptr<Client>> clients_;
};

// CPU time of the processes so far, their children not included. Errors:
// InvalidArgument (no such process).
absl::StatusOr<absl::Duration> CpuTime(const std::vector<int>& pids);

}  // namespace dovetail::bench

#endif  // DOVETAIL_SRC_BENCH_RUNNER_H_
