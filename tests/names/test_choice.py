"""Whose addresses a name has: who serves, minus who is too loaded, and the last one stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.config import Config
from states.facts import ClusterFacts
from states.goal import Direction
from states.names import Choice, Limits, choose, servers
from states.picture import Load, Picture
from states.vocabulary import DiskState, Layer, Role
from tests.names.pictures import configured, picture, without
from tests.unit.stack_cluster import CTDB, FENCED, ONE, OTHER, PLAIN, VOTED, away, facts_of, loaded, with_layer, with_side

BOTH = (ONE, OTHER)
LIMITS = Limits(load_high=2.0, load_low=1.0, sessions_high=100, sessions_low=80)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return configured(tmp_path_factory.mktemp("names"))


def chosen(seen: Picture, before: Choice | None = None, limits: Limits = LIMITS, *, keep_last: bool = True) -> tuple[str, ...] | None:
    choice = choose(seen, limits, before, keep_last=keep_last)
    return None if choice is None else choice.nodes


def test_healthy_nodes_are_published(config: Config) -> None:
    assert chosen(picture(config)) == BOTH


@pytest.mark.parametrize("layer", ["corosync", "dlm", "lvmlockd", "lockspace opt", "active opt", "mount opt", "samba"])
@pytest.mark.parametrize("state", [Layer.DOWN, Layer.HUNG, Layer.FAILED, Layer.STARTING, Layer.STOPPING, Layer.UNKNOWN])
def test_a_node_whose_shares_rest_on_something_that_is_not_up_is_left_out(config: Config, layer: str, state: Layer) -> None:
    choice = choose(picture(config, with_layer(facts_of(config), layer, state, nodes=(OTHER,))), LIMITS, None)
    assert choice is not None
    older_files = layer == "corosync" and state is Layer.FAILED  # it runs, and serves
    assert choice.nodes == (BOTH if older_files else (ONE,))
    assert choice.out == (() if older_files else ((OTHER, f"{layer} is {state.value}"),))


@pytest.mark.parametrize("layer", ["packages", "files", "authkey", "vg opt", "lv opt", "gfs2 opt"])
def test_what_is_only_a_file_or_was_made_once_takes_nobody_away(config: Config, layer: str) -> None:
    assert chosen(picture(config, with_layer(facts_of(config), layer, Layer.UNKNOWN, nodes=(OTHER,)))) == BOTH


@pytest.mark.parametrize("values", [
    {"role": Role.SECONDARY}, {"role": Role.UNKNOWN}, {"disk": DiskState.INCONSISTENT}, {"suspended": True},
])
def test_a_side_of_drbd_that_cannot_serve_takes_its_node_out(config: Config, values: dict[str, object]) -> None:
    assert chosen(picture(config, with_side(facts_of(config), OTHER, **values))) == (ONE,)


def test_a_node_that_cannot_be_seen_is_left_out_while_another_serves(config: Config) -> None:
    choice = choose(picture(config, away(facts_of(config))), LIMITS, Choice(BOTH))
    assert choice is not None
    assert (choice.nodes, choice.out) == ((ONE,), ((OTHER, "it cannot be seen: no route"),))


def test_a_supervisor_that_sees_nobody_changes_nothing(config: Config) -> None:
    blind = picture(config, away(away(facts_of(config)), ONE))
    assert chosen(blind, Choice(BOTH)) == BOTH
    assert chosen(blind, Choice((OTHER,))) == (OTHER,)
    assert chosen(blind, Choice(BOTH), keep_last=False) == ()


def test_before_the_first_look_nothing_is_said_of_anybody(config: Config) -> None:
    assert chosen(evolve(picture(config), facts=ClusterFacts())) is None


def test_the_last_one_stays_unless_told(config: Config) -> None:
    nobody = without(config, *BOTH)
    assert chosen(nobody, Choice((OTHER,))) == (OTHER,)
    assert chosen(nobody, Choice(BOTH)) == (ONE,)
    assert chosen(nobody, Choice((OTHER,)), keep_last=False) == ()


def test_of_two_last_ones_the_one_that_can_be_seen_stays(config: Config) -> None:
    facts = away(with_layer(facts_of(config), "samba", Layer.DOWN), ONE)
    assert chosen(picture(config, facts), Choice(BOTH)) == (OTHER,)


def test_what_is_published_has_to_be_known_before_the_last_one_can_stay(config: Config) -> None:
    assert chosen(without(config, *BOTH)) is None


def test_a_node_in_maintenance_is_sent_nobody_while_another_serves(config: Config) -> None:
    assert chosen(picture(config, maintenance=frozenset({ONE}))) == (OTHER,)
    assert chosen(picture(config, maintenance=frozenset(BOTH))) == BOTH
    choice = choose(evolve(without(config, OTHER), maintenance=frozenset({ONE})), LIMITS, None)
    assert choice is not None
    assert (choice.nodes, choice.but) == ((ONE,), f"there is no other: {ONE}: it is in maintenance")


def loaded_by(config: Config, per_core: float, sessions: int | None = 0) -> Picture:
    """The second node has two cores and so much to do; the first has none."""
    return picture(config, loads=(Load(ONE, (0.0, 0.0, 0.0), 2, 0), Load(OTHER, (2 * per_core, 0.0, 0.0), 2, sessions)))


@pytest.mark.parametrize(("readings", "out"), [
    # load for each core of the second node, one after the other, and whether it is left out then
    ((0.5, 1.9, 2.0), (False, False, False)),
    ((2.1, 1.5, 1.0, 0.9, 1.5, 2.1), (True, True, True, False, False, True)),
])
def test_load_has_a_hysteresis(config: Config, readings: tuple[float, ...], out: tuple[bool, ...]) -> None:
    before, seen = None, []
    for reading in readings:
        before = choose(loaded_by(config, reading), LIMITS, before)
        assert before is not None
        seen.append(OTHER not in before.nodes)
    assert tuple(seen) == out


def test_sessions_have_one_too_and_both_have_to_be_low(config: Config) -> None:
    before = choose(loaded_by(config, 0.0, 101), LIMITS, None)
    assert before is not None
    assert before.out == ((OTHER, "it is too loaded: 0.00 for each core, 101 SMB sessions"),)
    assert chosen(loaded_by(config, 0.0, 80), before) == (ONE,)
    assert chosen(loaded_by(config, 1.5, 79), before) == (ONE,)
    assert chosen(loaded_by(config, 0.9, 79), before) == BOTH
    assert chosen(loaded_by(config, 9.0, 999), None, Limits()) == BOTH


def test_a_load_that_is_not_known_changes_nothing(config: Config) -> None:
    assert chosen(picture(config), Choice((ONE,), frozenset({OTHER}))) == (ONE,)
    assert chosen(picture(config), Choice(BOTH)) == BOTH
    assert chosen(loaded_by(config, 0.0, None), Choice((ONE,), frozenset({OTHER}))) == (ONE,)


def test_where_all_are_too_loaded_all_are_published(config: Config) -> None:
    busy = picture(config, loads=tuple(Load(node, (9.0, 9.0, 9.0), 1, 0) for node in BOTH))
    assert chosen(busy) == BOTH


def test_who_is_meant_to_serve(tmp_path: Path) -> None:
    one_smbd = FENCED + f'\n[samba]\nserve_on = ["{OTHER}"]\n'
    nobody = FENCED + '\n[samba]\nclustering = "none"\n'
    asked = {"one smbd": one_smbd, "ctdb": CTDB, "no Samba": nobody, "a voter": VOTED}
    found = {words: servers(loaded(tmp_path, text).goal(Direction.UP)) for words, text in asked.items()}
    assert found == {"one smbd": (OTHER,), "ctdb": BOTH, "no Samba": BOTH, "a voter": BOTH}


def test_without_a_stack_the_sides_of_drbd_decide(tmp_path: Path) -> None:
    config = loaded(tmp_path, PLAIN.partition("[filesystem")[0].replace("[cluster]", "[cluster]\naccept_no_fencing = true"))
    facts = facts_of(configured(tmp_path))
    assert chosen(picture(config, facts)) == BOTH
    assert chosen(picture(config, with_side(facts, ONE, role=Role.SECONDARY))) == (OTHER,)


LAYERS = st.sampled_from([Layer.UP, Layer.UP, Layer.DOWN, Layer.UNKNOWN])
CONDITION = st.tuples(st.booleans(), LAYERS, st.floats(0, 4), st.booleans())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(CONDITION, CONDITION), max_size=12))
def test_the_last_one_is_never_withdrawn_and_nobody_is_published_for_nothing(
        config: Config, history: list[tuple[tuple[bool, Layer, float, bool], ...]]) -> None:
    """Whatever happens: once somebody was published somebody is, and who comes new serves."""
    before: Choice | None = None
    for conditions in history:
        facts = facts_of(config)
        for node, (seen, layer, _, _) in zip(BOTH, conditions, strict=True):
            facts = with_layer(facts, "samba", layer, nodes=(node,))
            facts = facts if seen else away(facts, node)
        serving = {node for node, (seen, layer, _, _) in zip(BOTH, conditions, strict=True) if seen and layer is Layer.UP}
        loads = tuple(Load(node, (load, 0.0, 0.0), 1, 0) for node, (_, _, load, _) in zip(BOTH, conditions, strict=True))
        resting = frozenset(node for node, (_, _, _, rests) in zip(BOTH, conditions, strict=True) if rests)
        now = choose(picture(config, facts, loads=loads, maintenance=resting), LIMITS, before)
        assert now is None or now.nodes
        assert now is not None or before is None
        if now is not None:
            published = set(before.nodes) if before is not None else set()
            assert set(now.nodes) <= serving if serving else set(now.nodes) <= published
            before = now
