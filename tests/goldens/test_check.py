"""The checker: what it lets through is a world that can be, and each of its rules refuses what only it should."""

from __future__ import annotations

import tomllib

import pytest
from attrs import evolve

from fixtures.situations import HERE, NAMES, Situation, node, pair, read_facts, situations
from fixtures.situations.check import RULES, SIDE, TOGETHER, impossible
from states.facts import ClusterFacts
from states.vocabulary import Node

ALL = situations()
every_situation = pytest.mark.parametrize("situation", ALL, ids=[each.name for each in ALL])

MADE = {"active-was-made", "mounted-was-made"}
EXPECTED_WRONG: dict[str, set[str]] = {
    # what one node makes is expected to be seen there only, though the other has it active and mounted then
    "rhcs-blank": MADE, "stack-blank": MADE, "stack-blank-two-volumes-ctdb": MADE, "stack-first-node-serves-while-copied": MADE,
    "stack-lv-missing": MADE,
    # who goes down is expected to be remembered by the one that stays
    "stack-down-one-node": {"peer-role-needs-a-link", "good-peer-needs-a-link"},
}
"""Known to be wrong until expect.py is mended; then the line goes."""


@every_situation
def test_facts_can_be(situation: Situation) -> None:
    found = impossible(situation.facts, skew=bool(situation.skew))
    if situation.impossible:
        assert found, "it is kept as impossible, and nothing is impossible about it"
    else:
        assert found == ()


@every_situation
def test_what_comes_after_can_be(situation: Situation) -> None:
    after = read_facts(tomllib.loads((HERE / situation.name / "after.toml").read_text()))
    found = impossible(after, skew=bool(situation.skew))
    assert {each.rule for each in found} == EXPECTED_WRONG.get(situation.name, set()) or situation.impossible


def test_only_cases_are_excused() -> None:
    assert set(EXPECTED_WRONG) <= {each.name for each in ALL}


@pytest.mark.parametrize("situation", [each for each in ALL if each.skew], ids=str)
def test_a_case_is_skewed_only_if_it_has_to_be(situation: Situation) -> None:
    assert {each.rule for each in impossible(situation.facts)} & set(TOGETHER)


# -- each rule refuses what it is for ----------------------------------------------------------------------------------

NEW = "0000000000000004:0000000000000000:0000000000000000:0000000000000000"
ALONE = 'connection = "Connecting"\nreplication = "Off"\npeer_role = "Unknown"\npeer_disk = "Unknown"'
NINE = 'generation = "9"\nversion = "9.2.18"'
OLD = "AD70FACD89AF3BA6:0000000000000000:EEB9DBC2BDF44AB2:0000000000000004"
NEWER = "1111111111111110:AD70FACD89AF3BA6:EEB9DBC2BDF44AB2:0000000000000004"
CLAIM = 'op_id = "1", step = "create-metadata", resource = "r0"'
BARE = 'like = "attached"\n[side.linux-nas01]\n'
"""Like "attached", but for ..."""
SYNCED = 'peer_disk = "Inconsistent"\nreplication = "SyncSource"'
SYNCING = f'disk = "Inconsistent"\nreplication = "SyncTarget"\nidentifiers = "{NEW.replace("4:", "A:", 1)}:0:0:0:1:0:0:0"'

STACK = "[stack]\n[linux-nas01.layers]\n"
WRONG: dict[str, str] = {
    # rule                       facts that differ from a healthy pair's by this
    "version-and-generation":    '[linux-nas01]\nversion = "9.2.18"',
    "ended-claims-do-not-run":   '[linux-nas01]\nclaims = [{' + CLAIM + ", running = true, code = 0}]",
    "looks-end-after-they-begin": "[linux-nas01]\nended = 499.0",
    "files-do-not-run":          f'{STACK}files = "Starting"',
    "mounted-is-active":         f'{STACK}"active opt" = "Down"',
    "active-was-made":           f'{STACK}"lv opt" = "Down"',
    "mounted-was-made":          f'{STACK}"gfs2 opt" = "Failed"',
    "locks-have-a-manager":      f'{STACK}dlm = "Down"',
    "locks-are-quorate":         f'{STACK}corosync = "Starting"',
    "open-is-primary":           '[stack]\n[side.linux-nas01]\nrole = "Secondary"\n[side.linux-nas02]\npeer_role = "Secondary"',
    "mounted-is-touched":        "[side.linux-nas01]\nmounted_behind = true",
    "unseen-is-unknown":         '[side.linux-nas01]\nconfigured = "none"',
    "down-has-no-role":          'like = "down"\n[side.linux-nas01]\nrole = "Primary"',
    "down-has-no-disk":          'like = "down"\n[side.linux-nas01]\ndisk = "Consistent"',
    "down-has-no-link":          'like = "down"\n[side.linux-nas01]\nconnection = "StandAlone"',
    "down-is-not-frozen":        f'like = "down"\n[both]\n{NINE}\n[side.linux-nas01]\nsuspended = true',
    "primary-has-data":          f'{BARE}role = "Primary"\ndisk = "Inconsistent"\nidentifiers = "{NEW}:0:0:0:0:0:0:0"',
    "frozen-is-primary":         BARE + 'suspended = true',
    "two-primaries-are-allowed": '[side.linux-nas01]\nrunning = {protocol = "C", allow-two-primaries = "no"}',
    "two-primaries-need-protocol-c": '[side.linux-nas01]\nrunning = {protocol = "A", allow-two-primaries = "yes"}',
    "copying-needs-a-link":      BARE + 'replication = "VerifyS"',
    "peer-role-needs-a-link":    BARE + 'peer_role = "Primary"',
    "good-peer-needs-a-link":    BARE + 'peer_disk = "UpToDate"',
    "no-link-runs-nothing":      BARE + 'running = {protocol = "C"}',
    "stand-alone-runs-nothing":  BARE + 'connection = "StandAlone"\nrunning = {protocol = "C"}',
    "target-is-inconsistent":    f'[side.linux-nas01]\n{SYNCED}\n[side.linux-nas02]\nreplication = "SyncTarget"',
    "source-is-good":            f'[side.linux-nas01]\nreplication = "SyncSource"\n[side.linux-nas02]\n{SYNCING}',
    "met-is-up-to-date":         '[side.linux-nas01]\npeer_disk = "Outdated"\n[side.linux-nas02]\ndisk = "Outdated"\nidentifiers = "none"',
    "identifiers-are-metadata":  'like = "down"\n[side.linux-nas01]\nmetadata = "missing"',
    "attached-has-metadata":     BARE + 'metadata = "missing"\nidentifiers = "none"',
    "up-to-date-says-so":        f'{BARE}identifiers = "{OLD}:1:0:0:0:0:0:0"',
    "inconsistent-says-so":      BARE + 'disk = "Inconsistent"',
    "new-is-not-good":           f'{BARE}identifiers = "{NEW}:1:1:0:0:0:0:0"',
    "blank-has-no-signature":    'like = "blank"\n[side.linux-nas01]\nsignature = "it carries a signature of type ext4"',
    "one-holder":                BARE + 'holders = ["dm-0"]',
    "dirty-has-a-size":          BARE + 'out_of_sync = 8\nsize = "none"',
    "dirty-fits":                BARE + 'out_of_sync = 600000',
    "size-fits-the-disk":        BARE + 'backing_size = 524236',
    "no-module-no-resource":     'like = "attached"\n[linux-nas01]\nlayers = {module = "Down: absent 8.4.11"}',
    "log-before-look":           BARE + 'trouble = {text = "Unrelated data, aborting!", uptime = 502.0}',
    "one-target":                f'[side.both]\n{SYNCING}',
    "one-boot-one-machine":      '[both]\nboot_id = "boot-of-linux-nas01"',
    "both-are-connected":        '[linux-nas02]\nlike = "down"',
    "peer-role-agrees":          '[side.linux-nas01]\npeer_role = "Secondary"',
    "peer-disk-agrees":          '[side.linux-nas01]\npeer_disk = "Failed"',
    "copying-takes-two":         f'[side.linux-nas01]\n{SYNCED}\n[side.linux-nas02]\ndisk = "Inconsistent"\nidentifiers = "none"',
    "at-rest-means-same":        f'[side.linux-nas01]\nidentifiers = "{NEWER}:1:1:0:1:0:0:0"',
    "connected-means-same-size": "[side.linux-nas01]\nsize = 500000",
}
WITH = {
    # refused as well, and rightly: the same facts break both
    "one-target": {"target-is-inconsistent", "peer-disk-agrees", "copying-takes-two"},
    "target-is-inconsistent": {"peer-disk-agrees"}, "source-is-good": {"peer-disk-agrees"},
}


def test_every_rule_has_facts_that_it_refuses() -> None:
    assert {*WRONG, "unreachable-says-nothing"} == set(RULES)


@pytest.mark.parametrize("name", WRONG)
def test_the_rule_refuses_it_and_no_other_does(name: str) -> None:
    found = {each.rule for each in impossible(read_facts(tomllib.loads(WRONG[name])))}
    assert name in found
    assert found <= {name} | WITH.get(name, set())


def test_a_node_that_did_not_answer_says_nothing() -> None:
    away = evolve(node(NAMES[1]), state=Node.UNREACHABLE, sides=())
    assert [each.rule for each in impossible(pair().replace(away))] == ["unreachable-says-nothing"]


def test_a_refusal_names_the_node_the_resource_and_the_rule() -> None:
    (found,) = impossible(read_facts(tomllib.loads(WRONG["frozen-is-primary"])))
    assert str(found).startswith("r0 on linux-nas01: 8.4 suspends IO")
    assert str(found).endswith("(rule frozen-is-primary)")


@pytest.mark.parametrize("name", TOGETHER)
def test_two_looks_in_the_middle_of_a_change_may_contradict_each_other(name: str) -> None:
    assert impossible(read_facts(tomllib.loads(WRONG[name])), skew=True) == ()


@pytest.mark.parametrize("name", ["one-target", "one-boot-one-machine", *SIDE])
def test_no_skew_excuses_what_one_look_cannot_show(name: str) -> None:
    assert name in {each.rule for each in impossible(read_facts(tomllib.loads(WRONG[name])), skew=True)}


@pytest.mark.parametrize("text", [
    "",
    'like = "attached"',
    'like = "down"',
    'like = "blank"',
    # a lost cable is noticed by one side first
    f"[side.linux-nas01]\n{ALONE}",
    # DRBD 9 keeps the object and its settings, and suspends whoever lost quorum
    f'[both]\n{NINE}\n[side.both]\nrole = "Secondary"\nsuspended = true\n{ALONE.replace("Connecting", "StandAlone")}',
    # a Primary whose disk is gone works through its peer
    '[side.linux-nas01]\ndisk = "Diskless"\n[side.linux-nas02]\npeer_disk = "Diskless"',
    f"[side.linux-nas01]\n{SYNCED}\n[side.linux-nas02]\n{SYNCING}",
    # 9 after connect --tentative
    f"[both]\n{NINE}\n" + WRONG["at-rest-means-same"],
])
def test_what_can_be_is_let_through(text: str) -> None:
    assert impossible(read_facts(tomllib.loads(text))) == ()


def test_each_resource_is_judged() -> None:
    facts = read_facts(tomllib.loads('like = "attached"\n[second]\nlike = "attached"\n[second.side.linux-nas02]\nholders = ["dm-0"]'))
    assert [(each.rule, each.where) for each in impossible(facts)] == [("one-holder", "r1 on linux-nas02")]


def test_it_takes_a_pair() -> None:
    with pytest.raises(ValueError, match="unpack"):
        impossible(ClusterFacts((node(NAMES[0]),)))
