"""The diagnosis: named rightly on what real kernels printed, total over anything, and never healthy by ignorance."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from fixtures.situations import ATTACHED, HEALTHY, NAMES, SAME, WANTED, node, pair, situations
from states.diagnosis import Cause, diagnose
from states.diagnosis.causes import RULES
from states.diagnosis.sayings import SAYINGS
from states.facts import ClusterFacts, Generation, LayerFact, LinkLog, Side, Trouble
from states.goal import Ledger, Wanted
from states.identifiers import Identifiers
from states.pair import Pair
from states.plan import plan
from states.vocabulary import ConnectionState, Contents, DiskState, Ending, Layer, Node, ReplicationState, Role
from tests.unit import strategies
from tests.unit.captured_pairs import mismatch, split9, split84, transcript9
from tests.unit.strategies import STEADY

ONE, OTHER = NAMES
DISCARDING = (("after-sb-0pri", "discard-zero-changes"), ("after-sb-1pri", "discard-secondary"), ("after-sb-2pri", "disconnect"))


def of(one: Side, other: Side, facts: ClusterFacts | None = None) -> tuple[Pair, ClusterFacts]:
    """Two sides on two reachable nodes."""
    seen = facts or pair()
    for name, side in zip(NAMES, (one, other), strict=True):
        seen = seen.replace(seen.node(name).with_side("r0", evolve(side, node=name)))
    return Pair.of(seen, WANTED, Ledger()), seen


# -- what real kernels printed ------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("one", "other", "kind", "words"), [
    ("wrong_aftersb", "wrong_aftersb_peer", Cause.SETTINGS, "after-sb-0pri"),
    ("wrong_twoprim", "wrong_twoprim_peer", Cause.SETTINGS, "allow-two-primaries"),
    ("wrong_verify", "wrong_verify_peer", Cause.SETTINGS, 'me="crc32c" peer="md5"'),
    ("wrong_secret", "wrong_secret_peer", Cause.WRONG_SECRET, "shared-secret"),
])
def test_each_captured_mismatch_on_eight(one: str, other: str, kind: Cause, words: str) -> None:
    for sides in ((one, other), (other, one)):
        found = diagnose(*mismatch(*sides))
        assert found.kind is kind, found
        assert words in found.summary


def test_unrelated_data_on_eight() -> None:
    """The other node's capture has no identifiers: what the first one's kernel logged of it stands in."""
    both, facts = mismatch("wrong_unrelated", "wrong_unrelated_peer")
    theirs = Identifiers.parse("974D061B3C0384B6:0000000000000000:879F53AF75C7D2AD:879E53AF75C7D2AD:1:1:0:0:0:0:0")
    found = diagnose(*of(both.sides[0], evolve(both.sides[1], identifiers=theirs), facts))
    assert found.kind is Cause.UNRELATED
    assert any("no identifier in common" in line for line in found.evidence)


@pytest.mark.parametrize(("name", "part", "dirty"), [
    ("C09-1pri-disconnect-plain-connect", "--- after", ("160 KiB", "4.0 MiB")),
    ("C04-4d-tentative", "### both --tentative", ("8 KiB", "4 KiB")),
    ("C04-4d-tentative", "### node1 --tentative --discard-my-data, node2 PLAIN connect", ("8 KiB", "4 KiB")),
])
def test_a_captured_split_brain_on_eight(name: str, part: str, dirty: tuple[str, str]) -> None:
    """Whichever way the connections stand: StandAlone, trying for ever (`--tentative`), or one of each."""
    found = diagnose(*split84(name, part))
    assert found.kind is Cause.SPLIT_BRAIN
    assert all(amount in found.summary for amount in dirty)
    assert found.type_next == "orchestrate recover-splitbrain r0 --plan"
    assert any("ago (uptime" in line and "uuid_compare()=100 by rule 90" in line for line in found.evidence)


def test_a_split_brain_in_which_nothing_changed() -> None:
    found = diagnose(*split84("C08-policy-beats-flag-and-zero-change-2pri", "--- after automatic reconnect"))
    assert found.kind is Cause.SPLIT_BRAIN
    assert "neither has changed anything" in found.summary


def test_what_the_policies_would_do_is_said_for_each_side() -> None:
    """One Primary, one Secondary, under the how-to's policies: a plain `connect` discards (captures C01, C09)."""
    found = diagnose(*split84("C09-1pri-disconnect-plain-connect", "--- after", filed=DISCARDING))
    lines = "\n".join(found.evidence)
    assert f"left alone: split brain, solved: {OTHER} LOSES its changes (4.0 MiB), unasked" in lines
    assert f"if {ONE} is demoted, or rebooted and `drbdadm up` is typed: split brain, unresolved" in lines


def test_policies_that_were_not_read_promise_nothing() -> None:
    lines = "\n".join(diagnose(*split84("C09-1pri-disconnect-plain-connect", "--- after")).evidence)
    assert "cannot be said, for the policies of a side were not read" in lines
    assert "no policy discards" not in lines


def test_the_live_policies_come_before_the_file() -> None:
    both, facts = split84("C09-1pri-disconnect-plain-connect", "--- after", filed=DISCARDING)
    one, other = (evolve(side, running=WANTED.net) for side in both.sides)
    lines = "\n".join(diagnose(*of(one, other, facts)).evidence)
    assert "no policy discards anything" in lines
    assert "policies (running)" in lines


def test_a_captured_split_brain_on_nine() -> None:
    found = diagnose(*split9())
    assert found.kind is Cause.SPLIT_BRAIN
    assert "12 KiB" in found.summary
    assert "4 KiB" in found.summary
    assert any("both went on from BBAD8DD2ED1ED238" in line for line in found.evidence)
    assert any("by rule bitmap-both" in line for line in found.evidence)


def test_diverged_on_nine_is_no_split_brain() -> None:
    """Both Primary, one wrote, no helper was called, and "StandAlone" is all that `drbdadm status` says."""
    found = diagnose(*transcript9("30-V1-one-sided-write-dual-primary", "### V1 heal"))
    assert found.kind is Cause.DIVERGED
    assert f"{ONE} is newer" in found.summary
    assert found.type_next.startswith(f"on {OTHER}: ")
    assert "discard" not in found.type_next


def test_a_rehearsal_on_nine_is_not_healthy() -> None:
    """After `connect --tentative` both say Connected and UpToDate; the identifiers differ."""
    found = diagnose(*transcript9("33-V5-connect-tentative", "connect-tentative rc=0"))
    assert found.kind is Cause.SUSPECT
    assert f"{OTHER} holds older data" in found.summary


# -- what is put together by hand ---------------------------------------------------------------------------------------

NEWER = Identifiers.parse("1111111111111110:AD70FACD89AF3BA6:EEB9DBC2BDF44AB2:0000000000000004:1:1:0:0:0:0:0")
TRYING = evolve(ATTACHED, connection=ConnectionState.CONNECTING, running=WANTED.net)
NEW = Identifiers.parse("0000000000000004:0000000000000000:0000000000000000:0000000000000000:0:0:0:0:0:0:0")
HISTORY = ("1111111111111110:2222222222222220:3333333333333330:0000000000000004:1:1:0:0:0:0:0",
           "5555555555555550:6666666666666660:3333333333333330:0000000000000004:1:1:0:0:0:0:0")
LOST = evolve(HEALTHY, disk=DiskState.DISKLESS)
SPLIT_LOG = Trouble("Split-Brain detected but unresolved, dropping connection!", uptime=400.0)
BAD = Identifiers.parse("1111111111111110:0000000000000000:EEB9DBC2BDF44AB2:0000000000000004:0:0:0:0:0:0:0")

MADE: dict[str, tuple[Side, Side, Cause, str]] = {
    # what                     one side, the other,                                                     kind,            a word of it
    "healthy":                (HEALTHY, HEALTHY, Cause.HEALTHY, "same data"),
    "behind":                 (ATTACHED, evolve(ATTACHED, identifiers=NEWER), Cause.BEHIND, f"{ONE} would catch up"),
    "nobody connected it":    (ATTACHED, TRYING, Cause.NOT_CONNECTED, ONE),
    "by hand":                (evolve(ATTACHED, link=LinkLog(ended=Ending.BY_HAND, ended_at=440.0)), TRYING, Cause.BY_HAND, "60 s ago"),
    "a network":              (TRYING, TRYING, Cause.NETWORK, "network"),
    "history":                (evolve(ATTACHED, identifiers=Identifiers.parse(HISTORY[0])),
                               evolve(ATTACHED, identifiers=Identifiers.parse(HISTORY[1])), Cause.SPLIT_BRAIN_HISTORY, "long ago"),
    "verify found blocks":    (evolve(ATTACHED, out_of_sync=40), ATTACHED, Cause.MARKED, "40 KiB"),
    "old protocol":           (evolve(ATTACHED, trouble=Trouble("incompatible DRBD dialects: ...", "protocol version", 400.0)), TRYING,
                               Cause.PROTOCOL, "8.4.11"),
    "another reason":         (evolve(ATTACHED, trouble=Trouble("The peer's disk size is too small!", "disk", 400.0)), TRYING,
                               Cause.REFUSED, "too small"),
    "livelock":               (evolve(TRYING, link=LinkLog(attempts=7)), TRYING, Cause.LIVELOCK, "7 times"),
    "a rehearsal that loops": (evolve(TRYING, link=LinkLog(attempts=3, outcome="dry-run connect: Would become ...")), TRYING,
                               Cause.LIVELOCK, "--tentative"),
    "latched":                (evolve(HEALTHY, peer_disk=DiskState.INCONSISTENT), evolve(HEALTHY, disk=DiskState.INCONSISTENT),
                               Cause.STALLED, OTHER),
    "copying":                (evolve(HEALTHY, replication=ReplicationState.SYNC_SOURCE, out_of_sync=2048),
                               evolve(HEALTHY, disk=DiskState.INCONSISTENT, replication=ReplicationState.SYNC_TARGET, out_of_sync=2048),
                               Cause.RESYNCING, "2.0 MiB left"),
    "paused":                 (evolve(HEALTHY, replication=ReplicationState.PAUSED_SYNC_S, out_of_sync=2048),
                               evolve(HEALTHY, disk=DiskState.INCONSISTENT, replication=ReplicationState.PAUSED_SYNC_T, out_of_sync=2048),
                               Cause.RESYNCING, "paused"),
    "both new":               (evolve(ATTACHED, identifiers=NEW, disk=DiskState.INCONSISTENT),
                               evolve(ATTACHED, identifiers=NEW, disk=DiskState.INCONSISTENT), Cause.NEVER_SYNCED, "first copy"),
    "data under new":         (evolve(ATTACHED, identifiers=NEW, disk=DiskState.INCONSISTENT, contents=Contents.DATA, signature="ext4"),
                               ATTACHED, Cause.NEW_OVER_DATA, "overwrite"),
    "both bad":               (evolve(ATTACHED, identifiers=BAD, disk=DiskState.INCONSISTENT),
                               evolve(ATTACHED, identifiers=BAD, disk=DiskState.INCONSISTENT), Cause.NO_GOOD_SIDE, "neither"),
    "behind its back":        (evolve(ATTACHED, touched=True), ATTACHED, Cause.BACKING, "not UpToDate"),
    "disk lost":              (LOST, evolve(HEALTHY, peer_disk=DiskState.DISKLESS), Cause.NO_DISK, ONE),
    "frozen":                 (evolve(TRYING, role=Role.PRIMARY, suspended=True), TRYING, Cause.FROZEN, "IO on"),
    "settings, not met yet":  (TRYING, evolve(TRYING, running=tuple(sorted({**dict(WANTED.net), "verify-alg": "md5"}.items()))),
                               Cause.SETTINGS, "md5"),
    "the kernel's word":      (evolve(ATTACHED, identifiers=None, trouble=SPLIT_LOG), TRYING, Cause.SPLIT_BRAIN, "both went on"),
    "unread":                 (evolve(ATTACHED, identifiers=None), ATTACHED, Cause.UNKNOWN, "identifiers could not be read"),
    "one says connected":     (HEALTHY, TRYING, Cause.UNKNOWN, "middle of a change"),
}


@pytest.mark.parametrize("name", MADE)
def test_each_kind_is_told_from_the_others(name: str) -> None:
    one, other, kind, word = MADE[name]
    found = diagnose(*of(one, other))
    assert found.kind is kind, found
    assert word in found.summary + found.type_next
    assert (found.type_next == "") is (kind is Cause.HEALTHY)


def test_a_firewall_is_named_with_its_node() -> None:
    facts = pair()
    facts = facts.replace(facts.node(OTHER).with_layer(LayerFact("port", Layer.DOWN, "iptables blocks 192.0.2.1")))
    found = diagnose(*of(TRYING, TRYING, facts))
    assert (found.kind, found.type_next) == (Cause.PORT_BLOCKED, "orchestrate up")
    assert f"the firewall of {OTHER}" in found.summary


def test_versions_without_a_common_protocol() -> None:
    """8.4.11 speaks 86 to 101, 9.2.18 118 to 124 (first lines of /proc/drbd, captured)."""
    facts = pair()
    for name, generation, said in ((ONE, Generation.V84, "version: 8.4.11 (api:1/proto:86-101)"),
                                   (OTHER, Generation.V9, "version: 9.2.18 (api:2/proto:118-124)")):
        seen = evolve(facts.node(name), generation=generation, version=said.split()[1])
        facts = facts.replace(seen.with_layer(LayerFact("module", Layer.UP, said)))
    found = diagnose(*of(TRYING, TRYING, facts))
    assert found.kind is Cause.PROTOCOL
    assert "86 to 101" in found.summary


def test_a_node_that_is_gone_is_not_said_to_be_off() -> None:
    alone = node(ONE).with_side("r0", evolve(TRYING, node=ONE))
    gone = evolve(node(OTHER), state=Node.UNREACHABLE, why="timed out", sides=())
    found = diagnose(Pair.of(facts := ClusterFacts((alone, gone)), WANTED, Ledger()), facts)
    assert found.kind is Cause.UNREACHABLE
    assert "does not mean that it is off" in found.summary
    facts = ClusterFacts((evolve(alone, off=(OTHER,)), gone))
    assert "known to be off" in diagnose(Pair.of(facts, WANTED, Ledger()), facts).summary


def test_a_crash_is_noted_beside_the_count() -> None:
    """Its activity log marked whole extents (capture A05)."""
    crashed = Identifiers.parse("1111111111111110:AD70FACD89AF3BA6:EEB9DBC2BDF44AB2:0000000000000004:1:1:0:0:0:0:1")
    found = diagnose(*of(ATTACHED, evolve(ATTACHED, identifiers=crashed, out_of_sync=12288)))
    assert any("12.0 MiB out of sync (too high" in line for line in found.evidence)
    assert any("it was Primary when it crashed" in line for line in found.evidence)


def test_what_a_plan_only_expects_is_no_count() -> None:
    """Two split sides that are down: the plan attaches them, and what each changed is not known before."""
    case = next(each for each in situations() if each.name == "split-brain-before-attach")
    found = plan(case.goal, case.facts)
    assert "each may hold writes the other never saw" in str(found.refused)


def test_who_uses_it_is_said() -> None:
    facts = pair()
    facts = facts.replace(facts.node(ONE).with_layer(LayerFact("mount data", Layer.UP, "")))
    found = diagnose(*of(evolve(HEALTHY, users=("dm-0 (vg-data)", "mount:/srv")), HEALTHY, facts))
    assert f"{ONE}: in use: dm-0 (vg-data), mount:/srv, mount data is Up" in found.evidence


def test_secrets_are_not_shown() -> None:
    one, other = (tuple(sorted({**dict(WANTED.net), "shared-secret": secret}.items())) for secret in ("hunter1", "hunter2"))
    said = str(diagnose(*of(evolve(TRYING, running=one), evolve(TRYING, running=other))))
    assert "hunter" not in said
    assert "another secret" in said


# -- anything -----------------------------------------------------------------------------------------------------------

links = st.none() | st.builds(
    LinkLog, answer=st.sampled_from(("", "100", "-100", "split-brain-disconnect")), handshake_at=st.none() | st.just(5.0),
    ended=st.sampled_from(Ending), ended_at=st.none() | st.just(5.0), parted_at=st.none() | st.just(5.0), attempts=st.integers(0, 3),
)
troubles = strategies.troubles | st.builds(
    Trouble, st.sampled_from((SPLIT_LOG.text, "Unrelated data, aborting!", "I shall become SyncTarget, but I am primary!", "?")),
    st.sampled_from(("", "shared-secret", "protocol version", "verify-alg", "?")),
)


@STEADY
@given(strategies.facts, strategies.wanted, strategies.ledgers, st.tuples(links, links), st.tuples(troubles, troubles))
def test_it_is_total_and_never_healthy_by_ignorance(
    facts: ClusterFacts, wanted: Wanted, ledger: Ledger, seen: tuple[LinkLog | None, ...], said: tuple[Trouble | None, ...],
) -> None:
    for name, link, trouble in zip(NAMES, seen, said, strict=True):
        if facts.node(name).reachable:
            side = facts.node(name).side("r0")
            facts = facts.replace(facts.node(name).with_side("r0", evolve(side, link=link, trouble=trouble or side.trouble)))
    both = Pair.of(facts, wanted, ledger)
    found = diagnose(both, facts)
    assert found.summary
    assert found.evidence
    if found.kind is not Cause.HEALTHY:
        assert found.type_next
        return
    for side in both.sides:
        assert side.identifiers is not None
        assert (side.out_of_sync, side.disk, side.connected, side.suspended) == (0, DiskState.UP_TO_DATE, True, False)
    assert all(each.reachable for each in facts.nodes)


@STEADY
@given(strategies.facts)
def test_it_does_not_matter_which_side_is_first(facts: ClusterFacts) -> None:
    turned = evolve(WANTED, nodes=(OTHER, ONE))
    assert diagnose(Pair.of(facts, WANTED, Ledger()), facts).kind is diagnose(Pair.of(facts, turned, Ledger()), facts).kind


# -- nothing is left out ------------------------------------------------------------------------------------------------

def test_every_kind_has_a_rule_a_sentence_and_a_case() -> None:
    cases = {kind for _, _, kind, _ in MADE.values()}
    for one in situations():
        cases |= {diagnose(Pair.of(one.facts, wanted, one.ledger), one.facts).kind for wanted in one.goal.resources}
    assert set(SAYINGS) == set(Cause) == cases | {Cause.WRONG_SECRET, Cause.PORT_BLOCKED}  # these two have tests of their own above
    assert {cause for cause, _ in RULES} == set(Cause)


def test_every_kind_is_on_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "split-brain.md").read_text()
    assert [kind.value for kind in Cause if f"| {kind.value} |" not in page] == []


def test_same_identifiers_are_what_the_examples_have() -> None:
    assert HEALTHY.identifiers == SAME
