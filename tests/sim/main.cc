#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/sim/draw.h"
#include "tests/sim/simulation.h"

int main(int argc, char** argv) {
  using namespace dovetail::sim;
  const uint64_t from = std::strtoull(argv[1], nullptr, 0);
  const uint64_t count = std::strtoull(argv[2], nullptr, 0);
  const std::string profile = argc > 3 ? argv[3] : "swarm";
  RunSettings settings;
  if (argc > 4) settings.trace_from = std::strtoull(argv[4], nullptr, 0);
  uint64_t failed = 0;
  double virtual_s = 0;
  ClientStats all;
  for (uint64_t seed = from; seed < from + count; ++seed) {
    auto plan = DrawPlan(seed, profile);
    if (count == 1) std::fprintf(stderr, "%s", ToText(*plan).c_str());
    Outcome outcome = RunPlan(*plan, settings);
    virtual_s += static_cast<double>(outcome.virtual_us) / 1e6;
    all.operations += outcome.clients.operations;
    all.acknowledged += outcome.clients.acknowledged;
    all.failed += outcome.clients.failed;
    all.checks += outcome.clients.checks;
    if (!outcome.violation.empty()) {
      ++failed;
      std::printf("seed %llu: %s\n", (unsigned long long)seed,
                  outcome.violation.substr(0, 600).c_str());
    }
    if (count == 1) {
      std::printf("hash %016llx events %llu\n",
                  (unsigned long long)outcome.trace_hash,
                  (unsigned long long)outcome.events);
    }
  }
  std::printf("%llu seeds, %llu failed, %.0f virtual s, %llu ops %llu acks %llu errors %llu checks\n",
              (unsigned long long)count, (unsigned long long)failed, virtual_s,
              (unsigned long long)all.operations, (unsigned long long)all.acknowledged, (unsigned long long)all.failed,
              (unsigned long long)all.checks);
  return failed != 0;
}
