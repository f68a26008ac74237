// A planted bug against the unit test that is to catch it:
//
//   planted_tests MUTANT TEST_CASE
//
// Exit 0 if the case passes without the bug, and fails with it.
#define DOCTEST_CONFIG_IMPLEMENT
#include <cstdio>
#include <memory>

#include "doctest/doctest.h"
#include "tests/sim/hooks.h"

namespace {

int RunCase(const char* test_case) {
  doctest::Context context;
  context.setOption("test-case", test_case);
  context.setOption("minimal", true);
  return context.run();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "planted_tests MUTANT TEST_CASE\n");
    return 2;
  }
  if (RunCase(argv[2]) != 0) {
    std::fprintf(stderr, "it fails without the bug\n");
    return 1;
  }
  const dovetail::hooks::Run run(1, /*buggify=*/false, argv[1]);
  const int failed = RunCase(argv[2]);
  if (run.mutant_passes() == 0) {
    std::fprintf(stderr, "the case does not come by the bug\n");
    return 1;
  }
  if (failed == 0) {
    std::fprintf(stderr, "it passes with the bug\n");
    return 1;
  }
  return 0;
}
