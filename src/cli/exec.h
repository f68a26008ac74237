// `dovetail exec`: operations as JSON lines in, results as JSON lines out, in
// the order of the input, with many operations on their way at once.
#ifndef DOVETAIL_SRC_CLI_EXEC_H_
#define DOVETAIL_SRC_CLI_EXEC_H_

#include <cstddef>
#include <cstdint>
#include <istream>
#include <ostream>

#include "src/cli/caller.h"
#include "src/client/client.h"

namespace dovetail::cli {

struct ExecOptions {
  CallOptions call;
  // Lines that may be on their way, or answered and not yet printed.
  size_t in_flight = 256;
  // Where to show progress; null: nowhere. `input_bytes` is the size of the
  // input if that is known, else 0.
  std::ostream* progress = nullptr;
  uint64_t input_bytes = 0;
};

struct ExecSummary {
  uint64_t lines = 0;
  uint64_t failed = 0;
  bool output_broken = false;  // `out` failed: the rest was not run
};

// Runs every line of `in`. Empty lines are skipped (and counted as lines). A
// line that does not parse gives a result that says so, and the next is taken.
// Operations of different lines run independently: give what must be together
// as a batch. Memory: in_flight lines, at most 64 MiB of them beyond one.
ExecSummary Exec(Caller& caller, std::istream& in, std::ostream& out,
                 const ExecOptions& options);

}  // namespace dovetail::cli

#endif  // DOVETAIL_SRC_CLI_EXEC_H_
