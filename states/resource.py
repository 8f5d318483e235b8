"""The machine of one DRBD resource: how facts are classified, and what may happen from each state.

CLASSES is read from the top, the first line that fits is the state. TABLE is the program: `plan` walks it, the engine
takes its rows, the diagram in docs/ is drawn from it. Facts: drbd.conf(5), drbdsetup(8), captures of 8.4 and 9.
"""

from __future__ import annotations

from collections.abc import Callable

from states import stacks
from states.facts import Side
from states.goal import Direction, Do, Goal, Wanted
from states.handshake import Prediction, Verdict
from states.pair import (
    SPLIT,
    Pair,
    blank_pair,
    identifiers_differ,
    identifiers_read,
    side_missing_metadata,
)
from states.table import On, Row
from states.vocabulary import By, DiskState, Metadata, ReplicationState, Resource

S = Resource
COPIES = (Verdict.BITMAP_SYNC, Verdict.FULL_SYNC, Verdict.REVERTED)


# -- how far one side has come alone --------------------------------------------------------------------------------

def side_state(side: Side) -> Resource:
    """What one side is, looking at nothing but itself: decides the rows a node takes alone (On.EACH)."""
    if side.holders and not side.attached and side.configured is not None:
        return S.DOWN  # somebody else has the device: the rules of `attach` say so
    if side.configured is None or (side.metadata is Metadata.UNKNOWN and not side.attached):
        return S.UNKNOWN
    if side_missing_metadata(side):
        return S.UNCONFIGURED
    if not side.attached:
        return S.DOWN
    if not side.trying:
        return S.ATTACHED
    return S.SECONDARY if side.connected else S.CONNECTING


# -- what the pair is --------------------------------------------------------------------------------------------------

def _some_side(state: Resource) -> Callable[[Pair], bool]:
    return lambda pair: side_state(pair.sides[0]) is state or side_state(pair.sides[1]) is state


def _served_alone(pair: Pair) -> bool:
    return bool(pair.primaries) and not pair.met


def _gave_up(pair: Pair) -> bool:
    """DRBD itself dropped the connection: a side no longer tries, and a kernel log says why."""
    silent = any(side.attached and not side.trying for side in pair.sides)
    return silent and any(side.trouble is not None for side in pair.sides)


def _apart(*verdicts: Verdict) -> Callable[[Pair], bool]:
    return lambda pair: not pair.met and pair.prediction.verdict in verdicts


def _undecided(pair: Pair) -> bool:
    """Apart, disks up, and the identifiers are not known: it may be anything, split brain included."""
    return not pair.met and all(side.attached for side in pair.sides) and not identifiers_read(pair)


def _negotiating(pair: Pair) -> bool:
    """Connected, and the handshake has not said yet what will be copied."""
    return any(side.replication in (ReplicationState.OFF, ReplicationState.UNKNOWN) for side in pair.sides)


def _just_made(pair: Pair) -> bool:
    return all(side.disk is DiskState.INCONSISTENT for side in pair.sides) and all(
        side.replication is ReplicationState.ESTABLISHED for side in pair.sides
    )


def _suspect(pair: Pair) -> bool:
    return pair.at_rest and (identifiers_differ(pair) or any((side.out_of_sync or 0) > 0 for side in pair.sides))


CLASSES: tuple[tuple[Resource, Callable[[Pair], bool]], ...] = (
    # state           fits when
    (S.DEGRADED,      lambda pair: pair.unseen and bool(pair.primaries)),
    (S.UNKNOWN,       lambda pair: pair.unseen or _some_side(S.UNKNOWN)(pair)),
    (S.FROZEN,        lambda pair: any(side.suspended for side in pair.sides)),
    (S.SPLIT_BRAIN,   lambda pair: _apart(*SPLIT)(pair) and all(side.attached for side in pair.sides)),
    (S.DIVERGED,      lambda pair: _apart(Verdict.REFUSED)(pair) and all(side.attached for side in pair.sides)),
    (S.UNRELATED,     lambda pair: _apart(Verdict.UNRELATED)(pair) and all(side.attached for side in pair.sides)),
    (S.UNKNOWN,       _undecided),
    (S.STAND_ALONE,   _gave_up),
    (S.DEGRADED,      _served_alone),
    (S.UNCONFIGURED,  _some_side(S.UNCONFIGURED)),
    (S.DOWN,          _some_side(S.DOWN)),
    (S.ATTACHED,      _some_side(S.ATTACHED)),
    (S.CONNECTING,    lambda pair: not pair.met or _negotiating(pair)),
    (S.INCONSISTENT,  _just_made),
    (S.SUSPECT,       _suspect),
    (S.DUAL_PRIMARY,  lambda pair: pair.at_rest and len(pair.primaries) == 2),
    (S.PRIMARY,       lambda pair: pair.at_rest and len(pair.primaries) == 1),
    (S.SECONDARY,     lambda pair: pair.at_rest),
    (S.SYNC_STALLED,  lambda pair: pair.wanted.name in pair.ledger.stalled),
    (S.SYNCING,       lambda _: True),
)


def classify(pair: Pair) -> Resource:
    """The state of a resource: the first line of CLASSES that fits."""
    known, stalled = _last.get(pair.wanted.name), pair.wanted.name in pair.ledger.stalled
    if known is None or known[0] is not pair.sides or known[1] is not pair.prediction or known[2] is not stalled:
        state = next(state for state, fits in CLASSES if fits(pair))
        known = _last[pair.wanted.name] = pair.sides, pair.prediction, stalled, state
    return known[3]


_last: dict[str, tuple[tuple[Side, Side], Prediction, bool, Resource]] = {}  # for speed: asked several times of the same pair


# -- which row, where a state has several ------------------------------------------------------------------------------

def _nobody(pair: Pair) -> bool:
    """Nobody is Primary. Only then may a side go: between two Primaries a disconnect rotates the identifiers (8.4)."""
    return not pair.primaries


def _one(pair: Pair) -> bool:
    return len(pair.primaries) == 1


def _both(pair: Pair) -> bool:
    return len(pair.primaries) == 2


def _serving(pair: Pair) -> bool:
    return bool(pair.primaries)


def _waits(pair: Pair) -> bool:
    """Both sides try to connect: only the world can help."""
    return all(side.trying for side in pair.sides)


def _silent(pair: Pair) -> bool:
    """Both disks are up and a side does not try to connect."""
    return all(side.attached for side in pair.sides) and not _waits(pair)


def _will_sync(pair: Pair) -> bool:
    return pair.prediction.verdict in COPIES


def _blank(pair: Pair) -> bool:
    return blank_pair(pair)


def _same(pair: Pair) -> bool:
    return not _blank(pair) and not _will_sync(pair)


def _skip(pair: Pair) -> bool:
    return pair.wanted.skip_initial_sync


def _not_skip(pair: Pair) -> bool:
    return not pair.wanted.skip_initial_sync


def _back_same(pair: Pair) -> bool:
    return _waits(pair) and _same(pair)


def _back_behind(pair: Pair) -> bool:
    return _waits(pair) and _will_sync(pair)


US, AWAITED, FEARED = By.US, By.AWAITED, By.FEARED
UP, DOWN = Direction.UP, Direction.DOWN
BASE, BOOT, PORT = ("config", "module"), ("config", "module", "boot"), ("port",)
NEW = ("no-create-md",)
ALONE = ("no-lvm-under-drbd", "backing-touched", "no-auto-discard", "look-before-connect")
MEET = ("look-before-connect", "backing-touched", "no-auto-discard", "same-settings")
FORCE = ("no-force-primary",)
ZEROS = ("no-force-primary", "skip-only-zeros")
LOCKS = tuple(name for profile in stacks.LOCKS.values() for name in profile)  # a resource has those of its own stack
GOOD = ("promote-up-to-date",)
DUAL = ("dual-primary-gate", "unknown-is-not-down")

_TAKE = "blank: it becomes one side of the resource"
_READ = "identifiers and dirty blocks are read before anything connects"
_MEET = "both sides' identifiers were compared: the handshake discards nothing"
_BOTH_NEW = "both sides are just created"
_SAME = "both sides hold the same data"
_BEHIND = "one side is older and catches up"
_FIRST = "both sides are just created: one is declared good and copied to the other"
_ZERO = "both devices read as zeros throughout: there is nothing to copy"
_COPY = "blocks are copied until none is out of sync"
_GATE = "connected, both UpToDate, two Primaries wanted and allowed on both"
_LINK = "nobody may be Primary when the link goes"

PLANNED: tuple[Row, ...] = (
    #   event               from            to              by       step                on            when       rules  layers  s
    Row("create_metadata",  S.UNCONFIGURED, S.DOWN,         US,      Do.CREATE_METADATA, On.EACH,      None,      NEW,   BASE, None, _TAKE, UP),
    Row("attach",           S.DOWN,         S.ATTACHED,     US,      Do.ATTACH,          On.EACH,      None,      ALONE, BOOT, None, _READ, UP),
    Row("connect",          S.ATTACHED,     S.CONNECTING,   US,      Do.CONNECT,         On.LACKING,   None,      MEET,  PORT, None, _MEET, UP),
    Row("reconnect",        S.STAND_ALONE,  S.CONNECTING,   US,      Do.CONNECT,         On.LACKING,   None,      MEET,  PORT, None, _MEET, UP),
    Row("rejoin",           S.DEGRADED,     S.CONNECTING,   US,      Do.CONNECT,         On.LACKING,   _silent,   MEET,  PORT, None, _MEET, UP),
    Row("peer_found_blank", S.CONNECTING,   S.INCONSISTENT, AWAITED, None,               On.NOBODY,    _blank,    MEET,  (),   60,   _BOTH_NEW),
    Row("peer_found_same",  S.CONNECTING,   S.SECONDARY,    AWAITED, None,               On.NOBODY,    _same,     MEET,  (),   60,   _SAME),
    Row("peer_found_behind", S.CONNECTING,  S.SYNCING,      AWAITED, None,               On.NOBODY,    _will_sync, MEET, (),   60,   _BEHIND),
    Row("peer_back",        S.DEGRADED,     S.PRIMARY,      AWAITED, None,               On.NOBODY,    _back_same, MEET, (),   60,   _SAME),
    Row("peer_back_behind", S.DEGRADED,     S.SYNCING,      AWAITED, None,               On.NOBODY,    _back_behind, MEET, (), 60,   _BEHIND),
    Row("first_sync",       S.INCONSISTENT, S.SYNCING,      US,      Do.FORCE_PRIMARY,   On.ONE,       _not_skip, FORCE, (),   None, _FIRST, UP),
    Row("skip_first_sync",  S.INCONSISTENT, S.SECONDARY,    US,      Do.CLEAR_BITMAP,    On.ONE,       _skip,     ZEROS, (),   None, _ZERO, UP),
    Row("synced",           S.SYNCING,      S.SECONDARY,    AWAITED, None,               On.NOBODY,    _nobody,   (),    (),   None, _COPY),
    Row("synced_serving",   S.SYNCING,      S.PRIMARY,      AWAITED, None,               On.NOBODY,    _one,      (),    (),   None, _COPY),
    Row("synced_dual",      S.SYNCING,      S.DUAL_PRIMARY, AWAITED, None,               On.NOBODY,    _both,     (),    (),   None, _COPY),
    Row("moves_again",      S.SYNC_STALLED, S.SYNCING,      AWAITED, None,               On.NOBODY,    None,      (),    (),   60,   "the copying has stopped"),
    Row("settled",          S.SUSPECT,      S.SECONDARY,    AWAITED, None,               On.NOBODY,    None,      (),    (),   5,    "the two looks were not simultaneous"),
    Row("promote",          S.SECONDARY,    S.PRIMARY,      US,      Do.PROMOTE,         On.ONE,       None,      GOOD,  LOCKS, None, "both sides are UpToDate", UP),
    Row("promote_peer",     S.PRIMARY,      S.DUAL_PRIMARY, US,      Do.PROMOTE,         On.OTHER,     None,      DUAL,  LOCKS, None, _GATE, UP),
    # going down: both become Secondary before either disconnects
    Row("demote_dual",      S.DUAL_PRIMARY, S.SECONDARY,    US,      Do.DEMOTE,          On.PRIMARIES, None,      (),    (),   None, _LINK, DOWN),
    Row("demote",           S.PRIMARY,      S.SECONDARY,    US,      Do.DEMOTE,          On.PRIMARIES, None,      (),    (),   None, _LINK, DOWN),
    *(
        Row(f"demote_{state.name.lower()}", state, state,   US,      Do.DEMOTE,          On.PRIMARIES, _serving,  (),    (),   None, _LINK, DOWN)
        for state in (S.DEGRADED, S.SPLIT_BRAIN, S.DIVERGED, S.UNRELATED, S.STAND_ALONE, S.SUSPECT, S.DOWN, S.UNCONFIGURED)
    ),
    *(
        Row(f"take_down_{state.name.lower()}", state, S.DOWN, US,    Do.TAKE_DOWN,       On.EACH,      _nobody,   (),    (),   None, "nobody is Primary", DOWN)
        for state in (S.SECONDARY, S.CONNECTING, S.ATTACHED, S.STAND_ALONE, S.SPLIT_BRAIN, S.DIVERGED, S.UNRELATED, S.UNCONFIGURED)
    ),
)

DISKS_UP = (S.DOWN, S.ATTACHED, S.CONNECTING, S.DEGRADED, S.STAND_ALONE)
SERVING = (S.PRIMARY, S.DUAL_PRIMARY)
HEALTHY = (S.SECONDARY, *SERVING)
PARTED = (S.SPLIT_BRAIN, S.DIVERGED, S.UNRELATED)
SEEN = tuple(state for state in S if state is not S.UNKNOWN)

FEARS: tuple[tuple[str, tuple[Resource, ...], tuple[Resource, ...]], ...] = (
    # event (each pair of states becomes a row)   from                                  to
    ("link_lost",                                 (*SERVING, S.SYNCING),                (S.DEGRADED,)),
    ("link_lost_idle",                            (S.SECONDARY, S.SYNCING, S.INCONSISTENT), (S.CONNECTING,)),
    ("stalled",                                   (S.SYNCING,),                         (S.SYNC_STALLED,)),
    ("met_unseen",                                (S.ATTACHED, S.STAND_ALONE),          (S.INCONSISTENT, S.SECONDARY, S.PRIMARY, S.SYNCING)),
    ("copied_unseen",                             (S.INCONSISTENT, S.CONNECTING),       (S.PRIMARY,)),
    ("served_unseen",                             (S.CONNECTING, S.DEGRADED),           (S.DUAL_PRIMARY,)),
    ("one_steps_down",                            (S.DUAL_PRIMARY,),                    (S.PRIMARY,)),
    ("fell_silent",                               (S.CONNECTING, S.DEGRADED),           (S.STAND_ALONE,)),
    ("taken_down",                                (S.STAND_ALONE, *PARTED),             (S.DEGRADED,)),
    ("parted",                                    (*DISKS_UP, *HEALTHY),                PARTED),
    ("doubted",                                   HEALTHY,                              (S.SUSPECT,)),
    ("frozen",                                    (*SERVING, S.DEGRADED),               (S.FROZEN,)),
    ("thawed",                                    (S.FROZEN,),                          (*SERVING, S.DEGRADED, S.CONNECTING, S.SYNCING)),
    ("disk_lost",                                 (*HEALTHY, S.SYNCING),                (S.DOWN,)),
    ("disk_back",                                 (S.DOWN,),                            (*HEALTHY, S.SYNCING)),
    ("mended",                                    PARTED,                               (S.CONNECTING, S.ATTACHED, S.SYNCING)),
    ("lost_sight",                                SEEN,                                 (S.UNKNOWN,)),
    ("seen",                                      (S.UNKNOWN,),                         SEEN),
)

TABLE: tuple[Row, ...] = PLANNED + tuple(
    Row(f"{event}_{source.name.lower()}_{target.name.lower()}", source, target, FEARED)
    for event, sources, targets in FEARS for source in sources for target in targets if source is not target
)


def goal_state(goal: Goal, wanted: Wanted) -> Resource:
    """Where a run is to take this resource."""
    if goal.direction is Direction.DOWN:
        return S.DOWN
    return S.DUAL_PRIMARY if wanted.primaries == 2 else S.PRIMARY if wanted.primaries == 1 else S.SECONDARY


def silent_sides(pair: Pair) -> tuple[Side, ...]:
    """Sides that do not try to connect."""
    return tuple(side for side in pair.sides if side.attached and not side.trying)
