# ruff: noqa: E501 - the cases are tables: one line each
"""What the stack does next, from facts made by hand: the order up and down, and every rule seen refusing."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from orchestrator.config import Config
from states.decide import decide
from states.expect import after_step
from states.facts import ClusterFacts, LayerFact
from states.goal import Decision, Direction, Do, Kind, Ledger, Look, Reached, Refused, Steps, Waiting
from states.plan import plan
from states.stack import carries_role, decide_stack, is_down, layer_state, side_serves, stack_stands_on
from states.vocabulary import DiskState, Layer, Role
from tests.unit.stack_cluster import (
    CTDB,
    ONE,
    OTHER,
    all_secondary,
    blank,
    claimed,
    facts_of,
    goal_of,
    loaded,
    off,
    with_layer,
    with_side,
)

UP, DOWN = Direction.UP, Direction.DOWN
START, STOP = Do.START_LAYER, Do.STOP_LAYER
L = Layer


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return loaded(tmp_path, CTDB)


def named(answer: Decision) -> set[tuple[str, str]]:
    """Layer and node of every step."""
    assert isinstance(answer, Steps), answer
    return {(step.layer, step.node) for step in answer.steps}


def refusal(answer: Decision) -> Refused:
    assert isinstance(answer, Refused), answer
    return answer


def rounds(config: Config, seen: ClusterFacts, way: Direction) -> list[set[tuple[str, str]]]:
    """What is sent, round by round, each step taken to do what it is expected to."""
    goal = goal_of(config, way)
    found: list[set[tuple[str, str]]] = []
    for _ in range(40):
        answer = decide_stack(goal, seen, Ledger())
        if isinstance(answer, Reached):
            return found
        assert isinstance(answer, Steps), answer
        found.append(named(answer))
        for step in answer.steps:
            seen = after_step(seen, step, None, goal.stack)
    raise AssertionError(found)


def order_on(node: str, found: list[set[tuple[str, str]]]) -> list[str]:
    """The layers sent to one node, in order."""
    return [layer for batch in found for layer, where in sorted(batch) if where == node]


def on_both(*layers: str) -> set[tuple[str, str]]:
    return {(layer, node) for layer in layers for node in (ONE, OTHER)}


# -- order -------------------------------------------------------------------------------------------------------------

def test_up_goes_from_the_lowest_on_both_nodes_at_once(config: Config) -> None:
    """One node makes what is made once; nobody starts anything that another round could have started before."""
    found = rounds(config, blank(config), UP)
    assert found[0] == {*on_both("files"), ("authkey", ONE)}
    assert ("authkey", OTHER) in found[1]  # a copy
    assert order_on(ONE, found) == [
        "authkey", "files", "corosync", "dlm", "lvmlockd", "vg opt", "lockspace opt", "lv opt", "active opt", "gfs2 opt", "mount opt", "ctdb", "samba"]
    assert order_on(OTHER, found) == [
        "files", "authkey", "corosync", "dlm", "lvmlockd", "lockspace opt", "active opt", "mount opt", "ctdb", "samba"]
    assert found[-3:] == [on_both("mount opt"), on_both("ctdb"), on_both("samba")]


def test_down_is_the_strict_reverse_and_leaves_what_was_made(config: Config) -> None:
    """The lock manager goes last: a Primary needs it, so both sides are Secondary by then."""
    seen = all_secondary(facts_of(config))
    assert rounds(config, seen, DOWN) == [
        on_both(name) for name in ("samba", "ctdb", "mount opt", "active opt", "lockspace opt", "lvmlockd", "dlm", "corosync")]


def test_the_lock_manager_stays_while_a_side_is_primary(config: Config) -> None:
    seen = facts_of(config)
    for name in ("samba", "ctdb", "mount opt", "active opt", "lockspace opt", "lvmlockd"):
        seen = with_layer(seen, name, L.DOWN)
    assert "a Primary still stands on it" in refusal(decide_stack(goal_of(config, DOWN), seen, Ledger())).evidence
    seen = with_side(seen, ONE, role=Role.SECONDARY)
    assert named(decide_stack(goal_of(config, DOWN), seen, Ledger())) == {("dlm", ONE)}


def test_a_side_is_demoted_before_its_lock_manager_and_after_its_file_system(config: Config) -> None:
    goal = goal_of(config, DOWN)
    found = plan(goal, facts_of(config))
    assert found.refused is None
    keys = [item.key for item in found.items]
    for node in (ONE, OTHER):
        order = [f"stop-layer:{name}:{node}" for name in ("samba", "ctdb", "mount-opt", "active-opt", "lockspace-opt")]
        order += [f"demote:r0:{node}", f"stop-layer:dlm:{node}", f"stop-layer:corosync:{node}"]
        places = [keys.index(key) for key in order]
        assert places == sorted(places), node
    assert isinstance(decide_stack(goal, found.after, Ledger()), Reached)


def test_up_is_planned_to_its_end_with_each_step_once(config: Config) -> None:
    seen = with_layer(facts_of(config, L.DOWN, "blank"), "packages", L.UP)
    found = plan(goal_of(config), seen)
    assert found.refused is None
    keys = [item.key for item in found.items]
    assert len(set(keys)) == len(keys)
    assert keys.index(f"start-layer:dlm:{ONE}") < keys.index(f"promote:r0:{OTHER}") < keys.index(f"start-layer:mount-opt:{OTHER}")
    made = [item.key for item in found.items if item.step is not None and item.step.destructive and not item.step.resource]
    assert made == [f"start-layer:{name}:{ONE}" for name in ("vg-opt", "lv-opt", "gfs2-opt")]


def test_there_already_nothing_is_sent(config: Config) -> None:
    assert decide_stack(goal_of(config), facts_of(config), Ledger()) == Reached()
    assert decide_stack(goal_of(config, DOWN), all_secondary(facts_of(config, L.DOWN)), Ledger()) == Reached()
    assert decide_stack(goal_of(config, stack=None), facts_of(config), Ledger()) == Reached()


def test_a_node_that_serves_goes_on_while_the_other_has_to_be_copied_first(config: Config) -> None:
    seen = blank(config)
    for name in ("files", "authkey", "corosync", "dlm", "lvmlockd"):
        seen = with_layer(seen, name, L.UP)
    seen = with_side(with_side(seen, ONE, role=Role.SECONDARY, disk=DiskState.INCONSISTENT), OTHER, role=Role.PRIMARY)
    assert not side_serves(goal_of(config), seen, goal_of(config).stack.placed("vg opt"), ONE)  # type: ignore[union-attr]
    answer = decide_stack(goal_of(config), seen, Ledger())
    assert not isinstance(answer, Steps) or (("vg opt", ONE) not in named(answer))


def test_what_is_made_once_is_up_where_anybody_sees_it(config: Config) -> None:
    stack = config.stack()
    assert stack is not None
    seen = with_layer(with_layer(blank(config), "vg opt", L.UP, "vg0", (ONE,)), "vg opt", L.UNKNOWN, "not read", (OTHER,))
    assert layer_state(stack, seen, stack.placed("vg opt"), OTHER) == LayerFact("vg opt", L.UP, "vg0")
    held = with_layer(seen, "vg opt", L.FAILED, "holds ext4", (OTHER,))
    assert layer_state(stack, held, stack.placed("vg opt"), OTHER).state is L.FAILED


def test_the_key_is_made_once_and_copied(config: Config) -> None:
    seen = with_layer(blank(config), "files", L.UP)
    assert named(decide_stack(goal_of(config), seen, Ledger())) == {("authkey", ONE)}
    there = with_layer(seen, "authkey", L.UP, "sha256 aa", (OTHER,))
    assert ("authkey", ONE) in named(decide_stack(goal_of(config), there, Ledger()))
    both = with_layer(there, "authkey", L.UP, "sha256 aa", (ONE,))
    assert named(decide_stack(goal_of(config), both, Ledger())) == on_both("corosync")


def test_a_plan_copies_the_key_of_the_node_that_has_one(config: Config) -> None:
    seen = with_layer(blank(config), "authkey", L.UP, "sha256 0123456789abcdef", (OTHER,))
    assert plan(goal_of(config), seen).refused is None


def test_only_the_named_nodes_are_moved_and_one_that_is_off_never(config: Config) -> None:
    assert {node for _, node in named(decide_stack(goal_of(config, only=frozenset({OTHER})), blank(config), Ledger()))} == {OTHER}
    goal = goal_of(config, degraded=True)
    assert {node for _, node in named(decide_stack(goal, off(blank(config)), Ledger()))} == {ONE}


def test_what_a_boot_script_started_too_early_is_stopped_from_the_top(config: Config) -> None:
    """smbd and lvmlockd run, and nothing of what they need."""
    seen = blank(config)
    for name in ("files", "authkey"):
        seen = with_layer(seen, name, L.UP)
    early = with_layer(with_layer(seen, "samba", L.UP), "lvmlockd", L.UP, nodes=(ONE,))
    answer = decide_stack(goal_of(config), early, Ledger())
    assert isinstance(answer, Steps)
    assert {(step.do, step.layer, step.node) for step in answer.steps} == {
        (START, "corosync", ONE), (START, "corosync", OTHER), (STOP, "samba", ONE), (STOP, "samba", OTHER)}
    stopped = with_layer(early, "samba", L.DOWN)
    answer = decide_stack(goal_of(config), stopped, Ledger())
    assert isinstance(answer, Steps)
    assert (STOP, "lvmlockd", ONE) in {(step.do, step.layer, step.node) for step in answer.steps}
    assert "before what it needs" in next(step.because for step in answer.steps if step.do is STOP)


def test_corosync_with_older_files_is_started_anew_only_when_nothing_stands_on_it(config: Config) -> None:
    old = with_layer(facts_of(config), "corosync", L.FAILED, "older", (ONE,))
    answer = decide_stack(goal_of(config), old, Ledger())
    assert isinstance(answer, Refused)  # it serves: nothing is taken away
    assert "something stands on it" in answer.evidence
    alone = with_layer(blank(config), "corosync", L.FAILED, "older", (ONE,))
    for name in ("files", "authkey"):
        alone = with_layer(alone, name, L.UP)
    assert ("corosync", ONE) in named(decide_stack(goal_of(config), alone, Ledger()))


# -- waiting -----------------------------------------------------------------------------------------------------------

def test_what_starts_is_waited_for_as_long_as_its_layer_may_take(config: Config) -> None:
    seen = with_layer(with_layer(facts_of(config), "ctdb", L.STARTING, "UNHEALTHY", (ONE,)), "samba", L.DOWN, nodes=(ONE,))
    answer = decide_stack(goal_of(config), seen, Ledger())
    assert isinstance(answer, Waiting)
    assert (answer.event, answer.layer, answer.nodes, answer.deadline) == ("started", "ctdb", (ONE,), 120.0)
    assert "UNHEALTHY" in answer.why


def test_a_command_of_an_earlier_run_is_waited_for(config: Config) -> None:
    seen = blank(config)
    for name in ("files", "authkey", "corosync", "dlm", "lvmlockd"):
        seen = with_layer(seen, name, L.UP)
    answer = decide_stack(goal_of(config), claimed(seen, OTHER, "vg-opt"), Ledger())
    assert isinstance(answer, Waiting)
    assert (answer.event, answer.nodes) == ("claim_ends", (OTHER,))


def test_nobody_stands_on_what_is_still_being_made(config: Config) -> None:
    """It is seen, as a superblock is before mkfs has ended: by a command of this run or of an earlier one."""
    seen = with_layer(with_layer(facts_of(config), "mount opt", L.DOWN), "ctdb", L.DOWN)
    seen = with_layer(seen, "samba", L.DOWN)
    assert named(decide_stack(goal_of(config), seen, Ledger())) == {("mount opt", ONE), ("mount opt", OTHER)}
    for layer in ("vg-opt", "gfs2-opt"):
        ours = decide_stack(goal_of(config), seen, Ledger(in_flight=frozenset({f"start-layer:{layer}:{ONE}"})))
        assert isinstance(ours, Waiting)
        assert ours.event == "answers"
        earlier = decide_stack(goal_of(config), claimed(seen, ONE, layer), Ledger())
        assert isinstance(earlier, Waiting)
        assert (earlier.event, earlier.nodes) == ("claim_ends", (ONE,))


def test_nothing_is_sent_twice_while_it_is_under_way(config: Config) -> None:
    ledger = Ledger(in_flight=frozenset(f"start-layer:corosync:{node}" for node in (ONE, OTHER)))
    seen = blank(config)
    for name in ("files", "authkey"):
        seen = with_layer(seen, name, L.UP)
    assert isinstance(decide_stack(goal_of(config), seen, ledger), Waiting)


def test_an_old_look_is_looked_at_again_before_anything_is_said_of_it(config: Config) -> None:
    seen = with_layer(facts_of(config), "files", L.UNKNOWN, nodes=(ONE,))
    old = seen.replace(evolve(seen.node(ONE), fresh=False))
    assert isinstance(decide_stack(goal_of(config), old, Ledger()), Look)
    assert refusal(decide_stack(goal_of(config), seen, Ledger())).rule == "fresh-facts"


# -- what cannot move is explained -------------------------------------------------------------------------------------

@pytest.mark.parametrize(("way", "layer", "state", "rule", "kind"), [
    (UP,   "packages",  L.FAILED,  "layer-failed", Kind.FAILED),
    (UP,   "samba",     L.FAILED,  "layer-failed", Kind.FAILED),
    (UP,   "active opt", L.FAILED, "layer-failed", Kind.FAILED),
    (UP,   "samba",     L.UNKNOWN, "fresh-facts",  Kind.FAILED),
    (UP,   "lv opt",    L.UNKNOWN, "fresh-facts",  Kind.FAILED),
    (UP,   "files",     L.FAILED,  "config-drift", Kind.RULE),
    (UP,   "vg opt",    L.FAILED,  "no-mkfs-over-data", Kind.RULE),
    (UP,   "gfs2 opt",  L.FAILED,  "no-mkfs-over-data", Kind.RULE),
    (DOWN, "samba",     L.HUNG,    "layer-hung",   Kind.FAILED),
    (DOWN, "samba",     L.UNKNOWN, "fresh-facts",  Kind.FAILED),
])
def test_what_cannot_move_is_refused_with_what_was_seen(config: Config, way: Direction, layer: str, state: Layer, rule: str, kind: Kind) -> None:
    seen = with_layer(facts_of(config), layer, state, "these words")
    if layer != "samba":
        seen = with_layer(seen, "samba", L.DOWN)
    for above in (one.name for one in config.stack().above(layer)):  # type: ignore[union-attr]
        seen = with_layer(seen, above, L.DOWN)
    found = refusal(decide_stack(goal_of(config, way), seen, Ledger()))
    assert (found.rule, found.kind) == (rule, kind)
    assert "these words" in found.evidence
    assert layer in found.what
    assert found.remedy


def test_a_hung_layer_is_given_time_and_nothing_is_sent_meanwhile(config: Config) -> None:
    seen = with_layer(with_layer(facts_of(config), "dlm", L.HUNG, "wait fencing"), "mount opt", L.HUNG, "stopped")
    answer = decide_stack(goal_of(config), seen, Ledger())
    assert isinstance(answer, Waiting)
    assert (answer.event, answer.layer, answer.deadline) == ("answers", "dlm", 60.0)
    assert "wait fencing" in answer.why


def test_going_down_over_a_hung_mount_is_refused_as_hung(config: Config) -> None:
    seen = with_layer(with_layer(facts_of(config), "samba", L.DOWN), "ctdb", L.DOWN)
    found = refusal(decide_stack(goal_of(config, DOWN), with_layer(seen, "mount opt", L.HUNG, "stopped"), Ledger()))
    assert (found.rule, found.kind) == ("layer-hung", Kind.FAILED)
    assert "a hung layer" in found.remedy


def test_a_step_that_failed_in_this_run_is_not_tried_again(config: Config) -> None:
    seen = with_layer(facts_of(config), "samba", L.DOWN, nodes=(ONE,))
    ledger = Ledger(failed=((f"start-layer:samba:{ONE}", "exit 1: no such share"),))
    found = refusal(decide_stack(goal_of(config), seen, ledger))
    assert (found.rule, found.kind, found.evidence) == ("step-failed", Kind.FAILED, "exit 1: no such share")


def test_what_waits_for_its_data_says_what_the_side_is(config: Config) -> None:
    seen = all_secondary(blank(config))
    for name in ("files", "authkey", "corosync", "dlm", "lvmlockd"):
        seen = with_layer(seen, name, L.UP)
    found = refusal(decide_stack(goal_of(config), seen, Ledger()))
    assert (found.rule, found.kind) == ("layer-needs-lower", Kind.FAILED)
    assert "r0 there is Secondary and UpToDate" in found.evidence


def test_a_refused_stack_keeps_the_resources_from_being_prepared(config: Config) -> None:
    seen = with_layer(with_layer(facts_of(config, L.DOWN, "blank"), "packages", L.UP), "files", L.FAILED, "token: 1000 and 3000")
    assert refusal(decide(goal_of(config), seen, Ledger())).rule == "config-drift"


def test_drift_with_apply_config_is_replaced_and_nothing_else_is_touched(config: Config) -> None:
    seen = with_layer(facts_of(config), "files", L.FAILED, "guest ok", (ONE,))
    assert named(decide_stack(goal_of(config, apply_config=True), seen, Ledger())) == {("files", ONE)}


# -- what stands on a resource -----------------------------------------------------------------------------------------

@pytest.mark.parametrize(("layer", "state", "stands"), [
    ("samba", L.UP, True), ("mount opt", L.UNKNOWN, True), ("mount opt", L.HUNG, True), ("active opt", L.STOPPING, True),
    ("vg opt", L.UP, False), ("dlm", L.UP, False), ("lvmlockd", L.UP, False),
])
def test_a_resource_is_not_taken_away_from_under_what_stands_on_it(config: Config, layer: str, state: Layer, stands: bool) -> None:
    seen = with_layer(facts_of(config, L.DOWN), layer, state, nodes=(OTHER,))
    goal = goal_of(config, DOWN)
    assert bool(stack_stands_on(goal, seen, goal.resources[0])) == stands


def test_only_down_is_down() -> None:
    assert [state for state in Layer if is_down(LayerFact("x", state))] == [L.DOWN]


def test_what_carries_the_role(config: Config) -> None:
    stack = config.stack()
    assert stack is not None
    assert {placed.name for placed in stack.layers if placed.spec.stop and carries_role(stack, placed)} == {"corosync", "dlm"}
