#!/usr/bin/env python3
"""A listing shows what its session has seen, and a node that comes back with an
empty disk says of nothing that it is not there.

  python3 tests/real/listing_test.py --bin build/dev/bin

One of three nodes stands still while objects are made and others deleted at the
next. The first thing that it is asked afterwards is a listing at --r 1 with the
session of the client that did it. Then one is killed, its data are removed, and
it starts again: every listing and every read at --r 1 that it answers has all
there is.
"""

import json
import os
import shutil
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import harness  # noqa: E402
import demo  # noqa: E402
import verify  # noqa: E402
from cluster import Cluster  # noqa: E402

BUCKET = "b"
MADE = 40       # objects in the session
OLD = 200       # objects that were there before
LISTINGS = 60   # asked of the node with an empty disk


def keys_at(cluster, node, *flags):
    """The keys that `node` lists at R=1; None if it answers with an error."""
    done = cluster.run(["--r", "1", "--json", *flags, "keys", BUCKET], node,
                       check=False)
    if done.returncode != 0:
        return None
    return {json.loads(line)["key"] for line in done.stdout.splitlines()}


def adds(names):
    return [{"type": "set", "verb": "add", "bucket": BUCKET, "key": name,
             "elements": ["x"]} for name in names]


def check_session(cluster, directory, gone):
    """Findings. Half of `gone` is deleted with the session."""
    behind, ahead = cluster.nodes[0], cluster.nodes[1]
    session = os.path.join(directory, "session")
    made = {f"made{number}" for number in range(MADE)}
    behind.process.send_signal(signal.SIGSTOP)
    try:
        for name in sorted(made):
            cluster.run(["--w", "1", "--session", session, "set", "add",
                         BUCKET, name, "x"], ahead)
        for name in sorted(gone):
            cluster.run(["--w", "1", "--session", session, "delete", BUCKET,
                         name, "set"], ahead)
    finally:
        behind.process.send_signal(signal.SIGCONT)
    shown = keys_at(cluster, behind, "--session", session)
    harness.require(shown is not None, "a listing with a session failed")
    findings = []
    if not made <= shown:
        findings.append(f"lacks {sorted(made - shown)[:5]} of its session")
    if shown & gone:
        findings.append(f"shows {sorted(shown & gone)[:5]}, deleted in its "
                        "session")
    return findings, made


def check_empty_disk(cluster, expected):
    """Findings. A node starts with nothing."""
    node = cluster.nodes[2]
    cluster.kill(node)
    shutil.rmtree(node.data)
    cluster.launch(node)
    cluster.wait_ready(node)
    findings, refused = [], 0
    for _ in range(LISTINGS):
        shown = keys_at(cluster, node)
        refused += shown is None
        if shown is not None and not expected <= shown:
            findings.append(f"a listing at a node with an empty disk lacks "
                            f"{len(expected - shown)} objects")
        reads = verify.execute(
            cluster.exec_at(node, "--r", "1"),
            [{"type": "set", "verb": "read", "bucket": BUCKET, "key": name}
             for name in sorted(expected)])
        absent = [r for r in reads if r["ok"] and r["value"] != ["x"]]
        if absent:
            findings.append(f"a node with an empty disk reads less than there "
                            f"is: {absent[:3]}")
    print(f"{LISTINGS - refused} of {LISTINGS} listings answered by a node "
          "that lost its disk", flush=True)
    harness.require(refused < LISTINGS, "it never answered")
    return findings


def test(options, directory):
    with Cluster(options.bin, directory) as cluster:
        old = {f"old{number}" for number in range(OLD)}
        done = verify.execute(
            cluster.exec_at(cluster.nodes[0], "--w", "all"), adds(sorted(old)))
        harness.require(all(r["ok"] for r in done), "objects were not made")
        gone = {name for name in old if name.endswith("7")}
        findings, made = check_session(cluster, directory, gone)
        findings += demo.wait_until_identical(cluster)
        findings += check_empty_disk(cluster, (old - gone) | made)
        findings += demo.wait_until_identical(cluster)
        cluster.stop_all()
    return findings


def main():
    return harness.run("listing", harness.parser_of(__doc__), test,
                       "listings had all that there was to show")


if __name__ == "__main__":
    sys.exit(main())
