"""The tables themselves: nothing unreachable, nothing ambiguous, and the drawn diagram is the table."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from enum import Enum
from functools import cache
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given

from fixtures.situations import ATTACHED, BLANK, DOWN, HEALTHY, NAMES, WANTED, situations
from orchestrator.graph import ALONE, MACHINES, as_dot, as_markdown, as_mermaid
from states import resource
from states.facts import ClusterFacts, NodeFacts, Side
from states.goal import Direction, Ledger
from states.identifiers import JUST_CREATED, Identifiers
from states.invariants import RULES
from states.machines import TABLES, UnlawfulMoveError, advance, lawful
from states.pair import Pair
from states.plan import plan
from states.resource import CLASSES, classify
from states.stacks import PROFILES, spec
from states.stuck import WAY_OUT
from states.table import On, Row, distances
from states.vocabulary import By, ConnectionState, DiskState, ReplicationState, Resource, Role
from tests.unit.strategies import STEADY, facts

every_table = pytest.mark.parametrize(("states", "table"), TABLES.items(), ids=[states.__name__ for states in TABLES])


@every_table
def test_every_state_is_entered_and_left(states: type[Enum], table: tuple[Row, ...]) -> None:
    assert {row.source for row in table} == set(states)
    assert {row.target for row in table} == set(states)


@every_table
def test_an_event_leads_to_one_place(states: type[Enum], table: tuple[Row, ...]) -> None:
    twice = [key for key, count in Counter((row.source, row.event) for row in table).items() if count > 1]
    assert not twice


@every_table
def test_rows_name_what_exists(states: type[Enum], table: tuple[Row, ...]) -> None:
    for row in table:
        assert set(row.rules) <= set(RULES), row.event
        assert {spec(name).name for name in row.layers} == set(row.layers), row.event


@every_table
def test_rows_are_whole(states: type[Enum], table: tuple[Row, ...]) -> None:
    """Who causes it, what is sent, and to whom agree."""
    for row in table:
        assert (row.by is By.US) == (row.step is not None) == (row.on is not On.NOBODY), row.event
        assert row.by is By.AWAITED or row.deadline is None, row.event
        assert row.by is not By.FEARED or not (row.rules or row.layers or row.when), row.event


@every_table
def test_the_judge_goes_by_the_rows_and_by_nothing_else(states: type[Enum], table: tuple[Row, ...]) -> None:
    lawful_moves = {(row.source, row.event): row.target for row in table}
    for state, event in itertools.product(states, {row.event for row in table} | {"no such event"}):
        if (state, event) in lawful_moves:
            assert advance(state, event) is lawful_moves[state, event]
        else:
            with pytest.raises(UnlawfulMoveError, match=state.value):
                advance(state, event)


@every_table
def test_a_move_that_was_seen_is_explained_by_a_row_or_by_none(states: type[Enum], table: tuple[Row, ...]) -> None:
    moves = {(row.source, row.target): row.event for row in reversed(table)}
    for before, after in itertools.product(states, states):
        assert lawful(before, after) == ("" if before is after else moves.get((before, after)))


def test_layers_need_only_what_comes_before_them() -> None:
    for profile in PROFILES.values():
        names = [layer.name for layer in profile]
        for place, layer in enumerate(profile):
            assert set(layer.needs) <= set(names[:place])


# -- ambiguity ---------------------------------------------------------------------------------------------------------

NEW = Identifiers(JUST_CREATED, 0, (0, 0), frozenset())
IDS = (*(evolve(HEALTHY.identifiers or NEW, current=current, bitmap=bitmap)
         for current, bitmap in ((0xA0, 0), (0xB0, 0xA0), (0xC0, 0xA0))), NEW, None)
LINKS = (
    (ConnectionState.MISSING, ReplicationState.OFF), (ConnectionState.CONNECTING, ReplicationState.OFF),
    (ConnectionState.CONNECTED, ReplicationState.ESTABLISHED), (ConnectionState.CONNECTED, ReplicationState.SYNC_TARGET),
    (ConnectionState.STAND_ALONE, ReplicationState.OFF),
)


def lawful_sides() -> list[Side]:
    """Sides a kernel can show: a new one is Inconsistent, a good one is not."""
    sides = [DOWN, BLANK]
    for ids, (connection, replication), role in itertools.product(IDS, LINKS, (Role.PRIMARY, Role.SECONDARY)):
        disk = DiskState.INCONSISTENT if ids is NEW or replication is ReplicationState.SYNC_TARGET else DiskState.UP_TO_DATE
        if role is Role.PRIMARY and disk is not DiskState.UP_TO_DATE:
            continue
        sides.append(evolve(ATTACHED, identifiers=ids, connection=connection, replication=replication, role=role, disk=disk))
    return sides


@cache
def pairs() -> tuple[Pair, ...]:
    """Every two of them, and what would come of their meeting."""
    found = []
    names = [evolve(situations()[0].facts.node(name), sides=()) for name in NAMES]
    for one, other in itertools.product(lawful_sides(), repeat=2):
        nodes: list[NodeFacts] = [evolve(node, sides=(("r0", evolve(side, node=node.name)),))
                                  for node, side in zip(names, (one, other), strict=True)]
        pair = Pair.of(ClusterFacts(tuple(nodes)), WANTED, Ledger())
        found += [pair, evolve(pair, wanted=evolve(WANTED, skip_initial_sync=True))] if pair.met else [pair]
    return tuple(found)


@pytest.mark.parametrize("way", Direction)
def test_of_the_rows_that_lead_on_one_holds(way: Direction) -> None:
    """A row back to its own state is taken first (table.towards); of the others no two may hold at once."""
    for pair in pairs():
        state = classify(pair)
        rows = [row for row in resource.PLANNED if row.source is state and row.way in (None, way) and row.on is not On.EACH
                and row.target is not state and row.holds(pair)]
        assert len(rows) <= 1, f"{state.value}: {[row.event for row in rows]}; {pair.sides}"


def test_the_pairs_show_every_state() -> None:
    """The test above has something to say about these states."""
    seen = {classify(pair) for pair in pairs()}
    seen |= {classify(Pair.of(each.facts, each.goal.resources[0], each.ledger)) for each in situations()}
    assert seen == set(Resource)


@pytest.mark.parametrize("goal", [Resource.DUAL_PRIMARY, Resource.PRIMARY, Resource.SECONDARY, Resource.DOWN])
def test_every_state_has_a_way_on_or_words_for_it(goal: Resource) -> None:
    way = Direction.DOWN if goal is Resource.DOWN else Direction.UP
    far = distances(resource.TABLE, goal, way)
    above = resource.HEALTHY if way is Direction.UP else ()  # `up` takes no role away: they count as reached
    assert set(Resource) - set(far) - set(WAY_OUT) - set(above) <= {Resource.INCONSISTENT}


@pytest.mark.parametrize("goal", [Resource.DUAL_PRIMARY, Resource.DOWN])
def test_every_planned_row_lies_on_a_way(goal: Resource) -> None:
    """A row whose target does not lead to the goal would never be taken: it would be a promise nobody keeps."""
    way = Direction.DOWN if goal is Resource.DOWN else Direction.UP
    far = distances(resource.TABLE, goal, way)
    assert [row.event for row in resource.PLANNED if row.way is way and row.target not in far] == []


@STEADY
@given(facts)
def test_anything_that_is_seen_has_a_state(seen: ClusterFacts) -> None:
    if all(node.reachable for node in seen.nodes):
        assert classify(Pair.of(seen, WANTED, Ledger())) in Resource


def test_the_last_class_always_fits() -> None:
    state, fits = CLASSES[-1]
    assert state is Resource.SYNCING
    assert all(fits(pair) for pair in pairs())


# -- diagrams ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("feared", [False, True])
@pytest.mark.parametrize("table", MACHINES.values(), ids=MACHINES)
def test_the_drawn_diagram_is_the_table(table: tuple[Row, ...], feared: bool) -> None:
    rows = sorted((row.source.value, row.target.value, row.event) for row in table if feared or row.by is not By.FEARED)
    mermaid = re.findall(r"^    (\S+) --> (\S+): [(!]?(\w+)\)?$", as_mermaid(table, feared=feared), re.MULTILINE)
    dot = re.findall(r'^  (\S+) -> (\S+) \[label="(\w+)", style=\w+\];$', as_dot(table, feared=feared), re.MULTILINE)
    assert sorted(mermaid) == rows
    assert sorted(dot) == rows


@pytest.mark.parametrize("table", MACHINES.values(), ids=MACHINES)
def test_the_diagram_tells_who_moves(table: tuple[Row, ...]) -> None:
    marks = dict(re.findall(r": ([(!]?)(\w+)\)?$", as_mermaid(table, feared=True), re.MULTILINE)[i][::-1]
                 for i in range(len(table)))
    assert marks == {row.event: {By.US: "", By.AWAITED: "(", By.FEARED: "!"}[row.by] for row in table}


def test_what_is_drawn_of_a_side_alone_is_what_it_does() -> None:
    plans = (plan(each.goal, each.facts, each.ledger) for each in situations() if each.goal.degraded or each.goal.only)
    steps = {item.step.event: item.step.do for each in plans for item in each.items if item.step and item.step.event.startswith("alone_")}
    assert steps == {row.event: row.step for row in ALONE}


def test_the_page_in_docs_is_drawn_from_the_tables() -> None:
    page = Path(__file__).parents[2] / "docs" / "machines.md"
    assert page.read_text() == as_markdown(), "python -m orchestrator.graph > docs/machines.md"
