#!/usr/bin/env python3
"""A node with many rows starts again without going through them.

  python3 tests/real/restart_test.py --bin build/dev/bin [--objects 5000000]

One node takes so many registers of 96 bytes. It is killed, started, told to
stop, and started again; each time it must hold what it held, by its digest and
by a sample, and the seconds until it answers are printed.
"""

import json
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import harness  # noqa: E402
import verify  # noqa: E402
from cluster import Cluster  # noqa: E402

BUCKET = "b"
BATCH = 100_000
SAMPLE = 500


def value_of(i):
    return f"{i:08d}" * 12


def operation(verb, i, **more):
    return {"type": "register", "verb": verb, "bucket": BUCKET,
            "key": f"k{i}", **more}


def load(cluster, objects):
    node = cluster.nodes[0]
    for first in range(0, objects, BATCH):
        done = verify.execute(
            cluster.exec_at(node),
            [operation("write", i, value=value_of(i))
             for i in range(first, min(first + BATCH, objects))])
        harness.require(all(r["ok"] for r in done), "a write failed")


def disk_megabytes(node):
    return sum(os.path.getsize(os.path.join(where, name))
               for where, _, names in os.walk(node.data)
               for name in names) / 1e6


def start(cluster, how):
    """Starts the node; prints the seconds until it answers."""
    node = cluster.nodes[0]
    begin = time.monotonic()
    cluster.launch(node)
    cluster.wait_ready(node)
    seconds = time.monotonic() - begin
    with open(f"/proc/{node.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    print(f"{how}: answers after {seconds:.2f} s, with {cpu:.2f} s of CPU",
          flush=True)


def check(cluster, digest, sample):
    node = cluster.nodes[0]
    findings = []
    if contents(cluster) != digest:
        findings.append("its digest is another one after a start")
    reads = verify.execute(cluster.exec_at(node),
                           [operation("read", i) for i in sample])
    findings += [f"k{i} reads {json.dumps(read)}"
                 for i, read in zip(sample, reads)
                 if read.get("value") != value_of(i)]
    return findings


def contents(cluster):
    """Of each partition, what does not depend on caches and logs."""
    return [{part: its[part] for part in verify.DIGEST_PARTS}
            for its in cluster.digest(cluster.nodes[0])["partitions"]]


def test(options, directory):
    with Cluster(options.bin, directory, names=("a",)) as cluster:
        load(cluster, options.objects)
        node = cluster.nodes[0]
        digest = contents(cluster)
        sample = random.Random(options.objects).sample(
            range(options.objects), min(SAMPLE, options.objects))
        print(f"{options.objects} objects, {disk_megabytes(node):.0f} MB on "
              "disk", flush=True)
        cluster.kill(node)
        start(cluster, "after a kill")
        findings = check(cluster, digest, sample)
        cluster.stop_all()
        start(cluster, "after a clean stop")
        findings += check(cluster, digest, sample)
        cluster.stop_all()
    return findings


def main():
    parser = harness.parser_of(__doc__)
    parser.add_argument("--objects", type=int, default=20_000)
    return harness.run("restart", parser, test, "all of it is there again")


if __name__ == "__main__":
    sys.exit(main())
