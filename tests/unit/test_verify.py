"""What a node says of an online verify, as values: the lines are those of captured runs."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from fixtures.situations import NAMES, WANTED, pair
from orchestrator.cli.verify import as_document, in_words
from orchestrator.probes.verify import Compared, read_compared, read_left
from orchestrator.verify import Verified
from states.facts import ClusterFacts, Generation
from states.goal import Ledger
from states.pair import Pair
from states.verify import not_repairable
from states.vocabulary import DiskState, Role

GOOD, BAD = NAMES

RUNS_84 = """
 1: cs:VerifyS ro:Primary/Secondary ds:UpToDate/UpToDate C r-----
    ns:0 nr:0 dw:58880 dr:96572 al:1 bm:0 lo:0 pe:3871 ua:0 ap:0 ep:1 wo:f oos:12
	[======>.............] verified: 37.5% (165584/262100)K
	finish: 0:00:01 speed: 96,516 (96,516) want: 409,600 K/sec
 2: cs:Connected ro:Secondary/Primary ds:UpToDate/UpToDate C r-----
    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0
"""
RUNS_9 = """r0 role:Primary
  disk:UpToDate
  linux-nas02 role:Secondary
    replication:VerifyS peer-disk:UpToDate done:75.00
"""
LOG_84 = """[  100.000000] orchestrate: drbd r0: verifying
[  100.660000] block drbd1: Out of sync: start=80, size=8 (sectors)
[  101.480000] block drbd1: Online verify done (total 1 sec; paused 0 sec; 262100 K/sec)
[  101.480000] block drbd1: Online verify found 1 4k block out of sync!
[  846.650000] orchestrate: drbd r0: verifying
[  846.660000] block drbd1: conn( Connected -> VerifyS )
[  846.660000] block drbd1: Starting Online Verify from sector 0
[  846.690000] block drbd1: Out of sync: start=2400, size=16 (sectors)
[  846.830000] block drbd1: Out of sync: start=40000, size=8 (sectors)
[  848.480000] block drbd1: Online verify done (total 1 sec; paused 0 sec; 262100 K/sec)
[  848.480000] block drbd1: Online verify found 3 4k block out of sync!
[  848.480000] block drbd1: conn( VerifyS -> Connected )
"""
LOG_9 = """[  735.380000] orchestrate: drbd r0: verifying
[  735.550000] drbd r0/0 drbd1 linux-nas02: Out of sync: start=81920, size=64 (sectors)
[  736.130000] drbd r0/0 drbd1 linux-nas02: Online verify done (total 1 sec; paused 0 sec; 204756 K/sec)
[  736.130000] drbd r0/0 drbd1 linux-nas02: Online verify found 8 4k blocks out of sync!
"""


@pytest.mark.parametrize(("text", "minor", "left"), [
    (RUNS_84, 1, 165584),
    (RUNS_84, 2, None),
    (RUNS_84.replace("(165584/262100)K", "(165584/262100)M"), 1, 165584 * 1024),
    (RUNS_84.replace("verified: 37.5% (165584/262100)K", ""), 1, 4000),  # no counters yet
    (RUNS_9, 1, 1000),
    (RUNS_9.replace("replication:VerifyS ", "").replace(" done:75.00", ""), 1, None),
    ("", 1, None),
])
def test_how_far_it_is(text: str, minor: int, left: int | None) -> None:
    assert read_left(text, minor, 4000) == left


def test_what_was_found_since_our_last_mark() -> None:
    assert read_compared(LOG_84, "r0") == Compared(True, 3, ((300, 2), (5000, 1)), "block drbd1: conn( VerifyS -> Connected )")
    assert read_compared(LOG_84, "r0").complete
    nine = read_compared(LOG_9, "r0")
    assert (nine.finished, nine.blocks, nine.runs, nine.complete) == (True, 8, ((10240, 8),), True)


def test_a_log_that_forgot_says_so() -> None:
    late = LOG_84[LOG_84.index("[  846.830000]"):]
    found = read_compared(late, "r0")
    assert (found.finished, found.blocks, found.runs, found.complete) == (True, 3, ((5000, 1),), False)
    assert "has forgotten" in in_words(Verified("r0", "n1", found, 12, 2.0))


def test_broken_off_is_not_clean() -> None:
    cut = LOG_84[:LOG_84.index("[  848.480000]")] + "[  847.000000] drbd r0: PingAck did not arrive in time.\n"
    found = read_compared(cut, "r0")
    assert (found.finished, found.said) == (False, "drbd r0: PingAck did not arrive in time.")
    assert not read_compared("", "r0").finished


def test_in_words_and_as_json() -> None:
    clean = Verified("r0", "n1", Compared(True), 0, 3.04)
    assert in_words(clean) == "r0: 0 blocks differ (3 s)\n"
    many = Verified("r0", "n1", Compared(True, 30, tuple((n * 2, 1) for n in range(30))), 120, 3.04)
    assert "30 blocks (120 KiB) differ" in in_words(many)
    assert "and 10 more places" in in_words(many)
    assert as_document(many)["runs"] == [[n * 2, 1] for n in range(30)]
    assert as_document(clean) == {
        "resource": "r0", "node": "n1", "blocks": 0, "runs": [], "complete": True, "out_of_sync_kib": 0, "seconds": 3.0}


def repairable(seen: ClusterFacts, *, complete: bool = True) -> tuple[str, str] | None:
    return not_repairable(Pair.of(seen, WANTED, Ledger()), seen, BAD, complete=complete)


def test_what_was_found_is_mended_from_a_primary() -> None:
    assert repairable(pair()) is None


@pytest.mark.parametrize(("values", "complete", "evidence"), [
    ({"role": Role.SECONDARY}, True, f"{GOOD} is Secondary/UpToDate"),
    ({"disk": DiskState.INCONSISTENT}, True, f"{GOOD} is Primary/Inconsistent"),
    ({}, False, "has forgotten which blocks"),
])
def test_and_not_otherwise(values: dict[str, Any], complete: bool, evidence: str) -> None:
    node = pair().node(GOOD)
    found = repairable(pair().replace(node.with_side("r0", evolve(node.side("r0"), **values))), complete=complete)
    assert found is not None
    assert evidence in found[0]


def test_drbd_9_would_forget_the_marks() -> None:
    found = repairable(ClusterFacts(tuple(evolve(node, generation=Generation.V9) for node in pair().nodes)))
    assert found is not None
    assert ("DRBD 9" in found[0], "--reset-bitmap=no" in found[1]) == (True, True)
