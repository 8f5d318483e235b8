"""What became of a resource's connection, from the lines one node's kernel wrote about it.

The lines are those of Linux 6.1's DRBD 8.4.11 and of DRBD 9.2 and 9.3 (captures); `handshake_log` reads whole comparisons,
`kernel_log` the reason for which DRBD gave up. Pure.
"""

from __future__ import annotations

import re

from attrs import evolve

from orchestrator.probes.handshake_log import Outcome
from orchestrator.probes.kernel_log import REASONS, STAMP
from states.facts import LinkLog
from states.vocabulary import Ending

ANSWER = re.compile(r"uuid_compare\(\)=(\S+) by rule[ =](\S+)")
MOVE = re.compile(r"(?<!Failed: )conn\( (\w+) -> (\w+) \)(?:.*\[([a-z-]+)\])?")
PREFIX = re.compile(r"^(?:block )?drbd[^:]*: ")
ABORTED = re.compile(r"Aborting (?:cluster-wide|remote) state change")
TRYING = frozenset({"Unconnected", "WFConnection", "Connecting", "StandAlone"})
GREETING = frozenset({"WFReportParams"})
BROKEN = frozenset({"NetworkFailure", "BrokenPipe", "Timeout", "ProtocolError"})
ENDED = frozenset({"Disconnecting", "TearDown", *BROKEN, *TRYING})
"""Words of `conn( A -> B )`. What is none of them, nor GREETING, is a connection at work."""


def link_log(text: str) -> LinkLog | None:
    """The story so far; None if no line tells any of it."""
    seen, aborted, reason = LinkLog(), 0, False
    for line in text.splitlines():
        stamp = STAMP.match(line)
        if stamp is None:
            continue
        at, words = float(stamp[1]), stamp[2]
        if answer := ANSWER.search(words):
            seen = evolve(seen, answer=answer[1], rule=answer[2], handshake_at=at, outcome="", attempts=seen.attempts + 1)
        elif any(outcome.value in words for outcome in Outcome):
            seen = evolve(seen, outcome=PREFIX.sub("", words))
        aborted += ABORTED.search(words) is not None
        reason = reason or any(pattern.search(words) for pattern, _ in REASONS)
        move = MOVE.search(words)
        if move is None:
            continue
        seen = _moved(seen, move, at, reason=reason)
        if move[2] in TRYING:
            reason = False
        if _works(move[2]):
            aborted = 0
    seen = evolve(seen, attempts=max(seen.attempts, aborted))
    return None if seen == LinkLog() else seen


def _works(state: str) -> bool:
    """A connection that both sides have agreed on."""
    return state not in ENDED and state not in GREETING


def _moved(seen: LinkLog, move: re.Match[str], at: float, *, reason: bool) -> LinkLog:
    """After one `conn( A -> B )`. DRBD 9 adds why in brackets."""
    before, after, why = move.groups()
    if before == "StandAlone":  # somebody told it to connect
        return evolve(seen, attempts=0, ended=Ending.UNKNOWN, ended_at=None)
    if _works(after):
        return evolve(seen, attempts=0, ended=Ending.UNKNOWN, ended_at=None, parted_at=None)
    if _works(before) and after not in TRYING:
        seen = evolve(seen, parted_at=at)
    ended = _ending(before, after, why, reason=reason)
    return seen if ended is None else evolve(seen, ended=ended, ended_at=at)


def _ending(before: str, after: str, why: str | None, *, reason: bool) -> Ending | None:
    """How it ended, if this move is the end of a connection or of an attempt."""
    if after == "TearDown":
        return Ending.BY_PEER
    if after in BROKEN:
        return Ending.LOST if _works(before) else Ending.DROPPED
    if after != "Disconnecting" or before in BROKEN:
        return None
    gave_up = reason or before in GREETING or why == "connect-failed"
    return Ending.GAVE_UP if gave_up else Ending.BY_HAND
