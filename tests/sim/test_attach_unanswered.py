"""A disk that is attached while the peer is gone and nobody noticed waits for the peer's word (Negotiating).

Found by seed 1930, where a failed disk was taken for good at once: its crash was forgotten, and with it who copies to whom. The
pair met again with blocks marked that nobody copied. 8.4 sources: drbd_nl.c, drbd_adm_attach; drbd_state.c, sanitize_state.
"""

from __future__ import annotations

from attrs import evolve

from fixtures.search.starts import healthy
from fixtures.search.view import with_defaults
from fixtures.sim.drbd import kernel, verbs
from fixtures.sim.drbd.values import Pair
from states.facts import Generation
from states.identifiers import Flag
from states.vocabulary import DiskState, ReplicationState

NET = with_defaults((("allow-two-primaries", "yes"), ("protocol", "C")))


def cut_off_unnoticed(pair: Pair) -> Pair:
    """The wires are cut: side 1 knows, side 0 still believes that it is connected."""
    return kernel.notice(evolve(pair, wires=(False, False)), 1)


def one_primary_lost_its_disk() -> Pair:
    """Side 0 is Primary, has written, and its disk fails after the cut that it has not noticed."""
    return kernel.fail_disk(cut_off_unnoticed(healthy(Generation.V84, NET, 1)), 0)


def test_a_disk_that_failed_is_copied_from_once_the_peer_is_back() -> None:
    pair = verbs.attach(one_primary_lost_its_disk(), 0)
    assert pair.halves[0].disk is DiskState.NEGOTIATING
    pair = kernel.notice(verbs.demote(pair, 0), 0)
    half = pair.halves[0]
    assert (half.disk, half.crashed, half.dirty != 0) == (DiskState.UP_TO_DATE, True, True)
    pair, said = kernel.meeting(evolve(pair, wires=(True, True)))
    assert said is not None
    assert said[0].rule == "40", "who crashed as Primary is the source"
    assert [half.replication for half in pair.halves] == [ReplicationState.SYNC_SOURCE, ReplicationState.SYNC_TARGET]
    while kernel.source_of(pair) is not None:
        pair = kernel.copy(pair)
    assert [half.dirty for half in pair.halves] == [0, 0]


def test_nothing_is_written_to_the_metadata_of_a_disk_that_waits() -> None:
    before = one_primary_lost_its_disk()
    pair = verbs.demote(verbs.attach(before, 0), 0)
    flags = {Flag.CONSISTENT, Flag.WAS_UP_TO_DATE, Flag.PRIMARY}
    for now in (before, pair, kernel.power_off(pair, 0)):
        meta = now.halves[0].meta
        assert meta is not None
        assert flags <= meta.flags


def test_old_data_is_not_gone_on_with() -> None:
    """The Primary wrote through its peer, whose loss it has not noticed: 8.4 lets the disk go, "no data!"."""
    pair, written = kernel.write(kernel.fail_disk(healthy(Generation.V84, NET, 1), 0), 0, 1, 8)
    assert written is kernel.Written.DONE
    pair = verbs.attach(cut_off_unnoticed(pair), 0)
    assert pair.halves[0].disk is DiskState.NEGOTIATING
    pair = kernel.notice(pair, 0)
    assert (pair.halves[0].disk, pair.halves[0].crashed) == (DiskState.DISKLESS, False)
