"""What an administrator decides a split brain from: what each side changed, what each choice would lose, and what would be done.

Pure; which files the changed blocks belong to is found out elsewhere. Why two sides are apart at all, whatever the reason, is
`diagnosis`: this is asked once that has come to split brain, and is what a consent is given on.
"""

from __future__ import annotations

from attrs import evolve, field, frozen

from states.consent import NOTHING_CHANGED, Consent, Record, token_of
from states.expect import after_power_cycle
from states.facts import ClusterFacts, Side
from states.goal import Do, Goal, Ledger, Refused, Step
from states.handshake import Verdict
from states.invariants import judge
from states.pair import SPLIT, Pair, contender
from states.plan import Item, Plan, plan
from states.recovery import common_ancestor, nothing_to_lose
from states.recovery_rules import hung_layers
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
    """One side as the victim: what would be lost at most (KiB, None: not known), and what would be done, or why it may not be.

    `hangs`: its layers that hang. Only its power ends that: it is switched off and on first, by its agent or by hand."""

    victim: str
    loses: int | None
    plan: Plan
    hangs: tuple[str, ...] = ()

    @property
    def refused(self) -> Refused | None:
        """The rule that forbids this choice."""
        return self.plan.refused

    @property
    def by_hand_first(self) -> bool:
        """Nothing is in the way but what hangs on the victim, and no program can end that."""
        return bool(self.hangs) and self.refused is not None and self.refused.rule == "layer-hung"


@frozen
class Assessment:
    """A resource as it is seen now. `split`: it is split brain; else `why` says what it is. `token` names what was shown.

    Not `known`: too little could be read to tell whether it is, and `why` says what is missing.
    """

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
    known: bool = True


def assess(goal: Goal, facts: ClusterFacts, resource: str, agents: frozenset[str] = frozenset()) -> Assessment:
    """Look at one resource. `agents`: nodes that a program can switch off and on. KeyError for a resource the goal does not have."""
    pair = _pair(goal, facts, resource)
    shown = tuple((side.node, side.identifiers) for side in pair.sides)
    split = _is_split(pair)
    prediction = pair.prediction
    loser = "" if prediction.loser is None else f"; {pair.sides[prediction.loser].node} would lose its changes"
    alone = f"{prediction.verdict.value}: {prediction.why}{loser}"
    views = tuple(_view(side, goal, facts, pair) for side in pair.sides)
    found = Assessment(resource, split, prediction.why, token_of(resource, shown), common_ancestor(pair), views, alone)
    found = evolve(found, agreed=agreed(goal, facts, resource), known=pair.met or prediction.verdict is not Verdict.UNKNOWN)
    if not split or any(ids is None for _, ids in shown):
        return found
    choices = []
    for side in pair.sides:
        ended = _planned(with_consent(goal, facts, resource, side.node), facts, pair, side.node, has_agent=side.node in agents)
        loses = side.out_of_sync if found.ancestor else None
        choices.append(Choice(side.node, loses, ended, hung_layers(goal, facts.node(side.node))))
    return evolve(found, choices=tuple(choices), harmless=nothing_to_lose(pair, goal, facts))


def _planned(goal: Goal, facts: ClusterFacts, pair: Pair, victim: str, *, has_agent: bool) -> Plan:
    """What would be done to this victim. Where the way ends at what hangs there: through its power switch, and on from its boot."""
    found = plan(goal, facts)
    hung = hung_layers(goal, found.after.node(victim))
    if found.refused is None or found.refused.rule != "layer-hung" or not hung:
        return found
    name, shooter = pair.wanted.name, next(node for node in pair.wanted.nodes if node != victim)
    why = f"on {victim} hangs {', '.join(hung)}, and only its power ends that"
    if not has_agent:
        by_hand = (f"cut its power, switch it on, and when it answers type it again; by itself that goes with a fence agent: "
                   f"[node.{victim}.fence]")
        return evolve(found, refused=evolve(found.refused, evidence=f"{why}; it has no fence agent", remedy=by_hand))
    step = Step(Do.POWER_CYCLE, shooter, name, because=f"{why}: its fence agent switches it off and on", event="fenced", says=victim)
    broken = judge(found.after, step, pair.wanted, goal)
    if broken is not None:
        return evolve(found, refused=Refused(broken.rule, f"switch {victim} off and on", broken.evidence, broken.remedy))
    rest = plan(goal, after_power_cycle(found.after, victim))
    item = Item(step.key, f"switch {victim} off and on, if that still hangs then", shooter, name, step.because,
                tuple(one.key for one in found.items), step)
    return evolve(rest, items=(*found.items, item, *(_after(one, item) for one in rest.items)))


def _after(item: Item, before: Item) -> Item:
    """What needs nothing that was planned waits for the boot."""
    return item if item.needs else evolve(item, needs=(before.key,))


def _view(side: Side, goal: Goal, facts: ClusterFacts, pair: Pair) -> SideView:
    brings = contender(side)
    return SideView(
        side.node, side.role.value, side.disk.value, side.connection.value, side.out_of_sync if side.attached else None,
        brings is not None and brings.crashed, stack_stands_on(goal.for_victim(side.node), facts, pair.wanted),
        str(side.identifiers) if side.identifiers else "unread",
    )


def consent_for(goal: Goal, facts: ClusterFacts, resource: str, victim: str, by: str) -> Consent | None:
    """A consent about what is seen now; None while a side's identifiers are unread."""
    shown = tuple((side.node, side.identifiers) for side in _pair(goal, facts, resource).sides)
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
