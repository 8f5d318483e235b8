"""One lab for all scenarios. In CI a lab that cannot start fails the run; elsewhere its scenarios are skipped, with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.lab import Lab, LabSpec
from tests.lab.cluster import Cluster, booted


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the lab, and more time than a unit test."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.lab)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two booted nodes with a data disk of 128 MiB each."""
    with booted(tmp_path_factory.mktemp("lab") / "lab", LabSpec(nodes=2, disk=128)) as made:
        yield made


@pytest.fixture
def cluster(lab: Lab, tmp_path: Path) -> Cluster:
    """Both nodes blank."""
    made = Cluster(lab, tmp_path)
    made.reset()
    return made


@pytest.fixture
def pair(cluster: Cluster) -> Cluster:
    """r0 is DualPrimary, brought there by `orchestrate up`."""
    cluster.up()
    return cluster
