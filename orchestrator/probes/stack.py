"""From a look's sections to the facts of the layers above DRBD. Pure: the far-side script is `look_stack.sh` beside this file.

What each tool prints when all is up, down or waiting for fencing is in fixtures/captures/stack. What is missing or cut off
leaves its layer UNKNOWN.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable
from importlib import resources

from attrs import field, frozen

from orchestrator.probes.sections import Sections
from states.facts import LayerFact
from states.vocabulary import Layer

SCRIPT = resources.files(__package__).joinpath("look_stack.sh").read_text()
UP, DOWN, FAILED, HUNG, STARTING, UNKNOWN = Layer.UP, Layer.DOWN, Layer.FAILED, Layer.HUNG, Layer.STARTING, Layer.UNKNOWN


@frozen
class ExpectedFile:
    """A file as it is to be. `secret`: no line of it is shown. `ours`: what differs is an older one of ours."""

    path: str
    text: str = field(repr=False)
    secret: bool = False
    ours: bool = False


@frozen
class ExpectedVolume:
    """A file system as it is to be: GFS2's table is `cluster:name`, the device below everything is `/dev/drbdMINOR`."""

    name: str
    vg: str
    lv: str
    mount: str
    minor: int
    disk: str
    table: str


@frozen
class ExpectedStack:
    """What one node's look is compared with. `layers`: names of the layers this node has."""

    layers: tuple[str, ...]
    services: tuple[str, ...]
    programs: tuple[str, ...]
    files: tuple[ExpectedFile, ...]
    volumes: tuple[ExpectedVolume, ...]
    cluster: str


SERVICES = {"corosync": "corosync", "dlm": "dlm", "lvmlockd": "lvmlockd", "ctdb": "ctdb", "samba": "smbd", "nfs": "nfs-server"}
"""systemd's unit for each layer that is a daemon."""


def read_stack(sections: Sections, expected: ExpectedStack) -> tuple[LayerFact, ...]:
    """One fact for every layer this node has, in its order."""
    found = []
    for name in expected.layers:
        kind, _, volume = name.partition(" ")
        if volume:
            one = next(one for one in expected.volumes if one.name == volume)
            state, detail = _volume_layer(kind, sections, one)
        else:
            state, detail = READERS[kind](sections, expected)
        found.append(LayerFact(name, state, detail))
    return tuple(found)


Fact = tuple[Layer, str]


# -- the cluster's own layers ------------------------------------------------------------------------------------------

def _packages(sections: Sections, expected: ExpectedStack) -> Fact:
    text = sections.get("packages")
    if text is None:
        return UNKNOWN, "not seen"
    missing = sorted({line.removeprefix("missing ") for line in text.splitlines() if line.startswith("missing ")})
    if not missing:
        return UP, "every program is there"
    return FAILED, f"not installed: {', '.join(missing)} (as Debian names them); install them, then run again"


def _files(sections: Sections, expected: ExpectedStack) -> Fact:
    absent, differ = [], []
    for file in expected.files:
        if sections.get(f"absent {file.path}") is not None:
            absent.append(file.path)
            continue
        text = sections.get(f"at {file.path}")
        if text is None:
            return UNKNOWN, "not seen"
        if of_the_package(file.path, text) or (file.ours and text.strip() != file.text.strip()):
            absent.append(file.path)
        elif text.strip() != file.text.strip():
            differ.append(f"{file.path}: {'it differs' if file.secret else difference(text, file.text)}")
    if differ:
        return FAILED, "; ".join(differ)
    return (DOWN, f"missing or older: {' '.join(absent)}") if absent else (UP, "as cluster.toml says")


def of_the_package(path: str, text: str) -> bool:
    """What a distribution's package put there for want of anything better: no administrator's word is lost with it.

    Debian's corosync.conf makes every node a cluster of its own on 127.0.0.1; its lvmlocal.conf has comments only.
    """
    said = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if path.endswith("/corosync.conf"):
        return "cluster_name: debian" in said and "ring0_addr: 127.0.0.1" in said
    return all(line.endswith("{") or line == "}" for line in said)  # sections, and nothing in them


def difference(found: str, wanted: str) -> str:
    """The lines a node's file and ours do not share, in few words."""
    diff = difflib.unified_diff(found.strip().splitlines(), wanted.strip().splitlines(), n=0, lineterm="")
    lines = [line for line in diff if not line.startswith(("---", "+++", "@@"))]
    return " | ".join(line.replace("\t", " ") for line in lines[:6]) + (" ..." if len(lines) > 6 else "")


def _authkey(sections: Sections, expected: ExpectedStack) -> Fact:
    key = sections.get("authkey")
    if key is None:
        return UNKNOWN, "not seen"
    if not key.strip():
        return DOWN, "there is none"
    return UP, f"sha256 {hashlib.sha256(key.strip().encode()).hexdigest()[:16]}"


def _running(sections: Sections, layer: str) -> bool | None:
    text = sections.get("services")
    return None if text is None else f"running {SERVICES[layer]}" in text.splitlines()


def _service(layer: str, ready: Callable[[Sections], Fact] | None = None) -> Callable[[Sections, ExpectedStack], Fact]:
    """A daemon: it runs or not; and where it runs, what it says of itself."""
    def read(sections: Sections, expected: ExpectedStack) -> Fact:
        running = _running(sections, layer)
        if running is None:
            return UNKNOWN, "not seen"
        if not running:
            return _victim(sections) if layer == "dlm" and spaces(sections) else (DOWN, f"{SERVICES[layer]} does not run")
        return ready(sections) if ready is not None else (UP, f"{SERVICES[layer]} runs")
    return read


OLDER = "with an older corosync.conf than the one that is there: `orchestrate restart --rolling` takes the new one"


def _corosync(sections: Sections) -> Fact:
    dlm, quorum = sections.get("dlm"), sections.get("quorum")
    older = "older corosync" in (sections.get("services") or "")
    if older and not spaces(sections):  # with locks in use it is not started anew under them
        return FAILED, "it runs with an older corosync.conf than the one that is there"
    if (dlm is not None and "quorate 1" in dlm) or (quorum is not None and "\ncode 0" in f"\n{quorum}"):
        return UP, "quorate" + (f", {OLDER}" if older else "")
    if quorum is not None and "\ncode 124" in f"\n{quorum}":
        return STARTING, "corosync-quorumtool does not answer"  # a busy node's is slow; the wait has its limit
    words = "WaitForAll" in (quorum or "")
    return STARTING, "not quorate" + (": it waits until all nodes were seen together once" if words else "")


def _dlm(sections: Sections) -> Fact:
    status = sections.get("dlm") or ""
    if "\ncode 124" in f"\n{status}":
        return HUNG, "dlm_tool does not answer"
    if "cluster nodeid" not in status:
        return STARTING, status.strip().splitlines()[0] if status.strip() else "it says nothing"
    fencing = re.findall(r"^node (\d+) X .*?fence (\d+)", status, re.MULTILINE)
    stopped = stopped_spaces(sections)
    if stopped:
        words = sections.get("lockspaces") or ""
        waits = "; ".join(sorted(set(re.findall(r"new status\s+(.+)", words))))
        if "join" in words and "wait fencing" not in waits and "wait quorum" not in waits:
            return STARTING, f"a lockspace is being joined: {', '.join(stopped)}"
        return HUNG, f"lockspaces stopped: {', '.join(stopped)}" + (f" ({waits})" if waits else "")
    gone = f", gone: node {', '.join(number for number, _ in fencing)}" if fencing else ""
    return (UP, f"it answers{gone}") if "quorate 1" in status else (STARTING, "not quorate")


def _victim(sections: Sections) -> Fact:
    """The lock manager is gone and its lockspaces are not: another node threw this one out, or it was killed."""
    return HUNG, f"it is gone, and left lockspaces behind ({', '.join(spaces(sections))}): only a power cycle of this node helps"


def spaces(sections: Sections) -> list[str]:
    """Lockspaces the kernel has."""
    lines = (line.split() for line in (sections.get("kernel-locks") or "").splitlines())
    return [words[1] for words in lines if words[:1] == ["space"] and len(words) == 3]


def stopped_spaces(sections: Sections) -> list[str]:
    """Lockspaces whose recovery is not done: who needs a lock there waits."""
    lines = (line.split() for line in (sections.get("kernel-locks") or "").splitlines())
    return [words[1] for words in lines if words[:1] == ["space"] and len(words) == 3 and not int(words[2], 16) & 0x40]


def _samba(sections: Sections) -> Fact:
    count = (sections.get("sessions") or "").strip()
    return UP, f"smbd runs, {count if count.isdecimal() else '?'} open sessions"


def _ctdb(sections: Sections) -> Fact:
    """`ctdb nodestatus`: 0 is this node healthy; else its words, or that it does not answer yet (it may take a minute)."""
    text = sections.get("ctdb") or ""
    mine = re.search(r"pnn:\d+ \S+\s+(\S.*?)\s*\(THIS NODE\)", text)
    if mine is not None:
        return (UP, "OK") if mine[1] == "OK" else (STARTING, mine[1])
    if "\ncode 0" in f"\n{text}":
        return UP, "OK"
    return STARTING, (text.strip().splitlines() or ["it says nothing"])[0]


READERS: dict[str, Callable[[Sections, ExpectedStack], Fact]] = {
    "packages": _packages,
    "files": _files,
    "authkey": _authkey,
    "corosync": _service("corosync", _corosync),
    "dlm": _service("dlm", _dlm),
    "lvmlockd": _service("lvmlockd"),
    "ctdb": _service("ctdb", _ctdb),
    "samba": _service("samba", _samba),
    "nfs": _service("nfs"),
}


# -- a file system's layers --------------------------------------------------------------------------------------------

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


def _volume_layer(kind: str, sections: Sections, one: ExpectedVolume) -> Fact:
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
    if ours[0][2] != "dlm":
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


VOLUME_READERS: dict[str, Callable[[_Volume, ExpectedVolume], Fact]] = {
    "vg": _vg, "lockspace": _lockspace, "lv": _lv, "active": _active, "gfs2": _gfs2, "mount": _mount,
}
