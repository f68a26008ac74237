#!/usr/bin/env python3
"""Is the source tree tidy? Run by ctest; `python3 tests/tidy.py [ROOT]`.

Checks what a compiler does not: that includes follow the layers
(crdt <- replica <- net <- src), that crdt/ and replica/ call nothing that
differs between two runs, that files and functions stay short, that no file is
dead, that no path of somebody's machine got in, and that the top level holds
what docs/ARCHITECTURE.md says it holds. Prints `file:line: what is wrong` and
exits with 1 if anything is. tests/house_test.py proves that each rule bites.
"""

import ast
import fnmatch
import os
import re
import subprocess
import sys

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70

TOP_LEVEL = {
    "CMakeLists.txt", "CMakePresets.json", "crdt", "replica", "net", "src",
    "tests", "fuzz", "docs", "README.md", "LICENSE", "dev", ".ci",
}
FOLDERS = ("crdt", "replica", "net", "src", "tests", "fuzz")

# Which of our folders each folder may include.
ARROWS = {
    "crdt": {"crdt"},
    "replica": {"crdt", "replica"},
    "net": {"crdt", "replica", "net"},
    "src": {"crdt", "replica", "net", "src"},
    "tests": set(FOLDERS),
    "fuzz": {"crdt", "replica", "net", "src", "tests", "fuzz"},
}
# Beyond ours, std and these, the two lower layers include nothing.
THIRD_PARTY = {
    "crdt": ("absl/",),
    "replica": ("absl/", "xxhash.h"),
}
ROCKSDB_FILES = re.compile(
    r"(replica/(rocks_storage|rocks_hooks|rocks_tables|data_directory)|"
    r"tests/sim/fault_(file_system|file_handles|disk)|"
    r"tests/replica/table_ingest)\.(h|cc)$")
# The pairs that are the disk itself (dovetail_replica_rocks): they may use
# the operating system's files and lock.
DISK_FILES = re.compile(
    r"replica/(rocks_storage|rocks_hooks|rocks_tables|data_directory)\.(h|cc)$")
DISK_HEADERS = {"fcntl.h", "unistd.h", "sys/file.h", "sys/stat.h"}
C_HEADERS = {"assert.h", "stddef.h", "stdint.h", "string.h", "limits.h"}

# What makes two runs differ, or waits. The key is how the finding names it.
BANNED = {
    "a clock": r"\babsl::(Now|GetCurrentTimeNanos)\b|\b\w+_clock\b(?=\s*::)|"
               r"(?<![\w.>:])(?:::|std::)?(time|clock|gettimeofday|"
               r"clock_gettime)\s*\(",
    "randomness": r"\brandom_device\b|\babsl::(\w*BitGen|Uniform|Bernoulli)\b|"
                  r"(?<![\w.>:])(?:::|std::)?(s?rand|random|getrandom|"
                  r"getentropy)\s*\(",
    "a thread or lock": r"\bstd::(jthread|thread|mutex|recursive_mutex|"
                        r"shared_mutex|timed_mutex|lock_guard|unique_lock|"
                        r"scoped_lock|condition_variable\w*|async)\b|"
                        r"\babsl::(Mutex\w*|CondVar|Notification)\b",
    "a sleep": r"\b(sleep_for|sleep_until|usleep|nanosleep|SleepFor)\b|"
               r"(?<![\w.>:])(?:::)?sleep\s*\(",
    "the environment": r"\b(secure_)?getenv\b",
    "a socket": r"(?<![\w.>:])(?:::)?(socket|connect|bind|listen|accept|"
                r"recv|sendto|poll|epoll_wait)\s*\(",
    "a hash that differs between runs": r"\babsl::(Hash|HashOf)\b|"
                                        r"\bstd::hash\b",
    "a container in hash order": r"\bstd::unordered_\w+",
}
# A loop over a hash table is fine where order cannot reach an output; the
# line then says so with this comment.
ANY_ORDER = "any order:"

# Split, so that this file does not find itself.
MACHINE_PATHS = ["/" + "work/", "/" + "root/", "." + "library", "/" + "home/"]


class Tree:
    """The files that belong to the repository, as paths relative to `root`."""

    def __init__(self, root):
        self.root = root
        self.files = sorted(self._list())
        self._texts = {}

    def _list(self):
        # What git ignores does not count; a tarball has no git.
        try:
            git = subprocess.run(
                ["git", "-C", self.root, "ls-files", "-z", "--cached",
                 "--others", "--exclude-standard"],
                capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return self._walk()
        return [n for n in git.stdout.decode().split("\0")
                if n and os.path.isfile(os.path.join(self.root, n))]

    def _walk(self):
        found = []
        for folder, subfolders, names in os.walk(self.root):
            subfolders[:] = [s for s in subfolders
                             if s not in ("build", ".git", ".cache",
                                          "__pycache__")]
            for name in set(names) - {".git"}:  # a file in a worktree
                path = os.path.join(folder, name)
                found.append(os.path.relpath(path, self.root))
        return found

    def text(self, path):
        if path not in self._texts:
            with open(os.path.join(self.root, path), "rb") as file:
                data = file.read()
            # Fuzz corpora are bytes, not text.
            binary = b"\0" in data
            self._texts[path] = "" if binary else data.decode("utf-8",
                                                              "replace")
        return self._texts[path]

    def matching(self, *suffixes):
        return [f for f in self.files if f.endswith(suffixes)]


def folder_of(path):
    return path.split("/", 1)[0] if "/" in path else ""


def blank(match):
    """The same number of lines and columns, with nothing in them."""
    return re.sub(r"[^\n]", " ", match.group(0))


CODE_NOISE = re.compile(
    r'R"(?P<tag>\w*)\(.*?\)(?P=tag)"'      # raw strings
    r'|"(?:\\.|[^"\\\n])*"'                # strings
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'"  # characters, not 1'000
    r"|//[^\n]*|/\*.*?\*/",                # comments
    re.DOTALL)


def code_only(text):
    """`text` with comments and literals blanked out."""
    return CODE_NOISE.sub(blank, text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


# --- Rules: each yields (path, line, what is wrong) -------------------------

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def check_includes(tree):
    for path in tree.matching(".h", ".cc"):
        folder = folder_of(path)
        if folder not in ARROWS:
            continue
        text = tree.text(path)
        for match in INCLUDE.finditer(text):
            target, line = match.group(2), line_of(text, match.start())
            if ".." in target.split("/"):
                yield path, line, f"includes {target}: root it at the repository"
            elif folder_of(target) in FOLDERS:
                if folder_of(target) not in ARROWS[folder]:
                    yield path, line, f"{folder}/ must not include {target}"
            else:
                yield from check_foreign_include(path, line, folder, target)


def check_foreign_include(path, line, folder, target):
    if target.startswith("rocksdb/"):
        allowed = bool(ROCKSDB_FILES.match(path))
    elif folder in THIRD_PARTY:
        standard = ("." not in target or target in C_HEADERS or
                    (target in DISK_HEADERS and bool(DISK_FILES.match(path))))
        allowed = standard or target.startswith(THIRD_PARTY[folder])
    else:
        allowed = True
    if not allowed:
        yield path, line, f"must not include <{target}> here"


def check_banned(tree):
    for path in tree.matching(".h", ".cc"):
        if folder_of(path) not in ("crdt", "replica"):
            continue
        code = code_only(tree.text(path))
        for name, pattern in BANNED.items():
            if name == "a thread or lock" and DISK_FILES.match(path):
                continue
            for match in re.finditer(pattern, code):
                found = match.group(0).strip(" (")
                yield path, line_of(code, match.start()), f"{name}: {found}"
        yield from check_hash_order(tree, path, code)


HASH_TABLE = re.compile(r"\b(?:flat|node)_hash_(?:map|set)\s*<")


def check_hash_order(tree, path, code):
    """Loops over hash tables declared in this file or in its header."""
    names = set()
    stem = path.rsplit(".", 1)[0]
    for part in (stem + ".h", stem + ".cc"):
        if part in tree.files:
            names |= hash_table_names(code_only(tree.text(part)))
    lines = tree.text(path).splitlines()
    for name in sorted(names):
        loop = (rf"for\s*\([^;()]*:\s*(?:\w+(?:\.|->))*{name}\s*\)"
                rf"|\b{name}\s*(?:\.|->)\s*begin\s*\(")
        for match in re.finditer(loop, code):
            line = line_of(code, match.start())
            if ANY_ORDER not in "\n".join(lines[max(0, line - 3):line]):
                yield (path, line, f"walks {name} in hash order; sort, or say "
                                   f"why it cannot matter: // {ANY_ORDER} ...")


def hash_table_names(code):
    names = set()
    for match in HASH_TABLE.finditer(code):
        depth, at = 1, match.end()
        while at < len(code) and depth > 0:
            depth += {"<": 1, ">": -1}.get(code[at], 0)
            at += 1
        name = re.match(r"\s*&?\s*(\w+)", code[at:])
        if name:
            names.add(name.group(1))
    return names


def check_lengths(tree):
    for path in tree.files:
        if not path.endswith((".h", ".cc", ".py", ".sh", ".capnp", "dev")):
            continue
        text = tree.text(path)
        count = text.count("\n")
        if count > FILE_LINES_MAX:
            yield path, count, f"{count} lines; at most {FILE_LINES_MAX}"
        functions = []
        if path.endswith((".h", ".cc")):
            functions = cpp_functions(text)
        elif path.endswith(".py"):
            functions = python_functions(text)
        for first, last in functions:
            if last - first + 1 > FUNCTION_LINES_MAX:
                yield (path, first, f"a function of {last - first + 1} lines; "
                                    f"at most {FUNCTION_LINES_MAX}")


# What a head starts with (after labels and template parameters) when its brace
# opens a scope in which functions may stand.
SCOPE = re.compile(r"\s*((public|private|protected)\s*:\s*|inline\s+|"
                   r"template\s*<[^{;]*?>\s*(?=[a-z]))*"
                   r"(namespace|class|struct|union|enum|extern)\b")


def cpp_functions(text):
    """Yields (first line, last line) of each outermost function body.

    By brace matching: a `{` opens a function if what stands before it, back to
    the last `;`, `{` or `}`, has a parameter list and is no class or namespace.
    """
    code = code_only(text)
    code = re.sub(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", blank, code, flags=re.M)
    head_start = 0
    stack = []   # per open brace: where its head starts, its line or 0
    inside = 0   # how many of them are functions
    for match in re.finditer(r"[{};]", code):
        char, at = match.group(0), match.start()
        if char == "{":
            head = code[head_start:at]
            opens = inside == 0 and ")" in head and not SCOPE.match(head)
            stack.append((head_start, line_of(code, at) if opens else 0))
            inside += opens
        elif char == "}" and stack:
            head, first = stack.pop()
            inside -= first > 0
            if re.match(r"\s*[,{]", code[at + 1:at + 200]):
                head_start = head  # it was a member's initializer: a_{1}, b_{2}
                continue
            if first:
                yield first, line_of(code, at)
        head_start = at + 1


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.end_lineno


def check_guards(tree):
    for path in tree.matching(".h"):
        guard = "DOVETAIL_" + re.sub(r"\W", "_", path).upper() + "_"
        if f"#ifndef {guard}\n#define {guard}\n" not in tree.text(path):
            yield path, 1, f"the include guard is not {guard}"


def check_dead(tree):
    cmake = {os.path.dirname(f): tree.text(f) for f in tree.files
             if os.path.basename(f) == "CMakeLists.txt"}
    included = set()
    for path in tree.matching(".h", ".cc"):
        included |= {m.group(2) for m in INCLUDE.finditer(tree.text(path))
                     if m.group(2) != path}
    scripts = "\n".join(
        [tree.text(f) for f in tree.files
         if f.endswith((".py", ".sh")) or f in ("dev", ".ci/run")]
        + list(cmake.values()))
    docs = "\n".join(tree.text(f) for f in tree.matching(".md"))
    for path in tree.files:
        name = os.path.basename(path)
        if path.endswith((".cc", ".capnp")):
            if not named_in_cmake(path, cmake):
                yield path, 1, "no CMakeLists.txt names it"
        elif path.endswith(".h") and path not in included:
            yield path, 1, "nothing includes it"
        elif path.endswith((".py", ".sh")):
            stem = name.rsplit(".", 1)[0]
            if not re.search(rf"\b{re.escape(name)}\b|import {stem}\b|"
                             rf"from {stem} import", scripts):
                yield path, 1, "nothing runs or imports it"
        elif path.startswith("docs/") and path.endswith(".md"):
            if name not in docs.replace(tree.text(path), ""):
                yield path, 1, "no other page links to it"


def named_in_cmake(path, cmake):
    """By its path from that CMakeLists.txt, or its stem if a loop adds .cc."""
    for folder, text in cmake.items():
        if folder and not path.startswith(folder + "/"):
            continue
        local = os.path.relpath(path, folder or ".")
        if re.search(rf"(?<![\w/]){re.escape(local)}(?!\w)", text):
            return True
        stem = local.rsplit(".", 1)[0]
        if "}.cc" in text and re.search(rf"(?<![\w/]){re.escape(stem)}(?!\w)",
                                        text):
            return True
    return False


# `crdt/set.cc`, `net/peer_link`, `net/*.h`: what a page names must be there.
MENTIONED = re.compile(r"`((?:%s|docs)/[\w./*-]*)`" % "|".join(FOLDERS))


def check_links(tree):
    files = set(tree.files)
    folders = {os.path.dirname(f) for f in tree.files}
    for path in tree.matching(".md"):
        text = tree.text(path)
        for match in re.finditer(r"\]\(([^)#\s]+)(#[^)]*)?\)", text):
            target = match.group(1)
            if "://" in target:
                continue
            full = os.path.normpath(os.path.join(os.path.dirname(path),
                                                 target))
            if full not in files and full not in folders:
                yield path, line_of(text, match.start()), f"no file {target}"
        for match in MENTIONED.finditer(text):
            named = match.group(1).rstrip("/")
            if not (named in folders or fnmatch.filter(files, named)
                    or fnmatch.filter(files, named + ".*")):
                yield path, line_of(text, match.start()), f"no file {named}"


def check_places(tree):
    for path in tree.files:
        top = path.split("/", 1)[0]
        if top not in TOP_LEVEL and not path.startswith("."):
            yield path, 1, f"the top level has no room for {top}"
        text = tree.text(path)
        for needle in MACHINE_PATHS:
            at = text.find(needle)
            if at >= 0:
                yield path, line_of(text, at), f"a path of one machine: {needle}"


RULES = (check_includes, check_banned, check_lengths, check_guards, check_dead,
         check_links, check_places)


def findings(root):
    tree = Tree(root)
    return sorted(found for rule in RULES for found in rule(tree))


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    root = sys.argv[1] if len(sys.argv) > 1 else here
    found = findings(root)
    for path, line, what in found:
        print(f"{path}:{line}: {what}")
    print(f"{len(Tree(root).files)} files, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
