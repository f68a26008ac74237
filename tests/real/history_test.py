#!/usr/bin/env python3
"""Tests of the judge: history.py finds what is wrong and nothing else."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import history  # noqa: E402
import history_model  # noqa: E402
from history_cases import BAD, LEGAL, do, records  # noqa: E402

RUNS = int(os.environ.get("DOVETAIL_PROPERTY_RUNS", "1"))
SEED = int(os.environ.get("DOVETAIL_SEED", "0"))


class HandMade(unittest.TestCase):
    def test_there_are_enough(self):
        self.assertGreaterEqual(len(BAD), 30)
        self.assertGreaterEqual(len(LEGAL), 30)
        for cases in ([case[1:3] for case in BAD], [c[:2] for c in LEGAL]):
            self.assertEqual(len(cases), len(set(cases)))

    def test_bad_ones_are_rejected_for_their_reason_alone(self):
        for rule, sentence, kind, finals, operations in BAD:
            with self.subTest(kind=kind, sentence=sentence):
                found = history.check(records(kind, finals, operations))
                self.assertEqual({f.rule for f in found}, {rule}, found)

    def test_odd_ones_are_accepted(self):
        for sentence, kind, finals, operations in LEGAL:
            with self.subTest(kind=kind, sentence=sentence):
                found = history.check(records(kind, finals, operations))
                self.assertEqual(found, [])

    def test_every_rule_has_a_bad_history(self):
        with open(history.__file__, encoding="utf-8") as file:
            source = file.read()
        for rule in ("unread", "differ", "twice", "failed", "phantom",
                     "missed", "went-back", "lost", "resurrected", "bounds",
                     "sum", "superseded", "malformed"):
            self.assertIn(f'"{rule}"', source)
            self.assertIn(rule, {case[0] for case in BAD})


class Records(unittest.TestCase):
    """Whoever writes a history wrongly hears of it."""

    good = records("set", ["x"], [do("add", "x", (1, 2)),
                                  do("read", ["x"], (3, 4))])

    def rejected(self, changed, why):
        found = history.check(changed)
        self.assertEqual([f.rule for f in found], ["malformed"], found)
        self.assertIn(why, found[0].text)

    def test_the_good_one_is(self):
        self.assertEqual(history.check(self.good), [])

    def test_without_its_head(self):
        self.rejected([], "must be meta")
        self.rejected(self.good[1:], "must be meta")

    def test_an_outcome_without_an_operation(self):
        self.rejected(self.good[:2] + self.good[3:3] + [self.good[2]] * 2,
                      "has nothing under way")

    def test_two_operations_of_one_proc_at_once(self):
        self.rejected(self.good[:2] + [self.good[1]],
                      "has an operation under way")

    def test_time_that_goes_back(self):
        self.rejected(self.good[:2] + [{**self.good[2], "t": 0.5}],
                      "goes back")

    def test_an_operation_that_is_none(self):
        self.rejected([self.good[0], {**self.good[1], "f": "explode"}],
                      "no such operation")
        self.rejected([self.good[0], {**self.good[1], "type": "maybe"}],
                      "type 'maybe'")
        self.rejected([self.good[0], {**self.good[1], "node": "z"}],
                      "node 'z'")

    def test_a_second_final_read(self):
        self.rejected(self.good + [self.good[-1]], "a second final read")


class Generated(unittest.TestCase):
    def test_what_a_correct_store_does_is_accepted(self):
        for seed in range(SEED, SEED + 250 * RUNS):
            found = history.check(history_model.Model(seed).records)
            self.assertEqual(
                found, [], f"replay: DOVETAIL_SEED={seed} python3 "
                           f"tests/real/history_test.py Generated")

    def test_what_a_wrong_store_does_is_found(self):
        for fault in history_model.FAULTS:
            caught = sum(
                bool(history.check(history_model.Model(seed, fault).records))
                for seed in range(SEED, SEED + 40))
            # Not every history of the model shows its fault.
            self.assertGreaterEqual(caught, 15, fault)


if __name__ == "__main__":
    unittest.main()
