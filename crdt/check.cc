#include "crdt/check.h"

#include <cstdio>
#include <cstdlib>

namespace dovetail::crdt {

void CheckFailed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "%s:%d: internal error: %s does not hold\n", file, line,
               what);
  std::fflush(stderr);
  std::abort();
}

}  // namespace dovetail::crdt
