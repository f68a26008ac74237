"""What the tests with real processes share: a directory that stays if something
went wrong, healing, judging, and skipping loudly."""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "demo"))
sys.path.insert(0, HERE)
import clients  # noqa: E402
import demo  # noqa: E402
import history  # noqa: E402
from cluster import ClusterError  # noqa: E402

SKIP = 77   # ctest counts it as skipped (tests/house.cmake)
FINDINGS_SHOWN = 20
FINDING_CHARACTERS_MAX = 400


class Wrong(Exception):
    """What the test is there to find."""


def require(condition, text):
    if not condition:
        raise Wrong(text)


def skip(why):
    print(f"SKIPPED: {why}")
    sys.exit(SKIP)


def works(command):
    """Whether `command` can be run here, and ends well."""
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL,
                              capture_output=True, check=False,
                              timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def run_in_directory(name, test):
    """Runs `test(directory)`, which returns findings. True if all is well; else
    says what is not, and where to look."""
    directory = tempfile.mkdtemp(prefix=f"dovetail-{name}-")
    try:
        findings = [str(finding) for finding in test(directory)]
    except (Wrong, ClusterError, RuntimeError) as error:
        findings = [str(error)]
    except BaseException:
        print(f"logs, data and history are in {directory}", flush=True)
        raise
    for finding in findings[:FINDINGS_SHOWN]:
        print(f"  FINDING {finding[:FINDING_CHARACTERS_MAX]}")
    if findings:
        print(f"{len(findings)} findings; logs, data and history are in "
              f"{directory}", flush=True)
        return False
    shutil.rmtree(directory)
    return True


def parser_of(doc, *programs):
    """The options that these tests share: where the binaries are, and those of
    `programs`, such as --load, that the test needs besides."""
    parser = argparse.ArgumentParser(description=doc.split("\n", 1)[0])
    parser.add_argument("--bin", required=True)
    for program in programs:
        parser.add_argument(f"--{program}", required=True,
                            help="a program of the build")
    return parser


def add_seed(parser):
    parser.add_argument("--seed", type=int,
                        default=random.SystemRandom().randrange(1 << 32))


def run(name, parser, test, verdict="", prepare=lambda: None):
    """Runs `test(options, directory)` as run_in_directory does, and returns the
    exit status. `prepare` may skip it."""
    options = parser.parse_args()
    if "seed" in options:
        print(f"seed {options.seed}", flush=True)
    prepare()
    good = run_in_directory(name, lambda directory: test(options, directory))
    if not good:
        again = f", with --seed {options.seed}" if "seed" in options else ""
        print(f"FAILED{again}")
    elif verdict:
        print(verdict)
    return 0 if good else 1


def recorder_in(directory, cluster):
    return clients.Recorder(os.path.join(directory, "history.jsonl"),
                            cluster.nodes)


def check_loads(loads):
    for load in loads:
        if load.error is not None:
            raise load.error


def heal(cluster):
    """Every node runs and answers."""
    for node in cluster.nodes:
        if node.running():
            node.process.send_signal(signal.SIGCONT)
        else:
            cluster.launch(node)
    for node in cluster.nodes:
        cluster.wait_ready(node)


def judge(cluster, loads, recorder):
    """Ends the loads, heals, reads every node by itself; the findings."""
    for load in loads:
        load.stop.set()
    heal(cluster)
    for load in loads:
        load.finish()
    findings = [f"not identical: {difference}"
                for difference in demo.wait_until_identical(cluster)]
    clients.final_reads(cluster, recorder)
    recorder.close()
    return history.check(recorder.records) + findings


def summary(recorder):
    count = recorder.count()
    return (f"{count['invoke']} operations: {count['ok']} ok, {count['fail']} "
            f"failed, {count['info']} left open; {count['final']} final reads")
