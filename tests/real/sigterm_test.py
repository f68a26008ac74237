#!/usr/bin/env python3
"""SIGTERM under load: what is in flight is answered, then the node ends.

  python3 tests/real/sigterm_test.py --bin build/dev/bin

Three times with one of three nodes: while all goes well; while its calls wait
for the other nodes, which are paused and then go on; and while they stay
paused, so that the wait has to end by itself.
"""

import argparse
import os
import random
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import clients  # noqa: E402
import harness  # noqa: E402
from cluster import Cluster  # noqa: E402

STOP_SECONDS_MAX = 10
# Longer than the node waits for its calls: they do not end by themselves.
PATIENCE = "30s"
# Whatever was begun so long before the signal has reached the node.
ARRIVED_S = 0.5


def start_load(cluster, node, recorder, log, writers):
    stream = random.Random(node.name)
    playing = [client for i in range(writers) for client in
               (clients.growing_sets(stream, f"{node.name}g{i}"),
                clients.counters(stream, ""))]
    load = clients.Load(cluster, node, "quorum", playing, recorder, log,
                        rate=400, flags=("--timeout", PATIENCE))
    load.start()
    return load


def pause(cluster, victim, signal_):
    for node in cluster.nodes:
        if node is not victim:
            node.process.send_signal(signal_)


def stop(cluster, victim, go_on):
    """SIGTERM; returns when it was sent, and how long the node took."""
    sent = time.monotonic()
    victim.process.send_signal(signal.SIGTERM)
    if go_on:
        time.sleep(0.3)
        pause(cluster, victim, signal.SIGCONT)
    cluster.wait_stopped(victim, STOP_SECONDS_MAX)
    return sent, time.monotonic() - sent


def waiting_at(recorder, victim, sent):
    """The outcomes of what had reached `victim` and waited at that moment."""
    begun, outcomes = {}, []
    for record in recorder.records:
        if record["type"] == "invoke":
            begun[record["proc"]] = record
        elif record["type"] in ("ok", "fail", "info") and record["t"] > sent:
            operation = begun[record["proc"]]
            if operation["node"] == victim.name and \
                    operation["t"] < sent - ARRIVED_S:
                outcomes.append(record["type"])
    return outcomes


def wait_for_answer(recorder, victim, sent):
    deadline = time.monotonic() + STOP_SECONDS_MAX
    while "ok" not in waiting_at(recorder, victim, sent):
        harness.require(time.monotonic() < deadline,
                        "no call that waited was answered")
        time.sleep(0.02)


def play(binaries, paused, go_on, directory):
    with Cluster(binaries, directory) as cluster:
        victim = cluster.nodes[0]
        recorder = harness.recorder_in(directory, cluster)
        log = open(os.path.join(directory, "loads.log"), "ab")
        loads = [start_load(cluster, node, recorder, log, 8)
                 for node in cluster.nodes]
        time.sleep(1.0)
        if paused:
            pause(cluster, victim, signal.SIGSTOP)
            time.sleep(2 * ARRIVED_S)
        sent, took = stop(cluster, victim, go_on)
        findings = list(harness.judge(cluster, loads, recorder))
        if go_on:   # the node is down: an answer can only be its last
            wait_for_answer(recorder, victim, sent)
        waited = waiting_at(recorder, victim, sent)
        cluster.stop_all()
    print(f"paused {paused}, go on {go_on}: ended after {took:.2f} s; "
          f"{len(waited)} calls had been waiting; {harness.summary(recorder)}",
          flush=True)
    harness.require(len(waited) >= 8 or not paused, "too little was waiting")
    if go_on or not paused:
        # `fail`: the client had as many calls in flight as it may, and this
        # one came when the node took no more.
        harness.require("info" not in waited, f"calls were cut off: {waited}")
    return findings


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bin", required=True)
    options = parser.parse_args()
    for paused, go_on in ((False, False), (True, True), (True, False)):
        if not harness.run_in_directory(
                "sigterm",
                lambda directory: play(options.bin, paused, go_on, directory)):
            print("FAILED")
            return 1
    print("what was in flight was answered, nothing acknowledged was lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
