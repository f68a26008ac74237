#!/usr/bin/env python3
"""A node that is killed under load costs no request.

  python3 tests/real/node_kill_test.py --bin build/dev/bin \\
      --load build/dev/bin/region_load [--seed S]

Five nodes, N = 3, and a load at W = 2, sloppy, whose sessions are spread over
all five. SIGKILL for one of them, drawn by the seed: no request may fail, and
from two seconds on latency must be as it was. Then the node comes back, all
becomes identical, and counters and sets must be exactly what the load was told.
"""

import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import harness  # noqa: E402
import demo  # noqa: E402
import loads  # noqa: E402
from cluster import Cluster  # noqa: E402

NODES = ("a", "b", "c", "d", "e")
RATE = 300
OBJECTS = 300           # counters, and as many sets
# What is not looked at: caches fill, links come up.
WARM_SECONDS = 2
BEFORE_SECONDS = 6
NORMAL_AFTER_SECONDS = 2
AFTER_SECONDS = 6
# "Normal" on a machine on which other tests run at the same time: a factor for
# what the load itself sees, and some turns of the scheduler's. What a killed
# node costs when it is not got over is a timeout, hundreds of milliseconds.
NORMAL_FACTOR = 3
NORMAL_SLACK_MS = 20


def judge(report, killed_at):
    """Findings, and what to print of latencies."""
    windows = {
        "before": (killed_at - BEFORE_SECONDS, killed_at),
        "first 2 s": (killed_at, killed_at + NORMAL_AFTER_SECONDS),
        "then": (killed_at + NORMAL_AFTER_SECONDS,
                 killed_at + NORMAL_AFTER_SECONDS + AFTER_SECONDS)}
    p99 = {}
    for name, window in windows.items():
        ms = loads.latencies_ms(report, *window)
        p99[name] = loads.percentile(ms, 99)
        print(f"  {name}: {len(ms)} operations, p50 "
              f"{loads.percentile(ms, 50):.1f} ms, p99 {p99[name]:.1f} ms, at "
              f"most {ms[-1]:.1f} ms", flush=True)
    findings = list(loads.failures("load", report))
    limit = NORMAL_FACTOR * p99["before"] + NORMAL_SLACK_MS
    if p99["then"] > limit:
        findings.append(
            f"from {NORMAL_AFTER_SECONDS} s after the kill on p99 is "
            f"{p99['then']:.1f} ms; it was {p99['before']:.1f} ms, and may be "
            f"{limit:.1f} ms")
    return findings


def test(options, directory):
    with Cluster(options.bin, directory, "replicas = 3", NODES) as cluster:
        victim = random.Random(options.seed).choice(cluster.nodes)
        load = loads.SteadyLoad(
            options.load, "load", cluster.nodes, "--rate", str(RATE),
            "--objects", str(OBJECTS), "--w", "2", "--seed",
            str(options.seed % 1000))
        time.sleep(WARM_SECONDS + BEFORE_SECONDS)
        load.check()
        killed_at = time.monotonic()
        cluster.kill(victim)
        time.sleep(NORMAL_AFTER_SECONDS + AFTER_SECONDS)
        cluster.launch(victim)
        cluster.wait_ready(victim)
        back_at = time.monotonic()
        report = load.finish()
        differences = demo.wait_until_identical(cluster)
        seconds = time.monotonic() - back_at
        print(f"node {victim.name} killed; {loads.described(report)}")
        findings = judge(report, killed_at)
        print(f"identical {seconds:.1f} s after it answered again", flush=True)
        findings += differences
        findings += loads.differences(cluster, *loads.expected([report]))
        cluster.stop_all()
    return findings


def main():
    parser = harness.parser_of(__doc__, "load")
    harness.add_seed(parser)
    return harness.run("node-kill", parser, test)


if __name__ == "__main__":
    sys.exit(main())
