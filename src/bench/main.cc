// dovetail-bench: loads records, runs a workload, reports.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "crdt/check.h"
#include "src/bench/runner.h"
#include "src/bench/workload.h"
#include "src/cli/words.h"

namespace dovetail::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kFooter[] = R"(
Workloads: a b c d e f (the YCSB core workloads, on registers; e lists keys),
set-add counter-add map-update. Each connection has --in-flight operations on
their way. With --rate operations start by the clock and their latency counts
from when they were due; without it the next starts when one ends.
Exit codes: 0 done, 1 operations failed, 2 usage, 3 no node could be reached.
Example:
  dovetail-bench --nodes 127.0.0.1:7101,127.0.0.1:7102 --workload a \
    --records 100000 --seconds 30 --server-pids 4711,4712 --json)";

struct Words {
  std::string nodes = "127.0.0.1:7101";
  std::string workload = "a";
  std::string r = "default";
  std::string w = "default";
  std::string durability = "wal";
  std::string timeout;
  std::string pids;
  uint64_t records = 10'000;
  double seconds = 0;
  bool skip_load = false;
  bool skip_run = false;
  bool json = false;
};

double Micros(absl::Duration duration) {
  return absl::ToDoubleMicroseconds(duration);
}

double PerOperation(absl::Duration cpu, uint64_t operations) {
  return operations == 0 ? 0 : Micros(cpu) / static_cast<double>(operations);
}

Json LatencyJson(const Histogram& latency) {
  return {{"count", latency.count()},
          {"mean", Micros(latency.mean())},
          {"p50", Micros(latency.Percentile(50))},
          {"p95", Micros(latency.Percentile(95))},
          {"p99", Micros(latency.Percentile(99))},
          {"p99.9", Micros(latency.Percentile(99.9))},
          {"max", Micros(latency.max())}};
}

Json ReportJson(const std::string& phase, const Report& report,
                const RunOptions& options, const Words& words) {
  const double seconds = absl::ToDoubleSeconds(report.elapsed);
  const Loop loop =
      options.rate > 0 && phase == "run" ? Loop::kOpen : Loop::kClosed;
  Json errors = Json::object();
  for (const auto& [code, count] : report.errors) errors[code] = count;
  Json kinds = Json::object();
  for (size_t i = 0; i < kKinds; ++i) {
    if (report.by_kind[i].count() == 0) continue;
    kinds[std::string(KindName(static_cast<Kind>(i)))] =
        LatencyJson(report.by_kind[i]);
  }
  Json out = {{"workload", words.workload},
              {"phase", phase},
              {"loop", loop == Loop::kOpen ? "open" : "closed"},
              {"connections", options.connections},
              {"in_flight", options.InFlight(loop)},
              {"route", options.route},
              {"records", words.records},
              {"value_bytes", options.value_bytes},
              {"r", words.r},
              {"w", words.w},
              {"durability", words.durability},
              {"operations", report.operations},
              {"errors", errors},
              {"seconds", seconds},
              {"operations_per_second",
               static_cast<double>(report.operations) / seconds},
              {"latency_us", LatencyJson(report.all)},
              {"by_kind_us", kinds},
              {"client_cpu_us_per_operation",
               PerOperation(report.client_cpu, report.operations)}};
  if (loop == Loop::kOpen) out["rate"] = options.rate;
  if (!options.server_pids.empty()) {
    out["server_cpu_us_per_operation"] =
        PerOperation(report.server_cpu, report.operations);
    out["server_cpu_seconds"] = absl::ToDoubleSeconds(report.server_cpu);
  }
  return out;
}

void PrintLatency(absl::string_view name, const Histogram& latency) {
  std::cout << absl::StrFormat(
      "  %-18s %9d  p50 %8.0f  p95 %8.0f  p99 %8.0f  p99.9 %8.0f  max %8.0f "
      "us\n",
      name, latency.count(), Micros(latency.Percentile(50)),
      Micros(latency.Percentile(95)), Micros(latency.Percentile(99)),
      Micros(latency.Percentile(99.9)), Micros(latency.max()));
}

void PrintReport(const std::string& phase, const Report& report,
                 const RunOptions& options, const Words& words) {
  if (words.json) {
    std::cout << ReportJson(phase, report, options, words).dump() << std::endl;
    return;
  }
  const double seconds = absl::ToDoubleSeconds(report.elapsed);
  std::cout << absl::StrFormat(
      "%s %s: %d operations in %.1f s, %.0f a second\n", phase, words.workload,
      report.operations, seconds,
      static_cast<double>(report.operations) / seconds);
  for (size_t i = 0; i < kKinds; ++i) {
    if (report.by_kind[i].count() == 0) continue;
    PrintLatency(KindName(static_cast<Kind>(i)), report.by_kind[i]);
  }
  std::cout << absl::StrFormat(
      "  CPU per operation: client %.1f us",
      PerOperation(report.client_cpu, report.operations));
  if (!options.server_pids.empty()) {
    std::cout << absl::StrFormat(
        ", servers %.1f us",
        PerOperation(report.server_cpu, report.operations));
  }
  std::cout << "\n";
  for (const auto& [code, count] : report.errors) {
    std::cout << "  " << count << " failed with " << code << "\n";
  }
  std::cout << std::flush;
}

absl::Status Finish(const Words& words, RunOptions& options) {
  options.nodes = absl::StrSplit(words.nodes, ',', absl::SkipWhitespace());
  if (options.nodes.empty()) {
    return absl::InvalidArgumentError("--nodes names no node");
  }
  for (absl::string_view pid :
       absl::StrSplit(words.pids, ',', absl::SkipWhitespace())) {
    DOVETAIL_ASSIGN_OR_RETURN(const int64_t number, cli::ParseAmount(pid));
    options.server_pids.push_back(static_cast<int>(number));
  }
  DOVETAIL_ASSIGN_OR_RETURN(options.call.read, cli::ParseLevel(words.r));
  DOVETAIL_ASSIGN_OR_RETURN(options.call.write, cli::ParseLevel(words.w));
  DOVETAIL_ASSIGN_OR_RETURN(options.call.durability,
                            cli::ParseDurability(words.durability));
  if (!words.timeout.empty()) {
    DOVETAIL_ASSIGN_OR_RETURN(options.call.timeout,
                              cli::ParseTimeout(words.timeout));
  }
  options.duration = absl::Seconds(words.seconds);
  if (options.operations == 0 && options.duration == absl::ZeroDuration()) {
    options.duration = absl::Seconds(10);
  }
  return absl::OkStatus();
}

void AddOptions(CLI::App& app, Words& words, RunOptions& options) {
  app.footer(kFooter);
  app.add_option("--node,--nodes", words.nodes, "HOST:PORT[,...]")
      ->envname("DOVETAIL_NODES")
      ->capture_default_str();
  app.add_option("--workload", words.workload)->capture_default_str();
  app.add_option("--records", words.records, "made by the load phase")
      ->capture_default_str()
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 32));
  app.add_option("--operations", options.operations, "end after so many");
  app.add_option("--seconds", words.seconds,
                 "end after so long (10 if neither is given)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--connections", options.connections)
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000));
  app.add_option("--in-flight", options.in_flight,
                 "operations on their way, of each connection (default 64, "
                 "at most 4096 with --rate)")
      ->check(CLI::Range(1, 65'536));
  app.add_option("--rate", options.rate,
                 "operations a second of all connections; 0: closed loop")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--value-bytes", options.value_bytes)
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  app.add_option("--bucket", options.bucket)->capture_default_str();
  app.add_flag("--route", options.route,
               "send each operation straight to an owner of its key");
  app.add_option("--seed", options.seed)->capture_default_str();
  app.add_option("--r", words.r)->capture_default_str();
  app.add_option("--w", words.w)->capture_default_str();
  app.add_option("--durability", words.durability)->capture_default_str();
  app.add_option("--timeout", words.timeout, "as in 500ms or 2s");
  app.add_option("--server-pids", words.pids,
                 "PID[,...] whose CPU time to measure");
  app.add_flag("--skip-load", words.skip_load, "the records are there already");
  app.add_flag("--skip-run", words.skip_run, "load only");
  app.add_flag("--json", words.json, "one JSON object for each phase");
}

int Main(int argc, char** argv) {
  CLI::App app{"dovetail-bench: measure a Dovetail cluster", "dovetail-bench"};
  Words words;
  RunOptions options;
  AddOptions(app, words, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const auto fail = [](const absl::Status& status, int exit) {
    std::cerr << "dovetail-bench: " << status.message() << "\n";
    return exit;
  };
  const auto workload = WorkloadByName(words.workload);
  if (!workload.ok()) return fail(workload.status(), 2);
  if (const auto status = Finish(words, options); !status.ok()) {
    return fail(status, 2);
  }
  auto runner = Runner::Open(options);
  if (!runner.ok()) {
    return fail(runner.status(), absl::IsUnavailable(runner.status()) ? 3 : 2);
  }
  bool failed = false;
  if (!words.skip_load) {
    const Report report = (*runner)->Load(*workload, words.records);
    PrintReport("load", report, options, words);
    failed = failed || !report.errors.empty();
  }
  if (!words.skip_run) {
    const Report report = (*runner)->Run(*workload, words.records);
    PrintReport("run", report, options, words);
    failed = failed || !report.errors.empty();
  }
  return failed ? 1 : 0;
}

}  // namespace
}  // namespace dovetail::bench

int main(int argc, char** argv) { return dovetail::bench::Main(argc, argv); }
