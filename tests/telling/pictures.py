"""Pictures of a cluster in any condition, as a supervisor hands them on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve

from orchestrator.config import Config
from states.alarm import Alarm, Severity
from states.facts import ClusterFacts
from states.goal import Direction, Ledger
from states.pair import Pair
from states.picture import MachineSeen, Picture
from states.resource import classify
from tests.unit.stack_cluster import FENCED, facts_of, loaded

SPLIT = Alarm("split-brain", "r0", Severity.CRITICAL, "r0 is split", "identifiers differ", "orchestrate recover-splitbrain r0 --plan")
AWAY = Alarm("node-away", "linux-nas02", Severity.WARNING, "linux-nas02 does not answer", "no route", "look at it")
START = 1_700_000_000.0
"""When the first picture was made: seconds since the epoch."""


def cluster(folder: Path, more: str = "") -> Config:
    """A whole file server with fencing, and what else its cluster.toml says."""
    return loaded(folder, FENCED + more)


def picture(config: Config, facts: ClusterFacts | None = None, **changes: Any) -> Picture:
    """One picture, every machine in it classified from the facts; healthy if nothing is said."""
    facts = facts or facts_of(config)
    goal = config.goal(Direction.UP)
    machines = [MachineSeen(one.name, classify(Pair.of(facts, one, Ledger())), START - 60) for one in goal.resources]
    machines += [MachineSeen(node.name, node.state, START - 60) for node in facts.nodes]
    machines += [MachineSeen(f"{fact.name} on {node.name}", fact.state, START - 60) for node in facts.nodes for fact in node.layers]
    return evolve(Picture(config.cluster.name, START, goal, facts, tuple(machines)), **changes)
