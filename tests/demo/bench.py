#!/usr/bin/env python3
"""Starts three fresh nodes on loopback and runs dovetail-bench against them.

  python3 tests/demo/bench.py --bin build/release/bin [ARGS of dovetail-bench]
"""

import os
import subprocess
import sys
import tempfile

from cluster import Cluster, ClusterError


def main():
    if len(sys.argv) < 3 or sys.argv[1] != "--bin":
        print(__doc__, file=sys.stderr)
        return 2
    binaries, arguments = sys.argv[2], sys.argv[3:]
    try:
        with tempfile.TemporaryDirectory(prefix="dovetail-bench-") as directory:
            with Cluster(binaries, directory) as cluster:
                status = subprocess.run(
                    [os.path.join(binaries, "dovetail-bench"), "--node",
                     ",".join(node.address for node in cluster.nodes),
                     *arguments], check=False).returncode
                cluster.stop_all()
    except ClusterError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
