"""When the two sides of a resource may be compared block by block (`drbdadm verify`)."""

from __future__ import annotations

from attrs import frozen

from states.alarm import Alarm, Severity
from states.facts import ClusterFacts, Generation
from states.pair import Pair
from states.vocabulary import DiskState, ReplicationState, Role


@frozen
class Verification:
    """A verify that came to its end. `at`: when, seconds since the epoch; `node`: where it ran; `blocks` of 4 KiB differ."""

    resource: str
    at: float
    node: str
    blocks: int


def differing(found: Verification) -> Alarm:
    """What stands until a later verify finds no block that differs, whatever DRBD itself says meanwhile."""
    return Alarm(
        "blocks-differ", found.resource, Severity.CRITICAL, f"{found.resource} has sides that differ, as its last verify has found",
        f"{found.blocks} blocks of 4 KiB, found by the verify on {found.node}",
        f"which side is right? orchestrate verify {found.resource} --repair NODE, where NODE is the wrong one; docs/split-brain.md")


def not_comparable(pair: Pair) -> tuple[str, str] | None:
    """verify-at-rest: what stands in the way, and what to type next; None where nothing does."""
    if not pair.at_rest or any(side.replication is not ReplicationState.ESTABLISHED for side in pair.sides):
        seen = ", ".join(f"{side.node} {side.disk.value}, {side.connection.value}, {side.replication.value}" for side in pair.sides)
        return seen, "both have to be connected and UpToDate, with nothing being copied or compared: orchestrate status"
    if any(side.suspended for side in pair.sides):
        return "IO is suspended", "find out what froze it first: docs/safety.md"
    lacking = [side.node for side in pair.sides if not dict(side.running).get("verify-alg")]
    if lacking:
        mend = f'write verify_alg = "crc32c" in [resource.{pair.wanted.name}], then orchestrate down, then orchestrate up --apply-config'
        return f"no verify-alg runs on {' and '.join(lacking)}", mend
    return None


def not_repairable(pair: Pair, facts: ClusterFacts, bad: str, *, complete: bool) -> tuple[str, str] | None:
    """repair-from-a-primary: why reconnecting `bad` would not copy the found blocks from its peer to it, or they could not be saved
    before; None where nothing stands in the way. `complete`: it is known which blocks they are.

    DRBD 8.4 copies marked blocks at a reconnection only because its Primary takes a new identifier when its peer goes (capture
    C07); DRBD 9 takes one at the next write, and forgets the marks where none was written (capture 40-verify).
    """
    name = pair.wanted.name
    good = next(side for side in pair.sides if side.node != bad)
    if any(facts.node(side.node).generation is not Generation.V84 for side in pair.sides):
        by_hand = f"on {bad}, Secondary: drbdadm invalidate --reset-bitmap=no {name}"
        return "DRBD 9 may forget at a reconnection which blocks differ", by_hand
    if good.role is not Role.PRIMARY or good.disk is not DiskState.UP_TO_DATE:
        return f"{good.node} is {good.role.value}/{good.disk.value}: only from an UpToDate Primary are they copied", "orchestrate up first"
    if not complete:
        return "the kernel's log has forgotten which blocks they are: they could not be saved", "save the whole disk: docs/split-brain.md"
    return None
