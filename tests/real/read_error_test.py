#!/usr/bin/env python3
"""A disk that cannot be read is never taken for one that holds nothing.

  python3 tests/real/read_error_test.py --bin build/dev/bin

A node starts again, so that what it holds is in tables and not in memory, and
strace makes its reads of files fail with EIO. Reads of what is there must then
be errors: not "absent", not less than there is; and writes must not build on
nothing. Once it has started again on a disk that works, all is there.
"""

import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import harness  # noqa: E402
import tracing  # noqa: E402
import verify  # noqa: E402
from cluster import Cluster  # noqa: E402

KEYS = 40


def lines(verb):
    """One operation for each key: `first` is added before, `second` while
    reads fail."""
    for number in range(KEYS):
        line = {"type": "set", "verb": verb, "bucket": "b",
                "key": f"k{number}"}
        if verb == "add":
            line["elements"] = ["second"]
        yield line


def first_adds():
    return [{**line, "elements": ["first"]} for line in lines("add")]


def execute(cluster, node, operations, *flags):
    return list(verify.execute(cluster.exec_at(node, *flags), operations))


def check_under_errors(cluster, victim):
    """Which of the adds of `second` were acknowledged, by key."""
    reads = execute(cluster, victim, lines("read"), "--r", "1")
    wrong = [r for r in reads if r["ok"] and r["value"] != ["first"]]
    harness.require(not wrong, f"a read found less than there is: {wrong[:3]}")
    failed = [r for r in reads if not r["ok"]]
    harness.require(failed, "no read failed")
    adds = execute(cluster, victim, lines("add"), "--w", "1")
    print(f"{len(failed)} of {KEYS} reads failed ({failed[0]['code']}), "
          f"{sum(not r['ok'] for r in adds)} adds", flush=True)
    return [r["ok"] for r in adds]


def test(options, directory):
    with Cluster(options.bin, directory) as cluster:
        victim = cluster.nodes[0]
        done = execute(cluster, victim, first_adds(), "--w", "all")
        harness.require(all(r["ok"] for r in done), f"{done[0]}")
        cluster.kill(victim)
        cluster.launch(victim)
        cluster.wait_ready(victim)
        tracer = tracing.Tracer(victim, "pread64:error=EIO", directory)
        try:
            acknowledged = check_under_errors(cluster, victim)
        finally:
            tracer.stop()
        harness.require("(INJECTED)" in tracer.text(), "no read was failed")
        if victim.running():
            cluster.kill(victim)
        findings = list(harness.judge(cluster, [], harness.recorder_in(
            directory, cluster)))
        for node in cluster.nodes:
            reads = execute(cluster, node, lines("read"), "--r", "1")
            for read, sure in zip(reads, acknowledged):
                must = {"first", "second"} if sure else {"first"}
                if not read["ok"] or not must <= set(read["value"]):
                    findings.append(f"{node.name}: {json.dumps(read)}, must "
                                    f"hold {must}")
        cluster.stop_all()
    return findings


def main():
    return harness.run("read-error", harness.parser_of(__doc__), test,
                       "no answer was made up", prepare=tracing.probe)


if __name__ == "__main__":
    sys.exit(main())
