"""A resync that gets nowhere is said to, with what both sides say; a healthy one never is."""

from __future__ import annotations

import pytest
from attrs import evolve

from fixtures.situations import HEALTHY, WANTED, pair
from states.alarm import Alarm, Severity
from states.facts import ClusterFacts, Side
from states.goal import Ledger
from states.pair import Pair
from states.progress import Progress
from states.stall import MOMENT, Sign, Stalls, signs
from states.vocabulary import DiskState, ReplicationState, Role

R = ReplicationState


def sides(source: ReplicationState, target: ReplicationState, left: int = 4096, target_left: int | None = None,
          disk: DiskState = DiskState.INCONSISTENT) -> tuple[Pair, ClusterFacts]:
    """The first node copies to the second, as far as they say so."""
    seen = pair()
    one, other = WANTED.nodes
    good = evolve(HEALTHY, node=one, replication=source, peer_disk=disk, peer_role=Role.SECONDARY, out_of_sync=left)
    behind = evolve(HEALTHY, node=other, role=Role.SECONDARY, replication=target, disk=disk,
                    out_of_sync=left if target_left is None else target_left)
    seen = seen.replace(seen.node(one).with_side("r0", good))
    seen = seen.replace(seen.node(other).with_side("r0", behind))
    return Pair.of(seen, WANTED, Ledger()), seen


def after(seconds: float, both: Pair, facts: ClusterFacts, progress: Progress | None = None) -> Alarm | None:
    """What is said when both sides have looked like that for so long."""
    known = {"r0": progress} if progress is not None else {}
    stalls = Stalls()
    for now in (1000.0, 1000.0 + seconds):
        stalls = stalls.look((both,), known, now)
    return stalls.alarm(both, facts, 1000.0 + seconds)


@pytest.mark.parametrize(("both", "sign"), [
    (sides(R.ESTABLISHED, R.SYNC_TARGET), Sign.LATCHED),                                # LINBIT/drbd #40
    (sides(R.SYNC_SOURCE, R.SYNC_TARGET, left=0), Sign.NOTHING_LEFT),                   # ganeti #1868
    (sides(R.SYNC_SOURCE, R.SYNC_TARGET, left=8, target_left=0), Sign.NOTHING_LEFT),
    (sides(R.ESTABLISHED, R.ESTABLISHED), Sign.IDLE),                                   # linstor-server #203
])
def test_known_signatures_count_when_they_last(both: tuple[Pair, ClusterFacts], sign: Sign) -> None:
    assert sign in signs(both[0], None)
    assert after(MOMENT - 0.1, *both) is None
    alarm = after(MOMENT, *both)
    assert alarm is not None
    assert (alarm.name, alarm.about, alarm.severity) == ("resync-stuck", "r0", Severity.WARNING)
    assert sign.value in alarm.evidence
    assert all(node in alarm.evidence for node in WANTED.nodes), "both sides are evidence"
    assert "drbdadm disconnect r0" in alarm.remedy


def test_a_sign_that_goes_away_in_between_starts_anew() -> None:
    odd, _ = sides(R.SYNC_SOURCE, R.SYNC_TARGET, left=0)
    fine, _ = sides(R.SYNC_SOURCE, R.SYNC_TARGET, left=12)
    stalls = Stalls()
    for now, both in ((0.0, odd), (9.0, fine), (10.0, odd), (19.0, odd)):
        stalls = stalls.look((both,), {}, now)
    assert stalls.lasting(odd, 19.0) == ()
    assert stalls.look((odd,), {}, 20.0).lasting(odd, 20.0) != ()


def test_counters_that_do_not_move_for_as_long_as_the_configuration_says() -> None:
    both, facts = sides(R.SYNC_SOURCE, R.SYNC_TARGET)
    began = Progress().seen(1000.0, 4096)
    still = began.seen(1030.0, 4096)

    def lasting(at: float, progress: Progress) -> tuple[Sign, ...]:
        return tuple(one.sign for one in Stalls().look((both,), {"r0": progress}, at).lasting(both, at))

    assert lasting(1000.0 + WANTED.stall_after - 1, still) == ()
    assert lasting(1000.0 + WANTED.stall_after, still) == (Sign.STILL,)
    assert lasting(1000.0 + WANTED.stall_after, still.seen(1050.0, 2048)) == ()
    assert after(WANTED.stall_after, both, facts, still) is None, "SyncStalled has an alarm of its own"


def test_counters_that_do_not_move_are_evidence_of_the_rest() -> None:
    odd, facts = sides(R.ESTABLISHED, R.SYNC_TARGET)
    alarm = after(WANTED.stall_after, odd, facts, Progress().seen(1000.0, 4096).seen(1030.0, 4096))
    assert alarm is not None
    assert "nothing is copied, for 60 s" in alarm.evidence


def test_a_resync_that_moves_is_no_stall() -> None:
    both, facts = sides(R.SYNC_SOURCE, R.SYNC_TARGET)
    progress, stalls = Progress(), Stalls()
    for second in range(600):
        progress = progress.seen(float(second), 40960 - 64 * second)
        stalls = stalls.look((both,), {"r0": progress}, float(second))
        assert stalls.lasting(both, float(second)) == ()
        assert stalls.alarm(both, facts, float(second)) is None


def test_a_pair_at_rest_and_a_pair_apart_show_no_sign() -> None:
    healthy, _ = sides(R.ESTABLISHED, R.ESTABLISHED, left=0, disk=DiskState.UP_TO_DATE)
    assert signs(healthy, None) == {}
    fresh = Pair.of(pair("attached"), WANTED, Ledger())
    assert signs(fresh, None) == {}
    unseen = evolve(healthy, sides=(healthy.sides[0], Side(WANTED.nodes[1])))
    assert signs(unseen, None) == {}


def test_a_paused_resync_is_only_mentioned() -> None:
    alarm = after(MOMENT, *sides(R.PAUSED_SYNC_S, R.PAUSED_SYNC_T))
    assert alarm is not None
    assert alarm.severity is Severity.NOTICE
    assert "resume-sync" in alarm.remedy
