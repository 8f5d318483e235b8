# ruff: noqa: E501 - the cases are a table: one line each
"""`orchestrate journal` has words for every kind of record that anything writes."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.journal import open_intents
from orchestrator.render import draw_journal

ROOT = Path(__file__).parents[2] / "orchestrator"
KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "run": ({"run": "1", "goal": "up"}, "run 1: up"),
    "intent": ({"op": "1", "key": "attach:r0:a", "node": "a", "effect": "idempotent", "because": "so"}, "intent   attach:r0:a (idempotent): so"),
    "outcome": ({"op": "1", "key": "save-changes:r0:a", "said": "saved", "text": "here:/a"}, "save-changes:r0:a: saved: here:/a"),
    "moved": ({"resource": "r0", "from": "", "to": "Down", "event": "", "surprise": True}, "- -> Down (no row"),
    "looked": ({"node": "a", "state": "Reachable", "why": ""}, "looked   a: Reachable"),
    "known": ({"resource": "r0", "node": "a", "identifiers": "1:2:3:4"}, "known    r0 on a: 1:2:3:4"),
    "awaits": ({"event": "synced", "resource": "r0"}, "awaits   synced r0"),
    "came": ({"event": "synced", "resource": "r0", "waited": 1.5}, "synced r0 after 1.50 s"),
    "end": ({"run": "1", "said": "reached", "code": 0}, "end 1: reached"),
    "assessed": ({"resource": "r0", "token": "abc", "split": True}, "shown r0: split brain, token abc"),
    "consent": ({"resource": "r0", "victim": "a", "by": "anna", "token": "abc", "seen": {}}, "agreed r0: a loses its changes (token abc), says anna"),
    "verified": ({"run": "1", "resource": "r0", "node": "a", "finished": True, "blocks": 3, "runs": [], "marked": 12}, "r0 on a: 3 blocks differ"),
    "kept": ({"resource": "r0", "node": "a", "place": "/x"}, "kept     r0: blocks of a in /x"),
}
AS_THEY_ARE = {"alarm", "repair", "repaired"}
"""A supervisor's: shown with all their fields."""


def words(record: dict[str, Any]) -> str:
    out = io.StringIO()
    draw_journal((record,), open_intents(()), out)
    return " ".join(out.getvalue().split())


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_in_words(kind: str) -> None:
    record, said = KINDS[kind]
    assert " ".join(said.split()) in words({"at": 0.0, "kind": kind, **record})


def test_a_kind_of_a_newer_version_is_shown_as_it_is() -> None:
    assert "strange thing=1" in words({"at": 0.0, "kind": "strange", "thing": 1})


def test_every_kind_that_is_written_is_here() -> None:
    text = "\n".join(path.read_text() for path in ROOT.rglob("*.py"))
    written = set(re.findall(r"\"kind\": \"([a-z]+)\"", text)) | set(re.findall(r"_write\(kind=\"([a-z]+)\"", text))
    assert written == set(KINDS) | AS_THEY_ARE
