#!/usr/bin/env python3
"""The demo: five real nodes, three loaders at once, one node killed.

  python3 tests/demo/demo.py --bin build/release/bin [--packages N] [--seed S]

Each partition lives on three of the nodes, in both zones. Loads Debian's package
database (dataset.py) through three nodes, kills one of the five with SIGKILL
half-way and starts it again later, waits until the owners of each partition hold
the same and all others have handed over what they held meanwhile, and compares
what is there with the file (verify.py). The last line is the verdict; the exit
status is 0 only if there is no difference.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass

import dataset
import verify
from cluster import Cluster, ClusterError, Place
from loaders import Ledger, Loader, LoadFailed

NAMES = ("a", "b", "c", "d", "e")
ZONES = ("north", "south")
IN_FLIGHT = 256
CONVERGE_SECONDS_MAX = 120
LOAD_SECONDS_MAX = 900
# Maps compared at the nodes where not all of them are.
SAMPLE_MAPS = 3000


@dataclass
class Plan:
    """Which node is killed and when, as shares of the packages loaded."""
    victim: int
    kill_at: float
    restart_at: float


@dataclass
class Outcome:
    objects: int = 0
    operations: int = 0
    repeated: int = 0
    unsure: int = 0
    load_seconds: float = 0
    after_restart_seconds: float = 0
    after_write_seconds: float = 0
    differences: list = None
    seen: dict = None


def demo_plan(seed):
    random_ = random.Random(seed)
    return Plan(random_.randrange(len(NAMES)),
                random_.uniform(0.45, 0.55), random_.uniform(0.70, 0.80))


class Clock:
    """Tells what happens, with the seconds since the start."""

    def __init__(self, quiet):
        self._start = time.monotonic()
        self._quiet = quiet

    def say(self, text):
        if not self._quiet:
            print(f"{time.monotonic() - self._start:6.1f} s  {text}",
                  flush=True)


def start_loaders(cluster, packages, directory):
    loaders = []
    for number in range(dataset.LOADERS):
        node = cluster.nodes[number]
        log = open(os.path.join(directory, f"loader-{number}.log"), "ab")
        loaders.append(Loader(
            f"loader-{number}",
            cluster.exec_command(node, "--in-flight", str(IN_FLIGHT)),
            dataset.operations(packages, number), log))
    for loader in loaders:
        loader.start()
    return loaders


def load(cluster, packages, plan, directory, clock):
    """Runs the loaders, killing and restarting a node as planned. Returns them
    and the moment at which the node was back."""
    loads = sum(len(dataset.loaders_of(i)) for i in range(len(packages)))
    victim = cluster.nodes[plan.victim]
    loaders = start_loaders(cluster, packages, directory)
    deadline = time.monotonic() + LOAD_SECONDS_MAX
    killed, back, told = False, None, 0
    while True:
        for loader in loaders:
            if loader.error is not None:
                raise loader.error
        running = any(loader.is_alive() for loader in loaders)
        done = sum(loader.packages_done for loader in loaders) / loads
        if not killed and (done >= plan.kill_at or not running):
            cluster.kill(victim)
            killed = True
            clock.say(f"{done:4.0%}  node {victim.name} killed (SIGKILL)")
        if killed and back is None and (done >= plan.restart_at
                                        or not running):
            clock.say(f"{done:4.0%}  node {victim.name} started again")
            cluster.launch(victim)
            cluster.wait_ready(victim)
            back = time.monotonic()
        if not running and back is not None:
            return loaders, back
        if done >= told + 0.2:
            told = done
            clock.say(f"{done:4.0%}  loaded")
        if time.monotonic() > deadline:
            raise ClusterError(f"the load took over {LOAD_SECONDS_MAX} s")
        time.sleep(0.01)


def wait_until_identical(cluster):
    """Polls the digests; returns the differences at the end, [] if none. A
    node that is too busy catching up to answer is not identical yet."""
    deadline = time.monotonic() + CONVERGE_SECONDS_MAX
    while True:
        try:
            differences = list(verify.digest_differences(
                verify.digests(cluster), cluster.owners()))
        except ClusterError as error:
            differences = [str(error)]
        if not differences or time.monotonic() > deadline:
            return differences
        time.sleep(0.05)


def samples_of(cluster, expected, seed):
    """All maps at one node, some of them at the others."""
    random_ = random.Random(seed)
    keys = sorted(expected.maps)
    complete = random_.choice(cluster.nodes)
    return {node.name: keys if node is complete else
            random_.sample(keys, min(SAMPLE_MAPS, len(keys)))
            for node in cluster.nodes}


def run(binaries, packages, plan, seed, directory, clock):
    """One whole demo in `directory`. Returns its Outcome; raises ClusterError
    or LoadFailed if it could not be played to its end."""
    outcome = Outcome()
    with Cluster(binaries, directory, names=NAMES,
                 places=[Place(zone=zone) for zone in ZONES]) as cluster:
        clock.say("nodes " + ", ".join(
            f"{node.name} ({node.place.zone}) at {node.address}"
            for node in cluster.nodes))
        started = time.monotonic()
        loaders, back = load(cluster, packages, plan, directory, clock)
        loaded = time.monotonic()
        ledger = Ledger()
        for loader in loaders:
            ledger.merge(loader.ledger)
            outcome.operations += loader.operations_done
            outcome.repeated += loader.repeated
            outcome.unsure += loader.unsure
        outcome.load_seconds = loaded - started
        clock.say("100%  loaded; waiting until the nodes are identical")
        outcome.differences = wait_until_identical(cluster)
        outcome.after_write_seconds = time.monotonic() - loaded
        outcome.after_restart_seconds = time.monotonic() - back
        if outcome.differences:
            return outcome
        clock.say("comparing what each node holds with the file")
        expected = verify.expected_state(packages, ledger.acknowledged)
        outcome.objects = expected.objects()
        differences, outcome.seen = verify.check(
            cluster, expected, samples_of(cluster, expected, seed))
        outcome.differences = differences
        cluster.stop_all()
        clock.say("nodes stopped")
    return outcome


def top(outcome, bucket, count):
    found = [(number, key) for (in_bucket, key), number in outcome.seen.items()
             if in_bucket == bucket]
    return sorted(found, key=lambda pair: (-pair[0], pair[1]))[:count]


def summary(outcome):
    print("\nLargest sections (loads counted)  Most depended-on packages")
    for (loads, section), (users, package) in zip(
            top(outcome, "sections", 8), top(outcome, "dependents", 8)):
        print(f"  {loads:8,} {section:<23}  {users:8,} {package}")
    maintainers = top(outcome, "maintainers", 1)
    for count, name in maintainers:
        print(f"Busiest maintainer: {name}, {count:,} packages")
    rate = outcome.operations / max(outcome.load_seconds, 0.001)
    print(f"{outcome.operations:,} operations in {outcome.load_seconds:.1f} s, "
          f"{rate:,.0f} a second; {outcome.repeated:,} fed again, "
          f"{outcome.unsure:,} counter additions cut off")
    print(f"identical {outcome.after_write_seconds:.1f} s after the last "
          f"write, {outcome.after_restart_seconds:.1f} s after the restart")


def verdict(outcome):
    """The last line; True if all is well."""
    verify.report(outcome.differences)
    count = len(outcome.differences)
    if count == 0:
        print(f"converged: {len(NAMES)} of {len(NAMES)} nodes agree, "
              f"{outcome.objects} objects, 0 differences")
    else:
        print(f"NOT converged: {outcome.objects} objects, {count} "
              f"differences")
    return count == 0


def run_in_new_directory(binaries, packages, plan, seed, clock):
    """`run`; the directory stays only if something went wrong."""
    directory = tempfile.mkdtemp(prefix="dovetail-demo-")
    try:
        outcome = run(binaries, packages, plan, seed, directory, clock)
    except BaseException:
        print(f"logs and data are in {directory}", flush=True)
        raise
    if outcome.differences:
        print(f"logs and data are in {directory}")
    else:
        shutil.rmtree(directory)
    return outcome


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bin", required=True,
                        help="directory of dovetaild and dovetail")
    parser.add_argument("--packages", type=int,
                        default=os.environ.get("DOVETAIL_DEMO_PACKAGES"),
                        help="only the first so many")
    parser.add_argument("--seed", type=int,
                        default=os.environ.get("DOVETAIL_DEMO_SEED"),
                        help="of the node to kill and the moment")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(2**32)
    return options


def main():
    options = arguments()
    raw, source = dataset.raw_packages()
    packages = dataset.parse_packages(raw, options.packages)
    print(f"seed {options.seed}; {len(packages):,} packages of {source}, "
          f"{dataset.LOADERS} loaders, {IN_FLIGHT} operations in flight each")
    try:
        outcome = run_in_new_directory(
            options.bin, packages, demo_plan(options.seed), options.seed,
            Clock(quiet=False))
    except (ClusterError, LoadFailed) as error:
        print(f"NOT converged: {error}")
        return 1
    summary(outcome)
    return 0 if verdict(outcome) else 1


if __name__ == "__main__":
    sys.exit(main())
