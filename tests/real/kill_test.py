#!/usr/bin/env python3
"""`kill -9` of any node at any moment of the demo must not change its verdict.

  python3 tests/real/kill_test.py --bin build/release/bin [--runs 20] [--seed S]

Plays the demo again and again on a small input; each time a random node is
killed at a random moment of the load and started again at a later one, which
may be after the load has ended. Prints the seed first and, on a failure, the
command that plays the failed run again last.
"""

import argparse
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "demo"))
import dataset  # noqa: E402
import demo  # noqa: E402
from cluster import ClusterError  # noqa: E402
from loaders import LoadFailed  # noqa: E402


def random_plan(seed):
    random_ = random.Random(seed)
    kill_at = random_.uniform(0.0, 0.98)
    # One run in four: only after the load is over (a share above 1).
    late = random_.random() < 0.25
    restart_at = 2.0 if late else random_.uniform(kill_at, 1.0)
    return demo.Plan(random_.randrange(dataset.LOADERS), kill_at, restart_at)


def play(options, packages, seed):
    """True if the verdict of the run with this seed is the right one."""
    plan = random_plan(seed)
    again = "after the load" if plan.restart_at > 1 else \
        f"at {plan.restart_at:.0%}"
    print(f"seed {seed}: node {'abc'[plan.victim]} killed at "
          f"{plan.kill_at:.0%}, started again {again}", flush=True)
    try:
        outcome = demo.run_in_new_directory(
            options.bin, packages, plan, seed, demo.Clock(quiet=True))
    except (ClusterError, LoadFailed) as error:
        print(f"NOT converged: {error}")
        return False
    return demo.verdict(outcome)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--packages", type=int, default=1500,
                        help="only the first so many; 0: all of them")
    parser.add_argument("--seed", type=int,
                        default=random.SystemRandom().randrange(2**32),
                        help="of the first run; the next ones count up")
    options = parser.parse_args()
    print(f"first seed {options.seed}", flush=True)
    raw, _ = dataset.raw_packages()
    packages = dataset.parse_packages(raw, options.packages or None)
    print(f"{len(packages)} packages", flush=True)
    for run in range(options.runs):
        seed = options.seed + run
        if not play(options, packages, seed):
            print(f"FAILED in run {run + 1} of {options.runs}; replay: python3 "
                  f"tests/real/kill_test.py --bin {options.bin} --runs 1 "
                  f"--packages {options.packages} --seed {seed}")
            return 1
    print(f"{options.runs} runs, {options.runs} times the same verdict")
    return 0


if __name__ == "__main__":
    sys.exit(main())
