"""Pictures of a file server whose nodes have addresses of their own for clients, and the cluster.toml of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve

from orchestrator.config import Config
from states.facts import ClusterFacts
from states.goal import Direction
from states.picture import Picture
from states.vocabulary import Layer
from tests.unit.stack_cluster import FENCED, ONE, OTHER, facts_of, loaded, with_layer

NAME = "nas.example.org"
FIRST, SECOND, SECOND6 = "192.0.2.11", "192.0.2.12", "2001:db8::12"

SECTION = f"""
[supervise.names]
name = "{NAME}"
{{more}}
[supervise.names.addresses]
{ONE} = ["{FIRST}"]
{OTHER} = ["{SECOND}", "{SECOND6}"]
"""


def configured(folder: Path, *lines: str) -> Config:
    """A file server with these lines in [supervise.names]."""
    return loaded(folder, FENCED + SECTION.format(more="\n".join(lines)))


def picture(config: Config, facts: ClusterFacts | None = None, **more: Any) -> Picture:
    """The cluster, healthy if nothing else is said."""
    return evolve(Picture(config.cluster.name, 0.0, config.goal(Direction.UP), facts or facts_of(config)), **more)


def without(config: Config, *nodes: str, layer: str = "samba") -> Picture:
    """The same with a layer that has ended on some nodes."""
    return picture(config, with_layer(facts_of(config), layer, Layer.DOWN, nodes=nodes))
