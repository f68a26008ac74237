#!/usr/bin/env python3
"""Kills and pauses of any node at any moment, for as long as you like.

  python3 tests/real/kill_loop.py --bin build/dev/bin [--seconds 20] [--seed S]

Three nodes; clients of all types write down what they do (clients.py); a
nemesis sends SIGKILL, SIGSTOP and SIGCONT at random times. Then all is healed,
each node is read by itself, and the history is judged (history.py). Prints the
seed first and, on a failure, the command that plays the same faults again last;
what happens between them is up to the machine.
"""

import argparse
import copy
import heapq
import os
import random
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import clients  # noqa: E402
import harness  # noqa: E402
import history  # noqa: E402
from cluster import Cluster, ClusterError  # noqa: E402

# Short, so that little is open at a time and a node that is back is used soon.
TIMEOUT = "700ms"
RATE = 250  # operations a second and load


class Nemesis:
    """What is done to the nodes and when, drawn at the start."""

    def __init__(self, random_, seconds):
        self.done = {"kill": 0, "pause": 0}
        self._events = []   # (when, number, action, node's index)
        at = 0.5
        # One is killed and another one paused, whatever chance says of the rest.
        first = random_.sample(range(3), 2)
        begin = [(0.0, first[0]), (0.5, first[1])]
        while at < seconds:
            choice, victim = (begin.pop(0) if begin else
                              (random_.random(), random_.randrange(3)))
            if choice < 0.45:
                self._plan(at, "kill", victim)
                self._plan(at + random_.uniform(0.05, 2.5), "start", victim)
            elif choice < 0.8:
                self._plan(at, "pause", victim)
                self._plan(at + random_.uniform(0.1, 2.5), "go on", victim)
            elif choice < 0.9:   # dies before it has seen the world again
                self._plan(at, "pause", victim)
                self._plan(at + 1.0, "kill", victim)
                self._plan(at + random_.uniform(1.0, 2.0), "start", victim)
            else:
                for node in range(3):
                    self._plan(at, "kill", node)
                    self._plan(at + random_.uniform(0.05, 1.5), "start", node)
            at += random_.uniform(0.2, 2.5)
        self._seconds = seconds

    def _plan(self, at, action, node):
        heapq.heappush(self._events, (at, len(self._events), action, node))

    def run(self, cluster, check):
        """Calls `check` between two events."""
        start = time.monotonic()
        while self._events and self._events[0][0] < self._seconds:
            at, _, action, index = heapq.heappop(self._events)
            time.sleep(max(0.0, start + at - time.monotonic()))
            check()
            self._act(cluster, action, cluster.nodes[index])

    def _act(self, cluster, action, node):
        if action == "start":
            if not node.running():
                cluster.launch(node)
        elif not node.running():
            if node.process.returncode != -signal.SIGKILL:
                raise ClusterError(f"node {node.name} ended by itself, with "
                                   f"status {node.process.returncode}:\n"
                                   f"{node.log_tail()}")
        elif action == "kill":
            cluster.kill(node)
            self.done["kill"] += 1
        else:
            pause = action == "pause"
            node.process.send_signal(signal.SIGSTOP if pause
                                     else signal.SIGCONT)
            self.done["pause"] += pause


def start_loads(cluster, recorder, random_, directory):
    loads = []
    for number, node in enumerate(cluster.nodes):
        for level in ("quorum", "local"):
            stream = random.Random(random_.getrandbits(64))
            log = open(os.path.join(directory, f"load-{number}-{level}.log"),
                       "ab")
            loads.append(clients.Load(
                cluster, node, level,
                clients.of_all_kinds(stream, f"{node.name}{level[0]}"),
                recorder, log, flags=("--timeout", TIMEOUT), rate=RATE,
                name=f"{node.name}{level[0]}"))
    for load in loads:
        load.start()
    return loads


def planted(recorder):
    """What the judge says if the nodes had lost an acknowledged element: the
    run is worth something only if it says so."""
    add, _ = recorder.acknowledged("set")[0]
    records = copy.deepcopy(recorder.records)
    for record in records:
        if record["type"] == "final" and \
                (record["kind"], record["key"]) == ("set", add["key"]):
            record["value"].remove(add["value"])
    return [f for f in history.check(records) if f.rule == "lost"]


def run(binaries, seed, seconds, directory):
    """The findings of one run."""
    random_ = random.Random(seed)
    nemesis = Nemesis(random_, seconds)
    with Cluster(binaries, directory) as cluster:
        recorder = harness.recorder_in(directory, cluster)
        loads = start_loads(cluster, recorder, random_, directory)
        nemesis.run(cluster, lambda: harness.check_loads(loads))
        findings = harness.judge(cluster, loads, recorder)
        cluster.stop_all()
    print(f"{nemesis.done['kill']} kills, {nemesis.done['pause']} pauses; "
          f"{harness.summary(recorder)}", flush=True)
    for kind in clients.TYPES:
        if not recorder.acknowledged(kind):
            findings.append(f"no operation on {kind} was acknowledged")
    if not nemesis.done["kill"] or not nemesis.done["pause"]:
        findings.append("the nemesis did too little")
    if not findings and not planted(recorder):
        findings.append("the judge did not see that an element was lost")
    return findings


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--seconds", type=float, default=20.0,
                        help="of faults, in each run")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int,
                        default=random.SystemRandom().randrange(2**32),
                        help="of the first run; the next ones count up")
    options = parser.parse_args()
    for seed in range(options.seed, options.seed + options.runs):
        print(f"seed {seed}, {options.seconds} s", flush=True)
        if not harness.run_in_directory(
                "kill-loop", lambda directory: run(
                    options.bin, seed, options.seconds, directory)):
            print(f"FAILED; replay: python3 tests/real/kill_loop.py --bin "
                  f"{options.bin} --seconds {options.seconds} --seed {seed}")
            return 1
    print(f"{options.runs} runs, nothing lost, nothing made up")
    return 0


if __name__ == "__main__":
    sys.exit(main())
