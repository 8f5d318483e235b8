"""Rules for what may end a split brain: named predicates over facts and one step. Each is asked when a step is decided and right
before it is sent; what the node can re-check itself, its script does.

They share nothing with the machine that plans the recovery but the prediction: a wrong stage must not let a wrong discard pass.
"""

from __future__ import annotations

from attrs import frozen

from states.consent import NOT_SAVED, NOTHING_CHANGED, Consent
from states.facts import ClusterFacts, NodeFacts, Side
from states.goal import Do, Goal, Ledger, Step, Wanted
from states.handshake import Verdict
from states.identifiers import Flag
from states.pair import Pair
from states.recovery import common_ancestor, flagged_meeting, flagged_once, unchanged
from states.stack import stack_stands_on
from states.vocabulary import DiskState, Layer, Role

Found = tuple[str, str] | None
AGAIN = "orchestrate recover-splitbrain {} --plan"


@frozen
class Loss:
    """What a rule is asked about: a step that leads to one side's changes being given up."""

    facts: ClusterFacts
    step: Step
    wanted: Wanted
    goal: Goal
    ledger: Ledger

    @property
    def consent(self) -> Consent | None:
        """What was agreed for the resource."""
        return next((one for one in self.goal.consents if one.resource == self.wanted.name), None)

    @property
    def sides(self) -> tuple[Side, Side]:
        """Both sides, in the order of the file."""
        one, other = self.facts.sides(self.wanted.name, self.wanted.nodes)
        return one, other

    def side(self, *, victim: bool) -> Side:
        """The side that loses, or the one that stays. Without a consent the step's own node is the victim."""
        name = self.consent.victim if self.consent is not None else self.step.node
        return next(side for side in self.sides if (side.node == name) is victim)


def consented(loss: Loss) -> Found:
    """no-discard-without-consent: somebody agreed to this victim, on seeing just these identifiers, and both nodes have it on disk."""
    consent = loss.consent
    again = AGAIN.format(loss.wanted.name)
    if consent is None:
        return "nobody has agreed to lose anything", again
    if loss.step.do is Do.DISCARD and loss.step.node != consent.victim:
        return f"it was agreed that {consent.victim} loses its changes, not {loss.step.node}", again
    if not consent.holds(tuple((side.node, side.identifiers) for side in loss.sides)):
        shown = "; ".join(f"{node} had {ids}" for node, ids in consent.shown)
        now = "; ".join(f"{side.node} has {side.identifiers or 'none that could be read'}" for side in loss.sides)
        return f"the identifiers are not those that were shown: {shown}; now {now}: the consent is void", again
    if consent.by == NOTHING_CHANGED and not unchanged(loss.side(victim=True)):
        return f"{consent.victim} has changed something since", f"{again}, then name a victim"
    return None


def every_record_read(loss: Loss) -> Found:
    """Of one-victim: a record that is there and cannot be read may name anybody. Nothing is ended for ever beside it."""
    return unread_record(loss.facts, loss.wanted)


def unread_record(facts: ClusterFacts, wanted: Wanted) -> Found:
    """What is seen, and what to do about it."""
    name = wanted.name
    for node in (facts.node(one) for one in wanted.nodes):
        if name in node.unread:
            record = f"/var/lib/orchestrate/recovery/{name}"
            return (f"{node.name} has a record of a recovery that cannot be read: {record}",
                    f"`orchestrate journal` says who was to lose; then on {node.name}: "
                    f"mv {record} /var/lib/orchestrate/{name}.unread, and run again")
    return None


def one_victim(loss: Loss) -> Found:
    """one-victim: every record of this recovery, on either node, can be read and names the same side."""
    unread = every_record_read(loss)
    if unread is not None:
        return unread
    consent = loss.consent
    for node in loss.wanted.nodes:
        record = loss.facts.node(node).record(loss.wanted.name)
        if consent is None or (record is None and loss.step.do is Do.RECORD_CONSENT):
            continue
        if record is None:
            return f"{node} has no record of the consent", AGAIN.format(loss.wanted.name)
        stale = record.consent.token != consent.token  # of an earlier split: about other identifiers
        if record.consent.victim != consent.victim and not stale:
            return (f"{node} has on record that {record.consent.victim} loses its changes, not {consent.victim}",
                    f"orchestrate recover-splitbrain {loss.wanted.name} --victim {record.consent.victim}")
        if stale and loss.step.do is not Do.RECORD_CONSENT:
            return f"{node} has the record of another recovery", AGAIN.format(loss.wanted.name)
    return None


def victim_is_idle(loss: Loss) -> Found:
    """victim-is-idle: it is Secondary or down, and nothing has its data open."""
    victim = loss.side(victim=True)
    if victim.configured is None or victim.role is Role.UNKNOWN:
        return f"the role of {victim.node} is not known", "look again: orchestrate status"
    if victim.role is not Role.SECONDARY:
        return f"{victim.node} is {victim.role.value}", "it has to be Secondary first"
    if victim.holders and not victim.attached:
        return f"the backing device of {victim.node} is in use by {', '.join(victim.holders)}", "stop what uses it: docs/hazards.md"
    standing = stack_stands_on(loss.goal.for_victim(victim.node), loss.facts, loss.wanted)
    return (standing, "what stands on it has to be Down first") if standing else None


def survivor_is_good(loss: Loss) -> Found:
    """never-discard-the-only-good: the side that stays has all of its own data, on a disk that nobody else had."""
    survivor = loss.side(victim=False)
    what = "name the other side as the victim, or mend this one first"
    if survivor.disk is not DiskState.UP_TO_DATE:
        return f"the disk of {survivor.node} is {survivor.disk.value}: {loss.side(victim=True).node} has the only good copy", what
    if survivor.identifiers is None or not {Flag.CONSISTENT, Flag.WAS_UP_TO_DATE} <= survivor.identifiers.flags:
        return f"the metadata of {survivor.node} does not call its data complete", what
    if survivor.touched:
        return f"the backing device of {survivor.node} was in use behind DRBD's back", what
    return (f"the IO of {survivor.node} is frozen", "let it go on first: docs/safety.md") if survivor.suspended else None


def saved_first(loss: Loss) -> Found:
    """save-before-discard: what the victim alone has is in an archive that this run has verified, and both nodes know where."""
    victim = loss.side(victim=True)
    if unchanged(victim) and common_ancestor(Pair.of(loss.facts, loss.wanted, loss.ledger)):
        return None
    place = dict(loss.ledger.archives).get(loss.wanted.name, "")
    if not place and (loss.step.do is Do.CONNECT or _begun(loss)):  # the victim was armed by a run that had verified what is on record
        record = loss.facts.node(victim.node).record(loss.wanted.name)
        place = record.saved if record is not None else ""
    if not place:
        return f"the changes of {victim.node} are not saved", f"orchestrate recover-splitbrain {loss.wanted.name}: it saves them first"
    for node in loss.wanted.nodes:
        record = loss.facts.node(node).record(loss.wanted.name)
        if record is None or record.saved != place:
            return f"{node} does not know that they are saved in {place}", "run it again"
    return None


def victim_alone_loses(loss: Loss) -> Found:
    """discards-the-victim-only (of look-before-connect): with the flag, DRBD's own rules make this side the loser and nobody else."""
    pair, victim = Pair.of(loss.facts, loss.wanted, loss.ledger), loss.side(victim=True)
    found = flagged_meeting(pair, victim.node, loss.facts)
    if found.uncounted:
        return ("they parted long ago: the bitmaps do not count from one point, so neither an archive nor 8.4's resync would be complete",
                "save the victim's whole disk first, as docs/split-brain.md says; nothing was connected")
    at = pair.sides.index(victim)
    if found.verdict is Verdict.SPLIT_AUTO and found.losers <= {at} and found.source == 1 - at:
        return None
    overruled = "; an after-sb policy decides before the flag: set all three to disconnect"
    policies = overruled if found.verdict is Verdict.SPLIT_AUTO else ""
    return f"the handshake would end in {found.verdict.value}: {found.why}{policies}", "nothing was connected; see docs/split-brain.md"


def hangs_for_good(loss: Loss) -> Found:
    """fence-the-hung-victim-only: its stack hangs, so nothing but its power ends it; its peer is well, and has all data of its own."""
    consent = loss.consent
    again = AGAIN.format(loss.wanted.name)
    if consent is None or loss.step.says != consent.victim or loss.step.node == consent.victim:
        return "it is not the victim that was agreed on, or it would shoot itself", again
    agreed = consented(loss) or one_victim(loss)
    if agreed is not None:
        return agreed
    victim, shooter = (loss.facts.node(name) for name in (consent.victim, loss.step.node))
    if not hung_layers(loss.goal, victim):
        return f"nothing hangs on {victim.name}", "orchestrate status"
    if hung := hung_layers(loss.goal, shooter):
        return f"{hung[0]} hangs on {shooter.name}, too", "docs/hazards.md, `a hung layer`: which one is ill?"
    for name, side in shooter.sides:
        if side.disk is not DiskState.UP_TO_DATE:
            return f"{name} on {shooter.name} is {side.disk.value}: {victim.name} may have the only good copy", "mend that first"
    return None


def hung_layers(goal: Goal, node: NodeFacts) -> tuple[str, ...]:
    """What of the stack hangs there."""
    layers = goal.stack.layers if goal.stack is not None else ()
    return tuple(one.name for one in layers if node.name in one.nodes and node.layer(one.name).state is Layer.HUNG)


def covered(loss: Loss) -> bool:
    """The survivor may connect although the handshake costs somebody: it costs the victim, who waits flagged, and that was agreed."""
    if loss.consent is None or loss.step.do is not Do.CONNECT or loss.step.node == loss.consent.victim:
        return False
    pair, victim = Pair.of(loss.facts, loss.wanted, loss.ledger), loss.side(victim=True)
    if not victim.trying or not pair.prediction.losers <= {pair.sides.index(victim)}:  # were the flag gone, a policy would decide
        return False
    verified = dict(loss.ledger.archives).get(loss.wanted.name) or _begun(loss)
    if pair.prediction.losers and not unchanged(victim) and not verified:
        return False  # ... and what another run has saved may not be all of it any more
    return all(rule(loss) is None for rule in (consented, one_victim, victim_is_idle, survivor_is_good, saved_first, victim_alone_loses))


def _begun(loss: Loss) -> bool:
    """A discard under this consent was carried out, and the victim's disk is no whole image of anything any more: what it had is
    in the archive on record, and nobody could have written there since."""
    victim = loss.side(victim=True)
    inconsistent = victim.identifiers is not None and Flag.CONSISTENT not in victim.identifiers.flags
    return loss.consent is not None and inconsistent and flagged_once(loss.facts, loss.consent)


def waived(place: str) -> str:
    """The operator's reason for not saving; "" where it was saved."""
    return place.removeprefix(NOT_SAVED) if place.startswith(NOT_SAVED) else ""
