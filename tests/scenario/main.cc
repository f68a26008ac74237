// dovetail-scenario FILE... [--storage=memory|rocksdb] [--seed=N]
//
// Exit 0: every expectation of every file holds. 1: one does not; the line, and
// the story so far, are printed, and the next file is run. 2: a line does not
// parse, means something that is not supported yet, or a file is not readable.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "tests/scenario/runner.h"
#include "tests/sim/rocks_disk.h"
#include "tests/sim/sim_disk.h"

namespace {

using dovetail::scenario::Result;

constexpr char kUsage[] =
    "usage: dovetail-scenario FILE... [--storage=memory|rocksdb] [--seed=N]\n"
    "Plays scenario scripts; tests/scenarios/README.md describes them.\n"
    "Exit 0: all expectations hold; 1: one does not; 2: a line does not parse\n"
    "or is not supported.\n";

struct Arguments {
  std::vector<std::string> files;
  bool rocksdb = false;
  uint64_t seed = 1;
};

// False: the arguments make no sense.
bool Parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (absl::ConsumePrefix(&argument, "--storage=")) {
      if (argument != "memory" && argument != "rocksdb") return false;
      arguments.rocksdb = argument == "rocksdb";
    } else if (absl::ConsumePrefix(&argument, "--seed=")) {
      if (!absl::SimpleAtoi(argument, &arguments.seed)) return false;
    } else if (absl::StartsWith(argument, "--")) {
      return false;
    } else {
      arguments.files.emplace_back(argument);
    }
  }
  return !arguments.files.empty();
}

std::unique_ptr<dovetail::sim::Disk> MakeDisk(bool rocksdb) {
  if (rocksdb) return std::make_unique<dovetail::sim::RocksDisk>();
  return std::make_unique<dovetail::sim::MemoryDisk>();
}

Result RunFile(const std::string& file, const Arguments& arguments) {
  std::ifstream in(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in.good() && !in.eof()) {
    std::printf("%s: cannot be read\n", file.c_str());
    return Result::kUnreadable;
  }
  dovetail::scenario::WorldOptions options;
  options.seed = arguments.seed;
  options.make_disk = [&] { return MakeDisk(arguments.rocksdb); };
  dovetail::scenario::Runner runner(std::move(options));
  std::string out;
  const Result result = runner.Run(file, text, out);
  std::fwrite(out.data(), 1, out.size(), stdout);
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--help") {
    std::fputs(kUsage, stdout);
    return 0;
  }
  Arguments arguments;
  if (!Parse(argc, argv, arguments)) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  Result worst = Result::kHolds;
  for (const std::string& file : arguments.files) {
    worst = std::max(worst, RunFile(file, arguments));
  }
  return static_cast<int>(worst);
}
