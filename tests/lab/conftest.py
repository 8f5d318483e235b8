"""One lab for all scenarios. In CI a lab that cannot start fails the run; elsewhere its scenarios are skipped, with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.lab import Lab, LabSpec
from tests.lab.cluster import Cluster, booted
from tests.lab.stack_cluster import SPEC, StackCluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the lab, and more time than a unit test; `nodes` have the whole file server."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.lab)
            if "nodes" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.full)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two booted nodes with a data disk of 96 MiB each: zeroed before every scenario and copied; `save` wants 88 of them."""
    with booted(tmp_path_factory.mktemp("lab") / "lab", LabSpec(nodes=2, disk=96)) as made:
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


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackCluster]:
    """Two nodes of the whole file server, blank at first: one lab for all its scenarios, for a boot and a first `up` take a minute."""
    folder = tmp_path_factory.mktemp("stack")
    with booted(folder / "lab", SPEC) as lab:
        yield StackCluster(lab, folder)


@pytest.fixture
def blank(nodes: StackCluster) -> StackCluster:
    """Nothing was ever done to them."""
    nodes.renew()
    return nodes


@pytest.fixture
def serving(nodes: StackCluster) -> StackCluster:
    """The stack is up, as the lab's own cluster.toml has it; every cable is in. What a scenario that failed has left behind is
    not the next one's fault: what does not come up from there has to come up after a power cut."""
    nodes.changes = {}
    nodes.lab.heal()
    nodes.power_on()
    if nodes.run("up", "-q", "--apply-config").code != 0:
        nodes.power_cut()
        nodes.up("-q", "--apply-config")
    return nodes


@pytest.fixture
def stopped(nodes: StackCluster) -> StackCluster:
    """It was up, and is down on both."""
    nodes.changes = {}
    nodes.power_on()
    if not nodes.used:
        nodes.up("-q")
    assert nodes.run("down").code == 0
    return nodes
