"""Tests of the demo's own driver: it must not pass when something is wrong."""

import copy
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from types import SimpleNamespace

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import dataset  # noqa: E402
import fake_store  # noqa: E402
import verify  # noqa: E402
from loaders import Ledger, Loader  # noqa: E402

FAKE_EXEC = [sys.executable, "-IS", fake_store.__file__]

RAW = "\n".join(
    f"Package: p{i}\nVersion: 1.{i}\nSection: s{i % 4}\n"
    f"Maintainer: M{i % 3} <m@x.org>\nInstalled-Size: {10 * i}\n"
    f"Depends: base (>= 1), p{i + 1} | p{i + 2} [amd64], base:any\n"
    f"Description: text\n Depends: not a field\n" for i in range(60))


class FakeCluster:
    """Three fake nodes with equal contents, to be damaged."""

    def __init__(self, directory, state):
        self.nodes = [SimpleNamespace(name=name) for name in "abc"]
        self._directory = directory
        self._digests = {}
        for node in self.nodes:
            shutil.copy(state, self._state(node))
            self._digests[node.name] = [
                {"partition": p, "rows": f"r{p}", "row_entries": p,
                 "context": f"c{p}", "events": 9} for p in range(4)]

    def _state(self, node):
        return os.path.join(self._directory, f"{node.name}.json")

    def damage(self, node, change):
        store = fake_store.Store(self._state(node))
        change(store.objects)
        store.save()

    def damage_digest(self, node, partition, part):
        self._digests[node.name][partition][part] = "other"

    def exec_at(self, node, *arguments):
        return FAKE_EXEC + [self._state(node), *arguments]

    def owners(self):
        return {p: ["a", "b", "c"] for p in range(4)}

    def digest(self, node):
        return {"partitions": self._digests[node.name]}

    def run(self, arguments, node):
        keys = [name.split("\0") for name in
                fake_store.Store(self._state(node)).objects]
        return SimpleNamespace(stdout="".join(
            f'{{"key": "{key}"}}\n' for bucket, key, _ in keys
            if bucket == arguments[1]))


def load(directory, *faults):
    """Runs the three loaders one after the other against one fake store."""
    state = os.path.join(directory, "state.json")
    packages = dataset.parse_packages(RAW)
    ledger = Ledger()
    unsure = 0
    for number in range(dataset.LOADERS):
        loader = Loader(f"loader-{number}",
                        FAKE_EXEC + [state, "--seed", str(number), *faults],
                        dataset.operations(packages, number),
                        subprocess.DEVNULL)
        loader.start()
        loader.join()
        if loader.error is not None:
            raise loader.error
        ledger.merge(loader.ledger)
        unsure += loader.unsure
    return state, packages, ledger, unsure


class DatasetTest(unittest.TestCase):
    def test_fields_and_dependencies_are_read(self):
        packages = dataset.parse_packages(RAW)
        self.assertEqual(60, len(packages))
        self.assertEqual(
            dataset.Package("p4", "1.4", "s0", "M1 <m@x.org>",
                            ("base", "p5", "p6"), 40), packages[4])
        self.assertEqual(7, len(dataset.parse_packages(RAW, 7)))

    def test_shares_interleave_and_every_tenth_overlaps(self):
        shares = [[p.name for p in dataset.share_of(
            dataset.parse_packages(RAW), n)] for n in range(3)]
        self.assertEqual(60 + 2 * 6, sum(map(len, shares)))
        self.assertEqual({f"p{i}" for i in range(0, 60, 10)},
                         set(shares[0]) & set(shares[1]) & set(shares[2]))


class LoaderTest(unittest.TestCase):
    def check(self, *faults):
        with tempfile.TemporaryDirectory() as directory:
            state, packages, ledger, unsure = load(directory, *faults)
            cluster = FakeCluster(directory, state)
            expected = verify.expected_state(packages, ledger.acknowledged)
            samples = {node.name: list(expected.maps)
                       for node in cluster.nodes}
            differences, seen = verify.check(cluster, expected, samples)
            self.assertEqual([], differences)
            self.assertEqual(60, seen[("dependents", "base")])
            for (bucket, key), amount in ledger.attempted.items():
                if bucket == "sections":
                    self.assertEqual(expected.counters[bucket, key][1], amount)
            return unsure

    def test_a_healthy_store_gets_everything_once(self):
        self.assertEqual(0, self.check())

    def test_refusals_are_fed_again_and_change_nothing(self):
        self.assertEqual(0, self.check("--refuse", "0.2"))

    def test_uncertain_failures_widen_counters_and_lose_nothing(self):
        self.assertGreater(self.check("--refuse", "0.1", "--maybe", "0.1"), 0)

    def test_a_dying_exec_is_started_again(self):
        self.assertGreater(self.check("--die-after", "25"), 0)


class VerifyTest(unittest.TestCase):
    """Each planted fault is found, at the node where it is, and nothing else
    is reported."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp()
        cls.state, packages, ledger, _ = load(cls.directory)
        cls.expected = verify.expected_state(packages, ledger.acknowledged)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.directory)

    def found(self, *changes, expected=None):
        cluster = FakeCluster(self.directory, self.state)
        for change in changes:
            cluster.damage(cluster.nodes[1], change)
        expected = expected or self.expected
        differences, _ = verify.check(
            cluster, expected,
            {node.name: list(expected.maps) for node in cluster.nodes})
        return differences

    def assert_one(self, found, *parts):
        self.assertEqual(1, len(found), found)
        for part in ("node b",) + parts:
            self.assertIn(part, found[0])

    def test_a_missing_set_element(self):
        self.assert_one(self.found(
            lambda o: o["dependents\0base\0set"].remove("p7")),
            "dependents/base", "lacks p7")

    def test_an_extra_set_element(self):
        self.assert_one(self.found(
            lambda o: o["maintainers\0M1 <m@x.org>\0set"].insert(2, "p2")),
            "maintainers/M1", "must not hold p2")

    def test_a_counter_outside_its_interval(self):
        def lose(objects):
            objects["sections\0s1\0counter"] -= 1

        def double(objects):
            objects["sections\0s1\0counter"] += 1
        self.assert_one(self.found(lose), "sections/s1", "must be")
        self.assert_one(self.found(double), "sections/s1", "must be")
        wide = copy.deepcopy(self.expected)
        low, high = wide.counters["sections", "s1"]
        wide.counters["sections", "s1"] = (low - 1, high)
        self.assertEqual([], self.found(lose, expected=wide))
        self.assert_one(self.found(double, expected=wide), "sections/s1")

    def test_a_wrong_register_counter_set_or_field_in_a_map(self):
        name = "packages\0p5\0map"
        for change in (
                lambda o: o[name].update({"version:register": "0"}),
                lambda o: o[name].update({"installed-size:counter": 49}),
                lambda o: o[name].update({"depends:set": ["base"]}),
                lambda o: o[name].update({"stray:set": ["x"]}),
                lambda o: o[name].pop("section:register")):
            self.assert_one(self.found(change), "packages/p5")

    def test_a_missing_and_an_extra_object(self):
        self.assertIn("node b, keys of packages: lacks p5",
                      self.found(lambda o: o.pop("packages\0p5\0map")))
        self.assert_one(self.found(lambda o: o.update(
            {"dependents\0ghost\0set": ["x"]})), "must not hold ghost")

    def test_a_node_that_owns_nothing_has_handed_over_what_it_held(self):
        cluster = FakeCluster(self.directory, self.state)
        found = list(verify.digest_differences(
            verify.digests(cluster),
            {**cluster.owners(), 2: ["a", "c"]}))
        self.assertEqual(["partition 2: node b still holds some"], found)

    def test_digests_that_differ_in_any_part(self):
        for part in verify.DIGEST_PARTS:
            cluster = FakeCluster(self.directory, self.state)
            cluster.damage_digest(cluster.nodes[2], 3, part)
            self.assertEqual(
                [f"partition 3: nodes a and c differ in {part}"],
                list(verify.digest_differences(
                    verify.digests(cluster), cluster.owners())))


if __name__ == "__main__":
    unittest.main()
