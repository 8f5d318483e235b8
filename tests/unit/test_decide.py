"""`decide` over anything that could be seen: it never raises, and never hands out what must not be sent."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given

from fixtures.situations import NAMES, WANTED, pair, situations
from states.decide import decide
from states.facts import ClusterFacts
from states.goal import Direction, Do, Goal, Kind, Ledger, Reached, Refused, Step, Steps, Waiting
from states.handshake import discards_nothing
from states.invariants import judge
from states.pair import Pair
from states.plan import plan
from states.resource import classify, goal_state
from states.stuck import overdue
from states.vocabulary import DiskState, Layer, Node, ReplicationState, Role
from tests.unit.strategies import STEADY, facts, goal_of, goals, ledgers

UP = Goal(Direction.UP, (WANTED,))


def steps_of(goal: Goal, seen: ClusterFacts, ledger: Ledger) -> tuple[Step, ...]:
    answer = decide(goal, seen, ledger)
    return answer.steps if isinstance(answer, Steps) else ()


# -- over anything -----------------------------------------------------------------------------------------------------

@STEADY
@given(goals, facts, ledgers)
def test_it_is_total_and_deterministic_and_knows_every_state(goal: Goal, seen: ClusterFacts, ledger: Ledger) -> None:
    answer = decide(goal, seen, ledger)
    assert answer == decide(goal, seen, ledger)
    assert not (isinstance(answer, Refused) and answer.rule == "no-row"), answer
    assert not (isinstance(answer, Steps) and not answer.steps)


@STEADY
@given(goals, facts, ledgers)
def test_no_step_is_handed_out_that_a_rule_would_stop(goal: Goal, seen: ClusterFacts, ledger: Ledger) -> None:
    for step in steps_of(goal, seen, ledger):
        assert judge(seen, step, goal.resources[0], goal) is None


@STEADY
@given(goals, facts, ledgers)
def test_nothing_is_sent_while_a_node_is_unreachable(goal: Goal, seen: ClusterFacts, ledger: Ledger) -> None:
    """Not even what is idempotent: this version's steps need both."""
    if all(node.reachable for node in seen.nodes):
        return
    answer = decide(goal, seen, ledger)
    assert isinstance(answer, Refused)
    assert answer.kind is Kind.UNREACHABLE


@STEADY
@given(goals, facts, ledgers)
def test_two_sides_are_connected_only_if_that_discards_nothing(goal: Goal, seen: ClusterFacts, ledger: Ledger) -> None:
    for step in steps_of(goal, seen, ledger):
        if step.do is Do.CONNECT:
            prediction = Pair.of(seen, goal.resources[0], Ledger()).prediction
            assert prediction.connects
            assert discards_nothing(prediction)


@STEADY
@given(goals, facts, ledgers)
def test_a_second_primary_only_beside_a_connected_up_to_date_one(goal: Goal, seen: ClusterFacts, ledger: Ledger) -> None:
    promotions = [step for step in steps_of(goal, seen, ledger) if step.do is Do.PROMOTE]
    assert len(promotions) <= 1
    for step in promotions:
        here = seen.node(step.node).side("r0")
        peer = next(node.side("r0") for node in seen.nodes if node.name != step.node)
        assert here.connected
        assert here.disk is DiskState.UP_TO_DATE
        if peer.role is not Role.SECONDARY:
            assert peer.connected
            assert peer.disk is DiskState.UP_TO_DATE
            assert dict(here.running)["allow-two-primaries"] == dict(peer.running)["allow-two-primaries"] == "yes"


@STEADY
@given(goals, facts, ledgers)
def test_what_ends_something_for_ever_happens_only_to_what_is_blank(goal: Goal, seen: ClusterFacts, ledger: Ledger) -> None:
    """Judged from the facts themselves, without any of the rules' own code."""
    for step in steps_of(goal, seen, ledger):
        side = seen.node(step.node).side("r0")
        sides = [node.side("r0") for node in seen.nodes]
        if step.do is Do.CREATE_METADATA:
            assert (side.metadata.value, side.contents.value) in {("missing", "blank"), ("missing", "zeros")}
            assert not side.holders
            assert not side.attached
        if step.do in (Do.FORCE_PRIMARY, Do.CLEAR_BITMAP):
            assert all(each.identifiers is not None and each.identifiers.current | 1 == 5 for each in sides)
            assert all(each.disk is DiskState.INCONSISTENT and each.connected and each.role is not Role.PRIMARY for each in sides)
        if step.do is Do.CLEAR_BITMAP:
            assert all(each.contents.value == "zeros" for each in sides)


@STEADY
@given(goals, facts, ledgers)
def test_nobody_is_taken_down_beside_a_primary(goal: Goal, seen: ClusterFacts, ledger: Ledger) -> None:
    for step in steps_of(goal, seen, ledger):
        if step.do is Do.TAKE_DOWN:
            assert all(node.side("r0").role is not Role.PRIMARY for node in seen.nodes)
            assert goal.direction is Direction.DOWN


@STEADY
@given(goals, facts, ledgers)
def test_nothing_is_handed_out_that_is_under_way(goal: Goal, seen: ClusterFacts, ledger: Ledger) -> None:
    for step in steps_of(goal, seen, ledger):
        assert step.key not in ledger.in_flight


@STEADY
@given(goals, facts, ledgers)
def test_what_failed_in_this_run_is_not_tried_again(goal: Goal, seen: ClusterFacts, ledger: Ledger) -> None:
    for step in steps_of(goal, seen, ledger):
        answer = decide(goal, seen, evolve(ledger, failed=((step.key, "exit 20: no such device"),)))
        if isinstance(answer, Steps):  # layers that can be started are, before it is said
            assert {each.do for each in answer.steps} == {Do.START_LAYER}
            assert step.key not in {each.key for each in answer.steps}
            continue
        assert isinstance(answer, Refused)
        assert answer.kind is Kind.FAILED
        assert "exit 20: no such device" in str(answer)


@STEADY
@given(goals, facts, ledgers)
def test_every_plan_ends(goal: Goal, seen: ClusterFacts, ledger: Ledger) -> None:
    ledger = evolve(ledger, in_flight=frozenset())
    found = plan(goal, seen, ledger)
    assert len({item.key for item in found.items}) == len(found.items)
    if found.refused is None:
        after = decide(goal, found.after, ledger)
        assert not isinstance(after, Steps | Waiting | Refused)
    if isinstance(decide(goal, found.after, ledger), Reached):
        one = goal.resources[0]
        state = classify(Pair.of(found.after, one, ledger))
        assert goal.direction is Direction.DOWN or state.value in {goal_state(goal, one).value, "DualPrimary"}


# -- single situations -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("primaries", [1, 2])
def test_a_healthy_pair_is_left_alone(primaries: int) -> None:
    answer = decide(goal_of(evolve(WANTED, primaries=primaries)), pair(), Ledger())
    assert isinstance(answer, Reached)


def test_a_choice_that_was_made_is_kept() -> None:
    ready = next(each for each in situations() if each.name == "inconsistent")
    for name in NAMES:
        (step,) = steps_of(ready.goal, ready.facts, Ledger(chosen=(("r0", name),)))
        assert (step.do, step.node) == (Do.FORCE_PRIMARY, name)


def test_a_resource_that_can_move_moves_though_another_is_refused() -> None:
    down = pair("down")
    held = [evolve(node, sides=(*node.sides, ("r1", evolve(node.side("r0"), holders=("dm-0",))))) for node in down.nodes]
    other = evolve(WANTED, name="r1")
    ready = ClusterFacts(tuple(evolve(node, layers=pair().nodes[0].layers) for node in held))
    answer = decide(Goal(Direction.UP, (other, WANTED)), ready, Ledger())
    assert isinstance(answer, Steps)
    assert {step.resource for step in answer.steps} == {"r0"}


def test_a_layer_that_cannot_be_seen_is_not_up() -> None:
    seen = pair()
    lost = next(fact for fact in seen.nodes[1].layers if fact.name == "port")
    answer = decide(UP, seen.replace(seen.nodes[1].with_layer(evolve(lost, state=Layer.UNKNOWN))), Ledger())
    assert isinstance(answer, Refused)
    assert answer.rule == "fresh-facts"
    assert NAMES[1] in answer.evidence


def test_copying_is_waited_for_without_a_deadline() -> None:
    syncing = next(each for each in situations() if each.name == "syncing")
    answer = decide(syncing.goal, syncing.facts, syncing.ledger)
    assert isinstance(answer, Waiting)
    assert answer.deadline is None


@pytest.mark.parametrize("way", Direction)
def test_an_unreachable_node_is_named_with_the_reason(way: Direction) -> None:
    seen = pair()
    away = evolve(seen.nodes[1], state=Node.UNREACHABLE, why="connection refused", sides=(), layers=())
    answer = decide(goal_of(WANTED, way), seen.replace(away), Ledger())
    assert isinstance(answer, Refused)
    assert NAMES[1] in answer.evidence
    assert "connection refused" in answer.evidence


def test_a_wait_that_is_overdue_names_both_sides_and_the_firewall() -> None:
    connecting = next(each for each in situations() if each.name == "connecting")
    waiting = decide(connecting.goal, connecting.facts, Ledger())
    assert isinstance(waiting, Waiting)
    seen = Pair.of(connecting.facts, WANTED, Ledger())
    late = overdue(waiting, connecting.facts, seen, classify(seen), 60.0)
    assert late.kind is Kind.DEADLINE
    assert all(f"{name} is Connecting" in late.evidence and f"port on {name}" in late.evidence for name in NAMES)


def test_a_suspect_pair_that_does_not_settle_is_refused_by_its_own_rule() -> None:
    suspect = next(each for each in situations() if each.name == "suspect-out-of-sync")
    waiting = decide(suspect.goal, suspect.facts, Ledger())
    assert isinstance(waiting, Waiting)
    seen = Pair.of(suspect.facts, WANTED, Ledger())
    late = overdue(waiting, suspect.facts, seen, classify(seen), 5.0)
    assert (late.rule, late.kind) == ("suspect-is-not-healthy", Kind.RULE)
    assert "out of sync 40 KiB" in late.evidence


def test_verifying_is_still_at_rest() -> None:
    seen = pair()
    for node in seen.nodes:
        seen = seen.replace(node.with_side("r0", evolve(node.side("r0"), replication=ReplicationState.VERIFY_S)))
    assert isinstance(decide(UP, seen, Ledger()), Reached)
