#!/usr/bin/env python3
"""Backups while writes go on; brought back to the cluster that has gone on since
and to a new one after all disks are lost."""

import json
import os
import shutil
import subprocess
import sys

import harness  # first: it knows where the others are
import demo
from cluster import Cluster
from join_test import execute, wait_for

KEYS = 300
RESTORE_SECONDS_MAX = 60


def operation(verb, i, elements):
    return {"type": "set", "verb": verb, "bucket": "b", "key": f"k{i}",
            "elements": elements}


def run_all(cluster, node, operations, *arguments):
    results = execute(cluster, node, operations, *arguments)
    harness.require(len(results) == len(operations) and
                    all(r.get("ok", "value" in r) for r in results),
                    f"at {node.name}: {results[:3]}")
    return results


def expect(cluster, wanted):
    """Every node reads the same, by a majority."""
    keys = sorted(wanted)
    for node in cluster.nodes:
        results = run_all(cluster, node, [
            {"type": "set", "verb": "read", "bucket": "b", "key": f"k{i}"}
            for i in keys], "--r", "quorum")
        for i, result in zip(keys, results):
            harness.require(sorted(result["value"] or []) == wanted[i],
                            f"k{i} at {node.name}: {result}, not {wanted[i]}")


def backup(cluster, node, name):
    return json.loads(cluster.run(["backup", "create", name, "--json"],
                                  node).stdout)["nodes"]


def verify(cluster, paths):
    done = cluster.run(["backup", "verify", "--json", *paths],
                       cluster.nodes[0])
    for line in done.stdout.splitlines():
        found = json.loads(line)
        harness.require(found["ok"] and found["events"] > 0,
                        f"verify: {found}")


def restore(cluster, paths):
    node = cluster.nodes[0]
    done = subprocess.run(
        [os.path.join(cluster.binaries, "dovetail"), "--node", node.address,
         "backup", "restore", *paths], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
        timeout=RESTORE_SECONDS_MAX)
    harness.require(done.returncode == 0, f"restore: {done.stderr[-2000:]}")
    harness.require(done.stdout.count("the owners have all") == len(paths),
                    f"restore says: {done.stdout}")
    for path in paths:
        left = [name for name in os.listdir(path)
                if name not in ("BACKUP", "db")]
        harness.require(not left, f"left behind in {path}: {left}")


def refusals(cluster, paths):
    a = cluster.nodes[0]
    again = cluster.run(["backup", "create", "first"], a, check=False)
    harness.require(again.returncode == 1 and "already" in again.stdout,
                    f"the same name twice: {again.stdout}{again.stderr}")
    bad = cluster.run(["backup", "create", "../x"], a, check=False)
    harness.require(bad.returncode == 1 and "is no name" in bad.stdout,
                    f"a name that leads out: {bad.stdout}{bad.stderr}")
    copy = paths[0] + ".damaged"
    shutil.copytree(paths[0], copy)
    tables = [name for name in os.listdir(os.path.join(copy, "db"))
              if name.endswith(".sst")]
    harness.require(tables, "the backup has no table")
    table = os.path.join(copy, "db", max(
        tables, key=lambda name: os.path.getsize(
            os.path.join(copy, "db", name))))
    with open(table, "r+b") as file:
        file.seek(10)
        byte = file.read(1)[0]
        file.seek(10)
        file.write(bytes([byte ^ 0x10]))
    done = cluster.run(["backup", "verify", copy], a, check=False)
    harness.require(done.returncode == 1 and "BAD" in done.stdout,
                    f"a flipped bit: {done.stdout}")
    os.remove(os.path.join(copy, "BACKUP"))
    done = cluster.run(["backup", "verify", copy], a, check=False)
    harness.require(done.returncode == 1 and "not completed" in done.stdout,
                    f"without its last file: {done.stdout}")


def since_the_backup(cluster):
    """Removed, added and replaced behind the backup; what is there then."""
    a, b, _ = cluster.nodes
    run_all(cluster, a, [operation("remove", i, ["old"])
                         for i in range(0, KEYS, 3)], "--w", "quorum")
    run_all(cluster, b, [operation("add", i, ["new"])
                         for i in range(0, KEYS, 2)], "--w", "quorum")
    return {i: sorted(([] if i % 3 == 0 else ["old"]) +
                      (["new"] if i % 2 == 0 else [])) for i in range(KEYS)}


def test(options, directory):
    old = os.path.join(directory, "old")
    os.makedirs(old)
    with Cluster(options.bin, old) as cluster:
        a = cluster.nodes[0]
        run_all(cluster, a, [operation("add", i, ["old"])
                             for i in range(KEYS)], "--w", "all")
        # So that no log brings it back.
        for node in cluster.nodes:
            wait_for("logs are empty", lambda at=node: not any(
                p["log_entries"] for p in cluster.digest(at)["partitions"]))
        made = backup(cluster, a, "first")
        paths = [node["path"] for node in made]
        harness.require(len(paths) == 3 and
                        all(os.path.isdir(path) for path in paths),
                        f"backup: {made}")
        verify(cluster, paths)
        refusals(cluster, paths)
        wanted = since_the_backup(cluster)
        restore(cluster, paths[:1])
        expect(cluster, wanted)
        verify(cluster, paths)
        cluster.stop_all()
    new = os.path.join(directory, "new")
    os.makedirs(new)
    with Cluster(options.bin, new) as cluster:
        restore(cluster, paths[1:2])  # every node owns everything
        expect(cluster, {i: ["old"] for i in range(KEYS)})
        apart = demo.wait_until_identical(cluster)
        harness.require(not apart, f"owners differ: {apart[:3]}")
        cluster.stop_all()
    return []


def main():
    return harness.run("backup", harness.parser_of(__doc__), test)


if __name__ == "__main__":
    sys.exit(main())
