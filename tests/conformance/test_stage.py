"""The pure parts: what becomes of raw looks, and that every scenario has its trace."""

from __future__ import annotations

import pytest

from fixtures.conformance import observe, traces
from fixtures.conformance.observe import Letters, Proc
from fixtures.conformance.recorder import compared
from fixtures.conformance.scenarios import SCENARIOS

CONNECTED = """\
 1: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----
    ns:262100 nr:0 dw:0 dr:262100 al:8 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0
"""
WAITING = """\
 1: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C r-----
    ns:262104 nr:0 dw:8 dr:262140 al:9 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:4
"""
ALONE = """\
 1: cs:StandAlone ro:Secondary/Unknown ds:UpToDate/DUnknown   r-----
    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0
"""
MIRRORED = CONNECTED.replace("Primary/Secondary", "Secondary/Primary")


def proc(text: str) -> Proc:
    read = Proc.read(text)
    assert read is not None
    return read


def test_a_kernels_line() -> None:
    assert observe.kernel_line(CONNECTED) == "Connected Primary/Secondary UpToDate/UpToDate C r----- oos 0"
    assert observe.kernel_line(WAITING) == "WFConnection Primary/Unknown UpToDate/DUnknown C r----- oos some"
    assert observe.kernel_line(ALONE) == "StandAlone Secondary/Unknown UpToDate/DUnknown - r----- oos 0"
    assert observe.kernel_line(" 1: cs:Unconfigured\n") == "Unconfigured"
    assert observe.kernel_line("") == "down"
    assert observe.kernel_line(None) == "no module"


def test_identifiers_become_letters_by_order_of_appearance() -> None:
    letters = Letters()
    one = letters.line("36CE151D8A21F4CD:0000000000000000:083BB43D7ADE71D6:0000000000000004:1:1:1:1:0:0:0")
    assert one == "A:0:B:new cupn"
    assert letters.line("36CE151D8A21F4CC:0000000000000000:083BB43D7ADE71D6:0000000000000004:1:1:0:1:0:0:0") == "A:0:B:new cun"
    assert letters.line("060CB5C06297DD3D:36CE151D8A21F4CD:083BB43D7ADE71D6:0000000000000004:1:1:1:0:0:0:0") == "C:A:B:new cup"
    assert letters.line("") == "none"


def test_the_identifier_a_resync_begins_with_is_told_from_its_base() -> None:
    letters = Letters()
    assert letters.line("36CE151D8A21F4CC:083BB43D7ADE71D6:0000000000000004:0000000000000000:0:0:0:0:0:0:0") == "A:B:new:0 -"
    assert letters.line("36CE151D8A21F4CC:083CB43D7ADE71D6:0000000000000004:0000000000000000:1:0:0:0:1:0:1") == "A:B+:new:0 cfx"


def test_damaged_identifiers_are_not_passed_over() -> None:
    with pytest.raises(ValueError, match="not generation identifiers"):
        Letters().line("36CE151D8A21F4CD:0000000000000000")


def test_what_the_kernel_went_through() -> None:
    log = """\
[  7.1] drbd r0: PingAck did not arrive in time.
[  7.1] drbd r0: peer( Primary -> Unknown ) conn( Connected -> NetworkFailure ) pdsk( UpToDate -> DUnknown )
[  7.2] drbd r0: conn( NetworkFailure -> Unconnected )
[  7.3] drbd r0: conn( Unconnected -> WFConnection )
[  7.3] drbd other: conn( Unconnected -> WFConnection )
"""
    assert observe.turns(log) == ("peer:Unknown", "conn:lost", "pdsk:DUnknown", "conn:Unconnected", "conn:WFConnection")
    assert observe.turns(log.replace("NetworkFailure", "BrokenPipe")) == observe.turns(log)


SPLIT = """\
[  1.0] block drbd1: drbd_sync_handshake:
[  1.0] block drbd1: uuid_compare()=100 by rule 90
[  1.0] block drbd1: Split-Brain detected but unresolved, dropping connection!
"""
OLDER = """\
[  1.0] block drbd1: drbd_sync_handshake:
[  1.0] block drbd1: uuid_compare()=-1 by rule 50
[  1.0] block drbd1: conn( WFReportParams -> WFBitMapT )
"""
NEWER = OLDER.replace("-1 by rule 50", "1 by rule 70").replace("WFBitMapT", "WFBitMapS")


def test_what_was_decided_when_they_met() -> None:
    assert observe.meeting((NEWER, OLDER)) == ("bitmap resync from 1, rules 70/50",)
    assert observe.meeting((OLDER, NEWER)) == ("bitmap resync from 2, rules 50/70",)
    assert observe.meeting((SPLIT, SPLIT)) == ("split brain, unresolved",)
    assert observe.meeting((SPLIT, "")) == observe.meeting(("", SPLIT)) == ("split brain, unresolved",)
    assert observe.meeting(("", "")) == ()


def test_two_crashed_primaries_of_one_generation_are_decided_by_chance() -> None:
    log = OLDER.replace("-1 by rule 50", "-1 by rule 40")
    seen = "block drbd1: {} 36CE151D8A21F4CD:0000000000000000:083BB43D7ADE71D6:0000000000000004 bits:0 flags:{}"
    dumps = "\n".join(("[  1.0] " + seen.format("self", 0), "[  1.0] " + seen.format("peer", 2)))
    one = log.replace("handshake:\n", f"handshake:\n{dumps}\n")
    other = one.replace("=-1", "=1").replace("WFBitMapT", "WFBitMapS")
    assert observe.meeting((one, other)) == observe.meeting((other, one)) == ("bitmap resync from either, by chance, rules 40/40",)
    only_one = one.replace("flags:2", "flags:0")
    assert observe.meeting((only_one, other)) == ("bitmap resync from 2, rules 40/40",)


REFUSES = "[  1.0] drbd r0: incompatible allow-two-primaries settings\n"


def test_who_hangs_up_first_over_settings_is_not_compared() -> None:
    waiting = WAITING.replace("Primary", "Secondary").replace("oos:4", "oos:0")
    stood, tries = (observe.kernel_line(text) for text in (ALONE, waiting))
    seen = {observe.refused(pair, ("", REFUSES)) for pair in ((stood, tries), (stood, stood))}
    assert seen == {("StandAlone or WFConnection Secondary/Unknown UpToDate/DUnknown r----- oos 0",) * 2}
    for pair, logs in (((stood, tries), (SPLIT, SPLIT)), ((tries, tries), ("", REFUSES)), (("off", stood), (REFUSES, REFUSES))):
        assert observe.refused(pair, logs) == pair


@pytest.mark.parametrize(("one", "other", "whole", "rests"), [
    (CONNECTED, MIRRORED, True, True),
    (CONNECTED, MIRRORED, False, False),                    # cut, and not noticed
    (CONNECTED, CONNECTED, True, False),                    # one has not heard of the other's role yet
    (WAITING, WAITING, True, False),                        # they will meet
    (WAITING, WAITING, False, True),
    (WAITING, "", True, True),
    (CONNECTED, WAITING, True, False),
    (CONNECTED.replace("Connected", "SyncSource"), MIRRORED.replace("Connected", "SyncTarget"), True, False),
    (CONNECTED.replace("UpToDate/UpToDate", "UpToDate/Inconsistent"), MIRRORED.replace("UpToDate/UpToDate", "Inconsistent/UpToDate"),
     True, False),                                          # the copying is about to begin
    (WAITING.replace("WFConnection", "Unconnected"), "", True, False),
])
def test_rest(one: str, other: str, whole: bool, rests: bool) -> None:
    kernels = (Proc.read(one), Proc.read(other))
    assert observe.restless(kernels, whole=whole) is not rests
    assert observe.restless((kernels[1], kernels[0]), whole=whole) is not rests


def test_slow_copying_may_count_as_rest() -> None:
    pair = (proc(CONNECTED.replace("Connected", "SyncSource")), proc(MIRRORED.replace("Connected", "SyncTarget")))
    assert not observe.restless(pair, whole=True, copying_rests=True)


def test_what_differs_from_time_to_time_is_taken_out_of_words() -> None:
    assert observe.said("  bad   060CB5C06297DD3C\n\nat 33554432\n") == ("bad ID", "at N")


def test_lines_for_people_are_not_compared() -> None:
    assert compared(["> cut", "  ~ linux-nas01 conn:lost", "  linux-nas01 off"]) == ["> cut", "  linux-nas01 off"]


RECORDED = sorted(path.stem for path in traces.FOLDER.glob("*.txt"))


def test_every_trace_has_its_scenario() -> None:
    assert set(RECORDED) <= set(SCENARIOS)


def test_what_is_played_by_default_is_recorded() -> None:
    assert {name for name, one in SCENARIOS.items() if one.quick} <= set(RECORDED)


@pytest.mark.parametrize("name", RECORDED)
def test_traces_end_at_rest_and_say_where_they_are_from(name: str) -> None:
    text = traces.path(name).read_text()
    assert "(no rest)" not in text
    assert text.splitlines()[1].startswith("# DRBD ")
    assert len(traces.recorded(name) or []) > 4


def test_there_are_enough_scenarios() -> None:
    """A shrunken folder must not pass for proof."""
    assert len(SCENARIOS) >= 130
    assert len(RECORDED) >= 100
