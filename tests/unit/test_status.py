"""What `status` says while something hangs: since when, why, and what to type."""

from __future__ import annotations

import io
import re
from pathlib import Path

from attrs import evolve

from orchestrator.cli.status import as_document
from orchestrator.config import Config
from orchestrator.render import draw_status
from states.facts import ClusterFacts, FencingFact, LayerFact
from states.vocabulary import Layer
from tests.unit.stack_cluster import ONE, OTHER, away, facts_of, loaded


def frozen(config: Config, said: str = "") -> ClusterFacts:
    """One node waits until the other is off; both times are its own clock's."""
    seen = away(facts_of(config))
    node = seen.node(ONE).with_layer(LayerFact("mount opt", Layer.HUNG, "its lockspace is stopped", 570.0))
    return seen.replace(evolve(node, ended=600.0, fencing=(FencingFact(OTHER, 566.0, said),)))


def drawn(config: Config, facts: ClusterFacts) -> str:
    out = io.StringIO()
    draw_status(config, facts, out)
    return out.getvalue()


def test_what_hangs_and_who_waits_for_whom_is_said_with_the_time(tmp_path: Path) -> None:
    config = loaded(tmp_path)
    text = drawn(config, frozen(config, "fence_ipmilan off failed: Unable to connect"))
    assert re.search(rf"{ONE}: mount opt is Hung since \d\d:\d\d:\d\d UTC \(30 s\): its lockspace is stopped", text), text
    assert re.search(rf"{ONE} waits until {OTHER} is off, since \S+ UTC \(34 s\): fence_ipmilan off failed: Unable to connect;", text), text
    assert f"orchestrate fence-ack {OTHER}" in text


def test_where_no_agent_failed_the_human_is_asked(tmp_path: Path) -> None:
    config = loaded(tmp_path)
    assert "(34 s): switch it off; you have seen" in drawn(config, frozen(config))


def test_a_healthy_cluster_waits_for_nobody(tmp_path: Path) -> None:
    config = loaded(tmp_path)
    text = drawn(config, facts_of(config))
    assert "waits until" not in text
    assert "Hung" not in text


def test_scripts_are_told_the_same(tmp_path: Path) -> None:
    config = loaded(tmp_path)
    document = as_document(config, frozen(config, "no answer"), {})
    nodes = document["nodes"]
    assert isinstance(nodes, dict)
    assert nodes[ONE]["not_up"]["mount opt"] == "its lockspace is stopped"
    assert nodes[OTHER]["not_up"] == {}
    assert nodes[ONE]["hung"] == {"mount opt": {"why": "its lockspace is stopped", "seconds": 30.0}}
    assert nodes[ONE]["fencing"] == [{"node": OTHER, "seconds": 34.0, "said": "no answer"}]
    assert nodes[OTHER]["hung"] == {}
