// The simulator's side of crdt/hooks.h: which marks were reached, which
// buggify sites fire, which planted bug is alive.
//
// As in FoundationDB a site is active in a quarter of the runs, and an active
// one fires at a quarter of its passes. Each draws from a stream of its own,
// split by seed, site, node and incarnation, so that a pass more or less at
// one of them moves no other. The same seed gives the same answers in every
// build.
#ifndef DOVETAIL_TESTS_SIM_HOOKS_H_
#define DOVETAIL_TESTS_SIM_HOOKS_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crdt/hooks.h"

namespace dovetail::hooks {

struct SiteInfo {
  Kind kind = Kind::kMark;
  std::string name;

  friend bool operator==(const SiteInfo&, const SiteInfo&) = default;
  friend auto operator<=>(const SiteInfo&, const SiteInfo&) = default;
};

// Every site compiled into this program, reached or not; sorted.
std::vector<SiteInfo> AllSites();

// One run of the simulator; installed for its thread while it lives. Runs
// nest: the innermost answers. With none installed nothing fires or counts.
class Run {
 public:
  // `mutant` is the name of the planted bug to bring to life, or empty.
  // REQUIRES: a mutant of that name is compiled in.
  Run(uint64_t seed, bool buggify, std::string_view mutant = "");
  ~Run();
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  // Whose code runs from now on.
  void SetNode(uint32_t node, uint64_t incarnation);
  // Off: no site fires, and no stream moves (to heal, or to end a plan).
  void SetBuggify(bool on) { buggify_ = on; }

  // How often each site was reached (marks), fired (buggify) or was asked
  // for while alive (the mutant); every site of its kind is there, also at 0.
  std::map<std::string, uint64_t> marks() const { return Counts(Kind::kMark); }
  std::map<std::string, uint64_t> buggified() const {
    return Counts(Kind::kBuggify);
  }
  uint64_t mutant_passes() const;

  // What was told since the last call.
  std::vector<Told> TakeTold() { return std::exchange(told_, {}); }

 private:
  friend void Mark(const Site& site);
  friend bool Buggify(const Site& site);
  friend bool Mutant(const Site& site);
  friend void Tell(const Told& told);
  using Streams = std::vector<uint64_t>;  // by site id: the generator's state

  std::map<std::string, uint64_t> Counts(Kind kind) const;
  Streams NewStreams(uint32_t node, uint64_t incarnation) const;

  uint64_t seed_;
  bool buggify_;
  int mutant_ = -1;               // a site id
  std::vector<bool> active_;      // by site id
  std::vector<uint64_t> counts_;  // by site id
  std::vector<Told> told_;
  std::map<std::pair<uint32_t, uint64_t>, Streams> streams_;
  Streams* current_;  // of the node whose code runs
  Run* outer_;
};

}  // namespace dovetail::hooks

#endif  // DOVETAIL_TESTS_SIM_HOOKS_H_
