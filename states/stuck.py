"""What is said in the states from which no row leads on: the rule, the evidence, and what to type next."""

from __future__ import annotations

from states.diagnosis import Cause, in_short
from states.facts import ClusterFacts, Side
from states.goal import Goal, Kind, Refused, Waiting
from states.pair import Pair
from states.reach import fencing
from states.vocabulary import Metadata, Resource

S = Resource

WAY_OUT: dict[Resource, tuple[str, str]] = {
    # state          rule                            what to type next
    S.SPLIT_BRAIN: ("no-discard-without-consent", "nothing was connected or discarded; docs/split-brain.md says how to decide whose changes to keep"),
    S.DIVERGED: ("look-before-connect", "nothing was connected; see docs/split-brain.md, `diverged`"),
    S.UNRELATED: ("look-before-connect", "these two devices never belonged together: check `disk` in cluster.toml; nothing was connected"),
    S.SUSPECT: ("suspect-is-not-healthy", "run `drbdadm verify`, and treat the newer side as the only good one until it is mended: docs/split-brain.md"),
    S.FROZEN: ("no-steps-while-frozen", "IO waits until the other node is known to be off: `orchestrate fence NODE`, or switch it off and `orchestrate fence-ack NODE`; nothing was sent"),
    S.STAND_ALONE: ("connect-refused", "mend what the kernel says, then run again"),
    S.UNKNOWN: ("unknown-is-not-down", "look at the node that could not be read: orchestrate status"),
    S.DEGRADED: ("unknown-is-not-down", "bring the other node back; nothing was sent"),
    S.INCONSISTENT: ("no-force-primary", "neither side has good data: docs/split-brain.md, `both inconsistent`"),
}


SAYS_MORE = frozenset({
    Cause.SPLIT_BRAIN, Cause.SPLIT_BRAIN_HISTORY, Cause.DIVERGED, Cause.UNRELATED, Cause.SUSPECT, Cause.WRONG_SECRET, Cause.SETTINGS,
    Cause.PROTOCOL, Cause.LIVELOCK, Cause.STALLED, Cause.PORT_BLOCKED,
})
"""Diagnoses that say what the state alone does not."""


def _side_words(side: Side) -> str:
    dirty = "unknown" if side.out_of_sync is None else f"{side.out_of_sync} KiB"
    words = f"{side.node} {side.role.value}/{side.disk.value} identifiers {side.identifiers or 'unread'}, out of sync {dirty}"
    unread = f", {side.signature}" if side.signature and side.metadata is Metadata.UNKNOWN and not side.attached else ""
    return words + unread + (f", the kernel says: {side.trouble.text}" if side.trouble else "")


def way_out(goal: Goal, resource: str, state: Resource) -> tuple[str, str]:
    """The rule and what to type next. Where nobody can be fenced nobody waits for that, and only a human can say that IO may go on."""
    rule, remedy = WAY_OUT.get(state, ("no-row", "this is a hole in the table: please report it"))
    if state is S.FROZEN and fencing(goal) == "none":
        remedy = (f"something suspended its IO, and no fencing is configured: switch off the node that does not answer, then, on the one "
                  f"that is left, `drbdadm resume-io {resource}` is yours to type; nothing was sent")
    return rule, remedy


def explain(goal: Goal, facts: ClusterFacts, pair: Pair, state: Resource) -> Refused:
    """The refusal for a state without a way on: what it is and what to type next are the diagnosis's words."""
    rule, remedy = way_out(goal, pair.wanted.name, state)
    said, type_next = _diagnosis(pair, facts)
    remedy = f"{remedy}; next: {type_next}" if type_next else remedy
    why = f"; {pair.prediction.why}" if state in (S.SPLIT_BRAIN, S.DIVERGED, S.UNRELATED) else ""
    evidence = said + "; ".join(_side_words(side) for side in pair.sides) + why
    return Refused(rule, f"{goal.direction.value} {pair.wanted.name}", f"it is {state.value}: {evidence}", remedy)


def _diagnosis(pair: Pair, facts: ClusterFacts) -> tuple[str, str]:
    """What the diagnosis adds to evidence and remedy; "" where it adds nothing."""
    kind, summary, type_next = in_short(pair, facts)
    return (f"{kind.value}: {summary}; ", type_next) if kind in SAYS_MORE else ("", "")


def layer_overdue(waiting: Waiting, waited: float) -> Refused:
    """The refusal for a layer that took longer than it may."""
    return Refused("deadline", f"{waiting.layer} on {' and '.join(waiting.nodes)}", f"waited {waited:.0f} s: {waiting.why}",
                   "see that layer's own log on the node (journalctl), then run again", Kind.DEADLINE)


def overdue(waiting: Waiting, facts: ClusterFacts, pair: Pair, state: Resource, waited: float) -> Refused:
    """The refusal for a wait that lasted longer than it may."""
    if state is S.SUSPECT:
        rule, remedy = WAY_OUT[state]
        return Refused(rule, f"up {pair.wanted.name}", f"it is Suspect: {'; '.join(map(_side_words, pair.sides))}", remedy)
    if waiting.event == "claim_ends":
        return Refused("one-destructive-in-flight", f"anything on {pair.wanted.name}", f"{waiting.why}, for {waited:.0f} s now",
                       "look at that process on the node; when it has ended, run again", Kind.DEADLINE)
    if state is S.SYNC_STALLED:
        said, type_next = _diagnosis(pair, facts)
        words = f"nothing was copied for {waited:.0f} s more: {said}{'; '.join(map(_side_words, pair.sides))}"
        remedy = f"see the kernel logs of both nodes; to start it again: {type_next or 'orchestrate status says how'}"
        return Refused("deadline", f"copying {pair.wanted.name}", words, remedy, Kind.DEADLINE)
    sides = "; ".join(f"{side.node} is {side.connection.value}" for side in pair.sides)
    ports = "; ".join(
        f"port on {name}: {facts.node(name).layer('port').detail}" for name in pair.wanted.nodes if facts.node(name).layer("port").detail
    )
    remedy = "check the replication network and every firewall between the nodes for that port, then run again"
    return Refused(
        "deadline", f"{waiting.event.replace('_', ' ')} {pair.wanted.name}",
        f"waited {waited:.0f} s: {_diagnosis(pair, facts)[0]}{sides}{'; ' + ports if ports else ''}", remedy, Kind.DEADLINE,
    )
