"""What an administrator decides a split brain from: what each side changed, what each choice would lose, and what would be done.

Pure; which files the changed blocks belong to is found out elsewhere.
"""

from __future__ import annotations

from attrs import evolve, field, frozen

from states.consent import NOTHING_CHANGED, Consent, Record, token_of
from states.facts import ClusterFacts, Side
from states.goal import Goal, Ledger, Refused
from states.pair import SPLIT, Pair, contender
from states.plan import Plan, plan
from states.recovery import common_ancestor, nothing_to_lose
from states.stack import stack_stands_on


@frozen
class SideView:
    """One side in words. `changed`: KiB marked as changed since the parting, None if that cannot be read now."""

    node: str
    role: str
    disk: str
    connection: str
    changed: int | None
    inflated: bool
    serves: str
    identifiers: str


@frozen
class Choice:
    """One side as the victim: what would be lost at most (KiB, None: not known), and what would be done, or why it may not be."""

    victim: str
    loses: int | None
    plan: Plan

    @property
    def refused(self) -> Refused | None:
        """The rule that forbids this choice."""
        return self.plan.refused


@frozen
class Assessment:
    """A resource as it is seen now. `split`: it is split brain; else `why` says what it is. `token` names what was shown."""

    resource: str
    split: bool
    why: str
    token: str
    ancestor: bool
    sides: tuple[SideView, ...]
    alone: str
    choices: tuple[Choice, ...] = field(default=())
    harmless: str | None = None
    agreed: Record | None = None


def assess(goal: Goal, facts: ClusterFacts, resource: str) -> Assessment:
    """Look at one resource. KeyError for one the goal does not have."""
    wanted = {one.name: one for one in goal.resources}[resource]
    pair = Pair.of(facts, wanted, Ledger())
    shown = tuple((side.node, side.identifiers) for side in pair.sides)
    split = _is_split(pair)
    prediction = pair.prediction
    loser = "" if prediction.loser is None else f"; {pair.sides[prediction.loser].node} would lose its changes"
    alone = f"{prediction.verdict.value}: {prediction.why}{loser}"
    views = tuple(_view(side, goal, facts, pair) for side in pair.sides)
    found = Assessment(resource, split, prediction.why, token_of(resource, shown), common_ancestor(pair), views, alone)
    found = evolve(found, agreed=agreed(goal, facts, resource))
    if not split or any(ids is None for _, ids in shown):
        return found
    choices = tuple(
        Choice(side.node, side.out_of_sync if found.ancestor else None, plan(with_consent(goal, facts, resource, side.node), facts))
        for side in pair.sides
    )
    return evolve(found, choices=choices, harmless=nothing_to_lose(pair, goal, facts))


def _view(side: Side, goal: Goal, facts: ClusterFacts, pair: Pair) -> SideView:
    brings = contender(side)
    return SideView(
        side.node, side.role.value, side.disk.value, side.connection.value, side.out_of_sync if side.attached else None,
        brings is not None and brings.crashed, stack_stands_on(goal.for_victim(side.node), facts, pair.wanted),
        str(side.identifiers) if side.identifiers else "unread",
    )


def consent_for(goal: Goal, facts: ClusterFacts, resource: str, victim: str, by: str) -> Consent | None:
    """A consent about what is seen now; None while a side's identifiers are unread."""
    wanted = {one.name: one for one in goal.resources}[resource]
    shown = tuple((side.node, side.identifiers) for side in facts.sides(resource, wanted.nodes))
    known = tuple((node, ids) for node, ids in shown if ids is not None)
    return Consent(resource, victim, known, by) if len(known) == len(shown) else None


def with_consent(goal: Goal, facts: ClusterFacts, resource: str, victim: str) -> Goal:
    """The goal of a recovery with this victim. ValueError while identifiers are unread."""
    by = NOTHING_CHANGED if nothing_to_lose(_pair(goal, facts, resource), goal, facts) == victim else "a plan"
    consent = consent_for(goal, facts, resource, victim, by)
    if consent is None:
        raise ValueError(f"{resource}: its identifiers are not known")
    others = (consent_for(goal, facts, one.name, victim, "a plan") for one in goal.resources
              if one.name != resource and _is_split(_pair(goal, facts, one.name)))  # a cut link splits all of them: one plan for all
    return evolve(goal, consents=(*goal.consents, consent, *(one for one in others if one is not None)))


def _is_split(pair: Pair) -> bool:
    return not pair.met and pair.prediction.verdict in SPLIT


def agreed(goal: Goal, facts: ClusterFacts, resource: str) -> Record | None:
    """What an earlier run has left on the nodes: a recovery that can go on. It still holds, or the two have met under it."""
    pair = _pair(goal, facts, resource)
    seen = tuple((side.node, side.identifiers) for side in pair.sides)
    records = (facts.node(side.node).record(resource) for side in pair.sides)
    return next((record for record in records if record is not None and (pair.met or record.consent.holds(seen))), None)


def _pair(goal: Goal, facts: ClusterFacts, resource: str) -> Pair:
    return Pair.of(facts, {one.name: one for one in goal.resources}[resource], Ledger())
