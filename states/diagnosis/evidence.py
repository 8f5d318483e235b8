"""What a diagnosis rests on, line by line: both sides, their identifiers compared, what the policies would do, what the kernels said."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from attrs import evolve

from states import handshake
from states.diagnosis.causes import Case
from states.diagnosis.signatures import oddities
from states.diagnosis.words import ago, both, compared, crashed, flags, in_force, kib, unlike
from states.facts import Generation, NodeFacts, Side
from states.handshake import Prediction, Verdict
from states.pair import contender, terms_of
from states.settings import POLICIES, discarding_policies
from states.vocabulary import ConnectionState, Ending, Layer, Role

ABOVE = ("mount", "active", "ctdb", "samba", "nfs")
"""Kinds of layers whose being there means that somebody uses the data."""


def evidence(case: Case) -> tuple[str, ...]:
    """All lines, the sides' own first."""
    parts = (_sides, _identifiers, _dirty, _users, _policies, _settings, _parted, _handshakes, _resync, _ports)
    return tuple(chain.from_iterable(part(case) for part in parts))


def _seen(case: Case) -> Iterator[tuple[NodeFacts, Side]]:
    for node, side in zip(case.nodes, case.sides, strict=True):
        if node.reachable:
            yield node, side


def _sides(case: Case) -> Iterator[str]:
    for node, side in zip(case.nodes, case.sides, strict=True):
        if not node.reachable:
            off = "; it is known to be off" if node.name in case.facts.off else ""
            yield f"{node.name}: not seen: {node.why}{off}"
        elif side.configured is None:
            yield f"{node.name}: what DRBD does there could not be read"
        elif not side.configured:
            yield f"{node.name}: DRBD does not run {case.pair.wanted.name} there"
        else:
            frozen = ", IO suspended" if side.suspended else ""
            link = "no connection" if side.connection is ConnectionState.MISSING else side.connection.value
            yield f"{node.name}: {side.role.value}, {side.disk.value}, {link}, DRBD {node.version or '?'}{frozen}"


def _identifiers(case: Case) -> Iterator[str]:
    known = [(side.node, side.identifiers) for side in case.sides if side.identifiers is not None]
    for name, identifiers in known:
        yield f"{name}: generation identifiers {identifiers}"
    if len(known) == 2:
        yield f"identifiers: {compared(known[0], known[1])}"
    for side in case.sides:
        if side.identifiers is None:
            yield f"{side.node}: generation identifiers not read"
        elif said := flags(side):
            yield f"{side.node}: {said}"
    if case.relation.verdict is not Verdict.SPLIT_BRAIN:  # what becomes of that is the policies' business, below
        yield f"if they met: {case.relation.why}"


def _dirty(case: Case) -> Iterator[str]:
    for _, side in _seen(case):
        if side.out_of_sync is None:
            if side.attached:
                yield f"{side.node}: how much is out of sync is not known"
            continue
        note = ""
        if side.out_of_sync and crashed(side):
            note = " (too high: after a crash whole 4 MiB extents of the activity log count, `apply-al`)"
        yield f"{side.node}: {kib(side.out_of_sync)} out of sync{note}"


def _users(case: Case) -> Iterator[str]:
    for node, side in _seen(case):
        layers = [f"{fact.name} is {fact.state.value}" for fact in node.layers
                  if fact.name.partition(" ")[0] in ABOVE and fact.state not in (Layer.DOWN, Layer.UNKNOWN)]
        used = [*side.users, *layers]
        if used:
            yield f"{side.node}: in use: {', '.join(used)}"
        elif side.attached:
            yield f"{side.node}: no mount and no volume on it was seen (a program may have it open all the same)"
        if side.holders:
            yield f"{side.node}: its backing disk is in use behind DRBD: {', '.join(side.holders)}"


# -- policies -----------------------------------------------------------------------------------------------------------

def _policies(case: Case) -> Iterator[str]:
    for _, side in _seen(case):
        settings, where = in_force(side)
        if where:
            words = ", ".join(f"{name.removeprefix('after-sb-')} {settings.get(name, 'disconnect')}" for name in POLICIES)
            unseen = "" if side.running else "; a `common` section is not seen"
            yield f"{side.node}: after-split-brain policies ({where}{unseen}): {words}"
        else:
            yield f"{side.node}: after-split-brain policies not read (no live connection, no resource file)"
    yield from _left_alone(case)


def _left_alone(case: Case) -> Iterator[str]:
    """What the policies would do if nobody did anything, and after a demotion or a reboot, which changes who is asked."""
    one, other = case.sides
    if case.met or case.relation.verdict is not Verdict.SPLIT_BRAIN or case.generation is Generation.UNKNOWN:
        return
    if not all(in_force(side)[1] for side in case.sides):
        yield "left alone: what they would do cannot be said, for the policies of a side were not read"
        return
    if not any(discarding_policies(tuple(in_force(side)[0].items())) for side in case.sides):
        yield "left alone: no policy discards anything; both sides drop the connection when they meet"
        return
    yield f"left alone: {_met(case, one, other)}"
    for index, side in enumerate(case.sides):
        if side.role is Role.PRIMARY:
            quiet = evolve(side, role=Role.SECONDARY)
            sides = (quiet, other) if index == 0 else (one, quiet)
            yield f"if {side.node} is demoted, or rebooted and `drbdadm up` is typed: {_met(case, *sides)}"


def _met(case: Case, one: Side, other: Side) -> str:
    first, second = contender(one), contender(other)
    if first is None or second is None:
        return "cannot be said: identifiers were not read"
    ours, theirs = (terms_of(tuple(in_force(side)[0].items()), case.generation) for side in (one, other))
    return _outcome(handshake.predict(first, second, ours, theirs), (one, other))


def _outcome(found: Prediction, sides: tuple[Side, Side]) -> str:
    if not found.losers:
        return f"{found.verdict.value}: {found.why}"
    names = both(sides[index].node for index in sorted(found.losers))
    chance = "one of " if len(found.losers) == 2 else ""
    return f"{found.verdict.value}: {chance}{names} LOSES its changes ({kib(found.discards)}), unasked"


def _settings(case: Case) -> Iterator[str]:
    for words in unlike(*case.sides):
        yield f"settings differ: {words}"


# -- what the kernels said ----------------------------------------------------------------------------------------------

def _parted(case: Case) -> Iterator[str]:
    for node, side in _seen(case):
        if side.link is None:
            continue
        if side.link.parted_at is not None:
            yield f"{node.name}: they parted {ago(node, side.link.parted_at)}, by its kernel log"
        if side.link.ended is not Ending.UNKNOWN:
            yield f"{node.name}: the last connection or attempt ended {ago(node, side.link.ended_at)}: {side.link.ended.value}"


def _handshakes(case: Case) -> Iterator[str]:
    for node, side in _seen(case):
        if side.link is not None and side.link.handshake_at is not None:
            came = f": {side.link.outcome}" if side.link.outcome else ""
            yield (f"{node.name}: last handshake {ago(node, side.link.handshake_at)} (uptime {side.link.handshake_at:.0f} s): "
                   f"uuid_compare()={side.link.answer} by rule {side.link.rule}{came}")
        if side.link is not None and side.link.attempts > 1:
            yield f"{node.name}: {side.link.attempts} handshakes came to nothing"
        if side.trouble is not None:
            yield f"{node.name}: the kernel says, {ago(node, side.trouble.uptime)}: {side.trouble.text}"


def _resync(case: Case) -> Iterator[str]:
    if case.met:
        for words in oddities(case.sides):
            yield f"{words}: normal for a moment; if it is the same in ten seconds, it is stuck"


def _ports(case: Case) -> Iterator[str]:
    if case.apart:
        for node in case.nodes:
            fact = node.layer("port")
            yield f"{node.name}: port: {fact.detail}"
