// A planted bug against the unit test that is to catch it:
//
//   planted_tests MUTANT TEST_CASE
//
// Exit 0 if the case passes without the bug, and fails with it. And marks
// against the cases that reach them, where no campaign of the simulator does
// (tests/sim/marks.h):
//
//   planted_tests --marks
#define DOCTEST_CONFIG_IMPLEMENT
#include <cstdio>
#include <cstring>
#include <memory>

#include "doctest/doctest.h"
#include "tests/sim/hooks.h"
#include "tests/sim/marks.h"

namespace {

int RunCase(const char* test_case) {
  doctest::Context context;
  context.setOption("test-case", test_case);
  context.setOption("minimal", true);
  return context.run();
}

int LookAtMarks() {
  int wrong = 0;
  for (const dovetail::sim::MarkElsewhere& one :
       dovetail::sim::MarksElsewhere()) {
    if (one.test_case == nullptr) continue;
    const dovetail::hooks::Run run(1, /*buggify=*/false);
    const int failed = RunCase(one.test_case);
    const auto marks = run.marks();
    const auto its = marks.find(one.mark);
    if (failed == 0 && its != marks.end() && its->second > 0) continue;
    ++wrong;
    std::fprintf(stderr, "\"%s\" is not reached by \"%s\"\n", one.mark,
                 one.test_case);
  }
  return wrong == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--marks") == 0) return LookAtMarks();
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
