#!/usr/bin/env python3
"""A damaged table file heals by itself.

  python3 tests/real/table_test.py --bin build/dev/bin

One node's rows are brought into one table by restarts and the compaction that
follows, and a bit of it is flipped while the node is down. From then on no read
there may show less than there is; the node gives the table up, gets what it
held from the others, and answers every read again, without anybody's help.
"""

import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import harness  # noqa: E402
import demo  # noqa: E402
import verify  # noqa: E402
from cluster import Cluster  # noqa: E402

KEYS = 2000
STARTS = 4  # each writes one table; so many make a compaction
HEAL_SECONDS_MAX = 60


def lines(verb, elements=None):
    for number in range(KEYS):
        line = {"type": "set", "verb": verb, "bucket": "b",
                "key": f"k{number}"}
        if elements is not None:
            line["elements"] = elements
        yield line


def execute(cluster, node, operations, *flags):
    return list(verify.execute(cluster.exec_at(node, *flags), operations))


def tables_of_rows(node):
    """The files that RocksDB's own property block calls tables of `rows`."""
    found = []
    directory = os.path.join(node.data, "db")
    for name in os.listdir(directory):
        if not name.endswith(".sst"):
            continue
        path = os.path.join(directory, name)
        try:
            with open(path, "rb") as file:
                if b"namerows" in file.read():
                    found.append(path)
        except FileNotFoundError:
            pass  # a compaction was faster
    return found


def wait_until(done, seconds, what):
    deadline = time.monotonic() + seconds
    while not done():
        harness.require(time.monotonic() < deadline,
                        f"not within {seconds} s: {what}")
        time.sleep(0.1)


def fill(cluster, victim):
    """Returns the one table with all rows of the victim, which is down then."""
    for start in range(STARTS):
        done = execute(cluster, cluster.nodes[1],
                       lines("add", [f"e{start}"]), "--w", "all")
        harness.require(all(r["ok"] for r in done), f"{done[0]}")
        cluster.kill(victim)
        cluster.launch(victim)
        cluster.wait_ready(victim)
    wait_until(lambda: len(tables_of_rows(victim)) == 1, 60,
               f"one table of rows: {tables_of_rows(victim)}")
    cluster.kill(victim)
    tables = tables_of_rows(victim)
    harness.require(len(tables) == 1, f"several tables of rows: {tables}")
    return tables[0]


def flip(path):
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 3)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def storage_of(cluster, node):
    status = json.loads(cluster.run(["status", "--json"], node).stdout)
    return status["storage"]


def watch_it_heal(cluster, victim, expected):
    """Reads everything at the victim until all of it is there again. Returns
    how many reads it refused the first time."""
    refused = None
    deadline = time.monotonic() + HEAL_SECONDS_MAX
    while True:
        reads = execute(cluster, victim, lines("read"), "--r", "1")
        wrong = [r for r in reads if r["ok"] and r["value"] != expected]
        harness.require(not wrong, f"a read found less than there is: "
                                   f"{wrong[:3]}")
        failed = [r for r in reads if not r["ok"]]
        refused = len(failed) if refused is None else refused
        if not failed:
            return refused
        harness.require(time.monotonic() < deadline,
                        f"{len(failed)} reads still fail: {failed[0]}")
        time.sleep(0.2)


def test(options, directory):
    with Cluster(options.bin, directory) as cluster:
        victim = cluster.nodes[0]
        table = fill(cluster, victim)
        flip(table)
        cluster.launch(victim)
        cluster.wait_ready(victim)
        began = time.monotonic()
        expected = sorted(f"e{start}" for start in range(STARTS))
        # A read of all at one node is owed nothing by the others.
        refused = watch_it_heal(cluster, victim, expected)
        seconds = time.monotonic() - began
        storage = storage_of(cluster, victim)
        findings = demo.wait_until_identical(cluster)
        harness.require(storage["tables_given_up"] == 1
                        and storage["tables_damaged"] == 0,
                        f"no table was given up: {storage}")
        with open(victim.log, encoding="utf-8") as log:
            said = log.read()
        for step in ("cannot be read and will be given up", "was given up"):
            harness.require(step in said, f"the log does not say: {step}")
        print(f"{os.path.basename(table)}: {refused} of {KEYS} reads refused "
              f"at first, whole again after {seconds:.1f} s", flush=True)
        cluster.stop_all()
    return findings


def main():
    return harness.run("table", harness.parser_of(__doc__), test,
                       "the table was given up and its rows are back")


if __name__ == "__main__":
    sys.exit(main())
