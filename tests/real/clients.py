"""Clients that write down what they do: each operation before it is sent, each
outcome after it came, in the form that history.py judges.

A client is a generator. It yields Steps, one at a time, and is sent the Outcome
of each; a Load plays many of them through one `dovetail exec` at one node.
"""

import collections
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "demo"))
import verify  # noqa: E402

# What each kind of history.py is in the store; each has its own bucket.
TYPES = {"set": "gset", "orset": "set", "counter": "counter",
         "register": "register", "mv": "mv"}
EXEC_RESTART_AFTER_S = 0.2
FLAGS = {"quorum": ("--r", "quorum", "--w", "quorum"),
         "local": ("--r", "1", "--w", "1")}


class Recorder:
    """A history, kept in a file and in memory; for any thread."""

    def __init__(self, path, nodes):
        self.records = []
        self._file = open(path, "w", encoding="utf-8")
        self._lock = threading.Lock()
        self.add({"type": "meta", "nodes": [node.name for node in nodes]})

    def add(self, record):
        """Returns the record; unless it has a time, now is its time."""
        with self._lock:
            if "proc" in record:
                record.setdefault("t", time.monotonic())
            self.records.append(record)
            self._file.write(json.dumps(record) + "\n")
            return record

    def close(self):
        self._file.close()

    def count(self):
        """How many records there are of each type."""
        return collections.Counter(r["type"] for r in self.records)

    def acknowledged(self, kind):
        """Operations of this kind with outcome `ok`, reads left out."""
        begun, acknowledged = {}, []
        for record in self.records:
            if record["type"] == "invoke":
                begun[record["proc"]] = record
            elif record["type"] == "ok":
                operation = begun[record["proc"]]
                if operation["kind"] == kind and operation["f"] != "read":
                    acknowledged.append((operation, record))
        return acknowledged


@dataclass
class Step:
    kind: str
    key: str
    f: str
    value: object = None
    token: tuple = None     # (text, what it saw as in a record) or None
    blind: bool = False
    want_token: bool = False

    def line(self):
        """The operation, as `dovetail exec` takes it."""
        line = {"type": TYPES[self.kind], "verb": self.f,
                "bucket": self.kind, "key": self.key}
        if self.blind:
            line["verb"] = "write-blind"
        if self.f in ("add", "remove") and self.kind == "counter":
            line["amount"] = self.value
        elif self.f in ("add", "remove"):
            line["elements"] = [self.value]
        elif self.f == "write":
            line["value"] = self.value
        if self.token is not None:
            line["token"] = self.token[0]
        if self.want_token:
            line["want_token"] = True
        return line


@dataclass
class Outcome:
    ok: bool
    maybe: bool = False
    code: str = ""
    value: object = None
    token: tuple = None     # of a read with want_token: for a later Step


class Load(threading.Thread):
    """Plays `clients` (generators) through one exec at `node`, until they or
    `stop` end it; then waits for what is under way."""

    def __init__(self, cluster, node, level, clients, recorder, log, *,
                 flags=(), rate=None, name=None):
        super().__init__(name=f"load at {node.name}", daemon=True)
        self.stop = threading.Event()
        self.error = None
        self._node, self._level = node, level
        self._command = cluster.exec_at(node, *FLAGS[level], *flags)
        self._recorder, self._log = recorder, log
        self._interval = 0 if rate is None else 1 / rate
        self._next_at = 0.0
        self._idle = [(f"{name or node.name}{i}", client)
                      for i, client in enumerate(clients)]
        self._waiting = {name: next(client) for name, client in self._idle}
        self._open = collections.deque()  # (name, client, step, when it began)

    def run(self):
        try:
            while not self.stop.is_set() and self._idle:
                self._run_exec()
                self.stop.wait(EXEC_RESTART_AFTER_S)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error  # whoever waits for this thread raises it

    def finish(self):
        self.stop.set()
        self.join()
        if self.error is not None:
            raise self.error

    def _run_exec(self):
        """One life of exec. It may end early: no node could be reached."""
        with subprocess.Popen(self._command, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE,
                              stderr=self._log) as exec_:
            try:
                while self._feed(exec_.stdin):
                    line = exec_.stdout.readline()
                    if not line:
                        break
                    self._settle(json.loads(line))
                exec_.stdin.close()
            except BrokenPipeError:
                pass
            except BaseException:
                exec_.kill()
                raise
        while self._open:   # exec died: they may have had their effect
            self._settle({"ok": False, "maybe": True, "code": "UNAVAILABLE"})

    def _feed(self, pipe):
        """Starts what can be started; False if nothing is under way then."""
        while self._idle and not self.stop.is_set():
            self._pace()
            name, client = self._idle.pop(0)
            step = self._waiting.pop(name)
            begun = self._recorder.add(self._begin(name, step))
            self._open.append((name, client, step, begun["t"]))
            pipe.write(json.dumps(step.line()).encode() + b"\n")
        pipe.flush()
        return bool(self._open)

    def _pace(self):
        wait = self._next_at - time.monotonic()
        if wait > 0:
            self.stop.wait(wait)
        self._next_at = max(self._next_at, time.monotonic()) + self._interval

    def _begin(self, name, step):
        record = {"type": "invoke", "proc": name, "kind": step.kind,
                  "key": step.key, "f": step.f, "node": self._node.name,
                  "level": self._level}
        if step.f != "read":
            record["value"] = step.value
        if step.blind:
            now = time.monotonic()
            record["saw"] = {"values": [], "t": [now, now]}
        elif step.token is not None:
            record["saw"] = step.token[1]
        return record

    def _settle(self, result):
        name, client, step, begun = self._open.popleft()
        outcome = Outcome(bool(result.get("ok")), bool(result.get("maybe")),
                          result.get("code", ""), result.get("value"))
        record = {"proc": name}
        if outcome.ok and step.f == "read":
            record["value"] = outcome.value
        if outcome.ok:
            # What observed nothing to remove had no effect at all.
            nothing = result.get("not_observed") is True and \
                step.f in ("remove", "delete")
            record["type"] = "fail" if nothing else "ok"
        else:
            maybe = outcome.maybe and step.f != "read"
            record["type"] = "info" if maybe else "fail"
            record["code"] = outcome.code
        ended = self._recorder.add(record)["t"]
        if outcome.ok and "token" in result:
            shown = [] if outcome.value is None else outcome.value
            outcome.token = (result["token"], {
                "values": shown if isinstance(shown, list) else [shown],
                "t": [begun, ended]})
        try:
            self._waiting[name] = client.send(outcome)
            self._idle.append((name, client))
        except StopIteration:
            pass


# --- What clients do --------------------------------------------------------


def growing_sets(random, name, keys=8):
    for number in range(10**9):
        key = f"k{random.randrange(keys)}"
        if random.random() < 0.15:
            yield Step("set", key, "read")
        else:
            yield Step("set", key, "add", f"{name}-{number}")


def observed_remove_sets(random, name, keys=6):
    """Adds, and removes and deletes what was seen; now and then adds an
    element again that somebody has removed or may be about to."""
    for number in range(10**9):
        key = f"k{random.randrange(keys)}"
        read = yield Step("orset", key, "read", want_token=True)
        choice = random.random()
        if choice < 0.5 or not read.ok or not read.value:
            again = read.value and random.random() < 0.2
            yield Step("orset", key, "add", random.choice(read.value)
                       if again else f"{name}-{number}")
        elif choice < 0.8:
            yield Step("orset", key, "remove", random.choice(read.value),
                       token=read.token)
        elif choice < 0.9:
            yield Step("orset", key, "remove", random.choice(read.value))
        else:
            yield Step("orset", key, "delete", token=read.token)


def counters(random, _, keys=4):
    while True:
        key = f"k{random.randrange(keys)}"
        if random.random() < 0.2:
            yield Step("counter", key, "read")
        else:
            yield Step("counter", key, "add", random.choice((1, 2, 7, -3)))


def registers(random, name, kind="register", keys=4):
    for number in range(10**9):
        key = f"k{random.randrange(keys)}"
        read = yield Step(kind, key, "read", want_token=True)
        choice = random.random()
        value = f"{name}-{number}"
        if choice < 0.6 and read.ok:
            yield Step(kind, key, "write", value, token=read.token)
        elif choice < 0.75 and kind == "mv":
            yield Step(kind, key, "write", value, blind=True)
        else:
            yield Step(kind, key, "write", value)


def of_all_kinds(random, name):
    """A client of each kind, two of the sets."""
    return [growing_sets(random, f"{name}.g"),
            observed_remove_sets(random, f"{name}.o"),
            observed_remove_sets(random, f"{name}.p"),
            counters(random, f"{name}.c"),
            registers(random, f"{name}.r"),
            registers(random, f"{name}.m", "mv")]


# --- In the end -------------------------------------------------------------


def final_reads(cluster, recorder):
    """Reads every object at every node, as that node holds it by itself."""
    objects = sorted({(r["kind"], r["key"]) for r in recorder.records
                      if r["type"] == "invoke"})
    for node in cluster.nodes:
        for kind, object_type in TYPES.items():
            wanted = [name for name in objects if name[0] == kind]
            for (_, key), value in verify.read_objects(cluster, node, wanted,
                                                       object_type):
                recorder.add({"type": "final", "kind": kind, "key": key,
                              "node": node.name, "value": value})
