"""The orchestrator is killed at each of its points in a few golden situations; `make crash` does all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.sim.crash import crash_everywhere, play
from fixtures.sim.from_facts import Unreal, make
from fixtures.sim.runs import Moment
from fixtures.situations import HERE, Situation, load, situations

SOME = ("blank", "down-from-there", "split-brain-before-attach", "blank-and-data", "v9-rejoin-idle")


@pytest.mark.parametrize("name", SOME)
@pytest.mark.timeout(600)
def test_a_run_killed_anywhere_ends_where_it_would_have(name: str) -> None:
    verdict = crash_everywhere(load(HERE / name))
    assert verdict.wrong == ()
    assert verdict.points >= 4


@pytest.mark.timeout(600)
def test_a_disk_that_was_busy_at_the_first_look_is_read_again(tmp_path: Path) -> None:
    """Killed while create-md runs on the second resource: the next run's first look cannot say what that disk holds."""
    two = load(HERE / "two-resources")
    made, ends = make(two), {}
    for point in range(100, 118):
        (tmp_path / str(point)).mkdir()
        ran = play(two, made, point, tmp_path / str(point))
        ends[point] = (ran.end.code, ran.end.rule, ran.harms)
    assert set(ends.values()) == {(0, "", ())}, ends


def test_every_kind_of_point_comes(tmp_path: Path) -> None:
    blank = load(HERE / "blank")
    whole = play(blank, make(blank), None, tmp_path)
    assert {*whole.points} == {*Moment}
    assert whole.end.code == 0
    assert whole.end.sides == ("Primary UpToDate Connected",) * 2


def test_most_situations_can_be_made() -> None:
    made, unreal = [], []
    for situation in situations():
        try:
            make(situation)
            made.append(situation.name)
        except Unreal:
            unreal.append(situation.name)
    assert len(made) >= 80, f"only {len(made)}; not: {unreal}"


def _plan_end(situation: Situation) -> str:
    """The last line of a golden plan that says where it ends."""
    lines = (HERE / situation.name / "plan.txt").read_text().splitlines()
    return next(line for line in reversed(lines) if line.startswith(("reached", "then:", "refused:")))


@pytest.mark.parametrize("name", SOME)
def test_a_run_ends_where_its_golden_plan_does(name: str, tmp_path: Path) -> None:
    """What `plan` expects of the kernels is what the simulated ones do."""
    situation = load(HERE / name)
    ran = play(situation, make(situation), None, tmp_path)
    end = _plan_end(situation)
    assert (ran.end.code == 0) == (end == "reached"), f"{ran.end} against {end}"
    if ran.end.rule:
        assert f"(rule {ran.end.rule})" in end
