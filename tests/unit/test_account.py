"""The report of a finished recovery: what of the journal and of the looks is in it, and what is said where something is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from fixtures.situations import WANTED, pair
from orchestrator.errors import StepFailedError
from orchestrator.journal import Record
from orchestrator.recovery.account import NAMED, NOBODY_ASKED, Ended, account, in_words, name_of, write_account
from orchestrator.recovery.assessed import as_document
from states.assessment import assess
from states.consent import NOT_SAVED, NOTHING_CHANGED, Consent
from states.goal import Direction, Goal
from tests.unit.test_recovery_rules import ONE, OTHER, consent, split

AGREED = consent(by="anna at this machine")
GOAL = Goal(Direction.UP, (WANTED,))
BEFORE, AFTER = assess(GOAL, split(), "r0"), assess(GOAL, pair(), "r0")


def step(at: float, op: str, key: str, node: str, **came: Any) -> tuple[Record, ...]:
    """An intent, and its outcome if it has one."""
    intent: Record = {"at": at, "kind": "intent", "op": op, "key": key, "node": node, "because": "so"}
    return (intent, {"at": at + 1, "kind": "outcome", "op": op, "key": key, **came}) if came else (intent,)


def journal(agreed: Consent = AGREED, place: str = "here:/a") -> tuple[Record, ...]:
    wrote: Record = {"at": 10.0, "kind": "consent", "resource": "r0", "victim": OTHER, "by": agreed.by, "token": agreed.token,
                     "seen": as_document(BEFORE)}
    return (
        *step(1.0, "old", f"promote:r0:{ONE}", ONE, said="exited", code=0),
        {**wrote, "token": "another"}, wrote,
        *step(11.0, "a", f"demote:r0:{OTHER}", OTHER, said="exited", code=0),
        *step(13.0, "b", f"save-changes:r0:{OTHER}", OTHER, said="saved", text=place),
        *step(15.0, "c", f"discard-changes:r0:{OTHER}", OTHER, said="exited", code=0),
        *step(17.0, "d", f"connect:r0:{ONE}", ONE),
    )


def test_who_what_when_why_and_the_evidence(tmp_path: Path) -> None:
    told = account(Ended(AGREED, AFTER, AFTER, journal()), tmp_path)
    assert (told["victim"], told["survivor"], told["agreed_by"], told["agreed_at"], told["why"]) == (OTHER, ONE, AGREED.by, 10.0, NAMED)
    assert [(one["key"].split(":")[0], one["said"]) for one in told["steps"]] == [
        ("demote", "exited"), ("save-changes", "saved"), ("discard-changes", "exited"), ("connect", "unknown")]
    assert {side["node"]: side["changed_kib"] for side in told["before"]["sides"]} == {ONE: 80, OTHER: 80}
    assert {side["node"]: side["changed_kib"] for side in told["after"]["sides"]} == {ONE: 0, OTHER: 0}
    assert told["archive"] == {"place": "here:/a"}
    words = in_words(told)
    for part in (AGREED.by, "1970-01-01 00:00:10 UTC", NAMED, "here:/a", f"discard-changes:r0:{OTHER}: exited 0", "80 KiB out of sync"):
        assert part in words


@pytest.mark.parametrize(("place", "earlier", "expected"), [
    (f"{NOT_SAVED}a test cluster", "", {"place": None, "not_saved_because": "a test cluster"}),
    ("", "", {"place": None, "not_saved_because": "there was nothing to save"}),
    ("", "there:/b", {"place": "there:/b"}),
])
def test_where_the_changes_are(place: str, earlier: str, expected: dict[str, Any], tmp_path: Path) -> None:
    assert account(Ended(AGREED, BEFORE, AFTER, journal(place=place), earlier), tmp_path)["archive"] == expected


def test_another_machine_began_it(tmp_path: Path) -> None:
    """This one's journal has no consent: what it found itself is the evidence."""
    told = account(Ended(AGREED, BEFORE, AFTER, ()), tmp_path)
    assert (told["agreed_at"], told["steps"], told["before"]) == (None, [], as_document(BEFORE))
    assert "another machine's journal" in in_words(told)


def test_nobody_was_asked(tmp_path: Path) -> None:
    assert account(Ended(evolve(AGREED, by=NOTHING_CHANGED), BEFORE, AFTER, ()), tmp_path)["why"] == NOBODY_ASKED


def test_both_files_are_written_or_it_is_said(tmp_path: Path) -> None:
    there = write_account(Ended(AGREED, BEFORE, AFTER, journal()), tmp_path / "archives")
    assert there.name == f"{name_of(AGREED)}.report.txt"
    assert json.loads(there.with_suffix(".json").read_text())["resource"] == "r0"
    (tmp_path / "file").write_text("")
    with pytest.raises(StepFailedError, match="r0 is recovered, but its report could not be written"):
        write_account(Ended(AGREED, BEFORE, AFTER, journal()), tmp_path / "file")
