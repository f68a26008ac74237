#!/usr/bin/env python3
"""A cluster that grows before its first write, loses a node, finds it again at
another address, and grows once more when it holds data."""

import json
import random
import subprocess
import sys
import time

import harness
from cluster import Cluster

KEYS = 400
SECONDS_MAX = 40


def wait_for(what, condition):
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        harness.require(time.monotonic() < deadline,
                        f"not within {SECONDS_MAX} s: {what}")
        time.sleep(0.05)


def by_name(view):
    return {member["name"]: member for member in view["members"]}


def execute(cluster, node, operations, *arguments):
    lines = "".join(json.dumps(operation) + "\n" for operation in operations)
    done = subprocess.run(cluster.exec_at(node, *arguments), input=lines,
                          capture_output=True, text=True, check=False,
                          timeout=SECONDS_MAX)
    return [json.loads(line) for line in done.stdout.splitlines()]


def add(i):
    return {"type": "set", "verb": "add", "bucket": "b", "key": f"k{i}",
            "elements": [f"e{i}"]}


def read(i):
    return {"type": "set", "verb": "read", "bucket": "b", "key": f"k{i}"}


def commit(cluster, node, *arguments):
    def committed():
        done = cluster.run(["cluster", "commit", *arguments], node, check=False)
        # What moved last has not been told to all yet.
        later = ("did not say yet", "still on its way")
        harness.require(done.returncode == 0 or
                        any(text in done.stderr for text in later),
                        f"commit: {done.stderr}")
        return done.returncode == 0
    wait_for("the commit is taken", committed)


def moves(plan):
    """What a plan does. What it costs is estimated, by each node for itself."""
    return [plan.get(key) for key in ("epoch", "staged", "partitions_moved")] + [
        (node["name"], node["before"], node["after"])
        for node in plan.get("nodes", [])]


def grow(cluster):
    """Two more nodes, known to all at once; members after a commit."""
    for name in ("d", "e"):
        cluster.join(name)
    for node in cluster.nodes:
        wait_for(f"all five are alive at {node.name}", lambda at=node: sum(
            m["state"] == "alive" and m["reachable"]
            for m in cluster.view(at)["members"]) == 5)
        seen = by_name(cluster.view(node))
        for name in ("d", "e"):
            harness.require(not seen[name]["member"] and
                            seen[name]["partitions"] == 0,
                            f"{name} owns something before the commit")
    e = cluster.nodes[4]
    plan = json.loads(cluster.run(["cluster", "join", "--json"], e).stdout)
    harness.require(plan["staged"] == ["d", "e"], f"staged: {plan}")
    wait_for("the plan is seen at a", lambda: moves(json.loads(cluster.run(
        ["cluster", "plan", "--json"], cluster.nodes[0]).stdout)) == moves(plan))

    commit(cluster, cluster.nodes[0], "--epoch", "1")
    for node in cluster.nodes:
        wait_for(f"{node.name} goes by epoch 2", lambda at=node:
                 cluster.view(at)["epoch"] == 2)
    owned = [m["partitions"] for m in cluster.view(e)["members"]]
    harness.require(sum(owned) == 3 * 16 and min(owned) > 0,
                    f"partitions owned: {owned}")


def write_everywhere(cluster):
    for at, node in enumerate(cluster.nodes):
        results = execute(cluster, node,
                          [add(i) for i in range(at, KEYS, 5)], "--w", "quorum")
        harness.require(len(results) == KEYS // 5 and
                        all(r["ok"] for r in results),
                        f"writes at {node.name}: {results[:3]}")


def read_all(cluster, node):
    results = execute(cluster, node, [read(i) for i in range(KEYS)],
                      "--r", "quorum")
    for i, result in enumerate(results):
        harness.require(result.get("value") == [f"e{i}"],
                        f"k{i} at {node.name}: {result}")
    harness.require(len(results) == KEYS, f"{len(results)} results")


def lose_and_move(cluster, victim):
    others = [node for node in cluster.nodes if node is not victim]
    cluster.kill(victim)
    for node in others:
        read_all(cluster, node)
    cluster.move(victim)
    cluster.launch(victim)
    cluster.wait_ready(victim)
    for node in others:
        # By its name; gossip brings the address right behind the link.
        wait_for(f"{victim.name} is back at {node.name}", lambda at=node: (
            lambda seen: seen["reachable"] and
            seen["address"] == victim.address)(
                by_name(cluster.view(at))[victim.name]))
        seen = by_name(cluster.view(node))
        harness.require(len(seen) == 5, f"{node.name} sees {seen}")


def apart(cluster):
    """Owners of one partition that hold different things."""
    ring = json.loads(cluster.run(["cluster", "ring", "--json"],
                                  cluster.nodes[0]).stdout)["partitions"]
    held = {node.name: {p["partition"]: (p["rows"], p["context"])
                        for p in cluster.digest(node)["partitions"]}
            for node in cluster.nodes}
    return [p for p, owners in enumerate(ring)
            if len({held[name][p] for name in owners}) > 1]


def left_behind(cluster):
    """Partitions at nodes that do not own them."""
    ring = json.loads(cluster.run(["cluster", "ring", "--json"],
                                  cluster.nodes[0]).stdout)["partitions"]
    return [(node.name, p["partition"]) for node in cluster.nodes
            for p in cluster.digest(node)["partitions"]
            if p["row_entries"] and node.name not in ring[p["partition"]]]


def data_moves(cluster):
    """A sixth node takes its part, and the others let go of it."""
    cluster.join("f")
    f = cluster.nodes[5]
    wait_for("f is known", lambda: "f" in by_name(
        cluster.view(cluster.nodes[0])))
    cluster.run(["cluster", "join", "f"], cluster.nodes[0])
    commit(cluster, cluster.nodes[0])
    read_all(cluster, f)  # while what it owns is still on its way
    wait_for("f owns something", lambda: by_name(
        cluster.view(f))["f"]["partitions"] > 0)
    wait_for("all is at its owners", lambda: not apart(cluster))
    wait_for("nobody else has it", lambda: not left_behind(cluster))
    for node in cluster.nodes:
        read_all(cluster, node)


def test(options, directory):
    with Cluster(options.bin, directory) as cluster:
        grow(cluster)
        write_everywhere(cluster)
        victim = random.Random(options.seed).choice(cluster.nodes)
        lose_and_move(cluster, victim)
        wait_for("owners hold the same", lambda: not apart(cluster))
        wait_for("nothing is held for others", lambda: not any(
            cluster.view(node)["hints"] for node in cluster.nodes))
        read_all(cluster, victim)
        data_moves(cluster)
        cluster.stop_all()
    return []


def main():
    parser = harness.parser_of(__doc__)
    harness.add_seed(parser)
    return harness.run("join", parser, test)


if __name__ == "__main__":
    sys.exit(main())
