"""What `check` says of `legacy`: a note for each node it is said of, whichever section says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cli.check import old_ssh
from orchestrator.config import load
from states.finding import Weight

SEED = (Path(__file__).parents[3] / "fixtures" / "seed" / "cluster.toml").read_text()
WITHOUT = SEED.replace("legacy = true ", "# ")
ONE = WITHOUT.replace('address = "192.168.0.19"', 'address = "192.168.0.19"\nlegacy = true')


@pytest.mark.parametrize(("text", "nodes", "section"), [
    (SEED, ["linux-nas01", "linux-nas02"], "[ssh]"), (ONE, ["linux-nas02"], "[node.linux-nas02]"), (WITHOUT, [], ""),
])
def test_each_node_by_the_section_that_says_so(tmp_path: Path, text: str, nodes: list[str], section: str) -> None:
    (tmp_path / "cluster.toml").write_text(text)
    found = list(old_ssh(load(tmp_path / "cluster.toml")))
    assert [one.where for one in found] == nodes
    assert all(one.weight is Weight.NOTE and one.evidence == f"legacy = true in {section}" for one in found)
