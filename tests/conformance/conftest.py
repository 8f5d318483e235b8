"""One lab for all scenarios. In CI a lab that cannot start fails the run; elsewhere its scenarios are skipped, with the reason."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from fixtures.conformance.lab_stage import LabStage
from fixtures.lab import Lab, LabError, LabSpec


@pytest.fixture(scope="module")
def lab_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabStage]:
    """Two booted nodes with a data disk of 32 MiB each."""
    lab = Lab(tmp_path_factory.mktemp("conformance") / "lab")
    try:
        lab.up(LabSpec(nodes=2, disk=32))
    except LabError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the lab cannot run here: {error}")
    stage = LabStage(lab, tmp_path_factory.mktemp("journals"))
    try:
        yield stage
    finally:
        stage.close()
        lab.down()
