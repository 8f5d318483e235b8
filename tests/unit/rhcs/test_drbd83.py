"""DRBD 8.3: its resource file, what its `show` says, whose version is whose, and how two of it decide."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from fixtures.situations import pair
from orchestrator.drbd import steps
from orchestrator.drbd.files import resource_file
from orchestrator.polling import counted, interval
from orchestrator.probes import look
from orchestrator.probes.look import read_filed, read_look, read_show
from states import handshake
from states.facts import ClusterFacts, Generation
from states.goal import Waiting
from states.handshake import Prediction, Side, Verdict
from states.handshake.terms import Generation as Kind
from states.handshake.terms import Terms
from states.identifiers import Flag, Identifiers
from states.settings import differing
from states.vocabulary import DiskState, Role
from tests.unit.stack_cluster import OLD_STACK, loaded

FILE = """\
# r0: written by orchestrate from cluster.toml; `orchestrate plan` shows any difference
resource r0 {
	protocol C;
	net {
		allow-two-primaries;
		after-sb-0pri disconnect;
		after-sb-1pri disconnect;
		after-sb-2pri disconnect;
		cram-hmac-alg sha1;
		shared-secret "hush";
		max-buffers 8000;
		ping-timeout 20;
		ping-int 3;
	}
	disk {
		fencing resource-and-stonith;
	}
	handlers {
		fence-peer "/usr/local/sbin/orchestrate-fence --drbd";
	}
	syncer {
		rate 100M;
		verify-alg sha1;
	}
	on linux-nas01 {
		device /dev/drbd1;
		disk /dev/ubdb;
		address 10.98.0.11:7789;
		meta-disk internal;
	}
	on linux-nas02 {
		device /dev/drbd1;
		disk /dev/ubdb;
		address 10.98.0.12:7789;
		meta-disk internal;
	}
}
"""
SECRETS = OLD_STACK.replace('disk = "/dev/ubdb"', 'disk = "/dev/ubdb"\nshared_secret = "hush"\nverify_alg = "sha1"')
SHOW = """\
disk {
	size            	0s _is_default; # bytes
	on-io-error     	detach;
	fencing         	resource-and-stonith;
}
net {
	timeout         	60 _is_default; # 1/10 seconds
	max-buffers     	8000;
	ping-int        	3; # seconds
	allow-two-primaries;
	after-sb-0pri   	disconnect _is_default;
	after-sb-1pri   	disconnect _is_default;
	after-sb-2pri   	disconnect _is_default;
	rr-conflict     	disconnect _is_default;
	ping-timeout    	20; # 1/10 seconds
	cram-hmac-alg   	"sha1";
	shared-secret   	"hush";
}
syncer {
	rate            	102400k; # bytes/second
	after           	-1 _is_default;
	verify-alg      	"sha1";
}
protocol C;
_this_host {
	device			minor 1;
	disk			"/dev/vda3";
	meta-disk		internal;
	address			ipv4 10.98.0.11:7789;
}
_remote_host {
	address			ipv4 10.98.0.12:7789;
}
"""
"""Written after `drbdsetup MINOR show` of 8.3.16 (`show_scmd`)."""


def test_the_resource_file(tmp_path: Path) -> None:
    assert resource_file(loaded(tmp_path, SECRETS), "r0", Generation.V83) == FILE


def test_one_primary_has_no_switch(tmp_path: Path) -> None:
    text = resource_file(loaded(tmp_path, SECRETS.replace("shared_secret", "primaries = 1\nshared_secret")), "r0", Generation.V83)
    assert "allow-two-primaries" not in text


def test_file_show_and_wish_agree(tmp_path: Path) -> None:
    wanted = loaded(tmp_path, SECRETS).wanted("r0").net
    assert list(differing(wanted, read_show(SHOW))) == []
    assert list(differing(wanted, read_filed(FILE))) == []
    assert list(differing(wanted, read_show(SHOW.replace("\tallow-two-primaries;\n", "")))) == [("allow-two-primaries", "yes", "no")]


def test_a_side_without_a_connection_runs_no_settings() -> None:
    assert read_show(SHOW[:SHOW.index("net {")] + SHOW[SHOW.index("syncer {"):SHOW.index("protocol C")]) == ()


@pytest.mark.parametrize(("version", "generation"), [
    ("8.3.8", Generation.V83), ("8.3.16", Generation.V83), ("8.4.11", Generation.V84), ("9.2.18", Generation.V9),
    ("8.0.16", Generation.UNKNOWN), ("8.2.7", Generation.UNKNOWN), ("10.0.1", Generation.UNKNOWN),
])  # fmt: skip
def test_generations(version: str, generation: Generation) -> None:
    """8.0 to 8.2 spell roles otherwise: the far side's re-checks would not see a Primary."""
    text = f"\n==node\nuptime 5.00\nboot_id b\nhostname n\n==proc-drbd\nversion: {version} (api:88/proto:86-97)\n==end 6.00\n"
    assert read_look("n", text, (), 0.0).generation is generation


@pytest.mark.parametrize(("far", "words"), [
    ("drbdadm -- OPTION", '$adm -- "$1" "$2" "$3"'), ("first sync", "adm_with --overwrite-data-of-peer primary"),
    ("skipped sync", "adm_with --clear-bitmap new-current-uuid"), ("discard", "adm_with --discard-my-data connect"),
    ("metadata", "adm_with --force create-md"),
])  # fmt: skip
def test_the_words_of_8_3_are_in_the_script(far: str, words: str) -> None:
    """That they do what they mean is played in tests/sim/test_rhcs.py."""
    assert words in steps.SCRIPT, far
    assert "old_userland" in look.SCRIPT


# -- what two of 8.3 decide --------------------------------------------------------------------------------------------

GOOD = frozenset({Flag.CONSISTENT, Flag.WAS_UP_TO_DATE})


def side(current: int, bitmap: int = 0, *history: int, role: Role = Role.SECONDARY, crashed: bool = False) -> Side:
    flags = GOOD | ({Flag.CRASHED_PRIMARY} if crashed else set())
    past = (*history, 0, 0)[:2]
    return Side(Identifiers(current, bitmap, (past[0], past[1]), flags), role, DiskState.UP_TO_DATE, 0)


def meet(one: Side, other: Side, kind: Kind = Kind.V83) -> Prediction:
    return handshake.predict(one, other, Terms(kind, allow_two_primaries=True))


def test_who_crashed_is_copied_from_even_if_the_other_is_primary_now() -> None:
    """8.4 has rule 41 for that; 8.3 would make the Primary a target, and refuses."""
    crashed, primary = side(0xA0, crashed=True), side(0xA0, role=Role.PRIMARY)
    old, new = meet(crashed, primary), meet(crashed, primary, Kind.V84)
    assert (old.rules, old.verdict) == (("40", "40"), Verdict.REFUSED)
    assert (new.rules, new.source) == (("41", "41"), 1)


def test_where_the_protocol_decides_nothing_is_said() -> None:
    older, newer = side(0xA0, 0, 0xB0), side(0xC0, 0xD0, 0xA0, 0xB0)
    assert meet(older, newer).verdict is Verdict.UNKNOWN
    assert "protocol" in meet(older, newer).why
    assert meet(older, newer, Kind.V84).verdict is not Verdict.UNKNOWN


@pytest.mark.parametrize(("one", "other", "verdict"), [
    (side(0xA0), side(0xA0), Verdict.IN_SYNC), (side(0xA0), side(0xB0, 0xA0), Verdict.BITMAP_SYNC),
    (side(0xB0, 0xA0), side(0xC0, 0xA0), Verdict.SPLIT_BRAIN),
    (side(0xB0, 0xA0, 0x10, 0x20), side(0xC0, 0xD0, 0x30, 0x40), Verdict.UNRELATED),
])  # fmt: skip
def test_the_rest_is_as_8_4(one: Side, other: Side, verdict: Verdict) -> None:
    assert meet(one, other).verdict is verdict
    assert evolve(meet(one, other), why="") == evolve(meet(one, other, Kind.V84), why="")


def test_8_3_and_8_4_are_not_compared() -> None:
    mixed = handshake.predict(side(0xA0), side(0xA0), Terms(Kind.V83), Terms(Kind.V84))
    assert (mixed.verdict, mixed.why) == (Verdict.UNKNOWN, "not known: how DRBD 8.3 and 8.4 compare with each other")


# -- polling -----------------------------------------------------------------------------------------------------------

def facts(generation: Generation) -> ClusterFacts:
    return ClusterFacts(tuple(evolve(node, generation=generation) for node in pair().nodes))


@pytest.mark.parametrize(("eta", "generation", "seconds"), [
    (None, Generation.V83, 0.2), (0.5, Generation.V83, 0.2), (6.0, Generation.V83, 1.0), (36.0, Generation.V83, 6.0),
    (9000.0, Generation.V83, 10.0), (None, Generation.V84, 0.4), (36.0, Generation.V84, 5.0),
])  # fmt: skip
def test_a_copy_is_looked_at_often_only_near_its_end(eta: float | None, generation: Generation, seconds: float) -> None:
    assert interval(Waiting("synced", "", None, "r0"), eta, facts(generation)) == seconds


def test_where_nothing_is_pushed_both_sides_are_asked() -> None:
    waiting = Waiting("synced", "", None, "r0", ("linux-nas01", "linux-nas02"))
    assert counted(waiting, facts(Generation.V83)) == ("linux-nas01", "linux-nas02")
    assert counted(waiting, facts(Generation.V84)) == ("linux-nas01",)
    found = Waiting("peer_found_same", "", 60.0, "r0")
    assert interval(found, None, facts(Generation.V83)) < interval(found, None, facts(Generation.V84))
