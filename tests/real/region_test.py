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
were told. Needs namespaces of network and mounts of its own (root, or user
namespaces), and iproute2.
"""

import argparse
import os
import subprocess
import sys
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
                 f"insecure = true\nreplicas = {options.replicas}", NODES,
                 places) as cluster:
        owners = cluster.owners()
        harness.require(all(len(names) == 2 * options.replicas
                            for names in owners.values()), f"owners: {owners}")
        begin = time.monotonic()
        running = start_loads(cluster, options)
        pause(WARM_SECONDS, running)
        cut_at = time.monotonic()
        forward(False)
        known = wait_cut(cluster)
        pause(cut_at + options.cut_seconds - time.monotonic(), running)
        forward(True)
        healed_at = time.monotonic()
        pause(AFTER_SECONDS, running)
        reports = {load.name: load.finish() for load in running}
        seconds = wait_identical(cluster, owners, healed_at)
        for region, report in reports.items():
            print(f"  {region}: {loads.described(report)}")
            report_latencies(region, report, begin, cut_at, healed_at)
        findings = list(judge(reports, cut_at, healed_at))
        counters, sets = loads.expected(reports.values())
        touched = len(counters) + len(sets)
        print(f"cut for {healed_at - cut_at:.1f} s, noticed by all after "
              f"{known:.1f} s; identical {seconds:.1f} s after the heal, with "
              f"{touched} objects", flush=True)
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
    parser.add_argument("--cut-seconds", type=float, default=20)
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
