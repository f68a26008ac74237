"""A tiny correct store, to make histories that are legal by construction.

Three nodes hold sets of effects; an effect is one write with the effects that
it covers, because it observed them. Nodes swap any part of what they hold at
any time, operations end early, late or never, and what was left open may take
effect long after. A fault, planted on purpose, makes the store wrong in one
way; then the checker (history.py) must object.
"""

import random
from dataclasses import dataclass, field

NODES = ("a", "b", "c")
KINDS = ("set", "orset", "counter", "register", "mv")
FAULTS = ("lose", "resurrect", "differ", "count twice", "stale register")


@dataclass(eq=False)
class Effect:
    kind: str
    key: str
    f: str
    value: object
    stamp: tuple
    covers: set = field(default_factory=set)
    acknowledged: bool = False


@dataclass
class Client:
    name: str
    node: str
    level: str
    # Object: (what a read returned, when it ran, the effects it saw).
    tokens: dict = field(default_factory=dict)
    # (record that started it, effects that its token saw, or None)
    open: tuple = None
    outcome: str = ""


class Model:
    def __init__(self, seed, fault=None, steps=250):
        self.random = random.Random(seed)
        self.fault = fault
        self.held = {node: set() for node in NODES}
        self.records = [{"type": "meta", "nodes": list(NODES)}]
        self.late = []      # operations that may still take effect
        self.number = 0
        self.clock = 0.0
        self.clients = [Client(f"p{i}", self.random.choice(NODES),
                               self.random.choice(("quorum", "local")))
                        for i in range(6)]
        for _ in range(steps):
            self.step()
        self.finish()

    def tick(self):
        self.clock += self.random.random()
        return self.clock

    def record(self, what, client, **rest):
        record = {"type": what, "t": self.tick(), "proc": client.name, **rest}
        self.records.append(record)
        return record

    def step(self):
        choice = self.random.random()
        if choice < 0.2:
            self.swap()
        elif choice < 0.25 and self.late:
            client, record, token = self.late.pop(
                self.random.randrange(len(self.late)))
            self.write(record, token)
        else:
            client = self.random.choice(self.clients)
            if client.open is None:
                self.begin(client)
            else:
                self.end(client)

    def swap(self):
        to, source = self.random.sample(NODES, 2)
        # sorted: the order of a set of objects differs between runs.
        for effect in sorted(self.held[source], key=lambda e: e.stamp):
            if self.random.random() < 0.5:
                self.held[to].add(effect)

    # --- One operation ---

    def begin(self, client):
        kind = self.random.choice(KINDS)
        key = f"k{self.random.randrange(2)}"
        f = self.random.choice({
            "set": ("add", "read"), "counter": ("add", "read"),
            "orset": ("add", "remove", "delete", "read"),
            "register": ("write", "read"), "mv": ("write", "read")}[kind])
        token = client.tokens.pop((kind, key), None)
        record = {"kind": kind, "key": key, "f": f, "node": client.node,
                  "level": client.level}
        if f != "read":
            record["value"] = self.value_for(kind, f, token)
        observes = f in ("remove", "delete", "write")
        if token is None and kind == "mv" and f == "write" and \
                self.random.random() < 0.3:
            token = ([], [self.clock, self.clock], set())
        if observes and token is not None:
            record["saw"] = {"values": token[0], "t": token[1]}
        else:
            token = None
        client.open = (self.record("invoke", client, **record),
                       None if token is None else token[2])

    def value_for(self, kind, f, token):
        self.number += 1
        if kind == "counter":
            return self.random.choice((1, 2, 5, -3))
        if kind == "orset" and f == "remove" and token and token[0]:
            return self.random.choice(token[0])
        if kind == "orset":
            return f"e{self.random.randrange(12)}"
        return f"v{self.number}"

    def end(self, client):
        record, token = client.open
        client.open = None
        chance = self.random.random()
        if record["f"] == "read":
            if chance < 0.1:
                self.record("fail", client)
                return
            view = self.view(client)
            value = self.show(view, record["kind"], record["key"])
            ended = self.record("ok", client, value=value)
            shown = [] if value is None else value
            client.tokens[record["kind"], record["key"]] = (
                shown if isinstance(shown, list) else [shown],
                [record["t"], ended["t"]], view)
        elif chance < 0.1:
            self.record("fail", client)
        elif chance < 0.3:
            # It may have had its effect already, or have it later, or never.
            if self.random.random() < 0.5:
                self.write(record, token)
            else:
                self.late.append((client, record, token))
            self.record("info", client)
        else:
            self.write(record, token).acknowledged = True
            self.record("ok", client)

    def write(self, record, token):
        """The coordinator carries it out, and a second node if need be."""
        node = record["node"]
        observed = self.held[node] if token is None else token
        effect = Effect(record["kind"], record["key"], record["f"],
                        record["value"],
                        (self.clock + self.random.uniform(-3, 3), self.number))
        self.number += 1
        if effect.f in ("remove", "delete", "write"):
            effect.covers = {
                e for e in observed
                if (e.kind, e.key) == (effect.kind, effect.key)
                and (effect.f != "remove" or e.value == effect.value)}
        self.held[node].add(effect)
        if record["level"] == "quorum":
            other = self.random.choice([n for n in NODES if n != node])
            self.held[other].add(effect)
        return effect

    # --- What is seen ---

    def view(self, client):
        seen = set(self.held[client.node])
        if client.level == "quorum":
            seen |= self.held[self.random.choice(
                [n for n in NODES if n != client.node])]
        return seen

    @staticmethod
    def show(held, kind, key):
        of_object = [e for e in held if (e.kind, e.key) == (kind, key)]
        covered = set().union(*(e.covers for e in of_object))
        live = [e for e in of_object
                if e not in covered and e.f in ("add", "write")]
        if kind == "counter":
            return sum(e.value for e in live)
        if kind == "register":
            live.sort(key=lambda e: e.stamp)
            return live[-1].value if live else None
        return sorted({e.value for e in live})

    def finish(self):
        everything = set().union(*self.held.values())
        self.held = {node: set(everything) for node in NODES}
        if self.fault is not None:
            self.plant(sorted(everything, key=lambda e: e.stamp))
        names = sorted({(r["kind"], r["key"]) for r in self.records
                        if r["type"] == "invoke"})
        for node in NODES:
            for kind, key in names:
                self.records.append(
                    {"type": "final", "kind": kind, "key": key, "node": node,
                     "value": self.show(self.held[node], kind, key)})

    def plant(self, everything):
        """Makes what the nodes hold at the end wrong."""
        gone, new = set(), []
        if self.fault == "lose":
            gone = {e for e in everything
                    if e.kind == "set" and e.acknowledged}
        elif self.fault == "differ":
            self.held["c"] -= {e for e in everything if e.kind == "counter"}
            return
        elif self.fault == "resurrect":
            gone = {e for e in everything if e.f in ("remove", "delete")}
        elif self.fault == "count twice":
            new = [Effect(e.kind, e.key, e.f, e.value, e.stamp)
                   for e in everything if e.kind == "counter"]
        elif self.fault == "stale register":
            gone = {e for e in everything
                    if e.kind == "register" and e.covers}
        for node in NODES:
            self.held[node] = (self.held[node] - gone) | set(new)
