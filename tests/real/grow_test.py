#!/usr/bin/env python3
"""A cluster grows and shrinks under load, and no acknowledged write is lost.

  python3 tests/real/grow_test.py --bin build/dev/bin \\
      --load build/dev/bin/region_load [--seed S]

Three nodes with data, N = 3, and a load at W = 2, sloppy. Two more join, and
partitions move to them; then one of the first three leaves, and its partitions
move to the others. No request may fail meanwhile. In the end the owners hold
the same, nobody holds what is another's, and counters and sets are exactly what
the load was told.
"""

import argparse
import json
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import harness  # noqa: E402
import loads  # noqa: E402
from cluster import Cluster  # noqa: E402
from join_test import (apart, by_name, commit, left_behind,  # noqa: E402
                       wait_for)

RATE = 150
OBJECTS = 200           # counters, and as many sets
WARM_SECONDS = 4


def moved(cluster, what):
    """Waits until the data is where the ring has it, and nowhere else."""
    began = time.monotonic()
    wait_for(f"{what}: owners hold the same", lambda: not apart(cluster))
    wait_for(f"{what}: nobody else does", lambda: not left_behind(cluster))
    print(f"  {what}: {time.monotonic() - began:.1f} s", flush=True)


def known_everywhere(cluster, count):
    for node in cluster.nodes:
        wait_for(f"{node.name} knows {count} nodes", lambda at=node: sum(
            m["state"] == "alive" and m["reachable"]
            for m in cluster.view(at)["members"]) == count)


def grow(cluster, load):
    for name in ("d", "e"):
        cluster.join(name)
    known_everywhere(cluster, 5)
    cluster.run(["cluster", "join"], cluster.nodes[0])
    commit(cluster, cluster.nodes[0])
    wait_for("all go by epoch 2", lambda: all(
        cluster.view(node)["epoch"] == 2 for node in cluster.nodes))
    # The load keeps owners a little apart; that it is all there is seen later.
    wait_for("the new nodes own and hold something", lambda: all(
        by_name(cluster.view(node))[node.name]["partitions"] > 0 and
        any(p["row_entries"] for p in cluster.digest(node)["partitions"])
        for node in cluster.nodes[3:]))
    load.check()


def shrink(cluster, load, leaver):
    cluster.run(["cluster", "leave", leaver.name], cluster.nodes[3])
    commit(cluster, cluster.nodes[4])
    wait_for("all go by epoch 3", lambda: all(
        cluster.view(node)["epoch"] == 3 for node in cluster.nodes))
    wait_for(f"{leaver.name} has handed over", lambda: not any(
        p["row_entries"] for p in cluster.digest(leaver)["partitions"]))
    load.check()


def test(options, directory):
    with Cluster(options.bin, directory, "replicas = 3") as cluster:
        load = loads.SteadyLoad(
            options.load, "load", cluster.nodes, "--rate", str(RATE),
            "--objects", str(OBJECTS), "--w", "2", "--seed",
            str(options.seed % 1000))
        time.sleep(WARM_SECONDS)
        grow(cluster, load)
        time.sleep(1)
        leaver = random.Random(options.seed).choice(cluster.nodes[:3])
        shrink(cluster, load, leaver)
        report = load.finish()
        print(f"{leaver.name} left; {loads.described(report)}", flush=True)
        moved(cluster, "after the load")
        findings = list(loads.failures("load", report))
        findings += loads.differences(cluster, *loads.expected([report]))
        cluster.stop_all()
    return findings


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--load", required=True, help="the program region_load")
    parser.add_argument("--seed", type=int,
                        default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    return 0 if harness.run_in_directory(
        "grow", lambda directory: test(options, directory)) else 1


if __name__ == "__main__":
    sys.exit(main())
