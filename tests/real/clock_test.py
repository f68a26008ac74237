#!/usr/bin/env python3
"""Wall clocks that are wrong, and jump, must not matter.

  python3 tests/real/clock_test.py --bin build/dev/bin \\
    --shim build/dev/lib/shifted_clock.so

The nodes run with shifted_clock.cc, so that the test can move the time of day
of each while it runs: by a second, an hour, ten years, there and back. A write
that has seen another one wins over it, whoever's clock is ahead; nodes agree in
the end; requests neither fail nor wait for longer or shorter than they should.
"""

import datetime
import json
import mmap
import os
import random
import re
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import clients  # noqa: E402
import harness  # noqa: E402
from cluster import Cluster  # noqa: E402

SECOND, HOUR, YEAR = 1, 3600, 365 * 24 * 3600
SHIFTS = (SECOND, -SECOND, HOUR, -HOUR, 10 * YEAR, -10 * YEAR, 0)
STAMP = re.compile(r"^(\d{4})-\d\d-\d\dT")
# Long beside any pause of a busy machine: a request that fails is a finding.
PATIENCE = "20s"


class Clock:
    """The file that moves one node's clock."""

    def __init__(self, path):
        with open(path, "w+b") as file:
            file.write(bytes(8))
            file.flush()
            self._map = mmap.mmap(file.fileno(), 8)

    def shift(self, seconds):
        self._map[:8] = struct.pack("q", int(seconds * 10**9))


def cluster_with_clocks(binaries, shim, directory):
    cluster = Cluster(binaries, directory)
    clocks = []
    for node in cluster.nodes:
        path = os.path.join(directory, f"{node.name}.clock")
        clocks.append(Clock(path))
        node.environment = {"LD_PRELOAD": os.path.abspath(shim),
                            "SHIFTED_CLOCK": path}
    return cluster, clocks


def register(cluster, node, key, *words):
    """`words`: a verb, what it needs, and options."""
    verb, *rest = words
    return cluster.run(["register", verb, "chain", key, *rest],
                       node).stdout.strip()


class Chain:
    """A register that one node after the other writes, each having seen what
    was there: by its own copy, or by the token of a read."""

    def __init__(self, cluster, key):
        self._cluster, self._key = cluster, key
        self._number = 0
        self.last = None

    def extend(self, node):
        value = f"v{self._number}"
        self._number += 1
        if self._number % 2 == 0:
            register(self._cluster, node, self._key, "write", value,
                     "--w=all")
        else:
            read = json.loads(self._cluster.run(
                ["register", "read", "chain", self._key, "--token-out",
                 "--json"], node).stdout)
            harness.require(read.get("value") == self.last,
                            f"{node.name} reads {read} after {self.last}")
            register(self._cluster, node, self._key, "write", value,
                     "--w=all", f"--token={read['token']}")
        self.last = value

    def check(self):
        for node in self._cluster.nodes:
            found = register(self._cluster, node, self._key, "read", "--r=1")
            if found != json.dumps(self.last):
                yield f"{node.name} holds {found}, the last was {self.last}"


def check_year(node, shift):
    """The shim works, or else the test proves nothing: log lines say so."""
    expected = (datetime.datetime.now(datetime.timezone.utc)
                + datetime.timedelta(seconds=shift)).year
    years = {int(match[1]) for line in node.log_tail(40).splitlines()
             if (match := STAMP.match(line))}
    harness.require(expected in years, f"{node.name} logs the years {years}, "
                                       f"its clock says {expected}")


def check_timeout(cluster, clocks, node):
    """A request with a deadline of 1 s, its other nodes paused, ends after
    about 1 s although the clock jumps meanwhile."""
    others = [other for other in cluster.nodes if other is not node]
    for other in others:
        other.process.send_signal(harness.signal.SIGSTOP)
    try:
        for shift in (-10 * YEAR, 10 * YEAR):
            begun = time.monotonic()
            clocks[cluster.nodes.index(node)].shift(shift)
            done = cluster.run(["register", "--w", "all", "--timeout", "1s",
                                "write", "late", "k", "x"], node, check=False)
            took = time.monotonic() - begun
            harness.require(done.returncode == 4 and 0.9 < took < 6,
                            f"a deadline of 1 s: status {done.returncode} "
                            f"after {took:.1f} s, {done.stderr!r}")
    finally:
        for other in others:
            other.process.send_signal(harness.signal.SIGCONT)


def status(cluster, node):
    return json.loads(cluster.run(["status", "--json"], node).stdout)


def refusals(cluster, node):
    return sum(shard["clock_refusals"]
               for shard in status(cluster, node)["shards"])


def restart(cluster, clocks, node, shift):
    cluster.kill(node)
    clocks[cluster.nodes.index(node)].shift(shift)
    cluster.launch(node)
    cluster.wait_ready(node)
    for seen_by in cluster.nodes:
        while not all(member["up"]
                      for member in status(cluster, seen_by)["members"]):
            time.sleep(0.02)


def restart_behind(cluster, clocks, chain, node):
    """A node whose clock was ahead when it died starts with one that is
    behind; what it writes then still follows what it wrote before."""
    restart(cluster, clocks, node, 10 * YEAR)
    check_year(node, 10 * YEAR)
    chain.extend(node)
    restart(cluster, clocks, node, -HOUR)
    chain.extend(node)


def start_loads(cluster, random_, recorder, directory):
    log = open(os.path.join(directory, "loads.log"), "ab")
    loads = []
    for node in cluster.nodes:
        for level in ("quorum", "local"):
            stream = random.Random(random_.getrandbits(64))
            loads.append(clients.Load(
                cluster, node, level,
                [clients.registers(stream, f"{node.name}{level[0]}{i}")
                 for i in range(2)]
                + [clients.counters(stream, "")], recorder, log, rate=60,
                name=f"{node.name}{level[0]}",
                flags=("--timeout", PATIENCE)))
    for load in loads:
        load.start()
    return loads


def test(options, directory):
    random_ = random.Random(options.seed)
    cluster, clocks = cluster_with_clocks(options.bin, options.shim, directory)
    with cluster:
        recorder = harness.recorder_in(directory, cluster)
        loads = start_loads(cluster, random_, recorder, directory)
        chains = [Chain(cluster, f"k{i}") for i in range(2)]
        for shift in SHIFTS + SHIFTS[::-1]:
            random_.choice(clocks).shift(shift)
            harness.check_loads(loads)
            for chain in chains:
                for node in random_.sample(cluster.nodes, 2):
                    chain.extend(node)
        for load in loads:
            load.finish()
        open_or_failed = [r for r in recorder.records
                          if r["type"] in ("info", "fail")]
        harness.require(not open_or_failed,
                        f"requests failed: {open_or_failed[:3]}")
        victim = random_.choice(cluster.nodes)
        check_timeout(cluster, clocks, victim)
        restart_behind(cluster, clocks, chains[0], victim)
        harness.require(any(refusals(cluster, node)
                            for node in cluster.nodes if node is not victim),
                        "no node noticed that a clock is ten years ahead")
        findings = list(harness.judge(cluster, loads, recorder))
        for chain in chains:
            findings += chain.check()
        cluster.stop_all()
    print(harness.summary(recorder))
    return findings


def main():
    parser = harness.parser_of(__doc__, "shim")
    harness.add_seed(parser)
    return harness.run("clock", parser, test, "clocks did not matter")


if __name__ == "__main__":
    sys.exit(main())
