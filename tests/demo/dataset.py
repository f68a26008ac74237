"""The demo's input: Debian's package database, and what is made of it.

Packages come from `apt-cache dumpavail`, or, where there are no package lists,
from /var/lib/dpkg/status. Three loaders write them:

  bucket      key          type     what
  packages    NAME         map      version:register, section:register,
                                    depends:set, loaded-by:set,
                                    installed-size:counter (KiB)
  sections    SECTION      counter  +1 for each time a package was loaded
  maintainers MAINTAINER   set      names of their packages
  dependents  NAME         set      names of the packages that depend on it

Package i belongs to loader i mod 3, but every tenth is loaded by all three, so
they write the same maps, sets and counters at the same time.
"""

import json
import re
import subprocess
from dataclasses import dataclass

DPKG_STATUS = "/var/lib/dpkg/status"
LOADERS = 3
OVERLAP_EVERY = 10
# Packages whose shared sets are written together: one `add` of many elements.
CHUNK_PACKAGES = 1000
# Well under the store's limit on elements in one operation.
ELEMENTS_PER_ADD = 500


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    section: str
    maintainer: str
    depends: tuple
    installed_size: int


@dataclass
class Op:
    """One line for `dovetail exec`.

    `counts` are the counter additions in it, which must not be written twice:
    ((bucket, key), amount). `again` is the part that may be written again, or
    None if there is no such part.
    """
    line: dict
    counts: tuple = ()
    again: dict = None
    # It loads a package, so it counts for how far the load has got.
    loads_package: bool = False
    attempts: int = 0

    def encoded(self):
        return json.dumps(self.line, separators=(",", ":"),
                          ensure_ascii=False) + "\n"


def raw_packages():
    """The database as text, and where it came from."""
    try:
        dump = subprocess.run(["apt-cache", "dumpavail"], check=True,
                              capture_output=True).stdout
        if b"\nPackage: " in b"\n" + dump:
            return dump.decode("utf-8", "replace"), "apt-cache dumpavail"
    except (OSError, subprocess.CalledProcessError):
        pass
    with open(DPKG_STATUS, encoding="utf-8", errors="replace") as file:
        return file.read(), DPKG_STATUS


def parse_packages(raw, limit=None):
    """The first `limit` packages of `raw`; of a name listed twice the first."""
    packages = {}
    for record in raw.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", record, re.M))
        name = fields.get("Package")
        if not name or name in packages:
            continue
        if limit is not None and len(packages) >= limit:
            break
        depends = ",".join((fields.get("Pre-Depends", ""),
                            fields.get("Depends", "")))
        names = {re.match(r"\s*([^\s(:]*)", part).group(1)
                 for part in re.split("[,|]", depends)}
        size = fields.get("Installed-Size", "")
        packages[name] = Package(
            name, fields.get("Version", "") or "none",
            fields.get("Section", "") or "none",
            fields.get("Maintainer", "") or "none",
            tuple(sorted(names - {""})), int(size) if size.isdigit() else 0)
    return list(packages.values())


def loaders_of(index):
    """Which loaders write package `index`."""
    return range(LOADERS) if index % OVERLAP_EVERY == 0 else (index % LOADERS,)


def map_field(package, name, field_type, verb, **arguments):
    """One operation on a field of the package's map."""
    return {"type": "map", "verb": verb, "bucket": "packages",
            "key": package.name, "path": [f"{name}:{field_type}"], **arguments}


def package_op(package, loader):
    """One atomic batch that writes the package's map."""
    fields = [
        map_field(package, "version", "register", "write",
                  value=package.version),
        map_field(package, "section", "register", "write",
                  value=package.section),
        map_field(package, "loaded-by", "set", "add",
                  elements=[f"loader-{loader}"]),
    ]
    for part in slices(package.depends):
        fields.append(map_field(package, "depends", "set", "add",
                                elements=list(part)))
    # An add of 0 changes nothing and is refused.
    again = {"batch": fields}
    if package.installed_size == 0:
        return Op(again, again=again, loads_package=True)
    size = map_field(package, "installed-size", "counter", "add",
                     amount=package.installed_size)
    return Op({"batch": fields + [size]},
              counts=((("packages", package.name), package.installed_size),),
              again=again, loads_package=True)


def section_op(package):
    return Op({"type": "counter", "verb": "add", "bucket": "sections",
               "key": package.section, "amount": 1},
              counts=((("sections", package.section), 1),))


def slices(items):
    return [items[i:i + ELEMENTS_PER_ADD]
            for i in range(0, len(items), ELEMENTS_PER_ADD)]


def set_ops(bucket, members):
    """Adds for `members`: {key: [element, ...]}."""
    for key, elements in members.items():
        for part in slices(elements):
            line = {"type": "set", "verb": "add", "bucket": bucket,
                    "key": key, "elements": part}
            yield Op(line, again=line)


def share_of(packages, loader):
    return [p for i, p in enumerate(packages) if loader in loaders_of(i)]


def operations(packages, loader):
    """What `loader` writes, in order."""
    mine = share_of(packages, loader)
    for start in range(0, len(mine), CHUNK_PACKAGES):
        maintainers, dependents = {}, {}
        for package in mine[start:start + CHUNK_PACKAGES]:
            yield package_op(package, loader)
            yield section_op(package)
            maintainers.setdefault(package.maintainer, []).append(package.name)
            for name in package.depends:
                dependents.setdefault(name, []).append(package.name)
        yield from set_ops("maintainers", maintainers)
        yield from set_ops("dependents", dependents)
