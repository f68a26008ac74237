#!/usr/bin/env python3
"""A full disk stops writes at its node and nothing else.

  python3 tests/real/disk_full_test.py --bin build/dev/bin

One of three nodes has its data on a small tmpfs, which is then filled: up to
the reserve, so that writes are refused; then to the last byte. Reads go on
there, writes go on elsewhere, and with the space the service comes back by
itself. Needs a mount namespace of its own (root, or user namespaces).
"""

import collections
import json
import os
import random
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import clients  # noqa: E402
import harness  # noqa: E402
from cluster import Cluster  # noqa: E402

DISK_MB = 64
RESERVE_MB = 16
INSIDE = "DOVETAIL_IN_MOUNT_NAMESPACE"
PADDING = "." * 20_000   # makes each write of the load count
WAIT_SECONDS_MAX = 30
CLI_OK, CLI_FAILED = 0, 1


def enter_namespace():
    """Runs this program again where it may mount, and mounts vanish with it."""
    if INSIDE in os.environ:
        return
    unshare = ["unshare", "--mount", "--propagation", "private"]
    if os.geteuid() != 0:
        unshare.append("--map-root-user")
    if not harness.works([*unshare, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]):
        harness.skip("no tmpfs can be mounted in a namespace of its own here")
    os.environ[INSIDE] = "1"
    os.execvp("unshare", [*unshare, sys.executable, *sys.argv])


def free_bytes(node):
    space = os.statvfs(node.data)
    return space.f_bavail * space.f_frsize


def fill(node, leaving):
    """A ballast file that leaves so many bytes of the node's disk."""
    with open(os.path.join(node.data, "ballast"), "ab") as ballast:
        while free_bytes(node) > leaving:
            step = min(free_bytes(node) - leaving, 1 << 20)
            try:
                ballast.write(bytes(step))
                ballast.flush()
            except OSError:   # full to the last byte
                return


def large_adds(name):
    for number in range(10**9):
        key = f"k{number % 5}"
        yield clients.Step("set", key, "add", f"{name}-{number}{PADDING}")


def small_adds(random_, name):
    yield from clients.growing_sets(random_, name)


def wait_for(what, condition, loads):
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not condition():
        harness.check_loads(loads)
        harness.require(time.monotonic() < deadline,
                        f"it took over {WAIT_SECONDS_MAX} s until {what}")
        time.sleep(0.02)


def codes(recorder, since=0):
    return [r["code"] for r in recorder.records[since:] if r.get("code")]


def check_refusal(cluster, node, durability):
    """What a person sees who writes to the full node."""
    done = cluster.run(["gset", "--durability", durability, "--w", "1", "add",
                        "people", "k", f"refused-{durability}"], node,
                       check=False)
    harness.require(
        done.returncode == CLI_FAILED and "reserve" in done.stderr
        and "RESOURCE_EXHAUSTED" in done.stderr,
        f"a {durability} write to a full disk: status {done.returncode}, "
        f"{done.stderr!r}")


def check_service_without(cluster, node, recorder):
    """Reads at the full node and writes elsewhere go on."""
    # One that shares a turn with a refused write has to be tried again.
    answers = collections.Counter()
    for _ in range(30):
        done = cluster.run(["gset", "--r", "1", "contains", "people", "k",
                            "before"], node, check=False)
        again = done.returncode == CLI_FAILED and "try again" in done.stderr
        answers["again" if again else done.stdout.strip()] += 1
    harness.require(answers["true"] >= 15 and set(answers) <= {"true", "again"},
                    f"reads at the full node: {answers}")
    since = len(recorder.records)
    wait_for("the other nodes acknowledge writes", lambda: any(
        r["type"] == "ok" and r["proc"].startswith("a")
        for r in recorder.records[since:]), [])
    harness.require(node.running(), f"the full node ended:\n{node.log_tail()}")


def check_no_start_without_space(cluster, node):
    """A node that dies now says why it does not start, and does later."""
    cluster.kill(node)
    cluster.launch(node)
    status = node.process.wait(WAIT_SECONDS_MAX)
    last = node.log_tail(1)
    harness.require(status == 1 and "No space" in last,
                    f"start on a full disk: status {status}, {last!r}")


def test(options, directory):
    settings = f"disk_reserve_mb = {RESERVE_MB}"
    cluster = Cluster(options.bin, directory, settings)
    full = cluster.nodes[2]
    os.mkdir(full.data)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs",
                    full.data], check=True)
    with cluster:
        cluster.run(["gset", "--w", "all", "add", "people", "k", "before"],
                    full)
        recorder = harness.recorder_in(directory, cluster)
        log = open(os.path.join(directory, "loads.log"), "ab")
        loads = [clients.Load(cluster, cluster.nodes[0], "quorum",
                              [small_adds(random.Random(1), "a")], recorder,
                              log, rate=50),
                 clients.Load(cluster, full, "local", [large_adds("c")],
                              recorder, log, rate=200)]
        fill(full, (RESERVE_MB + 4) << 20)
        for load in loads:
            load.start()
        wait_for("writes are refused", lambda: "RESOURCE_EXHAUSTED" in
                 codes(recorder), loads)
        for durability in ("wal", "fsync"):
            check_refusal(cluster, full, durability)
        # Longer than fsync_period, so that what came before is synced.
        time.sleep(1.5)
        check_service_without(cluster, full, recorder)
        fill(full, 0)
        check_service_without(cluster, full, recorder)
        check_refusal(cluster, full, "wal")

        os.truncate(os.path.join(full.data, "ballast"), 0)
        since = len(recorder.records)
        wait_for("writes are taken again", lambda: any(
            r["type"] == "ok" and r["proc"].startswith("c")
            for r in recorder.records[since:]), loads)
        harness.require(full.running(), "the node ended")
        for load in loads:
            load.finish()
        fill(full, 0)
        check_no_start_without_space(cluster, full)
        os.truncate(os.path.join(full.data, "ballast"), 0)
        findings = harness.judge(cluster, loads, recorder)
        members = json.loads(cluster.run(
            ["gset", "read", "people", "k", "--json"], full).stdout)
        cluster.stop_all()
    subprocess.run(["umount", full.data], check=True)
    if members["value"] != ["before"]:
        findings.append(f"refused writes had an effect: {members['value']}")
    print(harness.summary(recorder))
    return findings


def main():
    return harness.run("disk-full", harness.parser_of(__doc__), test,
                       "reads went on, writes were refused and came back",
                       prepare=enter_namespace)


if __name__ == "__main__":
    sys.exit(main())
