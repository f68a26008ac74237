#!/usr/bin/env python3
"""Starts three fresh nodes on loopback and runs dovetail-bench against them.

  python3 tests/demo/bench.py --bin build/release/bin [ARGS of dovetail-bench]

Without further arguments: YCSB workload a and the three mixes of typed
operations, with 64 operations in flight. The nodes' CPU time is counted too.
"""

import os
import subprocess
import sys
import tempfile

from cluster import Cluster, ClusterError

DEFAULT_RUNS = [["--workload", workload, "--in-flight", "64", "--seconds", "20"]
                for workload in ("a", "set-add", "counter-add", "map-update")]


def run(binaries, arguments):
    """One run on a cluster of its own; the exit status of dovetail-bench."""
    with tempfile.TemporaryDirectory(prefix="dovetail-bench-") as directory:
        with Cluster(binaries, directory) as cluster:
            command = [os.path.join(binaries, "dovetail-bench"), "--nodes",
                       ",".join(node.address for node in cluster.nodes),
                       "--server-pids",
                       ",".join(str(node.process.pid)
                                for node in cluster.nodes), *arguments]
            print("$ dovetail-bench", " ".join(arguments), flush=True)
            status = subprocess.run(command, check=False).returncode
            cluster.stop_all()
            return status


def main():
    if len(sys.argv) < 3 or sys.argv[1] != "--bin":
        print(__doc__, file=sys.stderr)
        return 2
    binaries = sys.argv[2]
    try:
        for arguments in [sys.argv[3:]] if sys.argv[3:] else DEFAULT_RUNS:
            status = run(binaries, arguments)
            if status != 0:
                print(f"bench: dovetail-bench ended with status {status}")
                return status
    except ClusterError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print("bench: done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
