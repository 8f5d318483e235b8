"""What a supervisor thinks of one picture: the alarms, and at most one repair. Pure; the tables and rules decide, as for `up`.

A repair is a run towards "everything up" that nobody asked for: `decide` says whether there is a step to take, rule nobody-asked
what is none of a supervisor's business. What may not be repaired is left as it is, and all that stands on it; the rest goes on.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, field, frozen

from states.alarm import Alarm, Severity
from states.assessment import agreed, consent_for
from states.consent import NOTHING_CHANGED, Consent
from states.decide import decide
from states.evolve import evolve
from states.facts import ClusterFacts
from states.flap import History, machine_of, steps_of
from states.goal import Decision, Goal, Kind, Ledger, Look, Refused, Steps, Wanted
from states.pair import Pair
from states.plan import describe
from states.recovery import nothing_to_lose
from states.stacks import Stack
from states.watchful import alarms_of, in_order, unclear

REPAIR, OBSERVE, OFF = "repair", "observe", "off"
MOST = 64
"""More rounds of leaving something out than a cluster has machines: more is a bug, and is said so."""


@frozen
class Policies:
    """What may be repaired, only watched, or not even that: `default`, and by name where it differs."""

    default: str = REPAIR
    resources: Mapping[str, str] = Factory(dict)
    layers: Mapping[str, str] = Factory(dict)

    def of_resource(self, name: str) -> str:
        """Of one DRBD resource."""
        return self.resources.get(name, self.default)

    def of_layer(self, name: str) -> str:
        """Of a layer, by its whole name ("mount opt") or its kind ("mount")."""
        return self.layers.get(name, self.layers.get(name.partition(" ")[0], self.default))


@frozen
class Repair:
    """A run to make. `machines`: those its first steps are for; `why` names the steps, for people."""

    goal: Goal
    machines: tuple[str, ...]
    why: str


@frozen
class Verdict:
    """`why`: what holds a repair back, "" where nothing does. `look`: nodes to be looked at first. `history`: what of it still
    counts. `again`: to be asked again then, seconds since the epoch, though nothing has happened. `unclear`: machines of which
    nobody can tell now: an alarm about one of them stays, though its cause is not seen."""

    alarms: tuple[Alarm, ...] = ()
    repair: Repair | None = None
    why: str = ""
    look: tuple[str, ...] = ()
    history: History = field(factory=History)
    again: float | None = None
    unclear: frozenset[str] = frozenset()


def judge(policies: Policies, goal: Goal, facts: ClusterFacts, ledger: Ledger, history: History, now: float, busy: str = "") -> Verdict:
    """`goal`: everything up, as a human would ask for it. `busy`: who is at work under the lease, "" if nobody is. `now`: seconds
    since the epoch."""
    kept = frozenset(node.name for node in facts.nodes if node.maintenance)
    history = history.seen_well(in_order(goal, facts, ledger))
    off = _with_policy(policies, goal, OFF)
    alarms = alarms_of(goal, facts, ledger, kept, off)
    mine = _Unasked(policies, goal, facts, ledger, history, now, kept)
    decision = mine.decide()
    alarms = (*_explained(alarms, mine.refused), *mine.stopped)
    if history.failures and alarms:
        alarms = (*alarms, _failed(history))
    verdict = Verdict(alarms, history=history, unclear=unclear(goal, facts, ledger, kept, off))
    if isinstance(decision, Look):
        return evolve(verdict, look=decision.nodes, why=decision.why)
    if not isinstance(decision, Steps):
        return verdict
    if busy:
        return evolve(verdict, why=f"{busy} is at work")
    if now < history.next_try:
        return evolve(verdict, why="the last repair came to nothing; the next one waits", again=history.next_try)
    machines = tuple(dict.fromkeys(machine_of(step) for step in decision.steps))
    words = "; ".join(f"{describe(step)} ({step.resource or step.layer}) on {step.node}" for step in decision.steps)
    return evolve(verdict, repair=Repair(mine.goal, machines, words))


def _failed(history: History) -> Alarm:
    said = history.failed[1]
    again = f"{history.failures} in a row; it is tried again"
    return Alarm("repair-failed", "supervisor", Severity.WARNING, "the last repair came to nothing", f"{said} ({again})",
                 "orchestrate journal; mend what it says")


def _with_policy(policies: Policies, goal: Goal, *wanted: str) -> frozenset[str]:
    """Machines with one of these policies, and what stands on them."""
    found = {one.name for one in goal.resources if policies.of_resource(one.name) in wanted}
    stack = goal.stack or Stack()
    for placed in stack.layers:
        if policies.of_layer(placed.name) in wanted or placed.resource in found:
            found |= _upwards(stack, placed.name, placed.nodes)
    return frozenset(found)


def _upwards(stack: Stack, layer: str, nodes: tuple[str, ...]) -> set[str]:
    """A layer on these nodes, and all that stands on it there."""
    return {f"{one.name} on {node}" for one in (stack.placed(layer), *stack.above(layer)) for node in nodes if node in one.nodes}


def _explained(alarms: tuple[Alarm, ...], refused: Mapping[str, Refused]) -> tuple[Alarm, ...]:
    """Why it is not repaired, added to the alarm about it; an alarm of its own where there is none."""
    found = []
    for alarm in alarms:
        no = refused.get(alarm.about)
        why = f"{alarm.evidence}; not repaired: {no.what}: {no.evidence} (rule {no.rule})" if no is not None else ""
        found.append(alarm if no is None or no.kind is Kind.UNREACHABLE else evolve(alarm, evidence=why, remedy=no.remedy))
    about = {alarm.about for alarm in alarms}
    for machine, no in refused.items():
        if machine not in about and no.kind is not Kind.UNREACHABLE:
            found.append(Alarm("refused", machine, Severity.WARNING, f"{machine} is not repaired: {no.what}",
                               f"{no.evidence} (rule {no.rule})", no.remedy))
    return tuple(found)


class _Unasked:
    """The way up that nobody asked for. `goal`: with all left out that has to be; `refused`: why, by machine."""

    def __init__(
        self, policies: Policies, goal: Goal, facts: ClusterFacts, ledger: Ledger, history: History, now: float, kept: frozenset[str]
    ) -> None:
        self._facts, self._ledger, self._history, self._now = facts, ledger, history, now
        self._stack = goal.stack or Stack()
        self.refused: dict[str, Refused] = {}
        self.stopped: list[Alarm] = []
        standing = kept - facts.off
        leave = set(_with_policy(policies, goal, OBSERVE, OFF))
        for wanted in goal.resources:
            if standing & set(wanted.nodes):
                leave.add(wanted.name)
        for node in facts.nodes:
            if node.name in standing or (not node.reachable and node.name not in facts.off):
                leave |= {f"{placed.name} on {node.name}" for placed in self._stack.layers if node.name in placed.nodes}
        consents = tuple(one for wanted in goal.resources if wanted.name not in leave for one in self._harmless(goal, wanted))
        self.goal = evolve(goal, unasked=True, degraded=bool(facts.off), leave=frozenset(leave), consents=consents)

    def _harmless(self, goal: Goal, wanted: Wanted) -> tuple[Consent, ...]:
        """A split brain that no human has to decide: one side provably changed nothing, and nothing stands on it; or one that a
        supervisor has begun to end."""
        known = agreed(goal, self._facts, wanted.name)
        if known is not None:
            return (known.consent,) if known.consent.by == NOTHING_CHANGED else ()
        victim = nothing_to_lose(Pair.of(self._facts, wanted, Ledger()), goal, self._facts)
        found = consent_for(goal, self._facts, wanted.name, victim, NOTHING_CHANGED) if victim is not None else None
        return (found,) if found is not None else ()

    def decide(self) -> Decision:
        """What is to be done of what may be done."""
        for wanted in self.goal.resources:
            if wanted.name not in self.goal.leave:
                self._try_alone(wanted)
        for _ in range(MOST):
            decision = decide(self.goal, self._facts, self._ledger)
            if isinstance(decision, Refused):
                if not self._leave_out(decision):
                    return decision
            elif not isinstance(decision, Steps) or not self._leave_stopped(decision):
                return decision
        raise RuntimeError(f"no end after {MOST} rounds: {sorted(self.goal.leave)}")

    def _try_alone(self, wanted: Wanted) -> None:
        """One resource that is refused must not hold back the others."""
        layers = {f"{placed.name} on {node}" for placed in self._stack.layers for node in placed.nodes}
        others = {one.name for one in self.goal.resources if one is not wanted}
        decision = decide(evolve(self.goal, leave=self.goal.leave | layers | others), self._facts, self._ledger)
        if isinstance(decision, Refused):
            self.refused[wanted.name] = decision
            self._leave(wanted.name)

    def _leave(self, machine: str) -> None:
        """It, and what is to be started on it."""
        found = {machine}
        for placed in self._stack.layers:
            if placed.resource == machine:
                found |= _upwards(self._stack, placed.name, placed.nodes)
            for node in placed.nodes:
                if machine == f"{placed.name} on {node}":
                    found |= _upwards(self._stack, placed.name, (node,))
        self.goal = evolve(self.goal, leave=self.goal.leave | found)

    def _leave_out(self, refused: Refused) -> bool:
        """Leave out the layer that is refused. False where the refusal is about none: then nothing can be done."""
        machines = (f"{placed.name} on {node}" for placed in self._stack.layers for node in placed.nodes)
        machine = next((one for one in machines if refused.what.endswith(f" {one}") and one not in self.goal.leave), None)
        self.refused[machine or "cluster"] = refused
        if machine is not None:
            self._leave(machine)
        return machine is not None

    def _leave_stopped(self, steps: Steps) -> bool:
        """Leave out what has been tried too often. False where nothing has."""
        over = [(key, machine) for key, machine in steps_of(steps.steps) if self._history.stopped(key, self._now)]
        for key, machine in over:
            self._leave(machine)
            times, window = self._history.times(key, self._now), self._history.window
            self.stopped.append(Alarm(
                "flapping", machine, Severity.CRITICAL, f"{machine} does not stay up: it is not repaired any more",
                f"{key} was sent {times} times within {window:.0f} s", "find out why; then orchestrate up, which starts the count anew"))
        return bool(over)
