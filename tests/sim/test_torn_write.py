"""A write that the power cut off on its way, from a Primary without a disk: its peer, which has the only disk, has marked it.

Found by seed 7163, where it was on the peer's disk and marked by nobody: the two sides met, copied everything marked, and differed.
8.4 source: drbd_receiver.c, receive_Data ("In case we have the only disk of the cluster").
"""

from __future__ import annotations

import pytest
from attrs import evolve

from fixtures.search.starts import healthy
from fixtures.search.view import with_defaults
from fixtures.sim.drbd import kernel
from states.facts import Generation

NET = with_defaults((("allow-two-primaries", "yes"), ("protocol", "C")))
TOKEN = 77


@pytest.mark.parametrize("generation", [Generation.V84, Generation.V9])
def test_the_only_disk_marks_it(generation: Generation) -> None:
    diskless = kernel.fail_disk(healthy(generation, NET, 1), 0)
    after = kernel.torn_write(diskless, 0, 1, TOKEN, here=False).halves[1]
    assert after.meta is not None
    assert after.cells[1] == TOKEN
    assert after.dirty & 0b10
    assert after.meta.hot & 0b10


@pytest.mark.parametrize("generation", [Generation.V84, Generation.V9])
def test_of_two_disks_the_writers_own_activity_log_has_it(generation: Generation) -> None:
    pair = healthy(generation, NET, 1)
    after = kernel.torn_write(pair, 0, 1, TOKEN, here=False)
    writer, peer = after.halves
    assert writer.meta is not None
    assert writer.meta.hot & 0b10
    assert peer.cells[1] == TOKEN
    assert peer.dirty == pair.halves[1].dirty


def test_a_write_that_cannot_leave_is_on_no_disk() -> None:
    diskless = kernel.fail_disk(healthy(Generation.V84, NET, 1), 0)
    cut = evolve(diskless, wires=(False, False))
    assert kernel.torn_write(cut, 0, 1, TOKEN, here=False).halves[1].cells == diskless.halves[1].cells
