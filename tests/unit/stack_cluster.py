"""A cluster with a whole stack, for tests: its cluster.toml, and facts of it in any condition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve

from fixtures.situations import NAMES, pair
from orchestrator.config import Config, load
from states.facts import ClaimFact, ClusterFacts, LayerFact
from states.goal import Direction, Goal
from states.vocabulary import Layer, Node, Role

ONE, OTHER = NAMES

PLAIN = f"""
[cluster]
name = "NASCluster"

[node.{ONE}]
address = "10.99.0.11"
replication_address = "10.98.0.11"

[node.{OTHER}]
address = "10.99.0.12"
replication_address = "10.98.0.12"

[resource.r0]
disk = "/dev/ubdb"
minor = 1

[filesystem.opt]
resource = "r0"
mount = "/opt"
vg = "vg0"

[share.public]
filesystem = "opt"
"""

FENCE = """
[node.{name}.fence]
agent = "fence_ipmilan"

[node.{name}.fence.options]
ip = "10.99.0.1"
ipport = "{port}"
username = "admin"
password = "hush-hush"
"""
FENCED = PLAIN + FENCE.format(name=ONE, port=6231) + FENCE.format(name=OTHER, port=6232)
SIZED = FENCED.replace('mount = "/opt"', 'mount = "/opt"\nsize = "160M"')
THIRD = "linux-nas03"
VOTED = FENCED + f"""
[node.{THIRD}]
address = "10.99.0.13"
replication_address = "10.98.0.13"
storage = false
"""
OLD_STACK = FENCED.replace('name = "NASCluster"', 'name = "NASCluster"\nprofile = "rhcs"')
CTDB = FENCED + '\n[samba]\nclustering = "ctdb"\n'


def loaded(folder: Path, text: str = FENCED) -> Config:
    """A cluster.toml as the program has it. Raises ConfigError."""
    path = folder / "cluster.toml"
    path.write_text(text)
    return load(path)


def goal_of(config: Config, way: Direction = Direction.UP, **changes: Any) -> Goal:
    """What a run on that cluster is to reach."""
    return evolve(config.goal(way), **changes)


def facts_of(config: Config, state: Layer = Layer.UP, like: str = "healthy") -> ClusterFacts:
    """Both nodes with every layer of the stack in one state."""
    seen = pair(like)
    stack = config.stack()
    assert stack is not None
    for placed in stack.layers:
        seen = with_layer(seen, placed.name, state, nodes=placed.nodes)
    return seen


def with_layer(seen: ClusterFacts, name: str, state: Layer, detail: str = "as an example", nodes: tuple[str, ...] = NAMES) -> ClusterFacts:
    """The same facts with one layer in another state."""
    for node in nodes:
        seen = seen.replace(seen.node(node).with_layer(LayerFact(name, state, detail)))
    return seen


def blank(config: Config) -> ClusterFacts:
    """Both nodes Primary and UpToDate, programs installed, nothing else."""
    seen = with_layer(facts_of(config, Layer.DOWN), "packages", Layer.UP)
    return with_layer(seen, "hosts", Layer.UP) if config.cluster.profile == "rhcs" else seen


def with_side(seen: ClusterFacts, node: str, **values: Any) -> ClusterFacts:
    """The same facts with values of one node's side of r0 replaced."""
    found = seen.node(node)
    return seen.replace(found.with_side("r0", evolve(found.side("r0"), **values)))


def all_secondary(seen: ClusterFacts) -> ClusterFacts:
    """Nobody is Primary."""
    for node in NAMES:
        seen = with_side(seen, node, role=Role.SECONDARY, peer_role=Role.SECONDARY)
    return seen


def away(seen: ClusterFacts, node: str = OTHER) -> ClusterFacts:
    """One node cannot be seen."""
    return seen.replace(evolve(seen.node(node), state=Node.UNREACHABLE, why="no route", sides=(), layers=()))


def off(seen: ClusterFacts, node: str = OTHER) -> ClusterFacts:
    """One node cannot be seen, and the others know that it is off."""
    seen = away(seen, node)
    for other in NAMES:
        if other != node:
            seen = seen.replace(evolve(seen.node(other), off=(node,)))
    return seen


def claimed(seen: ClusterFacts, node: str, about: str) -> ClusterFacts:
    """A command of an earlier run has not ended on one node."""
    claim = ClaimFact("op", "start-layer", about, None, running=True)
    return seen.replace(evolve(seen.node(node), claims=(claim,)))
