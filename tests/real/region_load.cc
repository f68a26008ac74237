// A load that must not fail: how many operations failed nevertheless, and how
// long did each take?
//
// Workers start operations by the clock, whether or not the nodes keep up, and
// latency counts from when an operation was due: a stall shows in all that it
// held up. Mutations go through exactly-once sessions, each of which prefers
// another node of the list, so that what was acknowledged must be there once:
// counters are exact, sets complete. A read must show at least what this load
// itself had acknowledged for that object before it began.
//
// Prints "running" when it does, goes on until its standard input ends, and
// then prints one JSON object. Times of the series are those of the monotonic
// clock, which all processes of a machine share.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "src/cli/words.h"
#include "src/client/client.h"

namespace dovetail {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

constexpr char kBucket[] = "load";
constexpr size_t kFailuresShown = 5;
constexpr auto kSlot = std::chrono::milliseconds(100);
constexpr absl::Duration kResolveTimeout = absl::Seconds(30);

struct Options {
  std::vector<std::string> nodes;
  std::string name;  // in elements, unique among loads
  uint32_t sessions = 0;
  uint32_t workers = 12;
  double rate = 200;       // operations a second, of all workers
  uint32_t objects = 500;  // so many counters, and as many sets
  uint32_t read_percent = 20;
  uint32_t seed = 1;
  ReadOptions read;
  WriteOptions write;
};

// What came out of the operations of one worker.
struct Outcome {
  uint64_t attempted = 0;
  uint64_t acknowledged = 0;
  uint64_t failed = 0;  // after the session's own attempts
  uint64_t reads = 0;
  uint64_t reads_failed = 0;
  uint64_t reads_stale = 0;
  std::vector<std::string> failures;  // the first of them
  // By when they were due, in slots: microseconds.
  std::map<int64_t, std::vector<int64_t>> writes_us;
  std::map<int64_t, std::vector<int64_t>> reads_us;
  // By set: what was acknowledged.
  std::map<uint32_t, std::vector<std::string>> elements;
};

class Load {
 public:
  explicit Load(const Options& options)
      : options_(options), added_(options.objects) {}

  absl::Status Connect();
  // Until standard input ends.
  void Run();
  Json Report();

 private:
  // Waits for `when`; false if the load ends before.
  bool WaitUntil(Clock::time_point when);
  void Work(uint32_t worker);
  void Write(std::mt19937& random, OnceSession& session,
             const std::string& element, Outcome& outcome);
  void Read(std::mt19937& random, OnceSession& session, Outcome& outcome);
  static void Note(Outcome& outcome, const absl::Status& status);

  const Options options_;
  std::vector<std::unique_ptr<OnceSession>> sessions_;
  std::vector<std::atomic<int64_t>> added_;  // acknowledged, by counter
  std::vector<Outcome> outcomes_;
  Clock::time_point start_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool end_ = false;
};

absl::Status Load::Connect() {
  for (uint32_t i = 0; i < options_.sessions; ++i) {
    std::vector<std::string> nodes = options_.nodes;
    std::rotate(nodes.begin(), nodes.begin() + i % nodes.size(), nodes.end());
    auto client =
        Client::Connect(nodes, {.name = absl::StrCat("load-", options_.name)});
    if (!client.ok()) return client.status();
    auto session = (*client)->ExactlyOnceSession();
    if (!session.ok()) return session.status();
    sessions_.push_back(*std::move(session));
  }
  return absl::OkStatus();
}

void Load::Run() {
  outcomes_.resize(options_.workers);
  start_ = Clock::now();
  std::vector<std::thread> workers;
  for (uint32_t i = 0; i < options_.workers; ++i) {
    workers.emplace_back([this, i] { Work(i); });
  }
  std::cout << "running" << std::endl;
  std::cin.ignore(std::numeric_limits<std::streamsize>::max());
  {
    std::lock_guard<std::mutex> lock(mutex_);
    end_ = true;
  }
  ended_.notify_all();
  for (std::thread& worker : workers) worker.join();
}

bool Load::WaitUntil(Clock::time_point when) {
  std::unique_lock<std::mutex> lock(mutex_);
  return !ended_.wait_until(lock, when, [this] { return end_; });
}

void Load::Work(uint32_t worker) {
  std::mt19937 random(options_.seed * 1'000 + worker);
  OnceSession& session = *sessions_[worker % sessions_.size()];
  Outcome& outcome = outcomes_[worker];
  for (uint64_t i = 0;; ++i) {
    const auto since_start = std::chrono::duration<double>(
        static_cast<double>(i * options_.workers + worker) / options_.rate);
    const Clock::time_point due =
        start_ + std::chrono::duration_cast<Clock::duration>(since_start);
    if (!WaitUntil(due)) return;
    const bool read = random() % 100 < options_.read_percent;
    if (read) {
      Read(random, session, outcome);
    } else {
      Write(random, session, absl::StrCat(options_.name, "-", worker, "-", i),
            outcome);
    }
    const auto took = Clock::now() - due;
    (read ? outcome.reads_us
          : outcome.writes_us)[due.time_since_epoch() / kSlot]
        .push_back(std::chrono::duration_cast<std::chrono::microseconds>(took)
                       .count());
  }
}

void Load::Note(Outcome& outcome, const absl::Status& status) {
  if (outcome.failures.size() < kFailuresShown) {
    outcome.failures.push_back(status.ToString());
  }
}

void Load::Write(std::mt19937& random, OnceSession& session,
                 const std::string& element, Outcome& outcome) {
  const auto object = static_cast<uint32_t>(random() % options_.objects);
  const std::string key = absl::StrCat("k", object);
  const bool counter = random() % 2 == 0;
  const int64_t amount = 1 + static_cast<int64_t>(random() % 9);
  ++outcome.attempted;
  const auto written =
      counter ? session.bucket(kBucket).counter(key).Add(amount, options_.write)
              : session.bucket(kBucket).set(key).Add(element, options_.write);
  if (!written.ok()) {
    ++outcome.failed;
    return Note(outcome, written.status());
  }
  ++outcome.acknowledged;
  if (counter) {
    added_[object] += amount;
  } else {
    outcome.elements[object].push_back(element);
  }
}

void Load::Read(std::mt19937& random, OnceSession& session, Outcome& outcome) {
  const auto object = static_cast<uint32_t>(random() % options_.objects);
  const std::string key = absl::StrCat("k", object);
  ++outcome.reads;
  absl::Status status;
  bool stale = false;
  const auto elements = outcome.elements.find(object);
  if (elements != outcome.elements.end() && random() % 2 == 0) {
    const auto has = session.bucket(kBucket).set(key).Contains(
        elements->second.back(), options_.read);
    status = has.status();
    stale = has.ok() && !has->value;
  } else {
    const int64_t least = added_[object];
    const auto sum = session.bucket(kBucket).counter(key).Read(options_.read);
    status = sum.status();
    stale = sum.ok() && sum->value < least;
  }
  outcome.reads_stale += stale ? 1 : 0;
  if (status.ok()) return;
  ++outcome.reads_failed;
  Note(outcome, status);
}

// {"at_ms": …, "us": […]} for each slot, in order of time.
Json SeriesJson(const std::map<int64_t, std::vector<int64_t>>& series) {
  Json out = Json::array();
  for (const auto& [slot, latencies] : series) {
    out.push_back({{"at_ms", slot * kSlot.count()}, {"us", latencies}});
  }
  return out;
}

void Merge(const std::map<int64_t, std::vector<int64_t>>& from,
           std::map<int64_t, std::vector<int64_t>>& into) {
  for (const auto& [slot, latencies] : from) {
    std::vector<int64_t>& all = into[slot];
    all.insert(all.end(), latencies.begin(), latencies.end());
  }
}

int64_t MaxOf(const std::map<int64_t, std::vector<int64_t>>& series) {
  int64_t max = 0;
  for (const auto& [slot, latencies] : series) {
    max = std::max(max, *std::max_element(latencies.begin(), latencies.end()));
  }
  return max;
}

Json Load::Report() {
  Outcome all;
  Json sets = Json::object();
  for (const Outcome& outcome : outcomes_) {
    all.attempted += outcome.attempted;
    all.acknowledged += outcome.acknowledged;
    all.failed += outcome.failed;
    all.reads += outcome.reads;
    all.reads_failed += outcome.reads_failed;
    all.reads_stale += outcome.reads_stale;
    all.failures.insert(all.failures.end(), outcome.failures.begin(),
                        outcome.failures.end());
    Merge(outcome.writes_us, all.writes_us);
    Merge(outcome.reads_us, all.reads_us);
    for (const auto& [object, elements] : outcome.elements) {
      Json& set = sets[absl::StrCat("k", object)];
      for (const std::string& element : elements) set.push_back(element);
    }
  }
  all.failures.resize(std::min(all.failures.size(), kFailuresShown));
  Json counters = Json::object();
  for (uint32_t object = 0; object < options_.objects; ++object) {
    if (added_[object] == 0) continue;
    counters[absl::StrCat("k", object)] = added_[object].load();
  }
  size_t in_doubt = 0;
  size_t in_doubt_left = 0;
  for (const auto& session : sessions_) {
    in_doubt += session->in_doubt();
    const absl::Status resolved = session->Resolve(kResolveTimeout);
    if (!resolved.ok()) all.failures.push_back(resolved.ToString());
    in_doubt_left += session->in_doubt();
  }
  return {{"attempted", all.attempted},
          {"acknowledged", all.acknowledged},
          {"failed", all.failed},
          {"in_doubt", in_doubt},
          {"in_doubt_left", in_doubt_left},
          {"reads", all.reads},
          {"reads_failed", all.reads_failed},
          {"reads_stale", all.reads_stale},
          {"write_max_us", MaxOf(all.writes_us)},
          {"read_max_us", MaxOf(all.reads_us)},
          {"failures", all.failures},
          {"writes", SeriesJson(all.writes_us)},
          {"reads_series", SeriesJson(all.reads_us)},
          {"counters", counters},
          {"sets", sets}};
}

int Main(int argc, char** argv) {
  Options options;
  std::string nodes, r = "quorum", w = "quorum", timeout = "10s";
  CLI::App app("A load of counters and sets through exactly-once sessions");
  app.add_option("--nodes", nodes, "HOST:PORT[,...]")->required();
  app.add_option("--name", options.name, "unique among loads")->required();
  app.add_option("--sessions", options.sessions, "default: one for each node");
  app.add_option("--workers", options.workers);
  app.add_option("--rate", options.rate, "operations a second");
  app.add_option("--objects", options.objects, "counters, and as many sets");
  app.add_option("--read-percent", options.read_percent);
  app.add_option("--seed", options.seed);
  app.add_option("--r", r);
  app.add_option("--w", w);
  app.add_option("--timeout", timeout, "of an operation, attempts included");
  CLI11_PARSE(app, argc, argv);
  const auto read_level = cli::ParseLevel(r);
  const auto write_level = cli::ParseLevel(w);
  const auto limit = cli::ParseTimeout(timeout);
  for (const absl::Status& status :
       {read_level.status(), write_level.status(), limit.status()}) {
    if (status.ok()) continue;
    std::cerr << status << "\n";
    return 2;
  }
  options.nodes = absl::StrSplit(nodes, ',');
  if (options.sessions == 0) {
    options.sessions = static_cast<uint32_t>(options.nodes.size());
  }
  options.read.r = *read_level;
  options.read.timeout = *limit;
  options.write.w = *write_level;
  options.write.timeout = *limit;
  Load load(options);
  const absl::Status connected = load.Connect();
  if (!connected.ok()) {
    std::cerr << connected << "\n";
    return 3;
  }
  load.Run();
  std::cout << load.Report().dump() << std::endl;
  return 0;
}

}  // namespace
}  // namespace dovetail

int main(int argc, char** argv) { return dovetail::Main(argc, argv); }
