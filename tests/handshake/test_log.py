"""The parser of handshake lines, on the kernels' own lines."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from fixtures.handshake.cases import HERE
from orchestrator.probes.handshake_log import Outcome, handshakes, incompatible_settings
from states.handshake import Verdict

CAPTURED: list[dict[str, Any]] = tomllib.loads((HERE / "captured.toml").read_text())["case"]
LOGS = [(case, index) for case in CAPTURED for index in range(len(case["logs"]))]

SHOWS = {
    Verdict.SPLIT_BRAIN: {Outcome.UNRESOLVED},
    Verdict.UNRELATED: {Outcome.UNRELATED},
    Verdict.REVERTED: {Outcome.REVERSED},
    Verdict.IN_SYNC: set[Outcome](),
    Verdict.BITMAP_SYNC: set[Outcome](),
}


@pytest.mark.parametrize(("case", "index"), LOGS, ids=[f"{case['generation']} {case['name']} {n}" for case, n in LOGS])
def test_a_captured_log_says_what_came_of_it(case: dict[str, Any], index: int) -> None:
    (seen,) = handshakes(case["logs"][index].encode())
    verdict = Verdict(case["verdict"])
    outcomes = set(seen.outcomes) - {Outcome.DRY_RUN}
    assert seen.generation == case["generation"]
    assert seen.mine is not None
    assert seen.theirs is not None
    if verdict is Verdict.SPLIT_AUTO:
        assert len(outcomes & {Outcome.BY_POLICY, Outcome.BY_FLAG}) == 1
    elif verdict is Verdict.REFUSED:
        assert outcomes <= {Outcome.NOT_TARGET, Outcome.NOT_SOURCE}
    else:
        assert outcomes == SHOWS[verdict]
    if seen.becomes:
        assert seen.becomes == ("source" if case.get("source") == index + 1 else "target")


def test_both_logs_of_a_handshake_show_the_same_identifiers() -> None:
    for case in CAPTURED:
        if len(case["logs"]) == 2:
            one, two = (handshakes(log.encode())[0] for log in case["logs"])
            for mine, theirs in ((one.mine, two.theirs), (two.mine, one.theirs)):
                assert mine
                assert theirs
                assert (mine.current, mine.bitmap, mine.history, mine.bits) == (
                    theirs.current, theirs.bitmap, theirs.history, theirs.bits)


def test_a_repair_made_by_the_comparison_is_not_what_was_compared() -> None:
    (seen,) = handshakes(b"""\
[1.0] block drbd1: drbd_sync_handshake:
[1.0] block drbd1: self 4141414141414140:4242424242424242:4343434343434342:4444444444444444 bits:0 flags:0
[1.0] block drbd1: peer 4141414141414140:0000000000000000:4242424242424242:4343434343434342 bits:0 flags:0
[1.0] block drbd1: was SyncSource, missed the resync finished event, corrected myself:
[1.0] block drbd1: self 4141414141414140:0000000000000000:4242424242424242:4343434343434342 bits:0 flags:0
[1.0] block drbd1: uuid_compare()=1 by rule 34
""")
    assert seen.mine is not None
    assert (seen.rule, seen.mine.bitmap) == ("34", 0x4242424242424242)


def test_two_devices_and_two_rounds_are_kept_apart() -> None:
    dump = b"block drbd%d: %s 4141414141414140:0000000000000000:0000000000000000:0000000000000000 bits:%d flags:0\n"
    log = b"".join((
        dump % (1, b"self", 1), dump % (2, b"self", 2), dump % (2, b"peer", 3), dump % (1, b"peer", 4),
        b"block drbd2: uuid_compare()=0 by rule 40\nblock drbd1: uuid_compare()=100 by rule 90\n",
        b"block drbd1: Split-Brain detected but unresolved, dropping connection!\n",
        dump % (1, b"self", 5), dump % (1, b"peer", 6), b"block drbd1: uuid_compare()=100 by rule 90\n",
        b"block drbd1: Split-Brain detected, manually solved. Sync from peer node\n",
    ))
    seen = handshakes(log)
    assert [(each.device, each.mine and each.mine.bits, each.outcomes) for each in seen] == [
        ("block drbd2", 2, ()), ("block drbd1", 1, (Outcome.UNRESOLVED,)), ("block drbd1", 5, (Outcome.BY_FLAG,)),
    ]


def test_settings_over_which_the_kernel_refuses() -> None:
    assert incompatible_settings(
        b"[  1.0] drbd r0: incompatible after-sb-0pri settings\n[  1.0] drbd r0 nas02: incompatible protocol settings\n"
    ) == ("after-sb-0pri", "protocol")


def test_noise_is_not_a_handshake() -> None:
    assert handshakes(b"\xff\xfe\n[ 1.0] block drbd1: peer( Unknown -> Primary )\nuuid_compare") == ()
