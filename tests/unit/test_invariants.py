# ruff: noqa: E501 - the cases are tables: one line each
"""Each rule: where it lets a step pass, each reason why it refuses, and what would happen without it."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from fixtures.situations import HEALTHY, NAMES, SAME, WANTED, pair, situations
from fixtures.situations.stacked import read_stack, with_stack
from states import invariants
from states.consent import NOTHING_CHANGED, Consent
from states.decide import decide
from states.facts import ClusterFacts, LayerFact, NodeFacts
from states.goal import Direction, Do, Goal, Ledger, Step, Steps
from states.identifiers import Flag, Identifiers
from states.invariants import RULES, Rule, judge
from states.plan import plan
from states.reach import unseen
from states.stacks import PROFILES, LayerSpec
from states.stuck import way_out
from states.vocabulary import ConnectionState, Contents, DiskState, Layer, Metadata, Node, ReplicationState, Resource, Role
from states.watchful import alarms_of
from tests.unit.test_recovery_rules import HANGS, LOSSES

ONE, OTHER = NAMES
CASES = {each.name: each for each in situations()}
SECONDARY: dict[str, Any] = {"role": Role.SECONDARY, "peer_role": Role.SECONDARY}


def changed(seen: ClusterFacts, one: dict[str, Any] | None = None, other: dict[str, Any] | None = None) -> ClusterFacts:
    """The same facts with values of each side replaced."""
    for name, values in ((ONE, one or {}), (OTHER, other or {})):
        node = seen.node(name)
        seen = seen.replace(node.with_side("r0", evolve(node.side("r0"), **values)))
    return seen


def both(seen: ClusterFacts, **values: Any) -> ClusterFacts:
    return changed(seen, values, values)


def layer(seen: ClusterFacts, name: str, state: Layer, detail: str = "seen") -> ClusterFacts:
    return seen.replace(seen.node(ONE).with_layer(LayerFact(name, state, detail)))


def away(seen: ClusterFacts) -> ClusterFacts:
    return seen.replace(evolve(seen.node(OTHER), state=Node.UNREACHABLE, why="no route"))


BLANK, DOWN, ATTACHED, NEW = pair("blank"), pair("down"), pair("attached"), CASES["inconsistent"].facts
READY = both(pair(), **SECONDARY)
SERVED = changed(READY, {"role": Role.PRIMARY}, {"peer_role": Role.PRIMARY})
ZEROS = both(NEW, contents=Contents.ZEROS)
DISCARDING = evolve(WANTED, net=tuple(sorted({**dict(WANTED.net), "after-sb-0pri": "discard-zero-changes"}.items())))
OTHERS_SAY_NO = tuple(sorted({**dict(WANTED.net), "allow-two-primaries": "no"}.items()))

COMPARES = both(pair(), running=tuple(sorted({**dict(WANTED.net), "verify-alg": "crc32c"}.items())))
STACK = read_stack({}, NAMES)
HELD_BY_ONE, TOUCHED = changed(DOWN, {"holders": ("dm-0",)}), changed(DOWN, {"touched": True})
ALONE = changed(ATTACHED.replace(evolve(ATTACHED.node(ONE), off=(OTHER,))).replace(NodeFacts(OTHER, Node.UNREACHABLE, why="no route")))
"""One side with its disk up, and its peer is known to be off."""
NO_FLAGS = evolve(HEALTHY.identifiers or Identifiers(0, 0, (0, 0), frozenset()), flags=frozenset({Flag.CONSISTENT}))

IN_MAINTENANCE = ATTACHED.replace(evolve(ATTACHED.node(OTHER), maintenance="new memory"))
PASSES: tuple[tuple[str, ClusterFacts, Step], ...] = (
    ("nobody-asked", ATTACHED, Step(Do.CONNECT, ONE, "r0")),
    ("nobody-asked", DOWN, Step(Do.ATTACH, ONE, "r0")),
    ("no-create-md", BLANK, Step(Do.CREATE_METADATA, ONE, "r0")),
    ("no-create-md", changed(BLANK, {"contents": Contents.ZEROS}), Step(Do.CREATE_METADATA, ONE, "r0")),
    ("no-force-primary", NEW, Step(Do.FORCE_PRIMARY, ONE, "r0")),
    ("skip-only-zeros", ZEROS, Step(Do.CLEAR_BITMAP, ONE, "r0")),
    ("look-before-connect", ATTACHED, Step(Do.CONNECT, ONE, "r0")),
    ("same-settings", both(ATTACHED, running=WANTED.net), Step(Do.CONNECT, ONE, "r0")),
    ("no-auto-discard", ATTACHED, Step(Do.ATTACH, ONE, "r0")),
    ("no-discarding-config", BLANK, Step(Do.START_LAYER, ONE, "r0", "config")),
    ("layer-needs-lower", BLANK, Step(Do.START_LAYER, ONE, "r0", "module")),
    ("no-lvm-under-drbd", DOWN, Step(Do.ATTACH, ONE, "r0")),
    ("backing-touched", DOWN, Step(Do.ATTACH, ONE, "r0")),
    ("promote-up-to-date", READY, Step(Do.PROMOTE, ONE, "r0")),
    ("dual-primary-gate", SERVED, Step(Do.PROMOTE, OTHER, "r0")),
    ("unknown-is-not-down", READY, Step(Do.PROMOTE, ONE, "r0")),
    ("only-unused-volumes", HELD_BY_ONE, Step(Do.RELEASE, ONE, "r0")),
    ("peer-has-all", TOUCHED, Step(Do.DISTRUST, ONE, "r0")),
    ("no-start-alone-on-stale", ALONE, Step(Do.PROMOTE_ALONE, ONE, "r0")),
    ("alone-needs-fenced-peer", ALONE, Step(Do.PROMOTE_ALONE, ONE, "r0")),
    ("never-stop-the-only-good", pair(), Step(Do.DEMOTE, ONE, "r0")),
    ("stop-from-top", pair(), Step(Do.DEMOTE, ONE, "r0")),
    ("verify-at-rest", COMPARES, Step(Do.VERIFY, ONE, "r0")),
)

REFUSES: tuple[tuple[str, ClusterFacts, Do, str, str, str], ...] = (
    # rule              seen                                                              step       node   evidence                    remedy
    ("no-create-md", changed(BLANK, {"contents": Contents.DATA, "signature": "ext4"}), Do.CREATE_METADATA, ONE, "not blank: ext4", "another disk"),
    ("no-create-md", changed(BLANK, {"contents": Contents.UNKNOWN}), Do.CREATE_METADATA, ONE, "could not be seen", "look again"),
    ("no-create-md", changed(BLANK, {"metadata": Metadata.VALID}), Do.CREATE_METADATA, ONE, "already has DRBD metadata", "look again"),
    ("no-create-md", changed(BLANK, {"holders": ("dm-0",)}), Do.CREATE_METADATA, ONE, "in use by dm-0", "stop what uses it"),
    ("no-force-primary", changed(NEW, None, {"identifiers": HEALTHY.identifiers}), Do.FORCE_PRIMARY, ONE, "was once good", "just-created"),
    ("no-force-primary", changed(NEW, {"identifiers": None}), Do.FORCE_PRIMARY, ONE, "identifiers are unknown", "just-created"),
    ("no-force-primary", changed(NEW, None, {"disk": DiskState.UP_TO_DATE}), Do.FORCE_PRIMARY, ONE, "Inconsistent/UpToDate", "may be forced"),
    ("no-force-primary", changed(NEW, None, {"role": Role.PRIMARY}), Do.FORCE_PRIMARY, ONE, f"{OTHER} is Primary", "look again"),
    ("no-force-primary", changed(NEW, {"connection": ConnectionState.CONNECTING}), Do.FORCE_PRIMARY, ONE, "not connected", "must be connected"),
    ("skip-only-zeros", changed(ZEROS, None, {"contents": Contents.BLANK}), Do.CLEAR_BITMAP, ONE, OTHER, "skip_initial_sync = false"),
    ("look-before-connect", changed(ATTACHED, {"identifiers": None}), Do.CONNECT, ONE, "cannot be predicted", "look again"),
    ("look-before-connect", CASES["split-brain-zero-changes"].facts, Do.CONNECT, ONE, "split brain, unresolved", "docs/split-brain.md"),
    ("look-before-connect", CASES["unrelated"].facts, Do.CONNECT, ONE, "unrelated", "nothing was connected"),
    ("same-settings", changed(ATTACHED, None, {"running": OTHERS_SAY_NO}), Do.CONNECT, ONE, f"'no' in the running kernel of {OTHER}", "down"),
    ("no-lvm-under-drbd", changed(DOWN, {"holders": ("dm-0",)}), Do.ATTACH, ONE, "in use by dm-0", "vgchange -an"),
    ("backing-touched", changed(DOWN, None, {"touched": True}), Do.ATTACH, ONE, f"backing device of {OTHER}", "drbdadm invalidate"),
    ("backing-touched", changed(ATTACHED, {"touched": True}), Do.CONNECT, ONE, "behind DRBD's back", "drbdadm invalidate"),
    ("no-force-primary", changed(NEW, None, {"contents": Contents.DATA}), Do.FORCE_PRIMARY, ONE, f"{OTHER} holds something", "docs/split-brain.md"),
    ("no-auto-discard", both(READY, running=tuple(sorted({**dict(WANTED.net), "after-sb-0pri": "discard-zero-changes"}.items()))),
     Do.PROMOTE, ONE, "discards data by itself", "accept_auto_discard"),
    ("promote-up-to-date", changed(READY, {"disk": DiskState.CONSISTENT}), Do.PROMOTE, ONE, "its disk is Consistent", "wait until"),
    ("promote-up-to-date", changed(READY, {"connection": ConnectionState.CONNECTING}), Do.PROMOTE, ONE, "the link Connecting", "wait until"),
    ("dual-primary-gate", changed(SERVED, {"disk": DiskState.OUTDATED}), Do.PROMOTE, OTHER, "Outdated/UpToDate", "UpToDate"),
    ("dual-primary-gate", both(SERVED, replication=ReplicationState.SYNC_SOURCE), Do.PROMOTE, OTHER, "UpToDate/UpToDate", "connected"),
    ("dual-primary-gate", changed(SERVED, {"running": OTHERS_SAY_NO}), Do.PROMOTE, OTHER, "allow-two-primaries is 'no'", "allow-two-primaries yes"),
    ("dual-primary-gate", changed(SERVED, {"running": ()}), Do.PROMOTE, OTHER, "'not set'", "two Primaries need"),
    ("unknown-is-not-down", away(READY), Do.PROMOTE, ONE, f"{OTHER} could not be seen: no route", "until it is fenced"),
    ("unknown-is-not-down", away(ATTACHED), Do.CONNECT, ONE, f"{OTHER} could not be seen", "make"),
    ("verify-at-rest", pair(), Do.VERIFY, ONE, f"no verify-alg runs on {ONE} and {OTHER}", 'verify_alg = "crc32c"'),
    ("verify-at-rest", changed(COMPARES, {"running": WANTED.net}), Do.VERIFY, ONE, f"no verify-alg runs on {ONE}", "up --apply-config"),
    ("verify-at-rest", both(COMPARES, replication=ReplicationState.VERIFY_S), Do.VERIFY, ONE, "VerifyS", "nothing being copied or compared"),
    ("verify-at-rest", changed(COMPARES, None, {"disk": DiskState.INCONSISTENT}), Do.VERIFY, ONE, f"{OTHER} Inconsistent", "connected and UpToDate"),
    ("verify-at-rest", changed(COMPARES, {"connection": ConnectionState.CONNECTING}), Do.VERIFY, ONE, "Connecting", "connected and UpToDate"),
    ("unknown-is-not-down", away(COMPARES), Do.VERIFY, ONE, f"{OTHER} could not be seen", "make"),
    ("verify-at-rest", changed(COMPARES, {"suspended": True}), Do.VERIFY, ONE, "IO is suspended", "what froze it"),
    ("only-unused-volumes", changed(DOWN, {"holders": ("dm-0", "mount:/opt")}), Do.RELEASE, ONE, "mount:/opt", "umount"),
    ("peer-has-all", changed(TOUCHED, {"mounted_behind": True}), Do.DISTRUST, ONE, "was mounted behind DRBD's back", "docs/hazards.md"),
    ("peer-has-all", both(DOWN, touched=True), Do.DISTRUST, ONE, f"backing disk of {OTHER} was in use, too", "docs/hazards.md"),
    ("peer-has-all", changed(TOUCHED, None, {"holders": ("dm-0",)}), Do.DISTRUST, ONE, f"backing disk of {OTHER}", "docs/hazards.md"),
    ("peer-has-all", changed(TOUCHED, None, {"identifiers": None}), Do.DISTRUST, ONE, "not known", "docs/hazards.md"),
    ("peer-has-all", changed(TOUCHED, None, {"identifiers": NO_FLAGS}), Do.DISTRUST, ONE, f"{OTHER} was not UpToDate", "docs/hazards.md"),
    ("no-start-alone-on-stale", changed(ALONE, {"disk": DiskState.OUTDATED}), Do.PROMOTE_ALONE, ONE, "Outdated", "good data"),
    ("no-start-alone-on-stale", changed(ALONE, {"identifiers": None}), Do.PROMOTE_ALONE, ONE, "identifiers are not known", "look again"),
    ("alone-needs-fenced-peer", pair(), Do.PROMOTE_ALONE, ONE, f"{OTHER} is not known to be off", "no fencing configured"),
    ("alone-needs-fenced-peer", away(ATTACHED), Do.PROMOTE_ALONE, ONE, f"{OTHER} is not known to be off", "no fencing configured"),
)


def goal(apply: bool = False) -> Goal:
    return Goal(Direction.UP, (WANTED,), apply)


DEGRADED = Goal(Direction.UP, (WANTED,), degraded=True)
ONLY = Goal(Direction.DOWN, (WANTED,), only=frozenset({ONE}))
DOWN_ALL = Goal(Direction.DOWN, (WANTED,), stack=STACK)
GOALS = {
    # what is asked for, where the rule is about that
    "no-start-alone-on-stale": DEGRADED, "alone-needs-fenced-peer": DEGRADED, "never-stop-the-only-good": ONLY, "stop-from-top": goal(),
    "nobody-asked": Goal(Direction.UP, (WANTED,), unasked=True),
}


@pytest.mark.parametrize(("seen", "do", "evidence", "remedy"), [
    (BLANK, Do.CREATE_METADATA, "cannot be undone", "orchestrate plan"),
    (NEW, Do.FORCE_PRIMARY, "cannot be undone", "orchestrate plan"),
    (ZEROS, Do.CLEAR_BITMAP, "cannot be undone", "orchestrate plan"),
    (TOUCHED, Do.DISTRUST, "cannot be undone", "orchestrate plan"),
    (HELD_BY_ONE, Do.RELEASE, "no human asked to take them away", "orchestrate plan"),
    (IN_MAINTENANCE, Do.CONNECT, f"{OTHER} is in maintenance: new memory", f"orchestrate maintenance off {OTHER}"),
    (ATTACHED.replace(evolve(ATTACHED.node(ONE), maintenance="down")), Do.CONNECT, f"{ONE} was taken down by hand", "orchestrate up"),
])
def test_what_nobody_asked_for_waits_for_a_human(seen: ClusterFacts, do: Do, evidence: str, remedy: str) -> None:
    asked, unasked = (Goal(Direction.UP, (WANTED,), unasked=unasked) for unasked in (False, True))
    step = Step(do, ONE, "r0")
    found = RULES["nobody-asked"].check(invariants.Asked(seen, step, WANTED, unasked))
    assert found is not None
    assert (evidence in found[0], remedy in found[1]) == (True, True)
    assert RULES["nobody-asked"].check(invariants.Asked(seen, step, WANTED, asked)) is None


@pytest.mark.parametrize(("by", "refused"), [(NOTHING_CHANGED, False), ("an operator", True)])
def test_a_discard_that_discards_nothing_needs_nobody(by: str, refused: bool) -> None:
    consent = Consent("r0", OTHER, tuple((side.node, SAME) for side in pair().sides("r0", NAMES)), by)
    unasked = Goal(Direction.UP, (WANTED,), unasked=True, consents=(consent,))
    found = RULES["nobody-asked"].check(invariants.Asked(pair(), Step(Do.DISCARD, OTHER, "r0"), WANTED, unasked))
    assert (found is not None) == refused


def test_every_rule_is_asked_about_here() -> None:
    elsewhere = {"config-drift", HANGS, *LOSSES}
    assert {name for name, *_ in PASSES} | elsewhere == set(RULES)


@pytest.mark.parametrize(("rule", "seen", "step"), PASSES, ids=[f"{name}-{n}" for n, (name, *_) in enumerate(PASSES)])
def test_it_lets_pass(rule: str, seen: ClusterFacts, step: Step) -> None:
    assert judge(seen, step, WANTED, GOALS.get(rule, goal()), (rule,)) is None


@pytest.mark.parametrize(("rule", "seen", "do", "node", "evidence", "remedy"), REFUSES, ids=[f"{row[0]}-{n}" for n, row in enumerate(REFUSES)])
def test_it_refuses(rule: str, seen: ClusterFacts, do: Do, node: str, evidence: str, remedy: str) -> None:
    found = RULES[rule].check(invariants.Asked(seen, Step(do, node, "r0"), WANTED, goal()))
    assert found is not None
    assert evidence in found[0]
    assert remedy in found[1]
    assert judge(seen, Step(do, node, "r0"), WANTED, goal()) is not None


NEWER = Identifiers.parse("1111111111111110:AD70FACD89AF3BA6:EEB9DBC2BDF44AB2:0000000000000004:1:1:0:1:0:0:0")


@pytest.mark.parametrize(("resource", "node", "refused"), [("r0", OTHER, True), ("r0", ONE, True), ("r1", OTHER, False)])
def test_a_side_is_not_served_alone_when_newer_data_were_seen_anywhere(resource: str, node: str, refused: bool) -> None:
    found = judge(ALONE, Step(Do.PROMOTE_ALONE, ONE, "r0"), WANTED, DEGRADED, ledger=Ledger(newest=((resource, node, NEWER),)))
    assert (found is not None) == refused
    assert found is None or (found.rule, f"{node} was seen with {NEWER}" in found.evidence) == ("no-start-alone-on-stale", True)


def test_that_a_node_is_off_has_to_be_allowed_for() -> None:
    found = judge(ALONE, Step(Do.PROMOTE_ALONE, ONE, "r0"), WANTED, goal())
    assert found is not None
    assert found.rule == "alone-needs-fenced-peer"


@pytest.mark.parametrize(("seen", "asked", "refused"), [
    (changed(pair(), None, {"disk": DiskState.INCONSISTENT}), ONLY, True),
    (changed(pair(), None, {"disk": DiskState.UNKNOWN}), ONLY, True),
    (changed(pair(), {"disk": DiskState.INCONSISTENT}, {"disk": DiskState.INCONSISTENT}), ONLY, False),
    (changed(pair(), None, {"disk": DiskState.INCONSISTENT}), Goal(Direction.DOWN, (WANTED,)), False),
])
@pytest.mark.parametrize("do", [Do.DEMOTE, Do.TAKE_DOWN])
def test_the_only_good_copy_is_not_taken_down_by_itself(seen: ClusterFacts, asked: Goal, refused: bool, do: Do) -> None:
    found = RULES["never-stop-the-only-good"].check(invariants.Asked(seen, Step(do, ONE, "r0"), WANTED, asked))
    assert (found is not None) == refused
    assert found is None or f"{ONE} has the only good copy" in found[0]


@pytest.mark.parametrize(("stands", "refused"), [("lvmlockd", False), ("lockspace opt", True), ("samba", True)])
def test_nothing_is_taken_from_under_the_stack(stands: str, refused: bool) -> None:
    seen = pair()
    for node in seen.nodes:
        seen = seen.replace(with_stack(node, STACK, stands))
    found = judge(seen, Step(Do.DEMOTE, ONE, "r0"), WANTED, DOWN_ALL)
    assert (found is not None) == refused
    assert found is None or (found.rule, "has to be Down first" in found.remedy) == ("stop-from-top", True)


@pytest.mark.parametrize(("do", "seen"), [(Do.CONNECT, ATTACHED), (Do.ATTACH, DOWN)])
def test_a_discarding_policy_is_refused_unless_it_was_accepted(do: Do, seen: ClusterFacts) -> None:
    found = judge(seen, Step(do, ONE, "r0"), DISCARDING, goal())
    assert found is not None
    assert (found.rule, "discard-zero-changes" in found.evidence, "accept_auto_discard" in found.remedy) == ("no-auto-discard", True, True)
    assert judge(seen, Step(do, ONE, "r0"), evolve(DISCARDING, accept_auto_discard=True), goal()) is None


def test_a_discarding_policy_is_not_written_either() -> None:
    found = judge(BLANK, Step(Do.START_LAYER, ONE, "r0", "config"), DISCARDING, goal())
    assert found is not None
    assert found.rule == "no-discarding-config"
    assert judge(BLANK, Step(Do.START_LAYER, ONE, "r0", "module"), DISCARDING, goal()) is None


def test_a_file_that_is_to_replace_a_discarding_policy_may_be_written() -> None:
    seen = ATTACHED
    for node in seen.nodes:
        seen = seen.replace(evolve(node, sides=tuple((name, evolve(side, running=DISCARDING.net)) for name, side in node.sides)))
    assert judge(seen, Step(Do.START_LAYER, ONE, "r0", "config"), WANTED, goal(apply=True)) is None
    found = judge(seen, Step(Do.CONNECT, ONE, "r0"), WANTED, goal(apply=True))
    assert found is not None
    assert found.rule == "same-settings"


def test_a_file_that_differs_is_replaced_only_when_told() -> None:
    step, seen = Step(Do.START_LAYER, ONE, "r0", "config"), layer(pair(), "config", Layer.FAILED, "net/protocol: A and C")
    found = judge(seen, step, WANTED, goal(), ("config-drift",))
    assert found is not None
    assert (found.evidence, "--apply-config" in found.remedy) == ("net/protocol: A and C", True)
    assert judge(seen, step, WANTED, goal(apply=True), ("config-drift",)) is None


def test_two_primaries_without_fencing_have_to_be_accepted() -> None:
    step = Step(Do.PROMOTE, OTHER, "r0")
    found = judge(SERVED, step, evolve(WANTED, accept_no_fencing=False), goal())
    assert found is not None
    assert (found.rule, "no fencing" in found.evidence) == ("dual-primary-gate", True)
    assert judge(SERVED, step, evolve(WANTED, accept_no_fencing=False, fencing="resource-and-stonith"), goal()) is None


# -- without the rule --------------------------------------------------------------------------------------------------

CONNECTING_SPLIT = CASES["split-brain-zero-changes"].facts
HELD = changed(both(DOWN), {"holders": ("dm-0",)}, {"holders": ("dm-0",)})


def up(node_layers: ClusterFacts) -> ClusterFacts:
    """Every layer Up."""
    for node in node_layers.nodes:
        node_layers = node_layers.replace(evolve(node, layers=pair().nodes[0].layers))
    return node_layers


MUTANTS: tuple[tuple[tuple[str, ...], ClusterFacts, dict[str, Any], Do], ...] = (
    # rules taken away                 seen                                                      wanted                        what is then handed out
    (("no-create-md",), up(both(BLANK, contents=Contents.DATA)), {}, Do.CREATE_METADATA),
    (("no-force-primary",), changed(NEW, None, {"identifiers": HEALTHY.identifiers}), {}, Do.FORCE_PRIMARY),
    (("skip-only-zeros",), both(NEW, contents=Contents.BLANK), {"skip_initial_sync": True}, Do.CLEAR_BITMAP),
    (("same-settings",), changed(ATTACHED, {"connection": ConnectionState.CONNECTING, "running": OTHERS_SAY_NO}), {}, Do.CONNECT),
    (("no-auto-discard",), ATTACHED, {"net": DISCARDING.net}, Do.CONNECT),
    (("no-lvm-under-drbd",), up(HELD), {}, Do.ATTACH),
    (("dual-primary-gate",), both(SERVED, running=WANTED.net), {"accept_no_fencing": False}, Do.PROMOTE),
    (("no-discarding-config",), BLANK, {"net": DISCARDING.net}, Do.START_LAYER),
    (("config-drift",), layer(pair(), "config", Layer.FAILED), {}, Do.START_LAYER),
)


def handed_out(seen: ClusterFacts, changes: dict[str, Any]) -> set[Do]:
    answer = decide(Goal(Direction.UP, (evolve(WANTED, **changes),)), seen, Ledger())
    return {step.do for step in answer.steps} if isinstance(answer, Steps) else set()


@pytest.mark.parametrize(("rules", "seen", "changes", "do"), MUTANTS, ids=[row[0][0] for row in MUTANTS])
def test_without_the_rule_the_dangerous_step_is_handed_out(
    monkeypatch: pytest.MonkeyPatch, rules: tuple[str, ...], seen: ClusterFacts, changes: dict[str, Any], do: Do,
) -> None:
    assert do not in handed_out(seen, changes)
    for name in rules:
        monkeypatch.setitem(invariants.RULES, name, Rule(name, RULES[name].judges, lambda _: None))
    assert do in handed_out(seen, changes)


@pytest.mark.parametrize(("rule", "step", "seen"), [
    # these stand behind the table's own states: judge alone (the executor's last question) is what they guard
    ("look-before-connect", Step(Do.CONNECT, ONE, "r0"), CONNECTING_SPLIT),
    ("promote-up-to-date", Step(Do.PROMOTE, ONE, "r0"), changed(READY, {"disk": DiskState.CONSISTENT})),
    ("unknown-is-not-down", Step(Do.PROMOTE, ONE, "r0"), changed(READY, None, {"role": Role.SECONDARY})),
    ("layer-needs-lower", Step(Do.START_LAYER, ONE, "r0", "upper"), BLANK),
])
def test_without_the_rule_the_executor_would_send_it(monkeypatch: pytest.MonkeyPatch, rule: str, step: Step, seen: ClusterFacts) -> None:
    if rule == "unknown-is-not-down":
        seen = away(seen)
    if rule == "layer-needs-lower":
        upper = LayerSpec("upper", ("module",), "", "")
        monkeypatch.setitem(PROFILES, "test", (upper,))
    found = judge(seen, step, WANTED, goal())
    assert found is not None
    assert found.rule == rule
    monkeypatch.setitem(invariants.RULES, rule, Rule(rule, RULES[rule].judges, lambda _: None))
    assert judge(seen, step, WANTED, goal()) is None


def test_taking_all_rules_away_lets_a_plan_destroy_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables alone are not what keeps data safe: the same situation, planned with and without the rules."""
    case = CASES["blank-and-data"]
    target = f"{Do.CREATE_METADATA.value}:r0:{OTHER}"
    assert target not in {item.key for item in plan(case.goal, case.facts).items}
    for name, rule in list(RULES.items()):
        monkeypatch.setitem(invariants.RULES, name, Rule(name, rule.judges, lambda _: None))
    assert target in {item.key for item in plan(case.goal, case.facts).items}


@pytest.mark.parametrize(("fencing", "says", "never"), [
    ("agent", (f"orchestrate fence {OTHER}", f"orchestrate fence-ack {OTHER}", "up --degraded"), ("no fencing",)),
    ("manual", (f"switch it off, and say so: `orchestrate fence-ack {OTHER}`", "up --degraded"), (f"fence {OTHER}", "no fencing")),
    ("none", (f"is {OTHER} off, switch it on", f"[node.{OTHER}.fence]"), ("orchestrate fence", "--degraded")),
])
def test_nobody_is_told_to_type_what_the_configuration_refuses(fencing: str, says: tuple[str, ...], never: tuple[str, ...]) -> None:
    """`fence` needs an agent, `fence-ack` any fencing at all, and `--degraded` one of the two."""
    wanted = evolve(goal(), stack=read_stack({"fencing": fencing}, NAMES))
    seen = unseen(wanted, away(pair()), WANTED)
    alarms = alarms_of(wanted, away(ATTACHED), Ledger(), frozenset(), frozenset())
    alarm = next(one for one in alarms if one.name == "node-unreachable")
    assert seen is not None
    assert [word for word in says if word not in seen.remedy] == []
    assert [word for word in never if word in seen.remedy or word in alarm.remedy] == []
    assert [word for word in says if word not in alarm.remedy and word != "up --degraded"] == []


@pytest.mark.parametrize(("fencing", "says"), [("agent", "orchestrate fence NODE"), ("none", "drbdadm resume-io r0")])
def test_a_frozen_pair_is_not_told_to_fence_where_nothing_can(fencing: str, says: str) -> None:
    wanted = evolve(goal(), stack=read_stack({"fencing": fencing}, NAMES))
    frozen = changed(pair(), {"suspended": True})
    remedy = way_out(wanted, "r0", Resource.FROZEN)[1]
    (alarm,) = (one for one in alarms_of(wanted, frozen, Ledger(), frozenset(), frozenset()) if one.name == "frozen")
    assert says in remedy
    assert alarm.remedy == remedy
