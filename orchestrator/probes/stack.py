"""From a look's sections to the facts of the layers above DRBD. Pure: the far-side script is `look_stack.sh` beside this file.

What each tool prints when all is up, down or waiting for fencing is in fixtures/captures/stack. What is missing or cut off
leaves its layer UNKNOWN.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable, Mapping
from importlib import resources

from attrs import Factory, field, frozen

from orchestrator.probes.sections import Sections
from orchestrator.probes.volumes import ExpectedVolume, Fact, spaces, stopped_spaces, volume_layer
from states.facts import LayerFact
from states.vocabulary import Layer

SCRIPT = resources.files(__package__).joinpath("look_stack.sh").read_text()
SILENT = re.compile(r"^code (?:124|137)$", re.MULTILINE)
"""A tool that did not answer in time, as timeout(1) says it: 124, or 137 where it had to be killed."""
UP, DOWN, FAILED, HUNG, STARTING, UNKNOWN = Layer.UP, Layer.DOWN, Layer.FAILED, Layer.HUNG, Layer.STARTING, Layer.UNKNOWN


Readers = Mapping[str, "Callable[[Sections, ExpectedStack], Fact]"]
"""For each layer of the cluster's own: what a look says of it."""


@frozen
class ExpectedFile:
    """A file as it is to be. `secret`: no line of it is shown. `ours`: what differs is an older one of ours."""

    path: str
    text: str = field(repr=False)
    secret: bool = False
    ours: bool = False


@frozen
class ExpectedStack:
    """What one node's look is compared with. `layers`: names of the layers this node has."""

    layers: tuple[str, ...]
    services: tuple[str, ...]
    programs: tuple[str, ...]
    files: tuple[ExpectedFile, ...]
    volumes: tuple[ExpectedVolume, ...]
    cluster: str
    readers: Readers = Factory(lambda: READERS)
    addresses: tuple[tuple[str, str], ...] = ()  # rhcs: what each node's name has to lead to
    filter: str = ""                             # rhcs: LVM's, as it is to be


SERVICES = {"corosync": "corosync", "dlm": "dlm", "lvmlockd": "lvmlockd", "ctdb": "ctdb", "samba": "smbd", "nfs": "nfs-server"}
"""systemd's unit for each layer that is a daemon."""


def read_stack(sections: Sections, expected: ExpectedStack) -> tuple[LayerFact, ...]:
    """One fact for every layer this node has, in its order."""
    found = []
    for name in expected.layers:
        kind, _, volume = name.partition(" ")
        if volume:
            one = next(one for one in expected.volumes if one.name == volume)
            state, detail = volume_layer(kind, sections, one)
        else:
            state, detail = expected.readers[kind](sections, expected)
        found.append(LayerFact(name, state, detail, hung_since(sections) if state is HUNG else None))
    return tuple(found)


def hung_since(sections: Sections) -> float | None:
    """The node's uptime (s) when its locks stopped: when the lock manager lost a node it has not seen fenced, or the kernel its
    lock manager, or GFS2 withdrew itself."""
    status = sections.get("dlm") or ""
    now = re.search(r"^daemon now (\d+)", status, re.MULTILINE)
    lost = [int(at) - int(fail) for fail, at in re.findall(r"^fence .* fail (\d+) .* now (\d+)", status, re.MULTILINE)]
    if now is not None and lost:
        return float(int(now[1]) - max(lost))
    stamps = re.findall(r"^\[ *([\d.]+)\]", sections.get("hung") or "", re.MULTILINE)
    return float(stamps[-1]) if stamps else None


# -- the cluster's own layers ------------------------------------------------------------------------------------------

def packages(remedy: str) -> Callable[[Sections, ExpectedStack], Fact]:
    """The programs that the layers are made of. `remedy`: what is said behind the names of the packages that are not there."""
    def read(sections: Sections, expected: ExpectedStack) -> Fact:
        text = sections.get("packages")
        if text is None:
            return UNKNOWN, "not seen"
        missing = sorted({line.removeprefix("missing ") for line in text.splitlines() if line.startswith("missing ")})
        return (FAILED, f"not installed: {', '.join(missing)}{remedy}, then run again") if missing else (UP, "every program is there")
    return read


def _files(sections: Sections, expected: ExpectedStack) -> Fact:
    absent, differ = [], []
    for file in expected.files:
        if sections.get(f"absent {file.path}") is not None:
            absent.append(file.path)
            continue
        text = sections.get(f"at {file.path}")
        if text is None:
            return UNKNOWN, "not seen"
        if text.strip() == file.text.strip():
            continue
        if file.ours or of_the_package(file.path, text):
            absent.append(file.path)
        else:
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


def is_running(sections: Sections, service: str) -> bool | None:
    """Whether a daemon was seen to run; None where nobody could look."""
    text = sections.get("services")
    return None if text is None else f"running {service}" in text.splitlines()


def _service(layer: str, ready: Callable[[Sections], Fact] | None = None) -> Callable[[Sections, ExpectedStack], Fact]:
    """A daemon: it runs or not; and where it runs, what it says of itself."""
    def read(sections: Sections, expected: ExpectedStack) -> Fact:
        running = is_running(sections, SERVICES[layer])
        if running is None:
            return UNKNOWN, "not seen"
        if not running:
            return left_behind(sections) if layer == "dlm" and spaces(sections) else (DOWN, f"{SERVICES[layer]} does not run")
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
    if SILENT.search(quorum or ""):
        return STARTING, "corosync-quorumtool does not answer"  # a busy node's is slow; the wait has its limit
    words = "WaitForAll" in (quorum or "")
    return STARTING, "not quorate" + (": it waits until all nodes were seen together once" if words else "")


def _dlm(sections: Sections) -> Fact:
    status = sections.get("dlm") or ""
    if SILENT.search(status):
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


def left_behind(sections: Sections) -> Fact:
    """The lock manager is gone and its lockspaces are not: another node threw this one out, or it was killed."""
    return HUNG, f"it is gone, and left lockspaces behind ({', '.join(spaces(sections))}): only a power cycle of this node helps"


def smbd(sections: Sections) -> Fact:
    """It runs; who uses it."""
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
    if SILENT.search(text):
        return STARTING, "ctdb does not answer"
    return STARTING, (text.strip().splitlines() or ["it says nothing"])[0]


READERS: Readers = {
    "packages": packages(" (as Debian names them); install them"),
    "files": _files,
    "authkey": _authkey,
    "corosync": _service("corosync", _corosync),
    "dlm": _service("dlm", _dlm),
    "lvmlockd": _service("lvmlockd"),
    "ctdb": _service("ctdb", _ctdb),
    "samba": _service("samba", smbd),
    "nfs": _service("nfs"),
}
