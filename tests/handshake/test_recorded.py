"""What two 8.4.11 kernels did with every fabricated pair (recorded from a live run; the lab's tests run it again)."""

from __future__ import annotations

import pytest
from attrs import evolve

from fixtures.handshake.cases import HERE, Case, load
from fixtures.handshake.live import Place, differences, gi, options, record, recorded, script
from states.handshake import Verdict
from states.identifiers import Identifiers
from states.vocabulary import Role

CASES = load("cases-8.4.toml")
RECORDED = recorded((HERE / "recorded-8.4.11.txt").read_text())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_both_kernels_did_what_is_predicted(case: Case) -> None:
    assert differences(case, RECORDED[case.name]) == []


def test_every_recording_belongs_to_a_case() -> None:
    assert RECORDED.keys() == {case.name for case in CASES}


@pytest.mark.parametrize("case", [case for case in CASES if case.rules[0]], ids=str)
def test_another_verdict_would_be_noticed(case: Case) -> None:
    for verdict in Verdict:
        if verdict not in (case.verdict, Verdict.UNKNOWN):
            assert differences(evolve(case, verdict=verdict), RECORDED[case.name])


def test_another_rule_or_another_pair_would_be_noticed() -> None:
    case = next(case for case in CASES if case.rules == ("50", "70"))
    assert differences(evolve(case, rules=("51", "70")), RECORDED[case.name])
    other = evolve(case, sides=(evolve(case.sides[0], dirty=32), case.sides[1]))
    assert differences(other, RECORDED[case.name])


def test_a_recording_is_read_back_as_it_was_written() -> None:
    results = [(case, RECORDED[case.name]) for case in CASES]
    assert recorded(record(results)) == RECORDED


def test_what_a_node_is_told_to_do() -> None:
    case = next(case for case in CASES if "violently" in case.name and case.sides[0].role is Role.PRIMARY)
    written = gi(case.sides[0])
    assert Identifiers.parse(written).current == case.sides[0].identifiers.current
    assert written.endswith(":1:1:0:0:0:0:0")
    assert "--after-sb-1pri=violently-as0p" in options(case.sides[0], case.terms[0])
    text = script([case], 0, Place())
    assert text.index("set-gi") < text.index("primary 1") < text.index("connect r0") < text.index("secondary 1")
