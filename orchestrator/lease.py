"""One orchestrator at a time: a lease on every node, with an epoch, counted by the node's own clock.

A holder names machine, process and its start, so that a newcomer on the same machine can see that a holder is dead and
take over at once; from elsewhere it waits until the lease runs out. Every step is checked against the epoch on the
node, in the same shell: an orchestrator that slept through the loss of its lease can do nothing.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from attrs import frozen

TTL = 20
"""Seconds a lease lasts without being renewed. Renewed by every step and look of a run, and every TTL/4 while waiting."""

SUPERVISOR = ":supervise"
"""How the name of a holder ends that nobody asked to work: it yields to those that somebody did."""


@frozen
class Held:
    """Somebody else holds the lease of a node, for at most `left` more seconds."""

    node: str
    epoch: int
    holder: str
    left: int


def machine() -> str:
    """Names this boot of this machine, and the process numbers we see: a container has its own, and the same boot."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")[:16]
    return boot + "".join(filter(str.isdigit, str(Path("/proc/self/ns/pid").readlink())))


def _started(pid: int) -> str:
    """A process's start time in clock ticks since boot (proc(5), field 22); "" if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def holder() -> str:
    """This process, as a lease names it."""
    return f"{machine()}:{os.getpid()}:{_started(os.getpid())}"


def yields(name: str) -> bool:
    """This holder is a supervisor: it gives its lease to a command that asks."""
    return name.endswith(SUPERVISOR)


def is_dead(name: str) -> bool:
    """True only if `name` was a process of this boot of this machine, and that process has ended."""
    match = re.fullmatch(r"([0-9a-f]+):(\d+):(\d+)", name.removesuffix(SUPERVISOR))
    if match is None or match[1] != machine():
        return False
    try:
        os.kill(int(match[2]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _started(int(match[2])) not in ("", match[3])


def read_held(node: str, text: str) -> Held | None:
    """The `==lease-held EPOCH HOLDER LEFT` line of a node's answer."""
    match = "==lease-held" in text and re.search(r"^==lease-held (\d+) (\S+) (-?\d+)$", text, re.MULTILINE)
    return Held(node, int(match[1]), match[2], int(match[3])) if match else None


def read_taken(text: str) -> int | None:
    """The epoch of the `==lease-taken EPOCH` line."""
    match = "==lease-taken" in text and re.search(r"^==lease-taken (\d+)$", text, re.MULTILINE)
    return int(match[1]) if match else None


def read_wanted(text: str) -> str:
    """Who asks for our lease: the `==lease-wanted HOLDER` line; "" if nobody does."""
    match = "==lease-wanted" in text and re.search(r"^==lease-wanted (\S+)$", text, re.MULTILINE)
    return match[1] if match else ""
