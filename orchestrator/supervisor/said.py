"""What a node's follower says, line by line, as values. Pure: whatever comes, nothing is raised, and what is not known is nothing.

The far side is `sweep.sh` and `follow.sh` beside this file; lines of DRBD are those of `drbdsetup events2`, of the logs
those of `dmesg` and `journalctl -o short-monotonic`.
"""

from __future__ import annotations

import math

from attrs import frozen

from orchestrator.probes.events2 import parse_line
from orchestrator.probes.kernel_events import Trouble, read_log_line
from orchestrator.streams import EventLine


@frozen
class Following:
    """The follower has begun; everything it knows comes again. `uptime`: the node's, seconds."""

    node: str
    uptime: float
    boot_id: str
    cores: int


@frozen
class Beat:
    """It lives. Load averages over 1, 5 and 15 minutes; `sessions` of SMB, None where nobody counts them."""

    node: str
    uptime: float
    averages: tuple[float, float, float]
    sessions: int | None


@frozen
class WatchedBy:
    """Another supervisor watches this node already."""

    node: str
    holder: str


@frozen
class Leased:
    """Who holds the acting lease of a node; `holder` "" is nobody."""

    node: str
    holder: str
    epoch: int


@frozen
class Marked:
    """The node's maintenance mark, its first line; "" without one."""

    node: str
    text: str


@frozen
class DrbdSeen:
    """A line of /proc/drbd. `minor` None: what the module says of itself, "absent" or its version, and which minors there are."""

    node: str
    minor: int | None
    text: str


@frozen
class Stirred:
    """Something that only a look can tell has changed: units, mounts, locks, fence; or UNREADABLE, a line we do not know."""

    node: str
    what: str
    text: str


@frozen
class Logged:
    """A line of a log that means something."""

    node: str
    trouble: Trouble


@frozen
class Gap:
    """The stream of a node broke: what happened since was not seen. `unreachable`: and the node certainly cannot be reached now."""

    node: str
    why: str
    unreachable: bool = False
    overflow: bool = False


Said = EventLine | Following | Beat | WatchedBy | Leased | Marked | DrbdSeen | Stirred | Logged | Gap
UNREADABLE = "unreadable"
KEPT = 200
"""Characters of such a line that are kept."""
STIRRERS = ("units", "mounts", "locks", "fence", "events-ended")


def read_line(node: str, line: str) -> Said | None:
    """One line of a follower; None for what says nothing. What we cannot read is no news, and yet a reason to look."""
    if line.startswith("=="):
        return _ours(node, line[2:]) or Stirred(node, UNREADABLE, line[:KEPT])
    if line.startswith("["):
        trouble = read_log_line(line)
        return None if trouble is None else Logged(node, trouble)
    event = parse_line(line)
    if event is not None:
        return EventLine(node, event)
    return None if line.split()[-2:] in ([], ["exists", "-"]) else Stirred(node, UNREADABLE, line[:KEPT])


def _ours(node: str, line: str) -> Said | None:
    name, _, rest = line.partition(" ")
    words = rest.split()
    if name in STIRRERS:
        return Stirred(node, name, rest.strip())
    if name == "beat" and len(words) == 5:
        one, five, fifteen = (_number(word) for word in words[1:4])
        return Beat(node, _number(words[0]), (one, five, fifteen), int(words[4]) if _whole(words[4]) else None)
    if name == "lease" and len(words) == 2:
        return Leased(node, "" if words[0] == "-" else words[0], int(words[1]) if _whole(words[1]) else 0)
    if name == "drbd" and words:
        return _drbd(node, words, rest)
    if name == "following" and len(words) == 3:
        return Following(node, _number(words[0]), words[1], max(1, int(words[2])) if _whole(words[2]) else 1)
    if name == "watching-held" and words:
        return WatchedBy(node, words[0])
    return Marked(node, rest.strip()) if name == "maintenance" else None


def _drbd(node: str, words: list[str], text: str) -> DrbdSeen | None:
    if words[0] in ("absent", "version"):
        return DrbdSeen(node, None, text)
    minor = words[0].removesuffix(":")
    return DrbdSeen(node, int(minor), text) if _whole(minor) else None


def _whole(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) < 16


def _number(word: str) -> float:
    """A reading that is no number is 0: it decides nothing."""
    try:
        value = float(word)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0
