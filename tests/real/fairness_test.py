#!/usr/bin/env python3
"""One greedy client does not starve the others.

  python3 tests/real/fairness_test.py --bin build/dev/bin [--seconds 20]

Three nodes. A polite client sends some operations a second, by the clock; a
greedy one keeps tens of thousands in flight at the same nodes all the time. In turns the
polite one is alone and beside the other, so that what else the machine does
strikes both alike.

Where all wait in one line, the polite one waits as long as the greedy one does:
tens of thousands of operations, in every turn. What must hold in one turn of
some, for other work on the machine may spoil any: nothing of the polite one
fails, and its p99 stays below half of what half of the greedy one's operations
take. Printed is its p99 beside the greedy one over that alone.
"""

import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import harness  # noqa: E402
from cluster import Cluster  # noqa: E402

RATE = 100              # of the polite client, operations a second
CONNECTIONS = 4         # of the greedy one, each of them a client of its own
IN_FLIGHT = 8192        # of each connection
RECORDS = 1000
WORKLOAD = "counter-add"
GREEDY_SHARE_MAX = 0.5  # of the greedy one's p50, for the polite one's p99
BENCH_SECONDS_MAX = 120
TURNS_MAX = 4


def bench(cluster, bucket, seconds, *flags):
    return subprocess.Popen(
        [os.path.join(cluster.binaries, "dovetail-bench"), "--nodes",
         ",".join(node.address for node in cluster.nodes), "--workload",
         WORKLOAD, "--bucket", bucket, "--records", str(RECORDS), "--skip-load",
         "--seconds", str(seconds), "--json", *flags],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def report_of(process):
    out, _ = process.communicate(timeout=BENCH_SECONDS_MAX)
    harness.require(process.returncode in (0, 1),
                    f"dovetail-bench ended with status {process.returncode}")
    return json.loads(out)


def polite(cluster, seconds):
    return bench(cluster, "polite", seconds, "--rate", str(RATE),
                 "--connections", "1")


def greedy(cluster, seconds):
    return bench(cluster, "greedy", seconds, "--connections", str(CONNECTIONS),
                 "--in-flight", str(IN_FLIGHT))


def described(what, report):
    latency = report["latency_us"]
    errors = f", failed: {report['errors']}" if report["errors"] else ""
    return (f"  {what}: {report['operations_per_second']:.0f} operations/s, p50 "
            f"{latency['p50'] / 1000:.1f} ms, p99 {latency['p99'] / 1000:.1f} ms, "
            f"at most {latency['max'] / 1000:.1f} ms{errors}")


def turn(cluster, seconds):
    """Reports of the polite one alone, beside the greedy one, and of that."""
    alone = report_of(polite(cluster, seconds))
    # It has begun before the polite one does, and ends after it.
    other = greedy(cluster, seconds + 3)
    try:
        time.sleep(1)
        beside = report_of(polite(cluster, seconds))
        reports = alone, beside, report_of(other)
    finally:
        other.kill()
    for what, report in zip(("polite, alone", "polite, beside greedy",
                             "greedy"), reports):
        print(described(what, report), flush=True)
    return reports


def judge(alone, beside, other):
    for what, report in (("alone", alone), ("beside the greedy one", beside)):
        if report["errors"]:
            yield f"the polite client, {what}, had errors: {report['errors']}"
    waited = beside["latency_us"]["p99"]
    greedy_waited = other["latency_us"]["p50"]
    if waited > GREEDY_SHARE_MAX * greedy_waited:
        yield (f"the polite client's p99 was {waited / 1000:.1f} ms, more than "
               f"{GREEDY_SHARE_MAX:.0%} of the greedy one's p50, "
               f"{greedy_waited / 1000:.1f} ms: it waits in the same line")


def test(options, directory):
    with Cluster(options.bin, directory) as cluster:
        # Makes what the first ones would.
        report_of(polite(cluster, 1))
        judged, ratios = [], []
        for i in range(options.turns or TURNS_MAX):
            alone, beside, other = turn(cluster, options.seconds)
            judged.append(list(judge(alone, beside, other)))
            ratios.append(beside["latency_us"]["p99"]
                          / alone["latency_us"]["p99"])
            if options.turns == 0 and not judged[i]:
                break
        print("p99 beside the greedy client over that alone: "
              + ", ".join(f"{ratio:.1f}" for ratio in ratios), flush=True)
        cluster.stop_all()
    return [] if not all(judged) else sum(judged, [])


def main():
    parser = harness.parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=4,
                        help="of each run of the polite client")
    parser.add_argument("--turns", type=int, default=0,
                        help=f"0: until one is good, {TURNS_MAX} at the most")
    return harness.run("fairness", parser, test)


if __name__ == "__main__":
    sys.exit(main())
