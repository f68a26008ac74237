"""A stand-in for the store, for testing the demo's own driver (demo_test.py).

`python3 fake_store.py STATE.json [--seed S --refuse P --maybe P --die-after N]`
answers like `dovetail exec`, one process and no replicas, and keeps its state
in a file. It fails as asked: refuses without effect, fails with `maybe` (with
or without effect), or dies in mid-stream after so many results.
"""

import argparse
import json
import os
import random
import sys


class Store:
    def __init__(self, path):
        self.path = path
        self.objects = {}   # "bucket\0key\0type" -> contents
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.objects = json.load(file)

    def save(self):
        with open(self.path, "w", encoding="utf-8") as file:
            json.dump(self.objects, file)

    def place(self, line):
        """(container, key in it, type) of what `line` names."""
        name = "\0".join((line["bucket"], line["key"], line["type"]))
        if not line.get("path"):
            return self.objects, name, line["type"]
        fields = self.objects.setdefault(name, {})
        return fields, line["path"][0], line["path"][0].split(":")[1]

    def apply(self, line):
        for part in line.get("batch", [line]):
            holder, name, kind = self.place(part)
            if kind == "counter":
                holder[name] = holder.get(name, 0) + part["amount"]
            elif kind == "register":
                holder[name] = part["value"]
            else:
                holder[name] = sorted(set(holder.get(name, []))
                                      | set(part["elements"]))

    def read(self, line):
        holder, name, _ = self.place(line)
        value = holder.get(name)
        result = {"ok": True, "value": value}
        if line["type"] == "set" and value is not None:
            rest = [e for e in value if e > line.get("after", "")]
            result["value"] = rest[:PAGE]
            result["more"] = len(rest) > PAGE
        return result


# Small, so that paging is tested.
PAGE = 40


def answer(store, line, options, dice):
    if line.get("verb") == "read":
        return store.read(line)
    roll = dice.random()
    if roll < options.refuse:
        return {"ok": False, "code": "UNAVAILABLE", "message": "refused"}
    if roll < options.refuse + options.maybe:
        if dice.random() < 0.5:
            store.apply(line)
        return {"ok": False, "code": "DEADLINE_EXCEEDED", "message": "late",
                "maybe": True}
    store.apply(line)
    return {"ok": True}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("state")
    parser.add_argument("--r")  # of no meaning to a store without replicas
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--refuse", type=float, default=0)
    parser.add_argument("--maybe", type=float, default=0)
    parser.add_argument("--die-after", type=int, default=0)
    options = parser.parse_args()
    store = Store(options.state)
    dice = random.Random(f"{options.seed} {len(store.objects)}")
    for number, text in enumerate(sys.stdin, 1):
        result = answer(store, json.loads(text), options, dice)
        if options.die_after and number > options.die_after:
            store.save()
            os._exit(1)   # this line's effect stays, its result is never seen
        print(json.dumps({"line": number, **result}), flush=True)
    store.save()


if __name__ == "__main__":
    main()
