"""strace on a running node, to make its system calls fail."""

import os
import re
import subprocess
import sys
import time

import harness

ATTACH_SECONDS_MAX = 20


def probe():
    """Skips the test unless strace can inject errors, and attach to another
    process, here."""
    call = "import os; os.fdatasync(os.open('/tmp', 0))"
    base = ["strace", "-f", "-o", "/dev/null", "-e", "trace=fdatasync"]
    inject = ["-e", "inject=fdatasync:error=EIO"]
    plain = [sys.executable, "-IS", "-c", call]
    if not harness.works([*base, *plain]):
        harness.skip("strace cannot be run here (package strace; ptrace)")
    if harness.works([*base, *inject, *plain]):
        harness.skip("strace injects no errors here")
    with subprocess.Popen(["sleep", str(ATTACH_SECONDS_MAX)]) as other:
        tracer = subprocess.Popen([*base, "-p", str(other.pid)],
                                  stderr=subprocess.PIPE, text=True)
        attached = "attached" in tracer.stderr.readline()
        other.kill()
        tracer.communicate(timeout=ATTACH_SECONDS_MAX)
    if not attached:
        harness.skip("strace cannot attach to a process here (ptrace)")


class Tracer:
    """Runs from its construction to stop(), or the end of the node. With
    `path`, only calls on that file count."""

    def __init__(self, node, inject, directory, path=None):
        self._directory = directory
        call = inject.split(":", 1)[0]
        self._strace = subprocess.Popen(
            ["strace", "-f", "-ff", "-o", os.path.join(directory, "strace"),
             "-ttt", "-T", "-y", "-e", f"trace={call}", "-e",
             f"inject={inject}", *([] if path is None else ["-P", path]),
             "-p", str(node.process.pid)],
            stderr=subprocess.PIPE, text=True)
        line = self._strace.stderr.readline()
        harness.require("attached" in line, f"strace: {line}")
        self.since = time.monotonic()

    def stop(self):
        if self._strace.poll() is None:
            self._strace.terminate()
        self._strace.communicate(timeout=ATTACH_SECONDS_MAX)

    def text(self):
        """All that it wrote; there is a file for each thread."""
        texts = []
        for name in sorted(os.listdir(self._directory)):
            if re.match(r"strace\.\d+$", name):
                path = os.path.join(self._directory, name)
                with open(path, encoding="utf-8") as file:
                    texts.append(file.read())
        return "".join(texts)
