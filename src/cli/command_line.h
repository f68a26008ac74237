// The `dovetail` command: words in, exit code out. `dovetail --help` is its
// manual.
#ifndef DOVETAIL_SRC_CLI_COMMAND_LINE_H_
#define DOVETAIL_SRC_CLI_COMMAND_LINE_H_

#include <istream>
#include <ostream>
#include <string>
#include <vector>

namespace dovetail::cli {

struct Streams {
  std::istream& in;
  std::ostream& out;
  std::ostream& error;
  // Whether `error` is a terminal that `out` does not share, so that progress
  // may be shown there.
  bool show_progress = false;
};

// Runs `dovetail ARGUMENTS…`. Returns: an Exit of commands.h.
int RunCommandLine(std::vector<std::string> arguments, const Streams& streams);

}  // namespace dovetail::cli

#endif  // DOVETAIL_SRC_CLI_COMMAND_LINE_H_
