# ruff: noqa: E501 - the cases are tables: one line each
"""Every rule for the layers above DRBD, seen refusing, and what would be sent without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from orchestrator.config import Config
from states import stack_rules
from states.facts import ClusterFacts
from states.goal import Direction, Do, Step
from states.stack_rules import LAYER_RULES, judge_layer
from states.vocabulary import DiskState, Layer, Role
from tests.unit.stack_cluster import (
    CTDB,
    FENCED,
    OLD_STACK,
    ONE,
    OTHER,
    PLAIN,
    SIZED,
    all_secondary,
    away,
    blank,
    facts_of,
    goal_of,
    loaded,
    off,
    with_layer,
    with_side,
)

UP, DOWN = Direction.UP, Direction.DOWN
START, STOP = Do.START_LAYER, Do.STOP_LAYER
L = Layer


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return loaded(tmp_path, CTDB)


def step(layer: str, do: Do = START, node: str = ONE) -> Step:
    return Step(do, node, "", layer)


LOW = ("files", "authkey", "corosync", "dlm", "lvmlockd")


def low(config: Config, **side: Any) -> ClusterFacts:
    """All up to lvmlockd; what is above is not there."""
    seen = blank(config)
    for name in LOW:
        seen = with_layer(seen, name, L.UP, "sha256 aa" if name == "authkey" else "as an example")
    return with_side(seen, ONE, **side)


REFUSES: tuple[tuple[str, str, Any, Step, str, str], ...] = (
    # rule                 cluster.toml  facts                                                                            step                what was seen               what to type
    ("layer-needs-lower",   FENCED, blank,                                                                    step("dlm"),        "corosync is Down",         "has to be Up first"),
    ("layer-needs-lower",   FENCED, lambda c: with_layer(low(c), "corosync", L.STARTING, "not quorate", (ONE,)),           step("dlm"),        "not quorate",              "has to be Up first"),
    ("layer-needs-lower",   FENCED, lambda c: low(c, role=Role.SECONDARY),                                                 step("vg opt"),     "Secondary and UpToDate",   "Primary and UpToDate"),
    ("layer-needs-lower",   FENCED, lambda c: low(c, disk=DiskState.INCONSISTENT),                                         step("vg opt"),     "Primary and Inconsistent", "Primary and UpToDate"),
    ("no-lvm-under-drbd",   FENCED, lambda c: with_side(low(c), OTHER, holders=("dm-0",)),                                 step("vg opt"),     f"on {OTHER} is in use by dm-0", "vgchange -an"),
    ("backing-touched",     FENCED, lambda c: low(c, touched=True),                                                        step("vg opt"),     "behind DRBD's back",       "drbdadm invalidate r0"),
    ("no-quorum-no-locks",  FENCED, lambda c: with_layer(low(c), "corosync", L.STARTING, "not quorate", (ONE,)),           step("lvmlockd"),   "not quorate",              "quorum"),
    ("stop-from-top",       FENCED, lambda c: with_layer(low(c), "corosync", L.FAILED, "older", (ONE,)),                   step("corosync"),   "dlm is Up",                "has to be Down first"),
    ("layer-hung",          FENCED, lambda c: with_layer(with_layer(blank(c), "files", L.UP), "dlm", L.HUNG, "left lockspaces behind", (ONE,)), step("corosync"), "left lockspaces behind", "power"),
    ("same-key",            FENCED, lambda c: with_layer(with_layer(with_layer(low(c), "corosync", L.DOWN), "dlm", L.DOWN), "authkey", L.UP, "sha256 bb", (OTHER,)), step("corosync"), f"key on {OTHER}: sha256 bb", "gets a copy"),
    ("start-together",      OLD_STACK, lambda c: with_layer(blank(c), "files", L.UP, "config_version 3;", (ONE,)),            step("cman"),       f"{OTHER} is not ready: files there is Down", "fence-ack"),
    ("start-together",      OLD_STACK, lambda c: with_layer(with_layer(blank(c), "files", L.UP), "cman", L.HUNG, "disallowed", (OTHER,)), step("cman"), "cman there is Hung: disallowed", "mend that"),
    ("start-together",      OLD_STACK, lambda c: with_layer(with_layer(blank(c), "files", L.UP, "config_version 3;"), "files", L.UP, "config_version 4;", (OTHER,)), step("cman"), f"cluster.conf on {OTHER} has config_version 4", "higher version"),
    ("fencing-configured",  PLAIN,  lambda c: with_layer(low(c), "dlm", L.DOWN),                                           step("dlm"),        "no fencing is configured", "accept_no_fencing"),
    ("no-mkfs-over-data",   FENCED, lambda c: with_layer(low(c), "vg opt", L.FAILED, "holds ext4", (OTHER,)),              step("vg opt"),     f"{OTHER} has: holds ext4", "name another"),
    ("no-mkfs-over-data",   FENCED, lambda c: with_layer(low(c), "vg opt", L.UP, "vg0", (OTHER,)),                         step("vg opt"),     f"{OTHER} has: vg0",        "name another"),
    ("no-mkfs-over-data",   FENCED, lambda c: with_layer(low(c), "vg opt", L.UNKNOWN, "not read", (ONE,)),                 step("vg opt"),     "not read",                 "look again"),
    ("grow-only",           SIZED,  lambda c: with_layer(low(c), "extended opt", L.FAILED, "cannot be made smaller", (ONE,)), step("extended opt"), "cannot be made smaller",  "[filesystem.opt]"),
    ("all-see-the-size",    SIZED,  lambda c: with_layer(with_layer(facts_of(c), "grown opt", L.DOWN), "extended opt", L.DOWN, "100 MiB", (OTHER,)), step("grown opt"), f"the kernel of {OTHER} has the volume and not its new size: extended opt is Down: 100 MiB", "lvchange --refresh"),
    ("unknown-is-not-down", FENCED, lambda c: away(with_layer(low(c), "corosync", L.DOWN)),                                step("corosync"),   f"{OTHER} could not be seen: no route", "until it is fenced"),
    ("config-drift",        FENCED, lambda c: with_layer(low(c), "files", L.FAILED, "token differs", (ONE,)),              step("files"),      "token differs",            "--apply-config"),
    ("stop-from-top",       FENCED, lambda c: with_layer(low(c), "mount opt", L.UP, nodes=(ONE,)),                         step("active opt", STOP), "mount opt is Up",    "has to be Down first"),
    ("stop-from-top",       FENCED, lambda c: with_layer(low(c), "mount opt", L.UNKNOWN, nodes=(ONE,)),                    step("active opt", STOP), "mount opt is Unknown", "has to be Down first"),
    ("stop-from-top",       FENCED, lambda c: with_layer(low(c), "lvmlockd", L.DOWN),                                      step("dlm", STOP),  "r0 is Primary there",      "demote it first"),
)


def test_every_rule_is_asked_about_here() -> None:
    assert {name for name, *_ in REFUSES} | {"nobody-asked"} == {rule.name for rule in LAYER_RULES}


def test_what_nobody_asked_for_waits_for_a_human(config: Config) -> None:
    unasked, seen = evolve(goal_of(config), unasked=True), low(config)
    found = judge_layer(seen, step("vg opt"), unasked)
    assert found is not None
    assert (found.rule, "making vg opt cannot be undone" in found.evidence) == ("nobody-asked", True)
    there = with_layer(facts_of(config), "samba", L.DOWN)
    assert judge_layer(there, step("samba"), unasked) is None
    kept = there.replace(evolve(there.node(ONE), maintenance="new memory"))
    for do in (START, STOP):
        found = judge_layer(kept, step("samba", do), unasked)
        assert found is not None
        assert (found.rule, found.evidence) == ("nobody-asked", f"{ONE} is in maintenance: new memory")
    assert judge_layer(kept, step("samba", node=OTHER), unasked) is None


@pytest.mark.parametrize(("rule", "text", "seen", "what", "evidence", "remedy"), REFUSES, ids=[f"{row[0]}-{n}" for n, row in enumerate(REFUSES)])
def test_it_refuses(tmp_path: Path, rule: str, text: str, seen: Any, what: Step, evidence: str, remedy: str) -> None:
    config = loaded(tmp_path, text)
    goal = goal_of(config, DOWN if what.do is STOP else UP)
    assert goal.stack is not None
    asked = stack_rules.LayerAsked(seen(config), what, goal, goal.stack)
    found = [said for said in (each.check(asked) for each in LAYER_RULES if each.name == rule and each.judges is what.do) if said is not None]
    assert found
    assert evidence in found[0][0]
    assert remedy in found[0][1]
    assert judge_layer(seen(config), what, goal) is not None


def test_what_nothing_speaks_against_passes(config: Config) -> None:
    seen = low(config)
    for each in (step("vg opt"),):
        assert judge_layer(seen, each, goal_of(config)) is None
    up = facts_of(config)
    assert judge_layer(with_layer(up, "samba", L.DOWN), step("samba"), goal_of(config)) is None
    assert judge_layer(up, step("samba", STOP), goal_of(config, DOWN)) is None
    lone = all_secondary(with_layer(low(config), "lvmlockd", L.DOWN))
    assert judge_layer(lone, step("dlm", STOP), goal_of(config, DOWN)) is None


@pytest.mark.parametrize(("text", "passes"), [(FENCED, True), (PLAIN, False), (PLAIN.replace("[cluster]", "[cluster]\naccept_no_fencing = true"), True)])
def test_the_lock_manager_needs_fencing_or_a_word_that_there_is_none(tmp_path: Path, text: str, passes: bool) -> None:
    config = loaded(tmp_path, text)
    found = judge_layer(with_layer(low(config), "dlm", L.DOWN), step("dlm"), goal_of(config))
    assert (found is None) == passes


def test_only_a_node_that_is_known_to_be_off_need_not_be_seen_and_only_where_that_is_allowed(config: Config) -> None:
    seen = with_layer(low(config), "corosync", L.DOWN)
    assert judge_layer(off(seen), step("corosync"), goal_of(config, degraded=True)) is None
    for unseen, goal in ((away(seen), goal_of(config, degraded=True)), (off(seen), goal_of(config))):
        found = judge_layer(unseen, step("corosync"), goal)
        assert found is not None
        assert found.rule == "unknown-is-not-down"


def test_drift_may_be_replaced_when_told_but_not_what_is_no_file(config: Config) -> None:
    goal = goal_of(config, apply_config=True)
    assert judge_layer(with_layer(low(config), "files", L.FAILED), step("files"), goal) is None
    found = judge_layer(with_layer(facts_of(config), "samba", L.FAILED, "broken"), step("samba"), goal)
    assert found is not None
    assert found.rule == "config-drift"


def test_a_step_of_the_stack_in_a_cluster_without_one_is_a_bug(config: Config) -> None:
    with pytest.raises(ValueError, match="without one"):
        judge_layer(facts_of(config), step("dlm"), goal_of(config, stack=None))


@pytest.mark.parametrize("rule", ["no-lvm-under-drbd", "backing-touched", "fencing-configured", "no-mkfs-over-data", "same-key", "start-together", "config-drift", "all-see-the-size"])
def test_without_the_rule_the_step_would_be_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rule: str) -> None:
    _, text, seen, what, *_ = next(row for row in REFUSES if row[0] == rule)
    config = loaded(tmp_path, text)
    goal = goal_of(config)
    found = judge_layer(seen(config), what, goal)
    assert found is not None
    assert found.rule == rule
    monkeypatch.setattr(stack_rules, "LAYER_RULES", tuple(each for each in LAYER_RULES if each.name != rule))
    assert judge_layer(seen(config), what, goal) is None
