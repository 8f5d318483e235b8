"""The truth is kept by comparing disks, and knows what was lost."""

from __future__ import annotations

from attrs import evolve

from fixtures.search.starts import blank, healthy
from fixtures.search.truth import Cell, Truth, after
from fixtures.search.view import with_defaults
from fixtures.sim.drbd import kernel
from fixtures.sim.drbd.values import Pair
from states.facts import Generation

NET = with_defaults((("allow-two-primaries", "yes"), ("protocol", "C")))


def cut(pair: Pair) -> Pair:
    now = evolve(pair, wires=(False, False))
    while kernel.happenings(now):
        now = kernel.happen(now, kernel.happenings(now)[0])
    return now


def test_a_write_on_both_disks_is_the_same_everywhere() -> None:
    pair = healthy(Generation.V84, NET, 2)
    now, done = kernel.write(pair, 0, 0, 50)
    assert done is kernel.Written.DONE
    truth, harms = after(Truth((Cell.NEWER_0, Cell(0))), pair, now, "write:0")
    assert not truth.apart
    assert not harms


def test_writes_on_both_sides_of_a_cut_diverge_and_a_copy_loses_one() -> None:
    pair = cut(healthy(Generation.V84, NET, 2))
    truth = Truth.equal(pair)
    for index in (0, 1):
        now, _ = kernel.write(pair, index, 0, 50 + index)
        truth, harms = after(truth, pair, now, f"write:{index}")
        assert not harms
        pair = now
    assert truth.newer(0)
    assert truth.newer(1)
    copied = pair.change(1, cells=pair.halves[0].cells)
    truth, harms = after(truth, pair, copied, "drbd")
    assert [harm.rule for harm in harms] == ["no-discard-without-consent"]
    assert not truth.apart


def test_catching_up_loses_nothing() -> None:
    pair = cut(healthy(Generation.V9, NET, 1))
    now, _ = kernel.write(pair, 0, 0, 50)
    truth, _ = after(Truth.equal(pair), pair, now, "write:0")
    assert truth.newer(0)
    assert not truth.newer(1)
    truth, harms = after(truth, now, now.change(1, cells=now.halves[0].cells), "drbd")
    assert not harms
    assert not truth.apart


def test_a_disk_without_metadata_that_somebody_fills_is_somebodys() -> None:
    pair = blank(Generation.V84)
    held = pair.change(0, cells=(9, 0))
    truth, _ = after(Truth.equal(pair), pair, held, "holder:0")
    assert truth.foreign(0)
    _, harms = after(truth, held, held.change(0, cells=(0, 0)), "drbd")
    assert [harm.rule for harm in harms] == ["no-create-md"]
