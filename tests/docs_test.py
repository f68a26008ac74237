"""Runs the examples of the documentation: each block of docs/*.md that is
marked ```scenario goes through the scenario runner, on both storages.

Usage: docs_test.py RUNNER
"""

import glob
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BLOCK = re.compile(r"^```scenario\n(.*?)^```$", re.M | re.S)


def extract(directory):
    """Writes each example to a file named after its page and line."""
    files = []
    for page in sorted(glob.glob(os.path.join(ROOT, "docs", "*.md"))):
        with open(page, encoding="utf-8") as file:
            text = file.read()
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 2
            name = f"{os.path.basename(page)[:-3]}-line-{line}.scn"
            files.append(os.path.join(directory, name))
            with open(files[-1], "w", encoding="utf-8") as file:
                file.write(match.group(1))
    return files


def main():
    with tempfile.TemporaryDirectory() as directory:
        files = extract(directory)
        if not files:
            print("no examples found")
            return 1
        for storage in ("memory", "rocksdb"):
            status = subprocess.run(
                [sys.argv[1], f"--storage={storage}", *files],
                stdin=subprocess.DEVNULL, check=False).returncode
            if status != 0:
                return 1
        print(f"{len(files)} examples hold on both storages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
