"""A split brain's end in the simulated world: nothing is lost that is not in an archive, wherever the orchestrator dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.sim.crash import Ran, play
from fixtures.sim.from_facts import make
from fixtures.situations import HERE, load
from states import invariants, recovery, recovery_rules
from states.invariants import RULES, Rule

MUTANTS = frozenset({"save-before-discard"})
"""Rules that are taken away in here, and a disaster is found."""
WHOLE = ("Primary UpToDate Connected",) * 2


def ended(name: str, folder: Path, at: int | None = None) -> Ran:
    situation = load(HERE / name)
    folder.mkdir(exist_ok=True)
    return play(situation, make(situation), at, folder)


@pytest.mark.parametrize("name", ["recover-blip", "recover-both-wrote", "recover-victim-crashed", "recover-survivor-down",
                                  "recover-saved-by-another-run", "recover-armed-by-another-run"])
def test_the_pair_is_whole_again_and_nothing_unsaved_is_gone(name: str, tmp_path: Path) -> None:
    ran = ended(name, tmp_path)
    assert (ran.end.code, ran.end.sides, ran.end.alike, ran.harms) == (0, WHOLE, True, ())
    victim = load(HERE / name).goal.consents[0].victim
    assert [key for key in ran.sent if key.startswith("discard-changes")] == [f"discard-changes:r0:{victim}"]


@pytest.mark.parametrize("name", ["recover-void", "recover-wrong-victim", "recover-other-victim-on-record",
                                  "recover-record-unread", "recover-not-split"])
def test_what_is_refused_leaves_both_sides_as_they_are(name: str, tmp_path: Path) -> None:
    situation = load(HERE / name)
    ran = ended(name, tmp_path)
    assert (ran.end.code, ran.harms, ran.end.alike) == (3, (), False)
    assert not any(key.startswith(("discard", "connect", "demote", "take-down")) for key in ran.sent)
    before = situation.facts.sides("r0", situation.goal.resources[0].nodes)
    assert ran.end.sides == tuple(f"{side.role.value} {side.disk.value}" for side in before)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(5))
def test_killed_at_a_fifth_of_all_points_it_ends_the_same(first: int, tmp_path: Path) -> None:
    """`make crash` kills it at every one, and in five more situations."""
    whole = ended("recover-both-wrote", tmp_path)
    points = range(1 + first * 5, len(whole.points) + 1, 25)
    assert len(points) >= 4
    for point in points:
        ran = ended("recover-both-wrote", tmp_path / str(point), point)
        assert (ran.end, ran.harms) == (whole.end, ()), f"point {point}: {whole.points[point - 1].value}"


def test_without_the_archive_the_victims_changes_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant of save-before-discard: the machine skips the archive, and the rule does not object."""
    monkeypatch.setattr(recovery.Case, "needs_archive", property(lambda _: False))
    assert ended("recover-both-wrote", tmp_path).end.code == 3, "the rule alone stops it"
    for name in MUTANTS:
        monkeypatch.setitem(invariants.RULES, name, Rule(name, RULES[name].judges, lambda _: None))
    monkeypatch.setattr(recovery_rules, "saved_first", lambda _: None)  # the survivor's connection asks it, too
    ran = ended("recover-both-wrote", tmp_path / "again")
    assert ran.harms
    assert "what only side 1 had is gone" in ran.harms[0]
