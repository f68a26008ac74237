// Marks of the product (crdt/hooks.h) that a mixed campaign need not reach,
// each with who does: a profile of its own, or a unit test. All else must be
// reached by every long campaign (--marks-must-hit).
#ifndef DOVETAIL_TESTS_SIM_MARKS_H_
#define DOVETAIL_TESTS_SIM_MARKS_H_

#include <string>
#include <vector>

namespace dovetail::sim {

struct MarkElsewhere {
  const char* mark;
  const char* profile;    // or nullptr
  const char* test_case;  // or nullptr: what doctest calls it
};

// planted_tests --marks runs each of the test cases and looks for the mark.
const std::vector<MarkElsewhere>& MarksElsewhere();

// Whether a campaign of `profile` must reach the mark.
bool MustReach(const std::string& mark, const std::string& profile);

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_MARKS_H_
