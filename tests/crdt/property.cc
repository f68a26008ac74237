#include "tests/crdt/property.h"

#include <errno.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace dovetail::crdt::model {
namespace {

std::string& ReplayLine() {
  static auto& line = *new std::string;
  return line;
}

uint64_t HashOf(const std::string& name) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char byte : name) {
    hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001b3;
  }
  return hash >> 1;
}

// All values of the whole range, also in the first, small cases.
rc::Gen<uint8_t> AnyByte() {
  return rc::gen::resize(rc::kNominalSize,
                         rc::gen::cast<uint8_t>(rc::gen::inRange(0, 256)));
}

}  // namespace

PropertyPlan PlanProperty(const std::string& name, int runs) {
  PropertyPlan plan;
  const char* seed = std::getenv("DOVETAIL_SEED");
  plan.seed = seed == nullptr ? HashOf(name) : std::strtoull(seed, nullptr, 10);
  const char* factor = std::getenv("DOVETAIL_PROPERTY_RUNS");
  const double scale = factor == nullptr ? 1 : std::strtod(factor, nullptr);
  plan.runs = std::max(1, static_cast<int>(runs * scale));
  std::printf("seed %llu, %d runs: %s\n",
              static_cast<unsigned long long>(plan.seed), plan.runs,
              name.c_str());
  std::fflush(stdout);
  return plan;
}

void PrintReplayAtExit(const std::string& name, const PropertyPlan& plan) {
  if (!ReplayLine().empty()) return;
  const char* factor = std::getenv("DOVETAIL_PROPERTY_RUNS");
  ReplayLine() =
      "DOVETAIL_SEED=" + std::to_string(plan.seed) +
      (factor == nullptr ? ""
                         : std::string(" DOVETAIL_PROPERTY_RUNS=") + factor) +
      " " + program_invocation_name + " -tc='" + name + "'";
  std::atexit([] { std::fprintf(stderr, "%s\n", ReplayLine().c_str()); });
}

rc::Gen<std::vector<Move>> AnySchedule() {
  return rc::gen::container<std::vector<Move>>(rc::gen::build<Move>(
      rc::gen::set(&Move::kind, AnyByte()), rc::gen::set(&Move::who, AnyByte()),
      rc::gen::set(&Move::target, AnyByte()),
      rc::gen::set(&Move::verb, AnyByte()),
      rc::gen::set(&Move::detail, AnyByte()),
      rc::gen::set(&Move::stamp, AnyByte())));
}

std::ostream& operator<<(std::ostream& out, const Move& move) {
  return out << "{" << unsigned{move.kind} << "," << unsigned{move.who} << ","
             << unsigned{move.target} << "," << unsigned{move.verb} << ","
             << unsigned{move.detail} << "," << unsigned{move.stamp} << "}";
}

}  // namespace dovetail::crdt::model
