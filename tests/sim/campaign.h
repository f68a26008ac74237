// Many seeds, on several cores: runs them, adds them up, says which failed and
// how to see one again.
#ifndef DOVETAIL_TESTS_SIM_CAMPAIGN_H_
#define DOVETAIL_TESTS_SIM_CAMPAIGN_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "tests/sim/seed_run.h"

namespace dovetail::sim {

struct CampaignSettings {
  uint64_t from = 1;
  uint64_t seeds = 0;
  int jobs = 1;
  double seconds = 0;  // begin no more seeds after it; 0: no limit
  SeedSettings seed;   // "mixed" allowed
  std::string json_file;
  std::string hashes_file;  // "SEED HASH" a line, by seed
  bool marks_must_hit = false;
  bool brief = false;  // prints no numbers
};

// Where a campaign of something called `text` (a commit) begins: others begin
// far away from it.
uint64_t SeedOf(absl::string_view text);

// The exit status: 0 if all went well.
int RunCampaign(const CampaignSettings& settings);

// False, with a word on standard error, if it could not be written.
bool WriteFile(const std::string& name, absl::string_view text);

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_CAMPAIGN_H_
