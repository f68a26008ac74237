// The dovetail command, run in this process against a fake node.
#ifndef DOVETAIL_TESTS_CLIENT_SHELL_H_
#define DOVETAIL_TESTS_CLIENT_SHELL_H_

#include <doctest/doctest.h>

#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "src/cli/command_line.h"
#include "tests/client/fake_node.h"

namespace dovetail::cli {

struct Ran {
  int exit = 0;
  std::string out;
  std::string error;
};

inline Ran Run(std::vector<std::string> arguments,
               const std::string& input = "") {
  std::istringstream in(input);
  std::ostringstream out;
  std::ostringstream error;
  Ran ran;
  ran.exit = RunCommandLine(std::move(arguments), {in, out, error});
  ran.out = out.str();
  ran.error = error.str();
  return ran;
}

// A node, and commands that talk to it.
struct Shell {
  FakeNode node;
  Ran Do(const std::string& words, const std::string& input = "") {
    std::vector<std::string> arguments =
        absl::StrSplit(words, ' ', absl::SkipEmpty());
    return With(std::move(arguments), input);
  }
  Ran With(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.begin(), {"--node", node.address()});
    return Run(std::move(arguments), input);
  }
  // The output of a command that succeeds.
  std::string Out(const std::string& words) {
    const Ran ran = Do(words);
    CHECK_MESSAGE(ran.exit == 0, words << ": " << ran.error);
    return ran.out;
  }
};

}  // namespace dovetail::cli

#endif  // DOVETAIL_TESTS_CLIENT_SHELL_H_
