// What a campaign adds up to, as text and as JSON.
#ifndef DOVETAIL_TESTS_SIM_REPORT_H_
#define DOVETAIL_TESTS_SIM_REPORT_H_

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/seed_run.h"

namespace dovetail::sim {

struct Failure {
  uint64_t seed = 0;
  std::string profile;
  std::string what;
};

class Report {
 public:
  // `mutant` is the planted bug that was alive, or empty.
  explicit Report(std::string mutant = "");

  void Add(const SeedResult& result);
  // The process that ran the seed died.
  void AddDeath(uint64_t seed, const std::string& profile, std::string how);

  uint64_t seeds() const { return seeds_; }
  const std::vector<Failure>& failures() const { return failures_; }
  // Marks of the product that no seed reached and some had to (marks.h); those
  // that none had to; buggify sites that never fired.
  std::vector<std::string> MissedMarks() const;
  std::vector<std::string> MarksLeftToOthers() const;
  std::vector<std::string> IdleSites() const { return Zeros(buggified_); }
  // How many times faster than real time, for one core.
  double Speed() const;

  // Ends with the verdict.
  std::string ToText(double wall_seconds) const;
  // The failures, and in the end the commands that replay them.
  std::string Verdict() const;
  std::string ToJson(double wall_seconds) const;

 private:
  using Counts = std::map<std::string, uint64_t>;
  // Of all seeds, or "mixed".
  std::string Profile() const;
  static std::vector<std::string> Zeros(const Counts& counts);
  void AddFailure(Failure failure);
  std::string FaultTable() const;
  std::string TransferTable() const;
  // The core-seconds of the seed that `permille` of them are quicker than, and
  // which one that is. Requires: there is one.
  std::pair<double, uint64_t> Took(size_t permille) const;

  const std::string mutant_;
  uint64_t seeds_ = 0;
  uint64_t rechecked_ = 0;
  double core_seconds_ = 0;
  std::vector<std::pair<double, uint64_t>> took_;  // core-seconds, seed
  int64_t virtual_us_ = 0;
  double node_seconds_ = 0;
  int64_t converged_us_max_ = 0;
  uint64_t turns_ = 0;
  uint64_t events_ = 0;
  ClientStats clients_;
  NetworkStats network_;
  Counts profiles_;
  decltype(Outcome::faults) faults_{};
  decltype(Outcome::transfers) transfers_{};
  Counts marks_;
  Counts buggified_;
  std::vector<Failure> failures_;
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_REPORT_H_
