#!/usr/bin/env python3
"""Objects expire: hidden at their time, removed soon after, and not at all by a
clock that is wrong.

  python3 tests/real/expiry_test.py --bin build/dev/bin \\
    --shim build/dev/lib/libshifted_clock.so

Three nodes, driven by the command line, with clocks that the test can move.
"""

import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import clock_test  # noqa: E402
import harness  # noqa: E402

HOUR = 3600
# Far above what hides and removes: the grace of 10 s and a few rounds.
PATIENCE_SECONDS = 60
OBJECTS = 20


def run(cluster, node, *words):
    return cluster.run(list(words), node).stdout.strip()


def entries(cluster, node):
    """Values that the node holds, whether anybody is shown them or not."""
    digests = json.loads(run(cluster, node, "digest", "--json"))
    return sum(one["row_entries"] for one in digests["partitions"])


def wait_for(what, condition):
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        harness.require(time.monotonic() < end, f"in vain: {what}")
        time.sleep(0.1)


def check_times(cluster, a, b):
    run(cluster, a, "set", "add", "shop", "cart", "milk", "--ttl", "1h", "--w=3")
    left = json.loads(run(cluster, b, "ttl", "shop", "cart", "set", "--json"))
    harness.require(0 < left["ttl_ms"] <= HOUR * 1000,
                    f"an hour to live is {left}")
    run(cluster, b, "persist", "shop", "cart", "set", "--w=3")
    left = run(cluster, a, "ttl", "shop", "cart", "set")
    harness.require(left == "never", f"what persists lives {left}")
    left = run(cluster, a, "ttl", "shop", "nothing", "set")
    harness.require(left == "absent", f"what is not there lives {left}")


def check_one_wrong_clock(cluster, clocks, wrong):
    """Before and after what is to expire: nothing goes too early, whoever is
    asked."""
    before = entries(cluster, cluster.nodes[0])
    clocks[cluster.nodes.index(wrong)].shift(10 * HOUR)
    for i in range(OBJECTS):
        node = cluster.nodes[i % 3]
        run(cluster, node, "set", "add", "hour", f"k{i}", "x", "--ttl", "1h",
            "--w=3")
    time.sleep(5)
    for node in cluster.nodes:
        for i in range(0, OBJECTS, 5):
            found = run(cluster, node, "set", "read", "hour", f"k{i}", "--r=1")
            harness.require(found == "{x}",
                            f"{node.name} shows {found} of what lives an hour")
    harness.require(entries(cluster, cluster.nodes[0])
                    == before + 2 * OBJECTS, "something has been removed")


def check_expiry(cluster):
    before = [entries(cluster, node) for node in cluster.nodes]
    for i in range(OBJECTS):
        run(cluster, cluster.nodes[i % 3], "set", "add", "soon", f"k{i}", "x",
            "y", "--ttl", "3s", "--w=3")
    a = cluster.nodes[0]
    found = run(cluster, a, "set", "read", "soon", f"k{OBJECTS - 1}")
    harness.require(found == "{x, y}", f"at once {found}")
    for node in cluster.nodes:
        wait_for(f"{node.name} lists nothing that has expired",
                 lambda node=node: run(cluster, node, "keys", "soon",
                                       "--r=1") == "")
        for i in range(0, OBJECTS, 5):
            found = run(cluster, node, "set", "read", "soon", f"k{i}", "--r=1")
            harness.require(found == "{}", f"{node.name} shows {found}")
    run(cluster, a, "set", "add", "soon", "k0", "new", "--w=3")
    for node in cluster.nodes:
        found = run(cluster, node, "set", "read", "soon", "k0", "--r=1")
        harness.require(found == "{new}", f"a new life begins with {found}")
    for node, entries_before in zip(cluster.nodes, before):
        wait_for(f"{node.name} has removed it all",
                 lambda node=node, n=entries_before:
                 entries(cluster, node) == n + 1)
    found = run(cluster, a, "set", "read", "soon", "k0")
    harness.require(found == "{new}", f"after that there is {found}")


def check_says_so(cluster, wrong):
    """The node whose clock is wrong has something to remove, and does not."""
    wait_for(f"{wrong.name} says that it removes nothing",
             lambda: "nothing that expires is removed"
             in wrong.log_tail(400))


def test(options, directory):
    cluster, clocks = clock_test.cluster_with_clocks(
        options.bin, options.shim, directory)
    with cluster:
        check_times(cluster, cluster.nodes[0], cluster.nodes[1])
        check_expiry(cluster)
        wrong = cluster.nodes[2]
        check_one_wrong_clock(cluster, clocks, wrong)
        for i in range(OBJECTS):
            run(cluster, cluster.nodes[0], "set", "add", "gone", f"k{i}", "x",
                "--ttl", "1s", "--w=3")
        check_says_so(cluster, wrong)
        clocks[2].shift(0)
        wait_for("all is removed once the clocks agree",
                 lambda: entries(cluster, wrong) == 2 + 2 * OBJECTS)
        cluster.stop_all()
    print(f"{3 * OBJECTS} objects expired or did not, each as it should")
    return []


def main():
    return harness.run("expiry", harness.parser_of(__doc__, "shim"), test)


if __name__ == "__main__":
    sys.exit(main())
