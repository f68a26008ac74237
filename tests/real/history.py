#!/usr/bin/env python3
"""Was everything that clients saw allowed? Judges the history of a run.

  python3 tests/real/history.py HISTORY.jsonl

A history is a list of records, one JSON object a line:

  {"type":"meta","nodes":["a","b","c"]}                     first
  {"type":"invoke","t":1.5,"proc":"p1","kind":"set","key":"k","f":"add",
   "value":"x","node":"a","level":"quorum","saw":{...}}     before it was sent
  {"type":"ok","t":1.6,"proc":"p1"}                         its outcome, after
  {"type":"final","kind":"set","key":"k","node":"a","value":["x"]}

A proc has one operation at a time. Outcomes: `ok`, and of a read its `value`;
`fail`, it surely had no effect; `info`, or none at all: it may have had one, or
may still have it at any later time. `t` is one clock for all procs. `node` is
the coordinator; `level` is "quorum" (R or W a majority) or "local" (1).

`saw` is of mutations with the token of a read: {"values":[...],"t":[t0,t1]},
what that read (of the same node and level) returned and when it was under way.
They act on exactly that. {"values":[],"t":[t,t]} is one that observed nothing.
Without `saw` a mutation observes what its coordinator holds at that moment.

After the run all is healed, and `final` reads what each node holds by itself.
What is judged, kind by kind, is written at each class below. Where a history
leaves two answers open, both are right: a finding is always a proof.
"""

import json
import math
import sys
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

FUNCTIONS = {
    "set": {"add", "read"},
    "orset": {"add", "remove", "delete", "read"},
    "counter": {"add", "read"},
    "register": {"write", "read"},
    "mv": {"write", "read"},
}
LEVELS = ("quorum", "local")
# Where nothing is there, a read may return either.
EMPTY = {"set": [], "orset": [], "counter": 0, "register": None, "mv": []}
# Sums beyond this many make a counter's final value a matter of bounds alone.
SUMS_MAX = 200_000


@dataclass(frozen=True)
class Finding:
    rule: str
    text: str

    def __str__(self):
        return f"{self.rule}: {self.text}"


class Malformed(Exception):
    """The history itself makes no sense: whoever wrote it has a bug."""


@dataclass(eq=False)
class Op:
    proc: str
    kind: str
    key: str
    f: str
    value: Any
    node: str
    level: str
    saw: Any                # None, or {"values": [...], "t": [t0, t1]}
    start: float
    end: float = math.inf   # of info: never known to be over
    outcome: str = "info"
    result: Any = None

    def may_count(self):
        return self.outcome != "fail"

    def before(self, t):
        """It was acknowledged by then."""
        return self.outcome == "ok" and self.end <= t

    def known_at(self, node, level, t):
        """Whoever reads at `node` with `level` from `t` on sees its effect:
        it is in a majority and majorities meet, or `node` itself has it."""
        return self.before(t) and (self.level == level == "quorum"
                                   or self.node == node)

    def known_to(self, read):
        return self.known_at(read.node, read.level, read.start)

    def __str__(self):
        return f"{self.f} {self.value!r} by {self.proc} at {self.start:.6f}"


@dataclass
class History:
    nodes: list
    objects: dict           # (kind, key): [Op in order of start]
    finals: dict            # (kind, key): {node: value}


# --- From records to operations ---------------------------------------------


def check_value(kind, f, value, where):
    """A read of sets and mv returns a list, of a counter a number."""
    if f == "read" and kind == "counter" or kind == "counter" and f == "add":
        good = isinstance(value, int) and not isinstance(value, bool)
    elif f == "read" and kind != "register":
        good = isinstance(value, list)
    elif f == "read":
        good = value is None or isinstance(value, str)
    else:
        good = f == "delete" or isinstance(value, str)
    if not good:
        raise Malformed(f"{where}: {value!r} is no value of {kind} {f}")


def check_saw(saw, where):
    good = (isinstance(saw, dict) and isinstance(saw.get("values"), list)
            and isinstance(saw.get("t"), list) and len(saw["t"]) == 2
            and saw["t"][0] <= saw["t"][1])
    if not good:
        raise Malformed(f"{where}: {saw!r} is not what a read saw")


def invoked(record, nodes, where):
    try:
        op = Op(record["proc"], record["kind"], record["key"], record["f"],
                record.get("value"), record["node"], record["level"],
                record.get("saw"), record["t"])
    except KeyError as missing:
        raise Malformed(f"{where}: it has no {missing}") from None
    if op.f not in FUNCTIONS.get(op.kind, ()):
        raise Malformed(f"{where}: no such operation: {op.kind} {op.f}")
    if op.node not in nodes or op.level not in LEVELS:
        raise Malformed(f"{where}: node {op.node!r}, level {op.level!r}")
    if op.f != "read":
        check_value(op.kind, op.f, op.value, where)
    if op.saw is not None:
        check_saw(op.saw, where)
        if op.saw["t"][1] > op.start:
            raise Malformed(f"{where}: it acts on a read that came later")
    return op


def complete(op, record, where):
    if record["t"] < op.start:
        raise Malformed(f"{where}: it ended before it began")
    op.outcome = record["type"]
    if op.outcome != "info":
        op.end = record["t"]
    if op.f == "read" and op.outcome == "ok":
        op.result = record.get("value", EMPTY[op.kind])
        check_value(op.kind, "read", op.result, where)


def parse(records):
    """The History of `records`, an iterable of dicts. Raises Malformed."""
    records = iter(records)
    meta = next(records, {})
    if meta.get("type") != "meta" or not meta.get("nodes"):
        raise Malformed("the first record must be meta, with nodes")
    history = History(list(meta["nodes"]), defaultdict(list), {})
    busy = {}   # proc: the operation under way
    clocks = {}
    for number, record in enumerate(records, 2):
        where, what = f"record {number}", record.get("type")
        if what == "final":
            take_final(history, record, where)
            continue
        proc, t = record.get("proc"), record.get("t")
        if proc is None or not isinstance(t, (int, float)):
            raise Malformed(f"{where}: it has no proc or no t")
        if t < clocks.get(proc, -math.inf):
            raise Malformed(f"{where}: the time of {proc} goes back")
        clocks[proc] = t
        if what == "invoke":
            if proc in busy:
                raise Malformed(f"{where}: {proc} has an operation under way")
            busy[proc] = op = invoked(record, history.nodes, where)
            history.objects[op.kind, op.key].append(op)
        elif what in ("ok", "fail", "info"):
            if proc not in busy:
                raise Malformed(f"{where}: {proc} has nothing under way")
            complete(busy.pop(proc), record, where)
        else:
            raise Malformed(f"{where}: type {what!r}")
    for ops in history.objects.values():
        ops.sort(key=lambda op: op.start)
    return history


def take_final(history, record, where):
    kind, key, node = (record.get(n) for n in ("kind", "key", "node"))
    if kind not in FUNCTIONS or node not in history.nodes:
        raise Malformed(f"{where}: a final read of {kind!r} at {node!r}")
    value = record.get("value", EMPTY[kind])
    check_value(kind, "read", value, where)
    of_object = history.finals.setdefault((kind, key), {})
    if node in of_object:
        raise Malformed(f"{where}: a second final read at {node}")
    of_object[node] = value


# --- What holds for every kind ----------------------------------------------


def canonical(value):
    return sorted(value) if isinstance(value, list) else value


class Object:
    """One object, its operations, and what was finally read. Subclasses say
    what may be read; each check yields findings."""

    def __init__(self, name, ops, finals):
        self.name = "/".join(name)
        self.writes = [op for op in ops if op.f != "read"]
        self.reads = [op for op in ops if op.f == "read"
                      and op.outcome == "ok"]
        self.finals = finals

    def find(self, rule, text):
        return Finding(rule, f"{self.name}: {text}")

    def check(self, nodes):
        for node in nodes:
            if node not in self.finals:
                yield self.find("unread", f"no final read at {node}")
        first = next((n for n in nodes if n in self.finals), None)
        for node in nodes:
            if node in self.finals and canonical(self.finals[node]) != \
                    canonical(self.finals[first]):
                yield self.find(
                    "differ", f"{first} holds {self.finals[first]!r}, {node} "
                              f"holds {self.finals[node]!r}")
        for read in self.reads:
            yield from self.check_read(read, f"the {read}")
        for node, value in self.finals.items():
            yield from self.check_final(value, f"the final read at {node}")

    def check_read(self, read, where):
        raise NotImplementedError

    def check_final(self, value, where):
        raise NotImplementedError


class Elements(Object):
    """What holds whenever values come one by one: each that is read was
    written by an operation that had begun and did not fail, and is listed
    once."""

    def __init__(self, name, ops, finals):
        super().__init__(name, ops, finals)
        self.makers = defaultdict(list)     # value: what may have made it
        for op in self.writes:
            if op.f in ("add", "write"):
                self.makers[op.value].append(op)
        self.seen = defaultdict(list)       # value: reads that saw it
        for read in self.reads:
            for value in self.shown(read.result):
                self.seen[value].append(read)
        self.seen_at_last = {value for final in finals.values()
                             for value in self.shown(final)}

    @staticmethod
    def shown(result):
        return result

    def candidates(self, value, t):
        """The operations that can be the reason why `value` is there at t."""
        return [op for op in self.makers[value]
                if op.may_count() and op.start <= t]

    def took_effect(self, op):
        """Acknowledged, or its value was read and nothing else wrote it."""
        if op.outcome == "ok":
            return True
        if not op.may_count():
            return False
        if any(self.candidates(op.value, read.end) == [op]
               for read in self.seen[op.value]):
            return True
        return op.value in self.seen_at_last and \
            self.candidates(op.value, math.inf) == [op]

    def check_origin(self, values, t, where):
        values = self.shown(values)
        if len(set(values)) != len(values):
            yield self.find("twice", f"{where} lists a value twice: {values}")
        for value in values:
            if self.candidates(value, t):
                continue
            if any(op.start <= t for op in self.makers[value]):
                yield self.find("failed", f"{where} has {value!r}, but what "
                                          f"wrote it failed")
            else:
                yield self.find("phantom", f"{where} has {value!r}, which "
                                           f"nobody had written")


# --- Sets -------------------------------------------------------------------


class GrowingSet(Elements):
    """Elements are only added. Known is what was acknowledged or read: it is
    there at the end (lost), in every read that must know it (missed), and in
    every later read of a node that has shown what it holds (went-back)."""

    def __init__(self, name, ops, finals):
        super().__init__(name, ops, finals)
        self.shown_at = {}      # (value, node): when the node first showed it
        for value, reads in self.seen.items():
            for read in reads:
                if read.level == "local":
                    at = (value, read.node)
                    self.shown_at[at] = min(read.end, self.shown_at.get(
                        at, math.inf))

    def check_read(self, read, where):
        yield from self.check_origin(read.result, read.end, where)
        held = set(read.result)
        for value, makers in self.makers.items():
            if value in held:
                continue
            if any(op.known_to(read) for op in makers):
                yield self.find("missed", f"{where} lacks {value!r}, which "
                                          f"was acknowledged before")
            elif self.shown_at.get((value, read.node),
                                   math.inf) <= read.start:
                yield self.find("went-back", f"{where} lacks {value!r}, which "
                                             f"{read.node} held before")

    def check_final(self, value, where):
        yield from self.check_origin(value, math.inf, where)
        for element, makers in self.makers.items():
            if element not in value and (
                    self.seen[element]
                    or any(op.outcome == "ok" for op in makers)):
                yield self.find("lost", f"{where} lacks {element!r}")


class ObservedRemoveSet(Elements):
    """A remove takes away the adds that it observed, a delete those of all
    elements. An add that no remove can have observed stays (lost, missed); an
    element all of whose adds were surely observed and removed never comes back
    (resurrected)."""

    def __init__(self, name, ops, finals):
        super().__init__(name, ops, finals)
        self.removes = defaultdict(list)    # element: what may remove it
        for op in self.writes:
            if op.f in ("remove", "delete") and op.may_count():
                for element in self.makers:
                    if (op.f == "delete" or op.value == element) and (
                            op.saw is None or element in op.saw["values"]):
                        self.removes[element].append(op)
        # add: from when on it may be gone.
        self.may_go = {add: min((r.start for r in self.removes[element]
                                 if self.may_cover(r, add)), default=math.inf)
                       for element, adds in self.makers.items()
                       for add in adds}

    def may_cover(self, remove, add):
        if remove.saw is None:
            return add.start <= remove.end
        return add.start <= remove.saw["t"][1]

    def surely_covers(self, remove, add):
        if remove.outcome != "ok":
            return False
        if remove.saw is None:
            return add.node == remove.node and add.before(remove.start)
        start, end = remove.saw["t"]
        return add.known_at(remove.node, remove.level, start) or \
            self.candidates(add.value, end) == [add]

    def check_read(self, read, where):
        yield from self.check_origin(read.result, read.end, where)
        for element, adds in self.makers.items():
            if element in read.result:
                yield from self.check_back(element, read.end, where,
                                           lambda r: r.known_to(read))
            elif any(self.may_go[add] > read.end and add.known_to(read)
                     for add in adds):
                yield self.find("missed", f"{where} lacks {element!r}, which "
                                          f"was acknowledged before")

    def check_final(self, value, where):
        yield from self.check_origin(value, math.inf, where)
        for element, adds in self.makers.items():
            if element in value:
                yield from self.check_back(element, math.inf, where,
                                           lambda _: True)
            elif any(self.may_go[add] == math.inf and self.took_effect(add)
                     for add in adds):
                yield self.find("lost", f"{where} lacks {element!r}, which "
                                        f"nobody removed")

    def check_back(self, element, t, where, known):
        adds = self.candidates(element, t)
        if adds and all(any(known(r) and self.surely_covers(r, add)
                            for r in self.removes[element])
                        for add in adds):
            yield self.find("resurrected", f"{where} has {element!r}, which "
                                           f"was removed by who saw it")


# --- Counters ---------------------------------------------------------------


class Counter(Object):
    """While it runs a read lies between what it must know and what was
    attempted (bounds). In the end it is the sum of all that was acknowledged
    and of some of what was left open (sum): each addition once or not at
    all."""

    def check_read(self, read, where):
        low = high = 0
        for add in self.writes:
            if add.known_to(read):
                low, high = low + add.value, high + add.value
            elif add.may_count() and add.start <= read.end:
                low += min(add.value, 0)
                high += max(add.value, 0)
        if not low <= read.result <= high:
            yield self.find("bounds", f"{where} is {read.result}, must be "
                                      f"{low} to {high}")

    def check_final(self, value, where):
        sure = sum(op.value for op in self.writes if op.outcome == "ok")
        unsure = [op.value for op in self.writes if op.outcome == "info"]
        sums = {sure}
        for amount in unsure:
            sums |= {s + amount for s in sums}
            if len(sums) > SUMS_MAX:
                low = sure + sum(min(a, 0) for a in unsure)
                high = sure + sum(max(a, 0) for a in unsure)
                sums = range(low, high + 1)
                break
        if value not in sums:
            yield self.find("sum", f"{where} is {value}; acknowledged were "
                                   f"{sure}, open {sorted(unsure)}")


# --- Registers --------------------------------------------------------------


class Versions(Elements):
    """Values are unique, so each names its write. What an effective write
    observed is superseded and is never read again by who must know of that
    write."""

    def __init__(self, name, ops, finals):
        super().__init__(name, ops, finals)
        for value, writes in self.makers.items():
            if len(writes) > 1:
                raise Malformed(f"{self.name}: {value!r} is written twice")
        self.effective = [op for op in self.writes if self.took_effect(op)]
        # value: the effective writes that surely observed it.
        self.superseding = {value: list(self.observers(value))
                            for value in list(self.makers)}
        # value: from when on it may be gone.
        self.may_go = {value: min(self.possible_observers(writes[0]),
                                  default=math.inf)
                       for value, writes in self.makers.items()}

    def observers(self, value):
        write = self.makers[value][0] if self.makers[value] else None
        for other in self.effective:
            if other is write:
                continue
            if other.saw is not None:
                if value in other.saw["values"]:
                    yield other
            elif write is not None and other.outcome == "ok" and \
                    write.node == other.node and write.before(other.start):
                yield other

    def possible_observers(self, write):
        """When each began that may have observed `write`."""
        for other in self.writes:
            if other is write or not other.may_count():
                continue
            if (write.start <= other.end if other.saw is None
                    else write.value in other.saw["values"]):
                yield other.start

    def check_superseded(self, values, where, known):
        for value in self.shown(values):
            for write in self.superseding.get(value, ()):
                if known(write):
                    yield self.find("superseded",
                                    f"{where} has {value!r}, which the "
                                    f"{write} replaced")
                    break


class Register(Versions):
    """One value: one that was written and not superseded (superseded), and
    some value once a write is known (lost)."""

    @staticmethod
    def shown(result):
        return [] if result is None else [result]

    def check_read(self, read, where):
        yield from self.check_origin(read.result, read.end, where)
        yield from self.check_superseded(read.result, where,
                                         lambda w: w.known_to(read))
        if read.result is None and any(w.known_to(read) for w in self.writes):
            yield self.find("lost", f"{where} is empty after a write")

    def check_final(self, value, where):
        yield from self.check_origin(value, math.inf, where)
        yield from self.check_superseded(value, where, lambda _: True)
        if value is None and self.effective:
            yield self.find("lost", f"{where} is empty after a write")


class MultiValue(Versions):
    """All values that were not superseded: none that was (superseded), and
    each that cannot have been (lost, missed)."""

    def check_read(self, read, where):
        yield from self.check_origin(read.result, read.end, where)
        yield from self.check_superseded(read.result, where,
                                         lambda w: w.known_to(read))
        for write in self.writes:
            if self.may_go[write.value] > read.end and \
                    write.known_to(read) and write.value not in read.result:
                yield self.find("missed", f"{where} lacks {write.value!r}, "
                                          f"which was acknowledged before")

    def check_final(self, value, where):
        yield from self.check_origin(value, math.inf, where)
        yield from self.check_superseded(value, where, lambda _: True)
        for write in self.effective:
            if self.may_go[write.value] == math.inf and \
                    write.value not in value:
                yield self.find("lost", f"{where} lacks {write.value!r}, "
                                        f"which nothing replaced")


# --- The verdict ------------------------------------------------------------

KINDS = {"set": GrowingSet, "orset": ObservedRemoveSet, "counter": Counter,
         "register": Register, "mv": MultiValue}


def check(records):
    """All findings, [] if the history is legal."""
    try:
        history = parse(records)
        findings = []
        for name in sorted(set(history.objects) | set(history.finals)):
            object_ = KINDS[name[0]](name, history.objects.get(name, []),
                                     history.finals.get(name, {}))
            findings += object_.check(history.nodes)
        return findings
    except Malformed as error:
        return [Finding("malformed", str(error))]


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    with open(sys.argv[1], encoding="utf-8") as file:
        findings = check(json.loads(line) for line in file)
    for finding in findings:
        print(finding)
    print(f"{len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
