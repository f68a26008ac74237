#include "tests/sim/hooks.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace dovetail::hooks {
namespace {

// Filled before main() by the sites themselves, in any order; read after.
std::vector<SiteInfo>& Table() {
  static std::vector<SiteInfo> table;
  return table;
}

thread_local Run* installed = nullptr;

// One step of SplitMix64, also the way in which parts of a name are joined.
uint64_t Mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

uint64_t NameHash(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  return hash;
}

// This library stands below crdt/, so crdt/check.h is not for it.
void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "hooks: %s\n", what);
  std::abort();
}

bool OneInFour(uint64_t random) { return random >> 62 == 0; }

}  // namespace

Site::Site(Kind kind, const char* name) : id(0) {
  std::vector<SiteInfo>& table = Table();
  id = static_cast<int>(table.size());
  table.push_back({kind, name});
}

std::vector<SiteInfo> AllSites() {
  std::vector<SiteInfo> sites = Table();
  std::sort(sites.begin(), sites.end());
  return sites;
}

Run::Run(uint64_t seed, bool buggify, std::string_view mutant)
    : seed_(seed),
      buggify_(buggify),
      counts_(Table().size()),
      outer_(installed) {
  const std::vector<SiteInfo>& table = Table();
  for (size_t id = 0; id < table.size(); ++id) {
    active_.push_back(table[id].kind == Kind::kBuggify &&
                      OneInFour(Mix(Mix(seed) ^ NameHash(table[id].name))));
    if (table[id].kind == Kind::kMutant && table[id].name == mutant) {
      mutant_ = static_cast<int>(id);
    }
  }
  Require(mutant.empty() || mutant_ >= 0, "no mutant of that name");
  current_ = nullptr;
  SetNode(0, 0);
  installed = this;
}

Run::~Run() {
  Require(installed == this, "a run ends before an inner one");
  installed = outer_;
}

void Run::SetNode(uint32_t node, uint64_t incarnation) {
  const std::pair<uint32_t, uint64_t> who(node, incarnation);
  auto found = streams_.find(who);
  if (found == streams_.end()) {
    found = streams_.emplace(who, NewStreams(node, incarnation)).first;
  }
  current_ = &found->second;
}

Run::Streams Run::NewStreams(uint32_t node, uint64_t incarnation) const {
  Streams streams;
  for (const SiteInfo& site : Table()) {
    uint64_t state = Mix(Mix(seed_) + NameHash(site.name));
    state = Mix(state ^ node);
    streams.push_back(Mix(state ^ incarnation));
  }
  return streams;
}

std::map<std::string, uint64_t> Run::Counts(Kind kind) const {
  std::map<std::string, uint64_t> counts;
  const std::vector<SiteInfo>& table = Table();
  for (size_t id = 0; id < table.size(); ++id) {
    if (table[id].kind == kind) counts[table[id].name] = counts_[id];
  }
  return counts;
}

uint64_t Run::mutant_passes() const {
  return mutant_ < 0 ? 0 : counts_[static_cast<size_t>(mutant_)];
}

void Mark(const Site& site) {
  if (installed != nullptr) ++installed->counts_[static_cast<size_t>(site.id)];
}

bool Buggify(const Site& site) {
  Run* const run = installed;
  const auto id = static_cast<size_t>(site.id);
  if (run == nullptr || !run->buggify_ || !run->active_[id]) return false;
  uint64_t& state = (*run->current_)[id];
  const uint64_t random = Mix(state);
  state += 0x9e3779b97f4a7c15;
  if (!OneInFour(random)) return false;
  ++run->counts_[id];
  return true;
}

bool Mutant(const Site& site) {
  if (installed == nullptr || installed->mutant_ != site.id) return false;
  ++installed->counts_[static_cast<size_t>(site.id)];
  return true;
}

void Tell(const Told& told) {
  if (installed != nullptr) installed->told_.push_back(told);
}

}  // namespace dovetail::hooks
