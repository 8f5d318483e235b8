"""The simulator's own model of the handshake against what kernels logged, and where each side ends up."""

from __future__ import annotations

import re
from itertools import product

import pytest
from attrs import evolve

from fixtures.handshake.cases import HERE, Case, captured, load
from fixtures.handshake.live import KEPT, recorded
from fixtures.sim.drbd.handshake import Decision, Greeting, Move, greet, meet
from orchestrator.probes.handshake_log import handshakes
from orchestrator.probes.kernel_log import trouble
from states.handshake import Verdict
from states.identifiers import Identifiers
from states.vocabulary import ConnectionState, DiskState, Role
from tests.sim.handshake_pairs import Outcome, met

STEP = 0x0001000000000000
LIVE = load("cases-8.4.toml")
READ = [case for case in load("cases-9.toml") if case.terms[0].wire == 124]  # the model speaks no older protocol
CAPTURED = captured()
RECORDED = recorded((HERE / "recorded-8.4.11.txt").read_text())
STAMP = re.compile(r"^\[ *[\d.]+\] ")
SPOKEN = re.compile(r"(?:self|peer) [0-9A-F]{16}:|uuid_comp|Split-Brain|I shall|Unrelated|reversed by")


# --- what kernels did

@pytest.mark.parametrize("case", [*LIVE, *READ, *CAPTURED], ids=str)
def test_the_model_does_what_the_case_says(case: Case) -> None:
    if case.verdict is Verdict.UNKNOWN:
        return
    one, two = ((False, True) if side.reconnecting is None else (side.reconnecting,) for side in case.sides)
    backs = list(product(one, two))
    for first in (0, 1):
        ends = [Outcome.of(case.sides, met(case.sides, case.terms, first, back=back)) for back in backs]
        assert {(seen.verdict, seen.full) for seen in ends} == {(case.verdict, case.full)}
        assert case.source is None or {seen.source for seen in ends} == {case.source}
        found = [all(rule == "" or mine in rule.split("|") for rule, mine in zip(case.rules, seen.rules, strict=True)) for seen in ends]
        assert any(found)  # of a side that does not say whether it was connected before, the rule may hang on that


@pytest.mark.parametrize("case", LIVE, ids=str)
def test_both_kernels_log_what_they_logged_live(case: Case) -> None:
    """Line by line, up to the state they enter or drop to; each of the two race winners where chance decides."""
    logs = [[STAMP.sub("", line) for line in log.splitlines()] for log in RECORDED[case.name]]
    silent = [index for index in (0, 1) if not any("uuid_comp" in line or "incompatible" in line for line in logs[index])]
    tries = []
    for first in (0, 1):
        pair = met(case.sides, case.terms, first, late=silent[0] if silent else None)
        tries.append([device_lines(list(each.log)) == device_lines(log) for each, log in zip(pair, logs, strict=True)])
    chance = case.verdict in (Verdict.BITMAP_SYNC, Verdict.SPLIT_AUTO) and case.source is None
    assert [True, True] in tries if chance else tries == [[True, True]] * 2, (logs, [each.log for each in pair])


def device_lines(log: list[str]) -> list[str]:
    """What a kernel said of the device and of settings, as far as recordings keep it, up to the state it enters."""
    kept = []
    for line in log:
        words = line.replace("{name}", "r0").replace("{minor}", "1").rstrip()
        if not KEPT.search(words) or "helper" in words or (not words.startswith("block") and "incompatible" not in words):
            continue
        kept.append(words)
        if "WFReportParams ->" in words:
            break
    return kept


@pytest.mark.parametrize("case", CAPTURED, ids=str)
def test_the_model_says_what_was_captured(case: Case) -> None:
    names = ("linux-nas02", "linux-nas01")
    pair = met(case.sides, case.terms, 0)
    for index, log in enumerate(case.raw["logs"]):
        said = [line.format(name="r0", minor=1, peer=names[index]) for line in pair[index].log]
        theirs = [STAMP.sub("", line) for line in log.splitlines() if SPOKEN.search(line)]
        if "9.3.3" in case.seen:  # it no longer marks the peer's flags as 9.2.18 did, whose words the model speaks
            theirs = [re.sub(r"( peer .* flags:)(?=\d{3}$)", r"\g<1>1", line) for line in theirs]
        mine = [line for line in said if SPOKEN.search(line)]
        assert mine == theirs


def test_a_case_told_otherwise_would_be_noticed() -> None:
    case = next(case for case in LIVE if case.name == "split brain, the flag decides")
    other = (evolve(case.sides[0], discard=False), case.sides[1])
    assert Outcome.of(other, met(other, case.terms, 0)).verdict is not case.verdict
    logs = [device_lines([STAMP.sub("", line) for line in log.splitlines()]) for log in RECORDED[case.name]]
    assert device_lines(list(met(other, case.terms, 0)[0].log)) != logs[0]


# --- who ends up where

NAMES = {"name": "r0", "minor": "1", "peer": "nas02"}
SAME = Greeting(0xA0, 0, (0xB0, 0xC0), first=True, size=1024, settings={"verify-alg": "crc32c"})
OTHER = evolve(SAME, first=False, node_id=1)
SECRET = {"shared_secret": "x", "cram_hmac_alg": "sha1"}
STAND_ALONE, CONNECTING = ConnectionState.STAND_ALONE, ConnectionState.CONNECTING


def having(side: Greeting, **words: str) -> Greeting:
    """The side with settings of its own (underscores for dashes)."""
    return evolve(side, settings={**dict(side.settings), **{name.replace("_", "-"): value for name, value in words.items()}})


def text(decision: Decision) -> str:
    """The log as the kernel's ring holds it."""
    return "".join(f"[    1.000000] {line.format(**NAMES)}\n" for line in decision.log)


@pytest.mark.parametrize("generation", ["8.4", "9"])
@pytest.mark.parametrize(("words", "setting", "ends"), [
    ({"protocol": "A"}, "protocol", (STAND_ALONE, STAND_ALONE)),
    ({"after_sb_0pri": "discard-zero-changes"}, "after-sb-0pri", (STAND_ALONE, STAND_ALONE)),
    ({"after_sb_2pri": "violently-as0p"}, "after-sb-2pri", (STAND_ALONE, STAND_ALONE)),
    ({"allow_two_primaries": "yes"}, "allow-two-primaries", (STAND_ALONE, STAND_ALONE)),
    ({"data_integrity_alg": "crc32c"}, "data-integrity-alg", (STAND_ALONE, STAND_ALONE)),
    ({"verify_alg": "md5"}, "verify-alg", (STAND_ALONE, STAND_ALONE)),
    ({"shared_secret": "x", "cram_hmac_alg": "sha1"}, "shared-secret", (CONNECTING, STAND_ALONE)),
])
def test_settings_that_differ(
    generation: str, words: dict[str, str], setting: str, ends: tuple[ConnectionState, ConnectionState],
) -> None:
    """The orchestrator's own reader finds the setting in what the side that gave up logs (captures `wrong_*`)."""
    pair = meet(generation, SAME, having(OTHER, **words))
    assert {each.move for each in pair} == {Move.DROP}
    assert tuple(each.to for each in pair) == ends
    for each in pair:
        found = trouble(text(each))
        assert (found.setting if found else "") == (setting if each.to is STAND_ALONE else "")
    swapped = meet(generation, having(OTHER, **words), SAME)
    assert tuple(each.to for each in swapped) == ends[::-1]


@pytest.mark.parametrize("generation", ["8.4", "9"])
def test_secrets(generation: str) -> None:
    one, two = (having(side, **SECRET) for side in (SAME, OTHER))
    assert {each.move for each in meet(generation, one, two)} == {Move.STAY}
    both = meet(generation, one, having(two, **{**SECRET, "shared_secret": "y"}))
    assert [each.to for each in both] == [STAND_ALONE] * 2
    assert "Authentication of peer failed" in text(both[0])
    again = meet(generation, one, having(two, cram_hmac_alg="md5"))
    assert [each.to for each in again] == [CONNECTING] * 2


def test_captured_ends_of_differing_settings_are_the_models() -> None:
    """wrong_aftersb: both had read it; wrong_verify: the other was quicker."""
    both = meet("8.4", SAME, having(OTHER, after_sb_0pri="discard-zero-changes"))
    for each in both:
        assert [line.format(**NAMES) for line in each.log[2:]][:5] == [
            "drbd r0: conn( WFConnection -> WFReportParams ) ", "drbd r0: incompatible after-sb-0pri settings",
            "drbd r0: conn( WFReportParams -> Disconnecting ) ", "drbd r0: error receiving ReportProtocol, e: -5 l: 1!",
            "drbd r0: Connection closed",
        ]
    late, quick = meet("8.4", having(SAME, verify_alg="md5"), OTHER, 0)
    assert (late.to, late.reason, quick.to) == (CONNECTING, "peer", STAND_ALONE)
    assert 'block drbd1: Different verify-alg settings. me="crc32c" peer="md5"' in text(quick)
    assert "drbd r0: error receiving SyncParam89, e: -5 l: 148!" in text(quick)
    assert text(late).endswith("conn( Unconnected -> WFConnection ) \n")


@pytest.mark.parametrize("generation", ["8.4", "9"])
def test_sizes(generation: str) -> None:
    """Good data is not cut off; an Inconsistent disk shrinks."""
    big, small = SAME, evolve(OTHER, size=512)
    pair = meet(generation, big, small)
    assert [each.to for each in pair] == [STAND_ALONE, CONNECTING]
    found = trouble(text(pair[0]))
    assert found is not None
    assert found.setting == "disk size"
    shrinking = evolve(big, disk=DiskState.INCONSISTENT)
    assert [each.move for each in meet(generation, shrinking, small)] == [Move.TARGET, Move.SOURCE]


def test_a_declining_side_leaves_its_peer_trying_on_8_4_and_alone_on_9() -> None:
    """Captures: the older side is Primary (live case), 9's 30-V1."""
    older = evolve(SAME, current=0xB0, role=Role.PRIMARY, history=(0xC0, 0xD0))
    newer = evolve(OTHER, bitmap=0xB0, history=(0xC0, 0xD0), dirty=4)
    for generation, end in (("8.4", CONNECTING), ("9", STAND_ALONE)):
        assert greet(generation, newer, older).move is Move.SOURCE
        refusing, lost = meet(generation, older, newer)
        assert (refusing.reason, refusing.to) == ("primary", STAND_ALONE)
        assert (lost.move, lost.reason, lost.to) == (Move.DROP, "peer", end)
        assert handshakes(text(lost).encode())[0].rule == lost.rule
    starts, declines = evolve(newer, node_id=0), evolve(older, node_id=1)
    assert "drbd r0: Declined by peer nas02 (id: 1), see the kernel log there" in text(meet("9", starts, declines)[0])


def test_a_bitmap_filled_before_the_peer_went_stays_filled() -> None:
    older = evolve(SAME, current=0xC0, role=Role.PRIMARY, history=(0xE0, 0xD0))
    newer = evolve(OTHER, bitmap=0xB0, history=(0xC0, 0xD0), dirty=4)
    refusing, lost = meet("8.4", older, newer)
    assert (refusing.filled, lost.filled, lost.move) == (False, True, Move.DROP)


def test_repairs_in_passing() -> None:
    """Rules 34 and 35, 51 and 71: as the live cases log it, and nothing else is repaired."""
    source, target = evolve(SAME, bitmap=0xB0, history=(0xC0, 0xD0)), evolve(OTHER, history=(0xB0, 0xC0))
    one, two = meet("8.4", source, target)
    assert (one.rule, two.rule) == ("34", "35")
    assert one.new_identifiers == two.peer_identifiers == Identifiers(0xA0, 0, (0xB0, 0xC0), frozenset())
    old = evolve(SAME, current=0xB0, history=(0xC0, 0xD0))
    new = evolve(OTHER, bitmap=0xB0 + STEP, history=(0xB0, 0xC0))
    one, two = meet("8.4", old, new)
    assert (one.rule, two.rule) == ("51", "71")
    assert two.new_identifiers == one.peer_identifiers == Identifiers(0xA0, 0xB0, (0xC0, 0xC0), frozenset())
    assert meet("8.4", SAME, OTHER)[0].new_identifiers is None


def test_without_a_disk_nothing_is_compared() -> None:
    for generation in ("8.4", "9"):
        pair = meet(generation, evolve(SAME, disk=DiskState.DISKLESS), OTHER)
        assert [(each.move, each.rule) for each in pair] == [(Move.STAY, "")] * 2


def test_another_kernel_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="no kernel"):
        meet("8.3", SAME, OTHER)
