"""Does the cluster hold exactly what the raw file says it must?

What must be there is computed here from the packages, in plain Python, without
the store's code. Every check returns its differences as sentences; no
difference is the only way to pass.
"""

import concurrent.futures
import json
import subprocess
import tempfile
from dataclasses import dataclass, field

import dataset

BUCKETS = ("packages", "sections", "maintainers", "dependents")
# What two replicas must have in common, of each partition's digest. Log and
# cache are each node's own business.
DIGEST_PARTS = ("rows", "row_entries", "context", "events")
SHOWN_MAX = 20


@dataclass
class Expected:
    """All objects, as {(bucket, key): contents}; contents of packages are
    {field: contents}. Counters are (lowest, highest)."""
    sets: dict = field(default_factory=dict)
    counters: dict = field(default_factory=dict)
    maps: dict = field(default_factory=dict)

    def keys(self, bucket):
        both = list(self.sets) + list(self.counters) + list(self.maps)
        return {key for in_bucket, key in both if in_bucket == bucket}

    def optional(self, bucket):
        """Counters of which no addition was acknowledged."""
        return {key for (in_bucket, key), (low, _) in self.counters.items()
                if in_bucket == bucket and low == 0}

    def objects(self):
        return len(self.sets) + len(self.counters) + len(self.maps)


def expected_state(packages, acknowledged):
    """`acknowledged`: what each counter was surely given, by the loaders.

    A counter lies between that and what it was to be given in all; the two are
    the same unless a call was cut off.
    """
    expected = Expected()
    totals = {}
    for index, package in enumerate(packages):
        loads = len(dataset.loaders_of(index))
        section = ("sections", package.section)
        totals[section] = totals.get(section, 0) + loads
        expected.sets.setdefault(("maintainers", package.maintainer),
                                 set()).add(package.name)
        for name in package.depends:
            expected.sets.setdefault(("dependents", name),
                                     set()).add(package.name)
        key = ("packages", package.name)
        contents = {
            "version:register": package.version,
            "section:register": package.section,
            "loaded-by:set": {f"loader-{loader}"
                              for loader in dataset.loaders_of(index)},
        }
        if package.depends:
            contents["depends:set"] = set(package.depends)
        if package.installed_size:
            total = package.installed_size * loads
            contents["installed-size:counter"] = (acknowledged.get(key, 0),
                                                  total)
        expected.maps[key] = contents
    for key, total in totals.items():
        expected.counters[key] = (acknowledged.get(key, 0), total)
    return expected


# --- Comparing: pure functions ----------------------------------------------


def some(items):
    items = sorted(items)
    rest = f" and {len(items) - 5} more" if len(items) > 5 else ""
    return ", ".join(map(str, items[:5])) + rest


def set_differences(where, expected, actual):
    found = set(actual)
    if len(found) != len(actual):
        yield f"{where}: an element is listed twice"
    if expected - found:
        yield f"{where}: lacks {some(expected - found)}"
    if found - expected:
        yield f"{where}: must not hold {some(found - expected)}"


def value_differences(where, expected, actual):
    """`expected`: a set, an interval (low, high), a register's string, or a
    map's {field: one of these}."""
    if isinstance(expected, set):
        yield from set_differences(where, expected, actual or [])
    elif isinstance(expected, tuple):
        low, high = expected
        if actual is None or not low <= actual <= high:
            must = low if low == high else f"{low} to {high}"
            yield f"{where}: is {actual}, must be {must}"
    elif isinstance(expected, dict):
        actual = actual or {}
        optional = {name for name, value in expected.items()
                    if isinstance(value, tuple) and value[0] == 0}
        yield from set_differences(f"{where}, fields",
                                   set(expected) - (optional - set(actual)),
                                   list(actual))
        for name in set(expected) & set(actual):
            yield from value_differences(f"{where}/{name}", expected[name],
                                         actual[name])
    elif actual != expected:
        yield f"{where}: is {actual!r}, must be {expected!r}"


def digest_differences(digests, owners):
    """`digests`: {node name: its digests by partition}; `owners`: {partition:
    names of its owners}. Who owns nothing of a partition must have handed over
    what it held for others."""
    for partition, names in sorted(owners.items()):
        first = digests[names[0]].get(partition)
        for name, its in sorted(digests.items()):
            parts = its.get(partition)
            if first is None or parts is None:
                yield f"partition {partition}: node {name} does not know it"
            elif name not in names:
                if parts["events"] != 0:
                    yield f"partition {partition}: node {name} still holds some"
            else:
                for part in DIGEST_PARTS:
                    if parts[part] != first[part]:
                        yield (f"partition {partition}: nodes {names[0]} and "
                               f"{name} differ in {part}")


# --- Reading ----------------------------------------------------------------


def digests(cluster):
    return {node.name: {p["partition"]: p
                        for p in cluster.digest(node)["partitions"]}
            for node in cluster.nodes}


def execute(command, lines):
    """Runs all `lines` through one `dovetail exec`; yields the results."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line) + "\n")
        file.seek(0)
        with subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE,
                              text=True, encoding="utf-8") as process:
            for result in process.stdout:
                yield json.loads(result)


def read_line(bucket, key, object_type, after=None):
    line = {"type": object_type, "verb": "read", "bucket": bucket, "key": key}
    return line if after is None else {**line, "after": after}


def read_objects(cluster, node, wanted, object_type):
    """Yields ((bucket, key), value) for each of `wanted`, as `node` has it."""
    # R = 1: what one replica holds by itself, whatever the others say; this
    # node's own copy where it has one.
    command = cluster.exec_at(node, "--r", "1")
    parts = {}
    pages = [(target, None) for target in wanted]
    while pages:
        lines = [read_line(*target, object_type, after)
                 for target, after in pages]
        more, answered = [], 0
        for (target, _), result in zip(pages, execute(command, lines)):
            answered += 1
            if not result.get("ok"):
                raise RuntimeError(f"reading {target} at {node.name}: {result}")
            value = result.get("value")
            if target in parts:
                value = parts.pop(target) + value
            if result.get("more"):
                parts[target] = value
                more.append((target, value[-1]))
            else:
                yield target, value
        if answered != len(pages):
            raise RuntimeError(f"node {node.name} gave {answered} answers to "
                               f"{len(pages)} reads")
        pages = more


def keys_of(cluster, node, bucket):
    output = cluster.run(["keys", bucket, "--r", "1", "--json"], node).stdout
    return [json.loads(line)["key"] for line in output.splitlines()]


# --- The whole check --------------------------------------------------------


def node_differences(cluster, node, expected, sample, seen):
    """Everything that is wrong at `node`; of the maps only `sample`. `seen`
    gets the counters and the sizes of the sets that were read."""
    found = []
    where = f"node {node.name}"
    for bucket in BUCKETS:
        listed = keys_of(cluster, node, bucket)
        must = expected.keys(bucket) - (expected.optional(bucket)
                                        - set(listed))
        found += set_differences(f"{where}, keys of {bucket}", must, listed)
    wanted = (("set", expected.sets), ("counter", expected.counters),
              ("map", {key: expected.maps[key] for key in sample}))
    for object_type, objects in wanted:
        for key, value in read_objects(cluster, node, objects, object_type):
            found += value_differences(f"{where}: {'/'.join(key)}",
                                       objects[key], value)
            if object_type != "map":
                seen[key] = value if object_type == "counter" else len(value)
    return found


def check(cluster, expected, samples):
    """(all differences, what was seen). `samples`: {node name: keys of maps to
    compare}."""
    found = list(digest_differences(digests(cluster), cluster.owners()))
    seen = {}
    with concurrent.futures.ThreadPoolExecutor(len(cluster.nodes)) as pool:
        for differences in pool.map(
                lambda node: node_differences(cluster, node, expected,
                                              samples[node.name], seen),
                cluster.nodes):
            found += differences
    return found, seen


def report(differences):
    for line in differences[:SHOWN_MAX]:
        print(f"  DIFFERENCE {line}")
    if len(differences) > SHOWN_MAX:
        print(f"  ... and {len(differences) - SHOWN_MAX} more")
