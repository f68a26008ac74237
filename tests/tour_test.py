"""Walks through the five minutes of README.md, as a stranger would.

Usage: tour_test.py BIN_DIRECTORY

Runs the blocks marked ```sh tour one after the other in one shell, in a new
directory, with the programs of BIN_DIRECTORY in the path and with free ports in
place of those written there. A line that ends in `# prints TEXT` must print
exactly that.
"""

import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "demo"))
from cluster import free_port  # noqa: E402

BLOCK = re.compile(r"^```sh tour\n(.*?)^```$", re.M | re.S)
PRINTS = re.compile(r"^(.*\S)\s+# prints (.*)$")
PORT = re.compile(r"\b7[123]0\d\b")
SECONDS_MAX = 120

PROLOGUE = """\
set -euo pipefail
trap 'kill -9 $(jobs -p) 2>/dev/null || true' EXIT
expect() {
  [[ "$2" == "$1" ]] || { printf 'expected: %s\\nprinted:  %s\\n' "$1" "$2" >&2
                          exit 1; }
}
"""


def script(text):
    """The blocks of `text` as one script that checks what is printed."""
    taken, ports, lines = set(), {}, [PROLOGUE]
    for block in BLOCK.findall(text):
        for line in block.splitlines():
            line = PORT.sub(lambda m: str(ports.setdefault(
                m.group(0), free_port(taken))), line)
            match = PRINTS.match(line)
            if match:
                command, printed = match.groups()
                lines.append(f"echo '+' {quote(command)}")
                lines.append(f"expect {quote(printed)} \"$({command})\"")
            else:
                lines.append(line)
    return "\n".join(lines) + "\n"


def quote(text):
    return "'" + text.replace("'", "'\\''") + "'"


def main():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        tour = script(file.read())
    if "expect '" not in tour:
        print("README.md has no tour")
        return 1
    path = os.path.abspath(sys.argv[1]) + os.pathsep + os.environ["PATH"]
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(["bash", "-c", tour], cwd=directory,
                              env={**os.environ, "PATH": path},
                              stdin=subprocess.DEVNULL, timeout=SECONDS_MAX,
                              check=False)
    if done.returncode != 0:
        print(f"the tour stopped with status {done.returncode}")
        return 1
    print("the tour of README.md prints what it says")
    return 0


if __name__ == "__main__":
    sys.exit(main())
