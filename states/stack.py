"""What the stack does next: the layers above and beside DRBD, up from the lowest, down from the top, on all nodes at once.

Which layers there are is `stacks`' data, how one layer moves is `layer`'s table, what may never be is in `stack_rules`.
"""

from __future__ import annotations

from states import layer as layers
from states.facts import ClusterFacts, LayerFact, NodeFacts
from states.goal import Decision, Direction, Do, Goal, Kind, Ledger, Look, Reached, Refused, Step, Steps, Waiting, Wanted
from states.one_at_a_time import CLAIM_DEADLINE
from states.pair import Pair
from states.reach import fencing, said_off
from states.resource import classify
from states.stack_rules import judge_layer
from states.stacks import Placed, Stack, plain_samba
from states.table import Row, towards
from states.vocabulary import By, DiskState, Layer, Resource, Role

SERVES = (Resource.PRIMARY, Resource.DUAL_PRIMARY, Resource.SYNCING, Resource.SYNC_STALLED)
"""States of a pair on whose Primary, UpToDate side the upper layers may be started."""


def decide_stack(goal: Goal, facts: ClusterFacts, ledger: Ledger) -> Decision:
    """The next steps of every layer on every node, or why there are none. Without a stack: Reached."""
    stack = goal.stack
    if stack is None:
        return Reached()
    strange = next((node for node in facts.nodes if node.name in stack.voters and node.hostname not in ("", node.name)), None)
    if strange is not None:
        return Refused("right-node", f"anything on {strange.name}", f"its address leads to a machine that calls itself {strange.hostname}",
                       "mend `address` in cluster.toml; the node's name there is what `uname -n` says")
    if goal.direction is Direction.UP:
        return _Way(goal, facts, ledger, stack).up()
    return _Way(goal, facts, ledger, stack).down()


def layer_state(stack: Stack, facts: ClusterFacts, placed: Placed, node: str) -> LayerFact:
    """One layer on one node; what one node does for all is Up everywhere when it is seen anywhere.

    Unless this node's own look shows something else under that name, as a volume group on a foreign disk.
    """
    own = facts.node(node).layer(placed.name)
    if not (placed.spec.once or placed.spec.joint) or own.state is Layer.FAILED:
        return own
    seen = (facts.node(other).layer(placed.name) for other in placed.nodes)
    return next((fact for fact in seen if fact.state is Layer.UP), own)


def side_serves(goal: Goal, facts: ClusterFacts, placed: Placed, node: str) -> bool:
    """The node's own side of the layer's resource is Primary and UpToDate, and the pair is in a state to be served from."""
    wanted = next((one for one in goal.resources if one.name == placed.resource), None)
    if wanted is None:
        return placed.resource == ""
    side = facts.node(node).side(placed.resource)
    if any(one in goal.gone(facts) for one in wanted.nodes):  # alone: nobody else can have written
        return side.role is Role.PRIMARY and side.disk is DiskState.UP_TO_DATE
    return (side.role is Role.PRIMARY and side.disk is DiskState.UP_TO_DATE
            and classify(Pair.of(facts, wanted, Ledger())) in SERVES)


def stack_stands_on(goal: Goal, facts: ClusterFacts, wanted: Wanted) -> str:
    """What of the stack stands on this resource on a node that is to go down, in words; "" if nothing does."""
    if goal.stack is None:
        return ""
    for placed in goal.stack.layers:
        if not placed.spec.stop or not _on(goal.stack, placed, wanted.name):
            continue
        for node in goal.acting(placed.nodes, facts):
            if node in wanted.nodes and not is_down(facts.node(node).layer(placed.name)):
                return f"{placed.name} on {node} is {facts.node(node).layer(placed.name).state.value}"
    return ""


def _on(stack: Stack, placed: Placed, resource: str) -> bool:
    """The layer stands on the resource, itself or through what it needs."""
    return placed.resource == resource or any(_on(stack, stack.placed(need), resource) for need in placed.needs)


def is_down(fact: LayerFact) -> bool:
    """Nothing of the layer runs there: only a fresh Down says so."""
    return fact.state is Layer.DOWN


class _Way:
    """One decision about the whole stack."""

    def __init__(self, goal: Goal, facts: ClusterFacts, ledger: Ledger, stack: Stack) -> None:
        self.goal, self.facts, self.ledger, self.stack = goal, facts, ledger, stack

    def up(self) -> Decision:
        """Every layer whose needs are met is started; what is started already is waited for."""
        steps: list[Step] = []
        waiting: Waiting | None = None
        missing: list[tuple[Placed, str]] = []
        for placed, node in self._places(self.stack.layers):
            if self._silent(node) or f"{placed.name} on {node}" in self.goal.leave:
                continue
            fact = layer_state(self.stack, self.facts, placed, node)
            early = fact.state is Layer.UP and self._early(placed, node)
            if fact.state is Layer.UP and not early:
                continue
            missing.append((placed, node))
            if early:
                answer = self._stop(placed, node, f"it runs before what it needs: {early}")
                if isinstance(answer, Refused | Waiting):
                    return answer
                steps += answer
                continue
            if not self._ready(placed, node):
                continue
            made = self._being_made(placed)
            if made is not None:
                waiting = waiting or made
                continue
            row = towards(layers.TABLE, fact.state, Layer.UP, Direction.UP, placed.spec)
            if row is None:
                return self._stuck(placed, node, fact)
            if placed.spec.renews and fact.state is Layer.FAILED and not self._bare(placed, node):
                continue
            if row.by is By.AWAITED:
                waiting = waiting or Waiting(row.event, f"{placed.name} on {node} is {fact.state.value}: {fact.detail}",
                                             placed.spec.deadline, "", (node,), placed.name)
                continue
            step = self._step(Do.START_LAYER, placed, node, placed.spec.because, row.event)
            answer = self._allow(step, row.rules)
            if isinstance(answer, Refused | Waiting):
                return answer
            steps += answer
        return self._answer(steps, waiting, missing)

    def down(self) -> Decision:
        """Every layer nothing stands on any more is stopped."""
        steps: list[Step] = []
        waiting: Waiting | None = None
        missing: list[tuple[Placed, str]] = []
        for placed, node in self._places(tuple(reversed(self.stack.layers))):
            if self._silent(node):
                continue
            fact = self.facts.node(node).layer(placed.name)
            if not placed.spec.stop or is_down(fact):
                continue
            missing.append((placed, node))
            if not self._bare(placed, node):
                continue
            row = towards(layers.TABLE, fact.state, Layer.DOWN, Direction.DOWN, placed.spec)
            if row is None:
                return self._stuck(placed, node, fact)
            if row.by is By.AWAITED:
                waiting = waiting or Waiting(row.event, f"{placed.name} on {node} is {fact.state.value}: {fact.detail}",
                                             placed.spec.deadline, "", (node,), placed.name)
                continue
            answer = self._stop(placed, node, "nothing stands on it any more", row)
            if isinstance(answer, Refused | Waiting):
                return answer
            steps += answer
        return self._answer(steps, waiting, missing)

    def _places(self, order: tuple[Placed, ...]) -> list[tuple[Placed, str]]:
        return [(placed, node) for placed in order for node in placed.nodes if node in self.goal.acting(self.stack.nodes, self.facts)]

    def _silent(self, node: str) -> bool:
        """A node without storage that cannot be seen: nobody waits for it, and the goal is not reached without it."""
        return node in self.stack.voters and not self.facts.node(node).reachable

    def _step(self, do: Do, placed: Placed, node: str, because: str, event: str) -> Step:
        return Step(do, node, "", placed.name, because, event=event)

    def _stop(self, placed: Placed, node: str, because: str, row: Row | None = None) -> list[Step] | Refused | Waiting:
        """Stop it, if nothing stands on it on this node."""
        if not self._bare(placed, node):
            return []
        step = self._step(Do.STOP_LAYER, placed, node, because, row.event if row is not None else "stop")
        return self._allow(step, row.rules if row is not None else ("stop-from-top",))

    def _early(self, placed: Placed, node: str) -> str:
        """What a running layer needs and has not, in words: a boot script or a hand started it out of order."""
        if not placed.spec.stop or self._in_use(node):
            return ""
        below = [need for need in self.stack.below(placed.name) if not need.spec.once and not need.spec.file]  # who runs has read his files
        states = [(need.name, self.facts.node(node).layer(need.name).state) for need in below]
        return ", ".join(f"{name} is {state.value}" for name, state in states if state in (Layer.DOWN, Layer.FAILED))

    def _in_use(self, node: str) -> bool:
        """A file system is mounted there, or may be: nothing is taken away from who is served."""
        mounts = [placed for placed in self.stack.layers if placed.spec.name == "mount" and node in placed.nodes]
        return any(not is_down(self.facts.node(node).layer(placed.name)) for placed in mounts)

    def _ready(self, placed: Placed, node: str) -> bool:
        """What it needs on this node is there; what is made once is made by the first node that can."""
        if placed.spec.data and not side_serves(self.goal, self.facts, placed, node):
            return False
        if any(layer_state(self.stack, self.facts, need, node).state is not Layer.UP for need in self.stack.below(placed.name)):
            return False
        if placed.spec.copied and not any(self.facts.node(one).layer(placed.name).state is Layer.UP for one in placed.nodes):
            return node == self._maker(placed)
        if placed.spec.together and not all(self._could_start(placed, other) for other in placed.nodes):
            return False
        if placed.spec.joint:
            return node == self._maker(placed) and self._ready_everywhere(placed)
        return not placed.spec.once or node == self._maker(placed)

    def _being_made(self, placed: Placed) -> Waiting | None:
        """Nobody stands on what is made once before its maker has answered, not even on another node.

        It is seen before it is whole: a group's maker starts its locks last, and a file system's superblock may reach the disk before
        the rest of it.
        """
        for need in self.stack.below(placed.name):
            for node in need.nodes if need.spec.once else ():
                step = Step(Do.START_LAYER, node, "", need.name)
                if step.key in self.ledger.in_flight:
                    return Waiting("answers", "steps are being carried out", None)
                if any(claim.running and claim.resource == step.claims for claim in self.facts.node(node).claims):
                    return self._claim_ends(step, node)
        return None

    def _claim_ends(self, step: Step, node: str) -> Waiting:
        return Waiting("claim_ends", f"{step.layer} is still being made on {node}", CLAIM_DEADLINE, "", (node,), step.layer)

    def _could_start(self, placed: Placed, node: str) -> bool:
        """It runs there, or all that it needs there is Up. Who cannot be seen could; the rule says what is wrong with that."""
        if node not in self.goal.acting(placed.nodes, self.facts) or not self.facts.node(node).reachable:
            return True
        if self.facts.node(node).layer(placed.name).state is not Layer.DOWN:
            return True
        return all(layer_state(self.stack, self.facts, need, node).state is Layer.UP for need in self.stack.below(placed.name))

    def _ready_everywhere(self, placed: Placed) -> bool:
        """Wherever the volume is active, this node's copy of what is below has been made."""
        copies = [one for one in self.stack.below(placed.name) if one.spec.copied and one.spec.data]
        return all(self.facts.node(node).layer(one.name).state is Layer.UP for one in copies
                   for node in self.goal.acting(one.nodes, self.facts) if self._carried(one, node))

    def _carried(self, placed: Placed, node: str) -> bool:
        """What it stands on directly is there, or may be: also while it is being started."""
        starting = any(Step(Do.START_LAYER, node, "", need).key in self.ledger.in_flight for need in placed.needs)
        return starting or not any(is_down(self.facts.node(node).layer(need)) for need in placed.needs)

    def _maker(self, placed: Placed) -> str | None:
        """The first node, in the order of the file, that serves the data."""
        able = (node for node in placed.nodes if node in self.goal.acting(self.stack.nodes, self.facts))
        return next((node for node in able if side_serves(self.goal, self.facts, placed, node)), None)

    def _bare(self, placed: Placed, node: str) -> bool:
        """Nothing that needs it is running on this node; no Primary is left where it carries the role."""
        stops = [one for one in self.stack.above(placed.name) if one.spec.stop and node in one.nodes]
        if any(not is_down(self.facts.node(node).layer(one.name)) for one in stops):
            return False
        if self.goal.direction is Direction.UP:  # nothing has the device open yet
            return True
        return not carries_role(self.stack, placed) or no_primary(self.goal, self.facts.node(node))

    def _running(self, step: Step) -> str | None:
        """A node on which an earlier run's command for this layer has not ended."""
        for node in self.facts.nodes:
            if any(claim.running and claim.resource == step.claims for claim in node.claims):
                return node.name
        return None

    def _allow(self, step: Step, rules: tuple[str, ...]) -> list[Step] | Refused | Waiting:
        if step.key in self.ledger.in_flight:
            return []
        claim = self._running(step)
        if claim is not None:
            return self._claim_ends(step, claim)
        seen = dict(self.ledger.failed).get(step.key)
        what = f"{step.do.value} {step.layer} on {step.node}"
        if seen is not None:
            return Refused("step-failed", what, seen, "mend what it says, then run again", Kind.FAILED)
        violation = judge_layer(self.facts, step, self.goal, rules)
        if violation is not None:
            return Refused(violation.rule, what, violation.evidence, violation.remedy, violation.kind)
        return [step]

    def _stuck(self, placed: Placed, node: str, fact: LayerFact) -> Decision:
        """No row leads on from what was seen."""
        if self.ledger.in_flight:
            return Waiting("answers", "steps are being carried out", None)
        if not self.facts.node(node).fresh:
            return Look((node,), f"{placed.name} there is {fact.state.value}, and something has happened since")
        what, evidence = f"{self.goal.direction.value} {placed.name} on {node}", f"it is {fact.state.value}: {fact.detail}"
        if placed.spec.once and fact.state is Layer.FAILED:
            return Refused("no-mkfs-over-data", what, evidence, "name another, or remove what is there yourself if nothing on it is wanted")
        rule, remedy = WAY_OUT.get(fact.state, ("fresh-facts", "look at that node, then run again"))
        return Refused(rule, what, evidence, remedy, Kind.FAILED)

    def _answer(self, steps: list[Step], waiting: Waiting | None, missing: list[tuple[Placed, str]]) -> Decision:
        if steps:
            return Steps(tuple(steps))
        if not missing:
            silent = next((node for node in self.goal.acting(self.stack.nodes, self.facts) if self._silent(node)), None)
            return Reached(self._warnings()) if silent is None else self._unseen(silent)
        if self.ledger.in_flight:
            return Waiting("answers", "steps are being carried out", None)
        if waiting is not None:
            return waiting
        placed, node = missing[0]
        return Refused("layer-needs-lower", f"{self.goal.direction.value} {placed.name} on {node}", self._lacking(placed, node),
                       "see `orchestrate status`; what is below it has to be mended first", Kind.FAILED)

    def _unseen(self, node: str) -> Decision:
        """All the others are there."""
        way = self.goal.direction.value
        remedy = f"the others have what was wanted; make {node} reachable; {said_off(self.goal, node)}"
        goes_on = self.goal.direction is Direction.UP and fencing(self.goal) != "none"
        return Refused("unknown-is-not-down", f"{way} corosync on {node}", f"{node} cannot be reached: {self.facts.node(node).why}",
                       f"{remedy}, then `{way} --degraded`" if goes_on else remedy, Kind.UNREACHABLE)

    def _warnings(self) -> tuple[str, ...]:
        """What is up and yet not as safe as people may think."""
        if self.goal.direction is Direction.DOWN:
            return ()
        fencing = {"none": "there is no fencing (accept_no_fencing): nodes that lose each other both go on writing",
                   "manual": "fencing is by hand: nodes that lose each other both stop until `orchestrate fence-ack NODE`"}
        return tuple(text for text in (fencing.get(self.stack.fencing, ""), plain_samba(self.stack)) if text)

    def _lacking(self, placed: Placed, node: str) -> str:
        """What a layer that cannot move waits for, in words."""
        if self.goal.direction is Direction.DOWN:
            return f"{', '.join(one.name for one in self.stack.above(placed.name))} or a Primary still stands on it"
        if placed.spec.data and not side_serves(self.goal, self.facts, placed, node):
            side = self.facts.node(node).side(placed.resource)
            return f"{placed.resource} there is {side.role.value} and {side.disk.value}"
        lower = (self.stack.placed(need) for need in placed.needs)
        facts = [(need.name, layer_state(self.stack, self.facts, need, node)) for need in lower]
        words = ", ".join(f"{name} is {fact.state.value}: {fact.detail}" for name, fact in facts if fact.state is not Layer.UP)
        return words or f"it is to be started anew ({self.facts.node(node).layer(placed.name).detail}), and something stands on it"


WAY_OUT: dict[Layer, tuple[str, str]] = {
    # state         rule               what to type next
    Layer.FAILED:  ("layer-failed",  "mend what it says on that node, then run again"),
    Layer.HUNG:    ("layer-hung",    "nothing ends it but its cause: see docs/hazards.md, `a hung layer`"),
    Layer.UNKNOWN: ("fresh-facts",   "look at that node, then run again"),
}


def carries_role(stack: Stack, placed: Placed) -> bool:
    """A Primary needs it, or something it carries is needed by a Primary."""
    return placed.spec.holds_role or any(one.spec.holds_role for one in stack.above(placed.name))


def no_primary(goal: Goal, node: NodeFacts) -> bool:
    """Every wanted side on this node was seen not to be Primary."""
    return all(node.side(wanted.name).role is Role.SECONDARY or node.side(wanted.name).configured is False
               for wanted in goal.resources if node.name in wanted.nodes)
