#!/bin/sh
# Fuzzes one target for some seconds: fuzz/run.sh TARGET SECONDS
# Builds the `fuzz` preset if need be; new inputs go to build/fuzz/corpus/TARGET,
# an input that fails to build/fuzz/crash-….
set -eu
if [ $# -ne 2 ]; then
  echo "usage: fuzz/run.sh TARGET SECONDS" >&2
  echo "targets: decode_delta decode_token decode_context join_three" >&2
  exit 2
fi
cd "$(dirname "$0")/.."
[ -f build/fuzz/CMakeCache.txt ] || cmake --preset fuzz
cmake --build --preset fuzz --target "fuzz_$1"
mkdir -p "build/fuzz/corpus/$1"
# Entropic scheduling costs more than the runs themselves for join_three.
exec "build/fuzz/bin/fuzz_$1" -max_total_time="$2" -max_len=4096 \
  -entropic=0 -print_final_stats=1 -artifact_prefix=build/fuzz/crash- \
  "build/fuzz/corpus/$1" "fuzz/corpus/$1"
