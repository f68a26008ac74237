"""Tests of the house's own tools: each tidiness rule finds a planted fault and
leaves good code alone; the tally counts what ctest reports."""

import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tally  # noqa: E402
import tidy  # noqa: E402


def guarded(path, body):
    guard = "DOVETAIL_" + path.replace("/", "_").replace(".", "_").upper() + "_"
    return f"#ifndef {guard}\n#define {guard}\n{body}\n#endif\n"


class TidyTest(unittest.TestCase):
    def findings(self, files):
        """What tidy says of a tree of these files, as "path: what"."""
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                full = os.path.join(root, path)
                os.makedirs(os.path.dirname(full), exist_ok=True)
                with open(full, "w", encoding="utf-8") as file:
                    file.write(text)
            return [f"{path}: {what}"
                    for path, _, what in tidy.findings(root)]

    def of_code(self, path, code):
        """Findings in one .cc file that is otherwise in order."""
        cmake = f"add_library(x {os.path.basename(path)})\n"
        folder = os.path.dirname(path)
        return self.findings({path: code, f"{folder}/CMakeLists.txt": cmake})

    def assert_found(self, found, part):
        self.assertTrue(any(part in f for f in found), (part, found))

    def test_a_tidy_tree_has_no_findings(self):
        self.assertEqual([], self.findings({
            "crdt/CMakeLists.txt": "add_library(c\n  dot.cc\n)",
            "crdt/dot.h": guarded("crdt/dot.h", "#include <map>"),
            "crdt/dot.cc": '#include "crdt/dot.h"\n#include <cstdint>\n'
                           "// absl::Now() in a comment, \"rand()\" here\n"
                           'int F() { return G("time(0)", 1\'000, x.time(2)); }',
            "README.md": "[layout](crdt/dot.h) and [a site](http://x.org)",
        }))

    def test_an_include_against_the_arrows_is_found(self):
        for path, target in (("crdt/a.cc", "replica/b.h"),
                             ("replica/a.cc", "net/b.h"),
                             ("net/a.cc", "src/client/b.h"),
                             ("src/a.cc", "tests/b.h"),
                             ("crdt/a.cc", "fuzz/b.h")):
            found = self.of_code(path, f'#include "{target}"\n')
            self.assert_found(found, f"must not include {target}")

    def test_a_foreign_include_in_a_lower_layer_is_found(self):
        for path, target in (("crdt/a.cc", "rocksdb/db.h"),
                             ("crdt/a.cc", "xxhash.h"),
                             ("crdt/a.cc", "sys/socket.h"),
                             ("replica/a.cc", "rocksdb/db.h"),
                             ("replica/a.cc", "boost/asio.hpp"),
                             ("src/a.cc", "rocksdb/db.h")):
            found = self.of_code(path, f"#include <{target}>\n")
            self.assert_found(found, f"must not include <{target}>")
        self.assertEqual([], self.of_code("replica/rocks_storage.cc",
                                          "#include <rocksdb/db.h>\n"))

    def test_every_banned_call_is_found(self):
        for call in ("absl::Now()", "std::chrono::steady_clock::now()",
                     "time(nullptr)", "std::time(nullptr)", "rand()",
                     "std::random_device d;", "absl::BitGen gen;",
                     "std::thread t;", "std::mutex m;", "absl::Mutex m;",
                     "std::this_thread::sleep_for(x)", "absl::SleepFor(x)",
                     "std::getenv(x)", "socket(1, 2, 3)", "absl::Hash<int> h;",
                     "std::unordered_map<int, int> m;"):
            for folder in ("crdt", "replica"):
                found = self.of_code(f"{folder}/a.cc",
                                     f"void F() {{\n  {call};\n}}\n")
                self.assertEqual(1, len(found), (call, found))
            self.assertEqual([], self.of_code("src/a.cc", f"  {call};\n"))

    def test_a_loop_in_hash_order_is_found_unless_explained(self):
        table = "absl::flat_hash_map<int, std::vector<int>> rows_;\n"
        for loop in ("for (auto& [k, v] : rows_) {}", "auto i = rows_.begin();",
                     "for (auto& x : state->rows_) {}"):
            self.assert_found(self.of_code("replica/a.cc", table + loop),
                              "walks rows_ in hash order")
            self.assertEqual([], self.of_code(
                "replica/a.cc", f"{table}// any order: a sum\n{loop}"))
        self.assert_found(self.findings({
            "replica/CMakeLists.txt": "add_library(r a.cc)",
            "replica/a.h": guarded("replica/a.h", table),
            "replica/a.cc": '#include "replica/a.h"\n'
                            "void F() { for (auto& x : rows_) {} }",
        }), "walks rows_ in hash order")

    def test_long_files_and_functions_are_found(self):
        self.assert_found(self.of_code("src/a.cc", "int x;\n" * 601),
                          "601 lines")
        body = "  x();\n" * 69
        for head in ("void F() {", "void C::F(int a) const {",
                     'TEST_CASE("sentence") {', "auto F() -> int {",
                     "C::C(int a) : a_(a), b_{1} {",
                     "template <class T>\nvoid F(struct S* s) {"):
            self.assert_found(self.of_code("src/a.cc", f"{head}\n{body}}}\n"),
                              "a function of 71 lines")
        # In a class in a namespace; and short functions in a long class.
        self.assert_found(
            self.of_code("src/a.cc", "namespace n {\nclass C {\n void F() {\n"
                         + body + " }\n};\n}\n"), "a function of 71 lines")
        self.assertEqual([], self.of_code(
            "src/a.cc", "class C final : public D<int(int)> {\n"
            + "  void F() { if (x) { y(); } }\n" * 80 + "};\n"))
        self.assert_found(self.findings(
            {"tests/a.py": "def f():\n" + "    x()\n" * 70,
             "tests/b.py": "import a\nimport b\n"}), "a function of 71 lines")

    def test_dead_files_are_found(self):
        found = self.findings({
            "crdt/CMakeLists.txt": "add_library(c bold.cc)",
            "crdt/old.cc": "", "crdt/bold.cc": "",
            "crdt/old.h": guarded("crdt/old.h", ""),
            "tests/old.py": "", "docs/old.md": "docs/old.md",
        })
        self.assert_found(found, "crdt/old.cc: no CMakeLists.txt names it")
        self.assert_found(found, "crdt/old.h: nothing includes it")
        self.assert_found(found, "tests/old.py: nothing runs or imports it")
        self.assert_found(found, "docs/old.md: no other page links to it")
        self.assertEqual(4, len(found))
        self.assertEqual([], self.findings({
            "fuzz/CMakeLists.txt": "foreach(n decode)\n add(${n}.cc)",
            "fuzz/decode.cc": ""}))

    def test_a_wrong_guard_a_dead_link_and_a_stray_file_are_found(self):
        found = self.findings({
            "crdt/a.h": "#ifndef A_H\n#define A_H\n#endif\n",
            "README.md": "[x](docs/none.md), `crdt/a.h`, `crdt/a`, `crdt/*.h`,"
                         " `crdt/`, `crdt/gone.h`", "scripts/x": "", ".hidden": "",
            "src/a.txt": "see " + tidy.MACHINE_PATHS[0] + "x"})
        self.assert_found(found, "guard is not DOVETAIL_CRDT_A_H_")
        self.assert_found(found, "no file docs/none.md")
        self.assert_found(found, "no file crdt/gone.h")
        self.assertEqual(2, sum("no file" in f for f in found))
        self.assert_found(found, "the top level has no room for scripts")
        self.assert_found(found, "a path of one machine")


CASE = '<testcase name="{}" status="{}">{}</testcase>'


class TallyTest(unittest.TestCase):
    def verdict(self, *cases):
        return tally.verdict(*tally.tally(
            "<testsuite>" + "".join(CASE.format(*c) for c in cases)
            + "</testsuite>"))

    def test_each_outcome_is_counted_as_what_it_is(self):
        self.assertEqual("2 passed, 0 failed", self.verdict(
            ("a", "run", ""), ("b", "run", "")))
        self.assertEqual("1 passed, 2 failed, 1 skipped", self.verdict(
            ("a", "run", ""), ("b", "fail", '<failure message=""/>'),
            ("c", "notrun", '<skipped message="SKIP_RETURN_CODE=77"/>'),
            ("d", "notrun", '<skipped message="Unable to find executable"/>')))


if __name__ == "__main__":
    unittest.main()
