"""What verifies have found is kept in the journal, and alarmed until another verify finds that both sides are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.cli.status import in_words
from orchestrator.journal import Journal
from orchestrator.supervisor.compared import Compared
from orchestrator.supervisor.metrics import Families, Shown, fill
from orchestrator.verified import Verifications
from states.facts import ClusterFacts
from states.goal import Direction, Goal
from states.picture import Picture


def verified(blocks: int, *, finished: bool = True, resource: str = "r0") -> dict[str, Any]:
    """A record as `orchestrate verify` writes it."""
    return {"kind": "verified", "run": "1-2", "resource": resource, "node": "linux-nas02", "finished": finished, "blocks": blocks,
            "runs": [[8, blocks]], "marked": 4 * blocks}


def test_differing_blocks_are_alarmed_until_a_verify_finds_none(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    compared = Compared(Verifications(path), ("r0",))

    def alarms() -> list[str]:
        compared.verifications.read()
        return [alarm.key for alarm in compared.alarms]

    assert alarms() == [], "there is no journal yet"
    with Journal(path, lambda: 1000.0) as journal:
        journal.write(verified(3), verified(7, resource="gone"))
        assert alarms() == ["blocks-differ:r0"]
        journal.write(verified(0, finished=False))
        assert alarms() == ["blocks-differ:r0"], "one that was broken off has found nothing out"
        journal.write({"kind": "repaired", "run": "supervise", "said": '"verified"'})
        assert alarms() == ["blocks-differ:r0"]
        journal.write(verified(0))
        assert alarms() == []
    assert in_words(compared.last[0]).endswith("both sides are the same")


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, lambda: 1000.0) as journal:
        journal.write(verified(3))
    written = path.read_bytes()
    path.write_bytes(written[:20])
    found = Verifications(path)
    found.read()
    assert found.last == {}
    path.write_bytes(written)
    found.read()
    assert found.last["r0"].blocks == 3
    assert "3 blocks differ" in in_words(found.last["r0"])
    path.write_bytes(b"")
    found.read()
    path.write_bytes(written)
    found.read()
    assert found.last["r0"].blocks == 3


def test_prometheus_is_told(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, lambda: 1000.0) as journal:
        journal.write(verified(3))
    compared = Compared(Verifications(path), ("r0",))
    compared.verifications.read()
    families = Families()
    fill(families, Shown(Picture("nas", 1001.0, Goal(Direction.UP, ()), ClusterFacts(), verified=compared.last), {}, 60.0))
    samples = {sample.name: (sample.labels, sample.value) for family in families for sample in family.samples}
    assert samples["orchestrate_verify_different_blocks"] == ({"cluster": "nas", "name": "r0"}, 3)
    assert samples["orchestrate_verify_timestamp_seconds"] == ({"cluster": "nas", "name": "r0"}, 1000)
