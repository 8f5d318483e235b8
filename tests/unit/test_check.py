"""`check`: what it finds, how bad it is, and what it says to do. Pure facts in, findings out; the drawing is run for real."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from orchestrator.config import Config
from orchestrator.render import draw_findings
from orchestrator.stack.off import alive
from states.check import exit_code, findings
from states.facts import ClusterFacts, LayerFact
from states.finding import Finding, Weight
from states.vocabulary import ConnectionState, DiskState, Layer
from tests.unit.stack_cluster import CTDB, FENCED, ONE, OTHER, PLAIN, away, facts_of, goal_of, loaded, off, with_layer, with_side

MANUAL = PLAIN + "".join(f'\n[node.{name}.fence]\nmethod = "manual"\n' for name in (ONE, OTHER))
Change = Callable[[ClusterFacts], ClusterFacts]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return loaded(tmp_path, CTDB)


def found(config: Config, seen: ClusterFacts) -> tuple[Finding, ...]:
    return findings(goal_of(config), seen)


def boots(seen: ClusterFacts) -> ClusterFacts:
    return seen.replace(seen.node(ONE).with_layer(LayerFact("boot", Layer.DOWN, "multi-user.target.wants/corosync.service")))


def held(*holders: str) -> Change:
    return lambda seen: with_side(seen, ONE, holders=holders, disk=DiskState.DISKLESS, configured=False)


def test_a_healthy_cluster_has_no_findings(config: Config) -> None:
    assert found(config, facts_of(config)) == ()
    assert exit_code(()) == 0


@pytest.mark.parametrize(("change", "weight", "what", "evidence", "remedy"), [
    (away,                                   Weight.PROBLEM, "it cannot be seen",      "no route",          "counts as Primary"),
    (boots,                                  Weight.DANGER,  "start by themselves",    "corosync.service",  "orchestrate up"),
    (held("dm-0"),                           Weight.DANGER,  "behind DRBD's back",     "dm-0",              "copies that side anew"),
    (held("dm-0", "mount:/mnt"),             Weight.DANGER,  "behind DRBD's back",     "mount:/mnt",        "unmount it first"),
    (held("md0"),                            Weight.DANGER,  "behind DRBD's back",     "md0",               "stop what uses it"),
    (lambda seen: with_side(seen, ONE, touched=True), Weight.DANGER, "was in use",     "touched",           "not UpToDate"),
    (lambda seen: with_side(seen, ONE, touched=True, mounted_behind=True), Weight.DANGER, "was in use", "it was mounted", "not UpToDate"),
    (lambda seen: with_layer(seen, "mount opt", Layer.HUNG, "stopped", (ONE,)), Weight.DANGER, "mount opt is Hung", "stopped", "plan"),
    (lambda seen: with_layer(seen, "packages", Layer.FAILED, "no ctdb", (ONE,)), Weight.PROBLEM, "packages is Failed", "no ctdb", "plan"),
    (lambda seen: with_side(seen, ONE, out_of_sync=4), Weight.DANGER, "it is Suspect", "", "split-brain"),
    (lambda seen: seen.replace(evolve(seen.node(ONE), unread=("r0",))), Weight.PROBLEM, "cannot be told", "recovery/r0", "mv "),
    (lambda seen: seen.replace(evolve(seen.node(ONE), version="8.4.7")), Weight.NOTE, "different versions", "8.4.7", "same"),
])  # fmt: skip
def test_it_finds(config: Config, change: Change, weight: Weight, what: str, evidence: str, remedy: str) -> None:
    hits = [one for one in found(config, change(facts_of(config))) if what in one.what]
    assert hits
    assert hits[0].weight is weight
    assert evidence in hits[0].evidence
    assert remedy in hits[0].remedy


@pytest.mark.parametrize(("text", "what", "weight"), [
    (PLAIN,                                              "both go on writing",    Weight.DANGER),
    (PLAIN.replace('name = "NASCluster"', 'name = "NASCluster"\naccept_no_fencing = true'), "both go on writing", Weight.DANGER),
    (MANUAL,                                             "a human is the fence",  Weight.NOTE),
    (FENCED,                                             "two plain smbd",        Weight.DANGER),
])  # fmt: skip
def test_it_tells_half_truths_of_the_configuration(tmp_path: Path, text: str, what: str, weight: Weight) -> None:
    config = loaded(tmp_path, text)
    hits = [one for one in found(config, facts_of(config)) if what in one.what]
    assert [one.weight for one in hits] == [weight]


def test_without_a_stack_nobody_takes_volumes_away(tmp_path: Path, config: Config) -> None:
    seen = held("dm-0")(facts_of(config))
    bare = loaded(tmp_path, CTDB[:CTDB.index("[filesystem.opt]")])
    (hit,) = (one for one in found(bare, seen) if "behind DRBD's back" in one.what and one.where == ONE)
    assert "orchestrate up" not in hit.remedy
    assert "vgchange -an" in hit.remedy


def test_one_plain_smbd_is_no_danger(tmp_path: Path) -> None:
    config = loaded(tmp_path, FENCED + f'\n[samba]\nserve_on = ["{ONE}"]\n')
    assert [one for one in found(config, facts_of(config)) if "smbd" in one.what] == []


def test_what_up_would_refuse_is_said_and_the_worst_comes_first(config: Config) -> None:
    seen = with_layer(facts_of(config), "files", Layer.FAILED, "corosync.conf: -token: 1", (ONE,))
    hits = found(config, boots(seen))
    assert [list(Weight).index(one.weight) for one in hits] == sorted(list(Weight).index(one.weight) for one in hits)
    assert any("rule config-drift" in one.what for one in hits)
    assert exit_code(hits) == 3


def test_exit_codes_follow_from_the_worst(config: Config) -> None:
    assert exit_code(found(config, away(facts_of(config)))) == 6
    note = Finding(Weight.NOTE, "here", "this", "that", "nothing")
    assert exit_code((note,)) == 0
    assert exit_code((note, evolve(note, weight=Weight.PROBLEM))) == 3


def test_a_finding_is_three_lines_and_brackets_are_shown() -> None:
    out = io.StringIO()
    draw_findings((Finding(Weight.DANGER, "samba", "two", '[samba] clustering = "plain"', "mend [samba]"),), out)
    assert out.getvalue().splitlines() == ["danger: samba: two", '    seen: [samba] clustering = "plain"', "    do:   mend [samba]"]


def test_who_answers_or_is_connected_is_not_off(config: Config) -> None:
    seen = facts_of(config)
    assert alive(seen, OTHER) == f"{OTHER} answers"
    gone = away(seen)
    assert "connected" in alive(gone, OTHER)  # the management network is cut, and its DRBD still talks
    silent = with_side(gone, ONE, connection=ConnectionState.CONNECTING)
    assert alive(silent, OTHER) == ""
    assert "answers" in alive(silent.replace(evolve(silent.node(OTHER), why="it answers, but something hangs there")), OTHER)
    assert off(silent).off == frozenset({OTHER})


@pytest.mark.parametrize(("detail", "says", "never"), [
    ("/etc/rc3.d/S70drbd /etc/rc3.d/S24clvmd", "chkconfig SERVICE off", "systemctl"),
    ("multi-user.target.wants/corosync.service", "systemctl disable", "chkconfig"),
])
def test_what_starts_at_boot_is_taken_out_with_the_tool_that_is_there(config: Config, detail: str, says: str, never: str) -> None:
    seen = facts_of(config)
    seen = seen.replace(seen.node(ONE).with_layer(LayerFact("boot", Layer.DOWN, detail)))
    (one,) = (one for one in found(config, seen) if "by themselves at boot" in one.what)
    assert says in one.remedy
    assert never not in one.remedy
