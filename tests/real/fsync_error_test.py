#!/usr/bin/env python3
"""A failed fsync, or write of the log, is the last thing a node does.

  python3 tests/real/fsync_error_test.py --bin build/dev/bin

strace attaches to one of three nodes under load and makes fdatasync fail with
EIO: every one from some moment on, or a single one, which the disk may well
claim to have done the next time; or a write of the log. No write with
durability fsync may be acknowledged by a sync that failed, the node must end
with one line that says why, and after a restart everything acknowledged must be
there, and nothing of which a client was told that it had no effect.

Every acknowledgement is held against strace's log: a sync of the log must have
begun after the write was sent and have succeeded before its answer came.
"""

import argparse
import os
import random
import re
import sys
import time
from dataclasses import dataclass

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import clients  # noqa: E402
import harness  # noqa: E402
import tracing  # noqa: E402
from cluster import Cluster  # noqa: E402

WAIT_SECONDS_MAX = 30
# One write of one of RocksDB's logs, in a line of strace -ttt -T -y.
SYNC = re.compile(r"^(?P<at>\d+\.\d+) fdatasync\(\d+<[^>]*\.log>\) += "
                  r"(?P<result>-?\d+).*?<(?P<took>\d+\.\d+)>$", re.M)
LAST_WORDS = "the log cannot be made durable, ending"
# The last: a commit heard of the failure before the thread that had it.
WHY = re.compile("Input/output error|No space left on device|"
                 "a write or fsync of the log has failed")


@dataclass
class Case:
    name: str
    inject: str
    durability: str = "fsync"
    on_log: bool = False    # only calls on the file that is the log


CASES = (
    Case("every sync fails", "fdatasync:error=EIO:when=80+"),
    Case("one sync fails, the next ones seem to work",
         "fdatasync:error=EIO:when=80"),
    Case("a sync fails that no write waits for", "fdatasync:error=EIO:when=2",
         durability="wal"),
    Case("the log cannot be written", "write:error=EIO:when=40",
         durability="wal", on_log=True),
    Case("there is no room for the log", "write:error=ENOSPC:when=40",
         durability="wal", on_log=True),
)


@dataclass
class Sync:
    begin: float
    end: float
    good: bool


def syncs_in(trace):
    """What strace saw of the log's syncs, in this process's monotonic time."""
    shift = time.monotonic() - time.time()
    for match in SYNC.finditer(trace):
        begin = float(match["at"]) + shift
        yield Sync(begin, begin + float(match["took"]), match["result"] == "0")


def unfounded(recorder, node, syncs, since, slack=0.002):
    """Acknowledgements of `node` that no successful sync stands behind.
    `slack`: two clocks are compared."""
    good = [sync for sync in syncs if sync.good]
    for operation, answer in recorder.acknowledged("set"):
        if operation["node"] == node.name and operation["t"] > since and \
                not any(sync.begin >= operation["t"] - slack
                        and sync.end <= answer["t"] + slack for sync in good):
            yield (f"{operation['value']} was acknowledged at {answer['t']:.6f}"
                   f", sent at {operation['t']:.6f}, without a sync between")


def wait_for_end(victim, tracer, loads):
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while victim.running():
        harness.check_loads(loads)
        harness.require(time.monotonic() < deadline, "the node did not end")
        time.sleep(0.02)
    tracer.stop()


def log_of(node):
    """The file to which RocksDB writes at the moment."""
    folder = os.path.join(node.data, "db")
    return os.path.join(folder, max(name for name in os.listdir(folder)
                                    if name.endswith(".log")))


def check_last_words(victim):
    with open(victim.log, encoding="utf-8", errors="replace") as file:
        said = [line for line in file if " critical " in line]
    harness.require(
        victim.process.returncode == 1 and len(said) == 1
        and LAST_WORDS in said[0] and WHY.search(said[0]),
        f"the node ended with {victim.process.returncode} and said {said}")


def adds(random_, name):
    yield from clients.growing_sets(random_, name)


def play(binaries, case, directory):
    with Cluster(binaries, directory) as cluster:
        victim = cluster.nodes[0]
        recorder = harness.recorder_in(directory, cluster)
        log = open(os.path.join(directory, "loads.log"), "ab")
        loads = [clients.Load(
            cluster, node, level,
            [adds(random.Random(f"{node.name}{i}"), f"{node.name}{i}")
             for i in range(6)], recorder, log, rate=300,
            flags=("--durability", case.durability, "--timeout", "1s"))
            for node, level in ((victim, "local"), (cluster.nodes[1],
                                                    "quorum"))]
        for load in loads:
            load.start()
        tracer = tracing.Tracer(victim, case.inject, directory,
                                log_of(victim) if case.on_log else None)
        since = tracer.since
        wait_for_end(victim, tracer, loads)
        trace = tracer.text()
        syncs = list(syncs_in(trace))
        findings = [] if case.durability == "wal" else \
            list(unfounded(recorder, victim, syncs, since))
        failed = trace.count("(INJECTED)")
        harness.require(failed, "strace made no sync fail")
        check_last_words(victim)
        # A restart may find what a broken log was given last.
        told = {r.get("code") for r in recorder.records
                if r["type"] == "fail"}
        harness.require(not told & {"DATA_LOSS", "RESOURCE_EXHAUSTED"},
                        f"writes were said to be without effect: {told}")
        findings += harness.judge(cluster, loads, recorder)
        covered = sum(operation["node"] == victim.name
                      and operation["t"] > since
                      for operation, _ in recorder.acknowledged("set"))
        harness.require(covered > 0, "nothing was acknowledged under strace")
        cluster.stop_all()
    print(f"{case.name}: {len(syncs)} syncs of the log, {failed} of "
          f"all made to fail; "
          f"{harness.summary(recorder)}", flush=True)
    return findings


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bin", required=True)
    options = parser.parse_args()
    tracing.probe()
    for case in CASES:
        if not harness.run_in_directory(
                "fsync", lambda directory: play(options.bin, case, directory)):
            print(f"FAILED: {case.name}")
            return 1
    print("no acknowledgement after a failed sync")
    return 0


if __name__ == "__main__":
    sys.exit(main())
