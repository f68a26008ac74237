#!/usr/bin/env python3
"""Regions that are cut apart both go on, and become one again.

  python3 tests/real/region_test.py --bin build/dev/bin \\
      --load build/dev/bin/region_load [--cut-seconds 60]

Six nodes, three in each of two regions, N = 3 in each, so that every node owns
every partition; with --replicas 2 some stand in for others. A region is a network namespace with one address; this process
is in a third one, the router between them. In the middle of a load at
LOCAL_QUORUM on both sides it stops to forward: packets vanish without a word,
as when a line between data centres dies, and every connection across stalls.

No request may fail, on either side: local levels wait for no other region. A
read may not miss what its own load had acknowledged. When the line is back, all
nodes must hold the same soon, and counters and sets be exactly what the loads
were told. Meanwhile --touched counters are added to, a fifth of them in both
regions, as fast as it takes to be done within the cut; the cut lasts until it is.
At full size (DOVETAIL_REGION_FULL=1 in the environment): 100,000 of them within
60 s. Printed is also what compression makes of the bytes between the regions.
Needs namespaces of network and mounts of its own (root, or user
namespaces), and iproute2.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import harness  # noqa: E402
import demo  # noqa: E402
import loads  # noqa: E402
import verify  # noqa: E402
from cluster import Cluster, ClusterError, Place  # noqa: E402

INSIDE = "DOVETAIL_IN_NETWORK_NAMESPACE"
REGIONS = {"east": 1, "west": 2}   # the third byte of their addresses
NODES = ("e1", "w1", "e2", "w2", "e3", "w3")
FORWARD = "/proc/sys/net/ipv4/ip_forward"
WARM_SECONDS = 3
AFTER_SECONDS = 2       # of load, after the heal
CONVERGE_SECONDS_MAX = 10
UNREACHABLE_SECONDS_MAX = 15
RATE = 150              # operations a second and region
OBJECTS = 500           # counters, and as many sets
# Far above what busy processors cost, below what it takes to notice that the
# other region is away: who waits for it takes longer.
LATENCY_MS_MAX = 1_000
FULL = "DOVETAIL_REGION_FULL"
TOUCHED_BUCKET = "touched"
TOUCHED_BY = {"east": range(0, 6), "west": range(4, 10)}   # of each ten
TOUCH_STEP_SECONDS = 0.05
TOUCH_SECONDS_MAX = 300
METRICS = re.compile(r"metrics: (http://\S+)")
SENT = re.compile(r'^dovetail_peer_(frame|sent)_bytes_total\{peer="(\w+)"\} '
                  r"(\S+)$", re.MULTILINE)
PROBE = f"""\
mount -t tmpfs tmpfs /run && ip netns add probe &&
ip link add to-probe type veth peer name wan netns probe &&
ip netns exec probe ip link set lo up && echo 1 > {FORWARD}"""


def enter_namespace():
    """Runs this program again where networks and mounts are its own, and vanish
    with it."""
    if INSIDE in os.environ:
        return
    if not harness.works(["ip", "-V"]):
        harness.skip("there is no `ip` (package iproute2)")
    unshare = ["unshare", "--net", "--mount", "--propagation", "private"]
    if os.geteuid() != 0:
        unshare.append("--map-root-user")
    if not harness.works([*unshare, "sh", "-c", PROBE]):
        harness.skip("no network namespaces can be made and joined here")
    os.environ[INSIDE] = "1"
    os.execvp("unshare", [*unshare, sys.executable, *sys.argv])


def ip(*words):
    subprocess.run(["ip", *words], check=True, stdin=subprocess.DEVNULL)


def forward(on):
    with open(FORWARD, "w", encoding="ascii") as file:
        file.write("1" if on else "0")


def make_regions():
    """The places of nodes, one in each region."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    ip("link", "set", "lo", "up")
    places = []
    for region, number in REGIONS.items():
        router, host = f"10.77.{number}.254", f"10.77.{number}.1"
        inside = ("ip", "netns", "exec", region)
        ip("netns", "add", region)
        ip("link", "add", f"to-{region}", "type", "veth", "peer", "name", "wan",
           "netns", region)
        ip("address", "add", f"{router}/24", "dev", f"to-{region}")
        ip("link", "set", f"to-{region}", "up")
        for words in (("address", "add", f"{host}/24", "dev", "wan"),
                      ("link", "set", "lo", "up"), ("link", "set", "wan", "up"),
                      ("route", "add", "default", "via", router)):
            ip("-n", region, *words)
        places.append(Place(region=region, zone="z", host=host, inside=inside))
    forward(True)
    return places


def in_region(cluster, region):
    return [node for node in cluster.nodes if node.place.region == region]


def start_loads(cluster, options):
    running = []
    for region, number in REGIONS.items():
        nodes = in_region(cluster, region)
        running.append(loads.SteadyLoad(
            options.load, region, nodes, "--rate", str(RATE),
            "--objects", str(OBJECTS), "--r", options.level, "--w",
            options.level, "--seed", str(options.seed + number),
            inside=nodes[0].place.inside))
    return running


class Toucher(threading.Thread):
    """Adds one to each counter of its share, evenly over `seconds`, through one
    exec of its region."""

    def __init__(self, cluster, region, options, seconds):
        super().__init__(name=f"toucher in {region}", daemon=True)
        self.keys = [f"t{i}" for i in range(options.touched)
                     if i % 10 in TOUCHED_BY[region]]
        self.failures = []
        node = in_region(cluster, region)[0]
        self._seconds = seconds
        self._exec = subprocess.Popen(
            [*node.place.inside,
             *cluster.exec_at(node, "--route", "--w", options.level)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answered = 0
        self._reader = threading.Thread(target=self._read, daemon=True)

    def run(self):
        self._reader.start()
        start = time.monotonic()
        step = max(1, int(len(self.keys) * TOUCH_STEP_SECONDS / self._seconds))
        try:
            for at in range(0, len(self.keys), step):
                for key in self.keys[at:at + step]:
                    self._exec.stdin.write(json.dumps(
                        {"type": "counter", "verb": "add",
                         "bucket": TOUCHED_BUCKET, "key": key, "amount": 1})
                        + "\n")
                self._exec.stdin.flush()
                due = start + at * self._seconds / len(self.keys)
                time.sleep(max(0.0, due - time.monotonic()))
            self._exec.stdin.close()
        except BrokenPipeError:   # what was not answered is missed below
            pass

    def _read(self):
        for line in self._exec.stdout:
            self._answered += 1
            result = json.loads(line)
            if not result.get("ok"):
                self.failures.append(result)

    def finish(self):
        self.join()
        self._reader.join()
        self._exec.wait()
        if self.failures or self._answered != len(self.keys):
            yield (f"{self.name}: {self._answered} of {len(self.keys)} were "
                   f"answered, {len(self.failures)} failed: "
                   f"{self.failures[:3]}")


def touch(cluster, options, seconds, running):
    """Touches all; when it is done, (findings, what must be there)."""
    touchers = [Toucher(cluster, region, options, seconds)
                for region in REGIONS]
    for toucher in touchers:
        toucher.start()
    end = time.monotonic() + seconds + TOUCH_SECONDS_MAX
    while any(toucher.is_alive() for toucher in touchers):
        harness.require(time.monotonic() < end, "touching takes for ever")
        pause(0.2, running)
    findings, counters = [], {}
    for toucher in touchers:
        findings += toucher.finish()
        for key in toucher.keys:
            at = (TOUCHED_BUCKET, key)
            counters[at] = counters.get(at, 0) + 1
    return findings, counters


def bytes_between(cluster):
    """(of frames, on the wire) that nodes sent to those of the other region."""
    total = {"frame": 0.0, "sent": 0.0}
    region_of = {node.name: node.place.region for node in cluster.nodes}
    for node in cluster.nodes:
        with open(node.log, encoding="utf-8") as file:
            url = METRICS.search(file.read()).group(1)
        fetch = ("import sys, urllib.request; sys.stdout.buffer.write("
                 "urllib.request.urlopen(sys.argv[1], timeout=20).read())")
        text = subprocess.run([*node.place.inside, sys.executable, "-c", fetch,
                               url], check=True, capture_output=True,
                              text=True).stdout
        for what, peer, value in SENT.findall(text):
            if region_of[peer] != node.place.region:
                total[what] += float(value)
    return total["frame"], total["sent"]


def say_bytes(what, before, after):
    frames, sent = after[0] - before[0], after[1] - before[1]
    print(f"  between regions, {what}: {frames / 1e6:.2f} MB of frames, "
          f"{sent / 1e6:.2f} MB on the wire, {frames / max(1.0, sent):.1f} to 1",
          flush=True)


def pause(seconds, running):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(min(0.2, max(0.0, end - time.monotonic())))
        for load in running:
            load.check()


def reachable_regions(cluster, node):
    return {member["region"] for member in cluster.view(node)["members"]
            if member["reachable"]}


def wait_cut(cluster):
    """Until each node knows that the other region is away; how long it took."""
    start = time.monotonic()
    for node in cluster.nodes:
        while reachable_regions(cluster, node) != {node.place.region}:
            harness.require(
                time.monotonic() - start < UNREACHABLE_SECONDS_MAX,
                f"after {UNREACHABLE_SECONDS_MAX} s {node.name} still takes the "
                f"other region for reachable")
            time.sleep(0.1)
    return time.monotonic() - start


def wait_identical(cluster, owners, healed_at):
    """How long after `healed_at` all nodes held the same."""
    while True:
        try:
            apart = list(verify.digest_differences(verify.digests(cluster),
                                                   owners))
        except ClusterError as error:
            apart = [str(error)]
        seconds = time.monotonic() - healed_at
        if not apart:
            return seconds
        harness.require(seconds < demo.CONVERGE_SECONDS_MAX,
                        f"not identical after {seconds:.0f} s: {apart[:3]}")
        time.sleep(0.1)


def judge(reports, cut_at, healed_at):
    for region, report in reports.items():
        yield from loads.failures(region, report)
        if report["reads_stale"]:
            yield (f"{report['reads_stale']} reads in {region} miss what it had "
                   f"acknowledged")
        during = loads.latencies_ms(report, cut_at, healed_at)
        if during and during[-1] > LATENCY_MS_MAX:
            yield (f"an operation in {region} took {during[-1]:.0f} ms during "
                   f"the cut: over {LATENCY_MS_MAX} ms")


def report_latencies(region, report, begin, cut_at, healed_at):
    for what, start, end in (("before", begin, cut_at),
                             ("during", cut_at, healed_at),
                             ("after", healed_at, time.monotonic())):
        ms = loads.latencies_ms(report, start, end)
        if not ms:   # all workers wait: judge() says more
            continue
        print(f"  {region} {what}: {len(ms)} operations, p50 "
              f"{loads.percentile(ms, 50):.1f} ms, p99 "
              f"{loads.percentile(ms, 99):.1f} ms, at most {ms[-1]:.1f} ms",
              flush=True)


def test(options, directory):
    places = make_regions()
    with Cluster(options.bin, directory,
                 f"insecure = true\nreplicas = {options.replicas}\n"
                 'metrics_listen = "127.0.0.1:0"', NODES, places) as cluster:
        owners = cluster.owners()
        harness.require(all(len(names) == 2 * options.replicas
                            for names in owners.values()), f"owners: {owners}")
        begin = time.monotonic()
        running = start_loads(cluster, options)
        sent = [bytes_between(cluster)]
        pause(WARM_SECONDS, running)
        sent.append(bytes_between(cluster))
        cut_at = time.monotonic()
        forward(False)
        known = wait_cut(cluster)
        left = cut_at + options.cut_seconds - time.monotonic()
        findings, touched = touch(cluster, options, max(1.0, left - 1), running)
        pause(cut_at + options.cut_seconds - time.monotonic(), running)
        forward(True)
        healed_at = time.monotonic()
        pause(AFTER_SECONDS, running)
        reports = {load.name: load.finish() for load in running}
        seconds = wait_identical(cluster, owners, healed_at)
        sent.append(bytes_between(cluster))
        say_bytes("before the cut", sent[0], sent[1])
        say_bytes("from the cut until identical", sent[1], sent[2])
        for region, report in reports.items():
            print(f"  {region}: {loads.described(report)}")
            report_latencies(region, report, begin, cut_at, healed_at)
        findings += judge(reports, cut_at, healed_at)
        counters, sets = loads.expected(reports.values())
        counters.update(touched)
        print(f"cut for {healed_at - cut_at:.1f} s, noticed by all after "
              f"{known:.1f} s; identical {seconds:.1f} s after the heal, with "
              f"{len(counters) + len(sets)} objects", flush=True)
        if seconds > CONVERGE_SECONDS_MAX:
            findings.append(f"identical only {seconds:.1f} s after the heal; "
                            f"the limit is {CONVERGE_SECONDS_MAX} s")
        findings += loads.differences(cluster, counters, sets)
        cluster.stop_all()
    return findings


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--load", required=True, help="the program region_load")
    full = os.environ.get(FULL) == "1"
    parser.add_argument("--cut-seconds", type=float, default=60 if full else 20,
                        help="at least")
    parser.add_argument("--touched", type=int,
                        default=100_000 if full else 2_000,
                        help="counters that are added to during the cut")
    parser.add_argument("--replicas", type=int, default=3,
                        help="N of each region")
    parser.add_argument("--level", default="local_quorum",
                        help="of reads and writes; with `quorum` the test must "
                        "fail")
    parser.add_argument("--seed", type=int, default=1,
                        help="of the loads")
    options = parser.parse_args()
    enter_namespace()
    return 0 if harness.run_in_directory(
        "region", lambda directory: test(options, directory)) else 1


if __name__ == "__main__":
    sys.exit(main())
