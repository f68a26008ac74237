#include <unistd.h>

#include <iostream>
#include <string>
#include <vector>

#include "src/cli/command_line.h"

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  std::cin.tie(nullptr);
  return dovetail::cli::RunCommandLine(
      std::vector<std::string>(argv + 1, argv + argc),
      {std::cin, std::cout, std::cerr,
       isatty(STDERR_FILENO) != 0 && isatty(STDOUT_FILENO) == 0});
}
