"""The simulator does what the recorded traces of real kernels say."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.conformance import traces
from fixtures.conformance.scenarios import SCENARIOS
from fixtures.conformance.sim_stage import play_simulated

RECORDED = sorted(path.stem for path in traces.FOLDER.glob("*.txt"))

DIFFERS: dict[str, str] = {}
"""Scenarios in which the simulator is known to be wrong, and in what. Strict: one that is mended has to leave this list."""


def cases() -> list[object]:
    """Every recorded scenario."""
    found: list[object] = []
    for name in RECORDED:
        marks = [pytest.mark.xfail(reason=DIFFERS[name], strict=True)] if name in DIFFERS else []
        found.append(pytest.param(name, marks=marks))
    return found


@pytest.mark.parametrize("name", cases())
def test_the_simulator_does_what_was_recorded(name: str, tmp_path: Path) -> None:
    difference = traces.difference(name, play_simulated(SCENARIOS[name], tmp_path))
    assert not difference, "\n".join(difference)
