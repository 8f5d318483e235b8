"""The judge: what it alarms about, what it has repaired, and what it leaves to a human. Pure, on facts as the goldens have them."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from fixtures.situations import NAMES, situations
from states.alarm import Severity
from states.consent import NOTHING_CHANGED
from states.facts import ClusterFacts
from states.flap import PAUSES, History
from states.goal import Direction, Ledger
from states.supervise import Policies, Verdict, judge
from states.vocabulary import Layer

ONE, OTHER = NAMES
CASES = {each.name: each for each in situations()}
NOW = 1_000_000.0


def judged(
    name: str, *, policies: Policies | None = None, history: History | None = None, now: float = NOW, busy: str = "",
    facts: ClusterFacts | None = None,
) -> Verdict:
    """What the judge makes of a golden situation, whatever was wanted there."""
    case = CASES[name]
    goal = evolve(case.goal, direction=Direction.UP, only=frozenset(), apply_config=False, degraded=False, unasked=False, consents=())
    return judge(policies or Policies(), goal, facts or case.facts, Ledger(), history or History(), now, busy)


def names(verdict: Verdict) -> set[str]:
    return {alarm.key for alarm in verdict.alarms}


def test_a_healthy_cluster_is_left_in_peace() -> None:
    assert judged("stack-there") == Verdict(history=History())


def test_a_layer_that_is_down_is_started() -> None:
    verdict = judged("unasked-samba-down")
    assert names(verdict) == {f"layer-down:samba on {OTHER}"}
    assert verdict.repair is not None
    assert verdict.repair.machines == (f"samba on {OTHER}",)
    assert (verdict.repair.goal.unasked, verdict.repair.goal.degraded) == (True, False)


@pytest.mark.parametrize(("policy", "alarmed"), [("observe", True), ("off", False)])
@pytest.mark.parametrize("by", [{"layers": "samba"}, {"default": ""}])
def test_what_is_only_watched_is_not_repaired(policy: str, alarmed: bool, by: dict[str, str]) -> None:
    policies = Policies(layers={"samba": policy}) if "layers" in by else Policies(policy)
    verdict = judged("unasked-samba-down", policies=policies)
    assert verdict.repair is None
    assert (names(verdict) == {f"layer-down:samba on {OTHER}"}) == alarmed


def test_a_kind_of_layer_or_one_layer_may_be_named() -> None:
    policies = Policies("repair", {"r1": "off"}, {"mount": "observe", "mount opt": "off"})
    assert [policies.of_layer(name) for name in ("mount opt", "mount srv", "samba")] == ["off", "observe", "repair"]
    assert [policies.of_resource(name) for name in ("r0", "r1")] == ["repair", "off"]


def test_a_node_in_maintenance_is_neither_repaired_nor_alarmed_about() -> None:
    verdict = judged("unasked-in-maintenance")
    assert (verdict.alarms, verdict.repair) == ((), None)
    assert judged("unasked-taken-down").alarms == ()


def _after_an_event(facts: ClusterFacts, node: str) -> ClusterFacts:
    return facts.replace(evolve(facts.node(node), fresh=False))


def test_what_was_seen_before_an_event_is_no_end_of_an_alarm() -> None:
    """Everything is Up there, as far as it was seen: what is alarmed about stays until it was looked at again."""
    assert judged("stack-there").unclear == frozenset()
    found = judged("stack-there", facts=_after_an_event(CASES["stack-there"].facts, ONE)).unclear
    assert {"r0", f"samba on {ONE}", f"boot on {ONE}"} <= found
    assert not any(machine.endswith(OTHER) for machine in found)


def test_what_stands_on_what_is_unknown_is_unclear_and_what_is_up_is_not() -> None:
    facts = CASES["unasked-samba-down"].facts
    layers = tuple(evolve(one, state=Layer.UNKNOWN) if one.name == "corosync" else one for one in facts.node(OTHER).layers)
    found = judged("unasked-samba-down", facts=facts.replace(evolve(facts.node(OTHER), layers=layers))).unclear
    assert found == {f"corosync on {OTHER}", f"samba on {OTHER}"}


def test_a_node_that_cannot_be_seen_leaves_its_machines_unclear_unless_it_is_known_to_be_off() -> None:
    assert f"corosync on {OTHER}" in judged("stack-degraded-not-known-off").unclear
    assert not any(machine.endswith(OTHER) for machine in judged("stack-degraded").unclear)


def test_nothing_is_unclear_of_what_nobody_wants_to_hear_of() -> None:
    facts = CASES["stack-there"].facts
    old = _after_an_event(facts, ONE)
    kept = old.replace(evolve(old.node(ONE), maintenance="new memory"))
    assert judged("stack-there", facts=kept).unclear == frozenset()
    assert judged("stack-there", facts=old, policies=Policies("off")).unclear == frozenset()


def test_beside_a_node_in_maintenance_the_other_is_repaired() -> None:
    facts = CASES["unasked-samba-down"].facts
    facts = facts.replace(evolve(facts.node(ONE), maintenance="new memory"))
    verdict = judged("unasked-samba-down", facts=facts)
    assert verdict.repair is not None
    assert verdict.repair.machines == (f"samba on {OTHER}",)


def test_somebodys_data_in_danger_is_said_even_of_a_node_in_maintenance() -> None:
    facts = CASES["split-brain-both-wrote"].facts
    facts = facts.replace(evolve(facts.node(ONE), maintenance="new memory"))
    verdict = judged("split-brain-both-wrote", facts=facts)
    assert ("split-brain:r0" in names(verdict), verdict.repair) == (True, None)


@pytest.mark.parametrize(("name", "key", "severity", "remedy"), [
    ("unasked-disk-replaced", "degraded:r0", Severity.WARNING, "orchestrate up"),
    ("split-brain-both-wrote", "split-brain:r0", Severity.CRITICAL, "recover-splitbrain r0 --plan"),
    ("suspect-identifiers", "suspect:r0", Severity.CRITICAL, "drbdadm verify"),
    ("suspect-out-of-sync", "suspect:r0", Severity.CRITICAL, "drbdadm verify"),
    ("frozen", "frozen:r0", Severity.CRITICAL, "drbdadm resume-io r0"),
    ("unrelated", "unrelated:r0", Severity.CRITICAL, "never belonged together"),
    ("stack-withdrawn", f"layer-failed:mount opt on {OTHER}", Severity.WARNING, "mend what it says"),
    ("stack-hung-mount", f"layer-down:corosync on {ONE}", Severity.WARNING, f"orchestrate fence {ONE}"),
])
def test_what_a_human_has_to_decide_is_alarmed_and_left_alone(name: str, key: str, severity: Severity, remedy: str) -> None:
    verdict = judged(name)
    found = next(alarm for alarm in verdict.alarms if alarm.key == key)
    assert (found.severity, remedy in found.remedy) == (severity, True), found
    assert verdict.repair is None


def test_the_assessment_of_a_split_brain_is_ready() -> None:
    found = next(alarm for alarm in judged("split-brain-both-wrote").alarms if alarm.name == "split-brain")
    assert all(f"{name} (" in found.evidence for name in NAMES)
    assert "KiB" in found.evidence


def test_a_split_brain_in_which_one_side_changed_nothing_is_ended() -> None:
    verdict = judged("recover-blip")
    assert verdict.repair is not None
    (consent,) = verdict.repair.goal.consents
    assert consent.by == NOTHING_CHANGED


def test_nobody_is_repaired_while_somebody_is_at_work() -> None:
    verdict = judged("unasked-samba-down", busy="a command")
    assert (verdict.repair, verdict.why) == (None, "a command is at work")


def test_a_peer_that_is_known_to_be_off_is_done_without() -> None:
    verdict = judged("stack-degraded")
    assert f"node-off:{OTHER}" in names(verdict)
    assert verdict.repair is not None
    assert verdict.repair.goal.degraded


def test_a_peer_that_may_be_off_is_not() -> None:
    verdict = judged("stack-degraded-not-known-off")
    found = next(alarm for alarm in verdict.alarms if alarm.name == "node-unreachable")
    assert (found.about, found.severity) == (OTHER, Severity.CRITICAL)
    assert "fence" in found.remedy
    assert verdict.repair is None


def test_a_refused_resource_does_not_hold_back_the_others() -> None:
    """r0 is in split brain; smbd, which stands on another one, is started all the same."""
    case = CASES["stack-blank-two-volumes-ctdb"]
    assert len(case.goal.resources) == 2
    verdict = judged("stack-blank-two-volumes-ctdb")
    assert {alarm.about for alarm in verdict.alarms if "nobody-asked" in alarm.evidence} == {"r0", "r1"}
    assert verdict.repair is not None, "the locks are nobody's data"
    assert not any(key in verdict.repair.why for key in ("create", "force"))


# -- enough is enough ------------------------------------------------------------------------------------------------------

KEY, MACHINE = f"start-layer:samba:{OTHER}", f"samba on {OTHER}"


def tried(times: int, **more: Any) -> History:
    history = History(**more)
    for count in range(times):
        history = history.sent(((KEY, MACHINE),), NOW - 100 + count)
    return history


@pytest.mark.parametrize(("times", "repaired"), [(0, True), (2, True), (3, False), (5, False)])
def test_what_was_tried_often_enough_waits_for_a_human(times: int, repaired: bool) -> None:
    verdict = judged("unasked-samba-down", history=tried(times))
    assert (verdict.repair is not None) == repaired
    assert (f"flapping:{MACHINE}" in names(verdict)) != repaired


def test_it_stays_given_up_after_the_window() -> None:
    assert judged("unasked-samba-down", history=tried(3), now=NOW + 10_000).repair is None
    assert judged("unasked-samba-down", history=tried(2), now=NOW + 10_000).repair is not None


def test_it_is_tried_again_once_it_was_well_or_a_human_was_there() -> None:
    well = judged("stack-there", history=tried(3)).history
    assert not well.given_up
    assert judged("unasked-samba-down", history=well).repair is None, "the window still counts"
    assert judged("unasked-samba-down", history=well, now=NOW + 10_000).repair is not None
    assert judged("unasked-samba-down", history=tried(3).human()).repair is not None


def test_a_repair_that_came_to_nothing_is_not_begun_again_at_once() -> None:
    history = History().ended(NOW, "exit 1: no such file")
    verdict = judged("unasked-samba-down", history=history, now=NOW + 1)
    assert (verdict.repair, verdict.again) == (None, NOW + PAUSES[0])
    assert "repair-failed:supervisor" in names(verdict)
    assert judged("unasked-samba-down", history=history, now=NOW + PAUSES[0]).repair is not None
    for _ in range(9):
        history = history.ended(NOW, "again")
    assert history.next_try == NOW + PAUSES[-1]
    assert judged("unasked-samba-down", history=history.ended(NOW)).repair is not None


# -- every situation -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", sorted(CASES))
def test_the_judge_has_an_answer_to_everything(name: str) -> None:
    """Whatever is seen: no exception, an alarm where a repair is needed, and nothing that ends something for ever."""
    verdict = judged(name)
    assert not (verdict.repair is not None and not verdict.alarms), verdict.repair
    assert all(alarm.what and alarm.remedy for alarm in verdict.alarms)
    assert len(names(verdict)) == len(verdict.alarms), "one cause, one alarm"
