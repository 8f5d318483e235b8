"""From the bytes of a look at a node's boot to facts. Pure: the far-side script is `look_boot.sh` beside this file."""

from __future__ import annotations

import re
from importlib import resources

from orchestrator.probes.sections import Sections
from states.boot import BackingSeen, BootFacts, FstabLine, Link, Unit

SCRIPT = resources.files(__package__).joinpath("look_boot.sh").read_text()
Properties = dict[str, list[str]]


def read_boot(node: str, text: str) -> BootFacts:
    """What a boot of that node starts; `read` is False for a look that was cut off or lacks a part."""
    sections = Sections.cut(text)
    init = (sections.get("init") or "").split()
    units = sections.get("units") or ""
    if not sections.whole or not init or (init[0] == "systemd" and "default.target" not in units):
        return BootFacts(node, read=False)
    disks = [_backing(name.removeprefix("lvm "), text) for name, text in sections.found.items() if name.startswith("lvm ")]
    return BootFacts(
        node, read=True, init=init[0], chkconfig="chkconfig" in init, units=_started(units), links=_links(sections.get("links") or ""),
        fstab=_fstab(sections.get("fstab") or ""), scripts=tuple((sections.get("scripts") or "").splitlines()),
        backing=tuple(one for one in disks if isinstance(one, BackingSeen)), unread=tuple(one for one in disks if isinstance(one, tuple)),
    )


# -- systemd -----------------------------------------------------------------------------------------------------------

def _started(text: str) -> tuple[Unit, ...]:
    """Every unit that the default target pulls in, by whatever chain."""
    loaded = _units(text)
    first = next((name for name, unit in loaded.items() if "default.target" in unit.get("Names", ())), None)
    pulled: dict[str, str] = {} if first is None else {first: ""}
    todo = list(pulled)
    while todo:
        name = todo.pop()
        for wanted in (one for key in ("Wants", "Requires") for one in loaded.get(name, {}).get(key, ())):
            if wanted in loaded and wanted not in pulled:
                pulled[wanted] = name
                todo.append(wanted)
    started = {name: set(loaded[name].get("After", ())) & pulled.keys() for name in pulled}  # a unit that does not start orders nothing
    return tuple(Unit(name, by, _before(name, started)) for name, by in sorted(pulled.items()))


def _units(text: str) -> dict[str, Properties]:
    """`systemctl show`: blocks of KEY=WORDS between empty lines; each by its Id."""
    found: dict[str, Properties] = {}
    for block in re.split(r"\n\n+", text):
        unit = {key: value.split() for key, _, value in (line.partition("=") for line in block.splitlines())}
        for name in unit.get("Id", ()):
            found[name] = unit
    return found


def _before(name: str, after: dict[str, set[str]]) -> frozenset[str]:
    """Everything that is started before a unit, directly or not."""
    found: set[str] = set()
    todo = [name]
    while todo:
        for one in after[todo.pop()]:
            if one not in found:
                found.add(one)
                todo.append(one)
    return frozenset(found)


# -- System V, and what is the same for both ---------------------------------------------------------------------------

def _links(text: str) -> tuple[Link, ...]:
    found = re.findall(r"^rc([S0-6])\.d/([SK])(\d\d)(\S+)$", text, re.MULTILINE)
    return tuple(Link(level, kind == "S", int(number), service) for level, kind, number, service in found)


def _fstab(text: str) -> tuple[FstabLine, ...]:
    found = re.findall(r"^(\S+) (\S+) (\S+) (\S+)$", text, re.MULTILINE)
    return tuple(FstabLine(what, where, kind, tuple(options.split(","))) for what, where, kind, options in found)


HIDDEN = re.compile(r"rejected by filter|Failed to find|Failed to read physical volume|^no LVM$", re.MULTILINE)
"""What LVM says of a disk that a filter hides, or that has no label: 2.03, and 2.02 of RHEL 6."""


def _backing(resource: str, text: str) -> BackingSeen | tuple[str, str] | None:
    """The row that `pvs DISK` has; None if LVM does not see it; or the resource and why that is not known."""
    head = re.search(r"^disk (\S+)$", text, re.MULTILINE)
    row = re.search(r"^\s*(\S+)\|([^|\n]*)\|([^|\n]*)\|([^|\n]*)$", text, re.MULTILINE)
    if head is None or row is None or row[1].startswith("/dev/drbd"):
        return None if HIDDEN.search(text) else (resource, " ".join(text.split()) or "nothing")
    auto = row[4].strip()
    return BackingSeen(resource, head[1], row[2].strip(), row[3].strip() or "none",
                       None if re.fullmatch(r"[a-z-]{6}", auto) else auto == "enabled")
