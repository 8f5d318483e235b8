"""Real kernels do what the recorded traces say.

By default the scenarios marked quick (some three minutes); all of them with ORCHESTRATE_CONFORMANCE=all.
"""

from __future__ import annotations

import os

import anyio
import pytest

from fixtures.conformance import traces
from fixtures.conformance.lab_stage import LabStage
from fixtures.conformance.recorder import NotSettled
from fixtures.conformance.scenarios import SCENARIOS
from fixtures.conformance.shell import ShellLost

EVERYTHING = os.environ.get("ORCHESTRATE_CONFORMANCE") == "all"
CHOSEN = [name for name, one in SCENARIOS.items() if traces.path(name).exists() and (one.quick or EVERYTHING)]


TRIES = 3
"""A node that is lost in between is the machine's doing. And where both sides find a reason to drop a connection, one may
hang up before the other has compared, and that one then goes on trying: rare, and lawful."""


@pytest.mark.lab
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", CHOSEN)
def test_kernels_do_what_was_recorded(lab_stage: LabStage, name: str) -> None:
    difference: list[str] = []
    for _ in range(TRIES):
        try:
            difference = traces.difference(name, anyio.run(traces.play, SCENARIOS[name], lab_stage))
        except (ShellLost, NotSettled) as error:
            difference = [f"{type(error).__name__}: {error}"]
        if not difference:
            break
    assert not difference, "\n".join(difference)
