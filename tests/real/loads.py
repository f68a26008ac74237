"""region_load (region_load.cc), run and judged: a load that must not fail, and
whose every acknowledged operation must be there once in the end."""

import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "demo"))
import verify  # noqa: E402
from cluster import ClusterError  # noqa: E402

BUCKET = "load"
END_SECONDS_MAX = 60


class SteadyLoad:
    """One process at `nodes`, which runs when this is constructed. `inside`: as
    of a Place."""

    def __init__(self, program, name, nodes, *flags, inside=()):
        self.name = name
        self._process = subprocess.Popen(
            [*inside, "setpriv", "--pdeathsig", "KILL", program, "--name",
             name, "--nodes", ",".join(node.address for node in nodes),
             *flags],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._process.stdout.readline() != "running\n":
            raise ClusterError(f"load {name} ended with status "
                               f"{self._process.wait()} before it began")

    def check(self):
        """Raises if it ended by itself."""
        if self._process.poll() is not None:
            raise ClusterError(f"load {self.name} ended with status "
                               f"{self._process.returncode}")

    def finish(self):
        """Ends it; its report (Load::Report())."""
        report, _ = self._process.communicate(timeout=END_SECONDS_MAX)
        if self._process.returncode != 0:
            raise ClusterError(f"load {self.name} ended with status "
                               f"{self._process.returncode}")
        return json.loads(report)


def latencies_ms(report, begin, end):
    """Of all operations that were due between these two moments of
    time.monotonic(), ascending."""
    return sorted(us / 1000 for part in ("writes", "reads_series")
                  for slot in report[part]
                  if begin * 1000 <= slot["at_ms"] < end * 1000
                  for us in slot["us"])


def percentile(ascending, percent):
    if not ascending:
        raise ClusterError("no operation was due in the time that is looked at")
    return ascending[min(len(ascending) - 1,
                         int(len(ascending) * percent / 100))]


def failures(name, report):
    """What must not be in a report."""
    for part in ("failed", "in_doubt_left", "reads_failed"):
        if report[part]:
            yield (f"load {name}: {part} = {report[part]} of "
                   f"{report['attempted']} writes and {report['reads']} reads: "
                   f"{report['failures']}")
    if not report["acknowledged"] or not report["reads"]:
        yield f"load {name} did nothing"


def expected(reports):
    """What must be there after loads of which nothing failed: counters by
    (bucket, key), and sets."""
    counters, sets = {}, {}
    for report in reports:
        for key, sum_ in report["counters"].items():
            at = (BUCKET, key)
            counters[at] = counters.get(at, 0) + sum_
        for key, elements in report["sets"].items():
            sets.setdefault((BUCKET, key), set()).update(elements)
    return counters, sets


def differences(cluster, counters, sets):
    """Yields where the copy of any node, each read by itself, is not that."""
    for node in cluster.nodes:
        for kind, objects in (("counter", counters), ("set", sets)):
            for key, value in verify.read_objects(cluster, node, objects, kind):
                must = objects[key]
                if kind == "counter":
                    must = (must, must)
                yield from verify.value_differences(
                    f"node {node.name}: {kind} {'/'.join(key)}", must, value)


def described(report):
    return (f"{report['acknowledged']} writes of {report['attempted']} "
            f"acknowledged, {report['failed']} failed; {report['reads']} reads, "
            f"{report['reads_failed']} failed, {report['reads_stale']} stale; "
            f"at most {report['write_max_us'] / 1000:.0f} ms for a write, "
            f"{report['read_max_us'] / 1000:.0f} ms for a read")
