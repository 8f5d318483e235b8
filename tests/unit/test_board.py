"""The live screen: one picture in 80 columns and 24 lines, whatever is wrong with the cluster."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from rich.console import Console

from orchestrator.board import board, clock, span
from orchestrator.config import Config
from orchestrator.render import console
from states.alarm import Alarm, Severity
from states.facts import ClusterFacts
from states.goal import Direction, Ledger
from states.pair import Pair
from states.picture import Load, MachineSeen, Move, Picture
from states.progress import Progress
from states.resource import classify
from states.vocabulary import ConnectionState, DiskState, Layer, Node, ReplicationState, Resource, Role
from tests.unit.stack_cluster import CTDB, FENCED, ONE, OTHER, away, facts_of, loaded, off, with_layer, with_side

NOW = 1_700_000_000.0
MOVES = tuple(Move(NOW - 60 + number, f"samba on {ONE}", Layer.UP if number % 2 else Layer.DOWN, Layer.DOWN if number % 2 else Layer.UP,
                   "went_down" if number % 2 else "start", "smbd ended") for number in range(40))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return loaded(tmp_path_factory.mktemp("board"), CTDB)


def seen(config: Config, facts: ClusterFacts | None = None, **more: Any) -> Picture:
    """A picture as an observer makes it."""
    goal = config.goal(Direction.UP)
    picture = evolve(Picture(config.cluster.name, NOW, goal, facts or facts_of(config)), **more)
    machines = [MachineSeen(one.name, classify(Pair.of(picture.facts, one, Ledger())), NOW - 240) for one in goal.resources]
    machines += [MachineSeen(node.name, node.state, NOW - 7200) for node in picture.facts.nodes]
    machines.append(MachineSeen(f"samba on {ONE}", picture.facts.node(ONE).layer("samba").state, NOW - 9000))
    return evolve(picture, machines=tuple(machines), followed=frozenset(config.names))


def drawn(picture: Picture, height: int | None = 24, width: int = 80) -> list[str]:
    out = Console(file=io.StringIO(), width=width, height=height or 100, force_terminal=False, highlight=False, markup=False)
    out.print(board(picture, NOW, out, height))
    assert isinstance(out.file, io.StringIO)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]


def test_a_healthy_cluster_in_80_by_24(config: Config) -> None:
    lines = drawn(seen(config, loads=(Load(ONE, (0.5, 0.4, 0.3), 4, 7),), moves=MOVES))
    text = "\n".join(lines)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(f"cluster NASCluster  2 of 2 nodes seen  {clock(NOW)} UTC")
    assert lines[1:3] == ["r0  DualPrimary 4 min", f"  {ONE}  Primary  UpToDate  Connected  0 KiB out of sync"]
    assert f"{ONE}  Reachable 2 h  load 0.50 on 4  7 sessions" in lines
    assert "samba" in text
    assert "samba=" not in text
    assert lines[-1] == f"{clock(MOVES[-1].at)} samba on {ONE}: Up -> Down (went_down)  smbd ended"


def test_nobody_knows_since_when_it_is_what_it_was_at_first(config: Config) -> None:
    first = seen(config, moves=MOVES)
    first = evolve(first, machines=tuple(evolve(one, since=NOW - 9000 + number / 10) for number, one in enumerate(first.machines)))
    assert drawn(first)[1] == "r0  DualPrimary"


def test_the_moves_get_what_is_left(config: Config) -> None:
    picture = seen(config, moves=MOVES)
    fixed = len(drawn(evolve(picture, moves=())))
    for height in (fixed, fixed + 1, fixed + 2, fixed + 5, 60):
        lines = drawn(picture, height)
        assert len(lines) <= max(height, fixed)
        assert sum("samba on" in line for line in lines) == min(max(0, height - fixed - 1), len(MOVES))
    assert sum("samba on" in line for line in drawn(picture, None)) == len(MOVES)


def test_what_is_wrong_is_said_with_what_to_type(config: Config) -> None:
    alone = {"connection": ConnectionState.STAND_ALONE}
    split = with_side(with_side(facts_of(config), ONE, **alone), OTHER, **alone)
    text = "\n".join(drawn(seen(config, with_layer(split, "samba", Layer.FAILED, nodes=(OTHER,)))))
    assert "StandAlone" in text
    assert "samba=Failed" in text
    assert "type next: " in text
    alarm = Alarm("split-brain", "r0", Severity.CRITICAL, "r0: both sides have written", "each has blocks the other has not", "type this")
    told = drawn(seen(config, split, alarms=(Alarm("load", ONE, Severity.NOTICE, f"{ONE} is busy"), alarm)), width=120)
    assert told.index("critical: r0: both sides have written: each has blocks the other has not") < told.index(f"notice: {ONE} is busy")
    assert "    type this" in told
    assert not any("type next" in line for line in told)  # an alarm says it already


def test_a_node_that_cannot_be_seen_shows_nothing_it_was(config: Config) -> None:
    lines = drawn(seen(config, away(facts_of(config))))
    assert lines[0].startswith("cluster NASCluster  1 of 2 nodes seen")
    assert f"{OTHER}  Unreachable 2 h  no route" in lines
    assert sum(line.startswith("  config") for line in lines) == 1
    assert any(f"{OTHER}  Unreachable 2 h  known to be off" in line for line in drawn(seen(config, off(facts_of(config)))))


def test_who_is_at_work_and_who_is_left_alone(config: Config) -> None:
    marked = seen(config, doing="repairing samba", marks=((ONE, "new fans"),), leases=((OTHER, "m:1:2"),))
    picture = evolve(marked, followed=frozenset({ONE}))
    lines = drawn(picture)
    assert lines[0].endswith("UTC  repairing samba")
    assert f"{ONE}  Reachable 2 h  maintenance: new fans" in lines
    assert any(line.startswith(f"{OTHER}  Reachable 2 h  a run is at work  events do not") for line in lines)


def test_a_resync_has_a_bar(config: Config) -> None:
    target = with_side(facts_of(config), OTHER, disk=DiskState.INCONSISTENT, replication=ReplicationState.SYNC_TARGET, out_of_sync=51200,
                       role=Role.SECONDARY)
    progress = Progress().seen(0.0, 204800).seen(10.0, 102400)
    lines = drawn(seen(config, target, progress=(("r0", progress),)))
    assert any("━━━" in line and "50 %, 100.0 MiB left, 10 MiB/s, ETA 10 s" in line for line in lines)
    assert any("Inconsistent" in line and "SyncTarget" in line for line in lines)


@pytest.mark.parametrize("text", [CTDB, FENCED])
@pytest.mark.parametrize("width", [80, 100, 200])
def test_nothing_is_wider_than_the_screen(tmp_path: Path, text: str, width: int) -> None:
    config = loaded(tmp_path, text)
    facts = with_layer(facts_of(config), "mount opt", Layer.HUNG, "its lockspace is stopped and every program that uses it waits")
    for line in drawn(seen(config, facts, moves=MOVES, doing="a long story " * 20), None, width):
        assert len(line) <= width


def test_before_anything_was_seen_it_says_so(config: Config) -> None:
    picture = evolve(seen(config, away(away(facts_of(config)), ONE)), machines=())
    lines = drawn(picture, None, 200)
    assert lines[1:3] == ["r0  not seen yet", f"  {ONE}  Unknown  Unknown  Unknown"]


def test_without_a_terminal_there_is_no_colour(config: Config) -> None:
    stream = io.StringIO()
    out = console(stream)
    out.print(board(seen(config, moves=MOVES), NOW, out))
    assert "\x1b" not in stream.getvalue()
    assert Node.REACHABLE.value in stream.getvalue()
    assert Resource.DUAL_PRIMARY.value in stream.getvalue()


@pytest.mark.parametrize(("seconds", "words"), [
    (0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172800, "2 d"),
])
def test_spans(seconds: float, words: str) -> None:
    assert span(seconds) == words
