"""When the two sides of a resource may be compared block by block (`drbdadm verify`)."""

from __future__ import annotations

from states.pair import Pair
from states.vocabulary import ReplicationState


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
