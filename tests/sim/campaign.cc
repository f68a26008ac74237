#include "tests/sim/campaign.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/sim/report.h"
#include "tests/sim/stream.h"
#include "tests/sim/task_pool.h"
#include "tests/sim/trace.h"

namespace dovetail::sim {
namespace {

// So few that the last ones do not leave cores idle, so many that starting
// processes costs little.
constexpr uint64_t kSeedsOfAProcess = 16;

class Campaign {
 public:
  explicit Campaign(const CampaignSettings& settings)
      : settings_(settings),
        report_(settings.seed.mutant),
        begin_(std::chrono::steady_clock::now()),
        terminal_(isatty(STDERR_FILENO) != 0) {}

  int Run() {
    Tasks tasks;
    tasks.next = [this] { return Next(); };
    tasks.work = [this](uint64_t seed) {
      return ToText(RunSeed(seed, settings_.seed));
    };
    tasks.done = [this](uint64_t seed, const TaskResult& result) {
      Done(seed, result);
    };
    PoolSettings pool;
    pool.jobs = settings_.jobs;
    pool.task_seconds_max = kSeedSecondsMax;
    RunTasks(pool, tasks);
    if (terminal_) std::fprintf(stderr, "\r\033[K");
    return Finish();
  }

 private:
  double Seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                         begin_)
        .count();
  }

  std::vector<uint64_t> Next() {
    std::vector<uint64_t> seeds;
    if (settings_.seconds > 0 && Seconds() > settings_.seconds) return seeds;
    const uint64_t n = std::min(kSeedsOfAProcess, settings_.seeds - begun_);
    for (uint64_t i = 0; i < n; ++i) {
      seeds.push_back(settings_.from + begun_++);
    }
    return seeds;
  }

  void Done(uint64_t seed, const TaskResult& result) {
    if (!result.death.empty()) {
      report_.AddDeath(seed, ProfileOf(seed, settings_.seed.profile),
                       result.death);
      hashes_[seed] = 0;
    } else {
      const SeedResult its = ParseSeedResult(result.answer);
      report_.Add(its);
      hashes_[seed] = its.outcome.trace_hash;
    }
    if (!terminal_) return;
    std::fprintf(stderr, "\r%s",
                 absl::StrFormat("%u of %u seeds, %u failed, %.0f times real "
                                 "time per core ",
                                 report_.seeds(), settings_.seeds,
                                 report_.failures().size(), report_.Speed())
                     .c_str());
  }

  int Finish() {
    bool good = report_.failures().empty();
    std::printf("seeds from 0x%llx\n",
                static_cast<unsigned long long>(settings_.from));
    const size_t missed = report_.MissedMarks().size();
    const bool unmarked = settings_.marks_must_hit && missed > 0;
    if (unmarked) std::printf("FAILED: %zu marks were not reached\n", missed);
    const std::string text = settings_.brief && !unmarked
                                 ? report_.Verdict()
                                 : report_.ToText(Seconds());
    std::printf("%s", text.c_str());
    good = good && !unmarked;
    if (!settings_.json_file.empty()) {
      good = WriteFile(settings_.json_file, report_.ToJson(Seconds())) && good;
    }
    if (!settings_.hashes_file.empty()) {
      std::string lines;
      for (const auto& [seed, hash] : hashes_) {
        absl::StrAppendFormat(&lines, "0x%x %016x\n", seed, hash);
      }
      good = WriteFile(settings_.hashes_file, lines) && good;
    }
    return good ? 0 : 1;
  }

  const CampaignSettings& settings_;
  Report report_;
  const std::chrono::steady_clock::time_point begin_;
  const bool terminal_;
  uint64_t begun_ = 0;
  std::map<uint64_t, uint64_t> hashes_;
};

}  // namespace

uint64_t SeedOf(absl::string_view text) {
  // Short enough to type, with room for a million seeds behind it.
  return (HashOf(text) & 0xFFFFFF) << 20;
}

int RunCampaign(const CampaignSettings& settings) {
  return Campaign(settings).Run();
}

bool WriteFile(const std::string& name, absl::string_view text) {
  std::ofstream file(name, std::ios::binary);
  file << text;
  file.close();
  if (file.good()) return true;
  std::fprintf(stderr, "dovetail-sim: cannot write %s\n", name.c_str());
  return false;
}

}  // namespace dovetail::sim
