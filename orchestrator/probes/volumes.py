"""From a look's sections to the facts of one file system's layers: group, volume, GFS2, mount, sizes. Pure, as `stack` beside it."""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import frozen

from orchestrator.probes.sections import Sections
from states.vocabulary import Layer

UP, DOWN, FAILED, HUNG, UNKNOWN = Layer.UP, Layer.DOWN, Layer.FAILED, Layer.HUNG, Layer.UNKNOWN
Fact = tuple[Layer, str]


@frozen
class ExpectedVolume:
    """A file system as it is to be: GFS2's table is `cluster:name`, the device below everything is `/dev/drbdMINOR`.

    `size`: of its volume in bytes, 0 where cluster.toml does not say it.
    """

    name: str
    vg: str
    lv: str
    mount: str
    minor: int
    disk: str
    table: str
    size: int = 0


def spaces(sections: Sections) -> list[str]:
    """Lockspaces the kernel has."""
    lines = (line.split() for line in (sections.get("kernel-locks") or "").splitlines())
    return [words[1] for words in lines if words[:1] == ["space"] and len(words) == 3]


def stopped_spaces(sections: Sections) -> list[str]:
    """Lockspaces whose recovery is not done: who needs a lock there waits."""
    lines = (line.split() for line in (sections.get("kernel-locks") or "").splitlines())
    return [words[1] for words in lines if words[:1] == ["space"] and len(words) == 3 and not int(words[2], 16) & 0x40]


@frozen
class _Volume:
    """What a look saw of one file system's devices."""

    text: str
    below: tuple[str, ...]     # devices the active volume stands on; () where it is not active
    mounted: str               # the type it is mounted as, "" where it is not
    source: str
    spaces: frozenset[str]
    stopped: frozenset[str]
    withdrawn: frozenset[str]
    blocked: frozenset[str]

    @property
    def size(self) -> int | None:
        """Bytes of the active volume, as this kernel has it; None where it is not active."""
        found = re.search(r"^sectors (\d+)", self.text, re.MULTILINE)
        return int(found[1]) * 512 if found else None

    @property
    def filled(self) -> int | None:
        """Bytes of the mounted file system without its resource groups' heads; None where it was not asked."""
        found = re.search(r"^blocks (\d+) (\d+)", self.text, re.MULTILINE)
        return int(found[1]) * int(found[2]) if found else None

    @property
    def primary(self) -> bool:
        """The device below could be read."""
        return "primary yes" in self.text

    @property
    def held(self) -> str:
        """What the device's head says: lvm, bare (a physical volume without a group), blank, data; "" where it was not read."""
        found = re.search(r"^held (\w+)", self.text, re.MULTILINE)
        return found[1] if found else ""


def _seen(sections: Sections, one: ExpectedVolume) -> _Volume | None:
    text = sections.get(f"volume {one.name}")
    locks = sections.get("kernel-locks")
    if text is None or locks is None:
        return None
    mounted = re.search(r"^mounted (\S+) (\S+)", text, re.MULTILINE)
    words = [line.split() for line in locks.splitlines()]
    tables = {kind: frozenset(w[1] for w in words if w[:1] == [kind]) for kind in ("space", "withdrawn", "blocked")}
    below = tuple(re.findall(r"^active on (\S+)", text, re.MULTILINE))
    return _Volume(text, below, mounted[1] if mounted else "", mounted[2] if mounted else "", tables["space"],
                   frozenset(stopped_spaces(sections)), tables["withdrawn"], tables["blocked"])


def volume_layer(kind: str, sections: Sections, one: ExpectedVolume) -> Fact:
    """One layer of a file system, as its section of a look says."""
    seen = _seen(sections, one)
    if seen is None:
        return UNKNOWN, "not seen"
    return VOLUME_READERS[kind](seen, one)


def _vg(seen: _Volume, one: ExpectedVolume) -> Fact:
    if seen.below or f"lvm_{one.vg}" in seen.spaces:
        return UP, f"{one.vg} is in use"
    if seen.held == "blank":
        return DOWN, "blank"
    if seen.held == "bare":
        return DOWN, "a physical volume without a group"
    if not seen.primary:
        return UNKNOWN, f"{one.disk} holds {seen.held or 'something'}; /dev/drbd{one.minor} cannot be read while it is Secondary"
    if seen.held != "lvm":
        kind = re.search(r"\b(?:TYPE|PTTYPE)=(\S+)", seen.text)
        return FAILED, f"/dev/drbd{one.minor} holds {kind[1] if kind else 'data'}, not LVM"
    rows = [line.removeprefix("pv ").strip().split("|") for line in seen.text.splitlines() if line.startswith("pv ")]
    rows = [[word.strip() for word in row] for row in rows if len(row) == 3]
    ours = [row for row in rows if row[0] == f"/dev/drbd{one.minor}"]
    foreign = [row for row in rows if row[1] == one.vg and row[0] != f"/dev/drbd{one.minor}"]
    if foreign:
        return FAILED, f"{one.vg} resolves to {foreign[0][0]}, not to /dev/drbd{one.minor}"
    if not ours:
        return UNKNOWN, f"LVM does not show /dev/drbd{one.minor}, which has its label"
    if not ours[0][1]:
        return UNKNOWN, "LVM does not show its group: its locks are not there"
    if ours[0][1] != one.vg:
        return FAILED, f"/dev/drbd{one.minor} belongs to volume group {ours[0][1]}, not to {one.vg}"
    if ours[0][2] not in ("dlm", "clvm"):  # clvm: clustered, as LVM before 2.03 has it
        return FAILED, f"{one.vg} is not shared: its lock type is {ours[0][2] or 'none'}"
    return UP, f"{one.vg} on /dev/drbd{one.minor}"


def _lockspace(seen: _Volume, one: ExpectedVolume) -> Fact:
    name = f"lvm_{one.vg}"
    if name not in seen.spaces:
        return DOWN, f"there is no lockspace {name}"
    return (HUNG, f"lockspace {name} is stopped") if name in seen.stopped else (UP, f"lockspace {name}")


def _lv(seen: _Volume, one: ExpectedVolume) -> Fact:
    if seen.below:
        return UP, f"{one.vg}/{one.lv} is active"
    if seen.held == "blank":
        return DOWN, "blank"
    if not seen.primary or seen.held != "lvm":
        return UNKNOWN, f"/dev/drbd{one.minor} was not read"
    rows = [line.removeprefix("lv ").strip().split("|") for line in seen.text.splitlines() if line.startswith("lv ")]
    there = any([word.strip() for word in row] == [one.vg, one.lv] for row in rows)
    return (UP, f"{one.vg}/{one.lv}") if there else (DOWN, f"{one.vg} has no {one.lv}")


def _active(seen: _Volume, one: ExpectedVolume) -> Fact:
    if not seen.below:
        return DOWN, "not active"
    if seen.below != (f"drbd{one.minor}",):
        return FAILED, f"{one.vg}/{one.lv} stands on {', '.join(seen.below)}, behind DRBD's back"
    return UP, f"on drbd{one.minor}"


def _gfs2(seen: _Volume, one: ExpectedVolume) -> Fact:
    if seen.mounted == "gfs2":
        return UP, f"{one.table} is mounted"
    if seen.held == "blank":
        return DOWN, "blank"
    if not seen.below or not seen.primary:
        return UNKNOWN, "the volume is not active, so it was not read"
    found = dict(re.findall(r"^(TYPE|LABEL|PTTYPE)=(.*)$", seen.text, re.MULTILINE))
    if found.get("TYPE") == "gfs2":
        label = found.get("LABEL", "")
        return (UP, label) if label == one.table else (FAILED, f"its GFS2 belongs to {label!r}, this cluster's would be {one.table!r}")
    if found:
        return FAILED, f"the volume holds {found.get('TYPE') or found.get('PTTYPE')}, not GFS2"
    return (DOWN, "blank") if "\nblank" in seen.text else (FAILED, "the volume holds something that no tool knows")


def _mount(seen: _Volume, one: ExpectedVolume) -> Fact:
    if not seen.mounted:
        return DOWN, "not mounted"
    if seen.mounted != "gfs2":
        return FAILED, f"{one.mount} is {seen.source}, a {seen.mounted}"
    space = one.table.partition(":")[2]
    if one.table in seen.withdrawn:
        return HUNG, "GFS2 has withdrawn itself after an error: only a reboot of this node helps"
    if space in seen.stopped or one.table in seen.blocked or space not in seen.spaces:
        return HUNG, f"its lockspace {space} is stopped: whoever needs a lock there waits"
    return UP, f"{seen.source} on {one.mount}"


GROUP = 32 * 2**20
"""Bytes of the smallest resource group gfs2_grow adds; for less it says "The calculated resource group size is too small"."""


def _extended(seen: _Volume, one: ExpectedVolume) -> Fact:
    """LVM rounds up to its extents, so a little more than was asked for is what was asked for."""
    there = seen.size
    if there is None:
        return UNKNOWN, "the volume is not active: its size was not read"
    words = f"{one.vg}/{one.lv} has {_mib(there)}, cluster.toml wants {_mib(one.size)}"
    least = GROUP + one.size // 1024  # more than what the heads of the resource groups may take
    if there - one.size >= GROUP:
        return FAILED, f"{words}: a GFS2 cannot be made smaller"
    if 0 < one.size - there < least:
        return FAILED, f"{words}: a GFS2 of this size grows by {_mib(least)} at least, and {_mib(one.size - there)} would stay unused"
    return (UP, _mib(there)) if there >= one.size else (DOWN, words)


def _grown(seen: _Volume, one: ExpectedVolume) -> Fact:
    """What is free at the volume's end may be too little for a resource group, and their heads are no room for data."""
    if seen.mounted != "gfs2" or seen.filled is None:
        return UNKNOWN, "not mounted, or its locks are stopped: its size was not read"
    least = one.size - one.size // 2048 - GROUP
    return (UP, _mib(seen.filled)) if seen.filled >= least else (DOWN, f"{_mib(seen.filled)} of the {_mib(one.size)} wanted")


def _mib(size: int) -> str:
    return f"{-(-size // 2**20)} MiB"


VOLUME_READERS: dict[str, Callable[[_Volume, ExpectedVolume], Fact]] = {
    "vg": _vg, "lockspace": _lockspace, "lv": _lv, "active": _active, "gfs2": _gfs2, "mount": _mount,
    "extended": _extended, "grown": _grown,
}
