"""The machine of one recovery from split brain: stages, the table between them, and whose turn it is.

The stage is read off fresh facts, the consent, and the records on both nodes, each time anew: who was killed half-way goes on
from what is seen. Once the two sides talk again, the resource's own machine takes over.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen

from states import handshake
from states.consent import NOTHING_CHANGED, Consent, Record
from states.facts import ClusterFacts, Side
from states.goal import Direction, Do, Goal, Ledger, Wanted
from states.handshake import Prediction, Verdict
from states.identifiers import Flag, same
from states.pair import SPLIT, Pair, contender, identifiers_differ, terms
from states.resource import BOOT
from states.stack import stack_stands_on
from states.table import On, Row
from states.vocabulary import By, DiskState, Recovery, Role

R = Recovery


@frozen
class Case:
    """One split resource, with what was agreed about it."""

    pair: Pair
    consent: Consent
    facts: ClusterFacts
    goal: Goal

    @property
    def victim(self) -> Side:
        """The side whose changes may go."""
        return next(side for side in self.pair.sides if side.node == self.consent.victim)

    @property
    def survivor(self) -> Side:
        """The side whose data stays."""
        return next(side for side in self.pair.sides if side.node != self.consent.victim)

    @property
    def split(self) -> bool:
        """They are apart, and DRBD would call it split brain if they met."""
        return not self.pair.met and self.pair.prediction.verdict in SPLIT

    @property
    def holds(self) -> bool:
        """The consent is about what is seen now; where nobody gave it, there must still be nothing to lose."""
        if self.consent.by == NOTHING_CHANGED and not unchanged(self.victim):
            return False
        return self.consent.holds(tuple((side.node, side.identifiers) for side in self.pair.sides))

    @property
    def kept(self) -> bool:
        """Both nodes have the consent on their disks."""
        return all(record is not None and record.consent.agrees(self.consent) for record in self.records)

    @property
    def records(self) -> tuple[Record | None, ...]:
        """What each node has of this resource's recovery."""
        return tuple(self.facts.node(side.node).record(self.pair.wanted.name) for side in self.pair.sides)

    @property
    def archive(self) -> str:
        """Where the archive is that this run has verified; "" before. What an earlier run saved is compared with the disk again:
        a side that was promoted since has the same identifiers (8.4 rotates none there) and may hold more. Where it is being
        overwritten already there is nothing left to compare with, and nothing of its own that came since."""
        return dict(self.pair.ledger.archives).get(self.pair.wanted.name, "") or (self.on_record if self.begun else "")

    @property
    def on_record(self) -> str:
        """The place that both nodes have on record, verified by whichever run wrote it down; "" where they do not agree."""
        places = {record.saved if record is not None else "" for record in self.records}
        return places.pop() if len(places) == 1 else ""

    @property
    def filed(self) -> bool:
        """Both nodes know where it is."""
        return all(record is not None and record.saved == self.archive for record in self.records)

    @property
    def needs_archive(self) -> bool:
        """There is something to lose. Who proves that he changed nothing loses nothing."""
        return not (unchanged(self.victim) and common_ancestor(self.pair))

    @property
    def standing(self) -> str:
        """What of the stack still runs on the victim, in words."""
        return stack_stands_on(self.goal.for_victim(self.consent.victim), self.facts, self.pair.wanted)

    @property
    def armed(self) -> bool:
        """A discard under this consent was carried out on the victim, and its kernel is still trying."""
        return flagged_once(self.facts, self.consent) and self.victim.trying

    @property
    def begun(self) -> bool:
        """... and copying had begun when it was broken off. DRBD 9 keeps the identifiers of the split until a copy is whole."""
        ids = self.victim.identifiers
        return flagged_once(self.facts, self.consent) and ids is not None and Flag.CONSISTENT not in ids.flags

    @property
    def outcome(self) -> Prediction:
        """What DRBD will decide if the victim carries the flag. UNKNOWN where identifiers are unread."""
        return flagged_meeting(self.pair, self.consent.victim, self.facts)


def flagged_once(facts: ClusterFacts, consent: Consent) -> bool:
    """The victim keeps the claim of a discard under this consent that was carried out."""
    claims = facts.node(consent.victim).claims
    return any(one.step == Do.DISCARD.value and one.code == 0 and one.op_id.endswith(consent.token) for one in claims)


def flagged_meeting(pair: Pair, victim: str, facts: ClusterFacts) -> Prediction:
    """The handshake of this pair if `victim` connects with --discard-my-data, Secondary."""
    one, other = (contender(side) for side in pair.sides)
    generations = {facts.node(side.node).generation for side in pair.sides}
    if one is None or other is None or len(generations) != 1:
        return Prediction(Verdict.UNKNOWN, ("", ""), "identifiers or versions were not read", discards=None)
    brought = tuple(evolve(side, discard=True) if side.name == victim else side for side in (one, other))
    return handshake.predict(brought[0], brought[1], terms(pair.wanted, generations.pop()))


def unchanged(side: Side) -> bool:
    """Its own kernel counts no changed block since the parting, and no crash has blurred the count."""
    brings = contender(side)
    return side.attached and side.out_of_sync == 0 and brings is not None and not brings.crashed


def common_ancestor(pair: Pair) -> bool:
    """The two parted from one and the same generation, and their bitmaps count from there."""
    one, other = (side.identifiers for side in pair.sides)
    return one is not None and other is not None and bool(one.bitmap & ~1) and same(one.bitmap, other.bitmap)


def nothing_to_lose(pair: Pair, goal: Goal, facts: ClusterFacts) -> str | None:
    """The victim that no human has to name (the zero-change rule), or None: a side that provably changed nothing beside an
    UpToDate one. Of two such sides the one that does not serve, else the first in the file."""
    if not (pair.prediction.verdict in SPLIT and not pair.met and common_ancestor(pair)):
        return None
    fit = [side for side, peer in (pair.sides, pair.sides[::-1])
           if unchanged(side) and not side.touched and peer.disk is DiskState.UP_TO_DATE and not peer.touched and not peer.suspended]
    unused = [side for side in fit if not stack_stands_on(goal.for_victim(side.node), facts, pair.wanted)]  # an umount writes
    idle = [side for side in unused if side.role is not Role.PRIMARY]
    return next((side.node for side in (*idle, *unused)), None)


# -- which stage it is ---------------------------------------------------------------------------------------------------

def _talks(case: Case) -> bool:
    return case.pair.met


def _same_data(case: Case) -> bool:
    return case.pair.at_rest and not identifiers_differ(case.pair) and all(side.out_of_sync == 0 for side in case.pair.sides)


def _forgotten(case: Case) -> bool:
    return _same_data(case) and not any(case.records)


def _blind(case: Case) -> bool:
    return case.pair.unseen or any(side.identifiers is None for side in case.pair.sides)


def _survivor_lacks_its_disk(case: Case) -> bool:
    return case.survivor.configured is not None and not case.survivor.attached


def _no_split(case: Case) -> bool:
    return not case.split


def _void(case: Case) -> bool:
    return not case.holds


def _fenced(case: Case) -> bool:
    return not case.facts.node(case.consent.victim).reachable


def _waits_for_the_survivor(case: Case) -> bool:
    """Flagged and trying since its archive was verified: its kernel drops the flag if anybody promotes it."""
    known = case.archive or (case.on_record and not case.pair.prediction.losers)  # were the flag gone, nothing may be lost
    return case.armed and bool(known or not case.needs_archive)


def _ready(case: Case) -> bool:
    return (_filed(case) or not case.needs_archive) and case.victim.attached and case.victim.role is Role.SECONDARY


def _filed(case: Case) -> bool:
    return bool(case.archive) and case.filed


STAGES: tuple[tuple[Recovery, Callable[[Case], bool]], ...] = (
    # stage                 fits when
    (R.VICTIM_FENCED,    _fenced),
    (R.RESTORED,         _forgotten),
    (R.VERIFIED,         _same_data),
    (R.RESYNCING,        _talks),
    (R.SUSPECTED,        _blind),
    (R.REFUSED,          _no_split),
    (R.SUSPECTED,        _survivor_lacks_its_disk),
    (R.CONFIRMED,        _void),
    (R.ASSESSED,         lambda case: not case.kept),
    (R.CONSENTED,        lambda case: bool(case.standing)),
    (R.VICTIM_EVACUATED, lambda case: case.victim.role is Role.PRIMARY),
    (R.DISCARDING,       _waits_for_the_survivor),
    (R.PREDICTED,        _ready),
    (R.SAVED,            lambda case: bool(case.archive)),
    (R.VICTIM_DEMOTED,   lambda _: True),
)


def stage(case: Case) -> Recovery:
    """The first line of STAGES that fits."""
    return next(found for found, fits in STAGES if fits(case))


# -- what leads on -----------------------------------------------------------------------------------------------------

def _loaded(case: Case) -> bool:
    """Its kernel still has the resource: the disk is read when nothing else can write to it."""
    return case.victim.configured is True


def _not_loaded(case: Case) -> bool:
    return case.victim.configured is False


def _not_filed(case: Case) -> bool:
    return not case.filed


def _silent(case: Case) -> bool:
    return case.survivor.attached and not case.survivor.trying


def _both_try(case: Case) -> bool:
    return case.survivor.trying


US, AWAITED, FEARED, UP = By.US, By.AWAITED, By.FEARED, Direction.UP
LOSE = ("no-discard-without-consent", "one-victim", "victim-is-idle", "never-discard-the-only-good", "save-before-discard", "discards-the-victim-only")
_KEPT = "the consent is on both nodes' disks before anything is done: another machine can go on from there"
_GOOD = "the side that stays has to have its disk: that connects nothing"
_IDLE = "nothing may be written to what will be saved and discarded"
_DOWN = "a side that is down cannot connect by itself, and its disk can be read"
_SAVE = "what the victim alone has is saved and verified before it goes"
_TELL = "both nodes know where the archive is"
_GOES = "the handshake was foreseen: with this flag the victim loses, and nobody else"
_OPEN = "the victim waits, flagged, for the survivor"
_DONE = "both sides hold the same data: the record has served"

PLANNED: tuple[Row, ...] = (
    #   event          from                 to                   by       step               on           when         rules
    Row("raise",       R.SUSPECTED,         R.ASSESSED,          US,      Do.ATTACH,         On.SURVIVOR, _survivor_lacks_its_disk, (), BOOT, None, _GOOD, UP),
    Row("agree",       R.ASSESSED,          R.CONSENTED,         US,      Do.RECORD_CONSENT, On.EACH,     None,        ("no-discard-without-consent",), (), None, _KEPT, UP),
    Row("evacuated",   R.CONSENTED,         R.VICTIM_EVACUATED,  AWAITED, None,              On.NOBODY,   None,        (), (), None, _IDLE),
    Row("demote",      R.VICTIM_EVACUATED,  R.VICTIM_DEMOTED,    US,      Do.DEMOTE,         On.VICTIM,   None,        ("stop-from-top",), (), None, _IDLE, UP),
    Row("take_down",   R.VICTIM_DEMOTED,    R.VICTIM_DEMOTED,    US,      Do.TAKE_DOWN,      On.VICTIM,   _loaded,     ("stop-from-top",), (), None, _DOWN, UP),
    Row("save",        R.VICTIM_DEMOTED,    R.SAVED,             US,      Do.SAVE,           On.VICTIM,   _not_loaded, ("victim-is-idle",), (), None, _SAVE, UP),
    Row("file",        R.SAVED,             R.SAVED,             US,      Do.RECORD_ARCHIVE, On.EACH,     _not_filed,  (), (), None, _TELL, UP),
    Row("attach",      R.SAVED,             R.PREDICTED,         US,      Do.ATTACH,         On.VICTIM,   _filed,      (), BOOT, None, _GOES, UP),
    Row("discard",     R.PREDICTED,         R.DISCARDING,        US,      Do.DISCARD,        On.VICTIM,   None,        LOSE, (), None, _GOES, UP),
    Row("open",        R.DISCARDING,        R.DISCARDING,        US,      Do.CONNECT,        On.SURVIVOR, _silent,     ("look-before-connect",), (), None, _OPEN, UP),
    Row("solved",      R.DISCARDING,        R.RESYNCING,         AWAITED, None,              On.NOBODY,   _both_try,   (), (), 60, "the handshake makes the victim the target"),
    Row("copied",      R.RESYNCING,         R.VERIFIED,          AWAITED, None,              On.NOBODY,   None,        (), (), None, "every block that differs is copied"),
    Row("forget",      R.VERIFIED,          R.RESTORED,          US,      Do.FORGET,         On.EACH,     None,        (), (), None, _DONE, UP),
)

ANY = tuple(R)
FEARS: tuple[tuple[str, tuple[Recovery, ...], tuple[Recovery, ...]], ...] = (
    # event          from                                                             to
    ("lost_sight",   ANY,                                                             (R.SUSPECTED,)),
    ("seen",         (R.SUSPECTED, R.VICTIM_FENCED),                                  ANY),
    ("void",         ANY,                                                             (R.CONFIRMED,)),
    ("no_split",     ANY,                                                             (R.REFUSED,)),
    ("agreed",       (R.CONFIRMED, R.REFUSED),                                        (R.ASSESSED,)),
    ("fenced",       ANY,                                                             (R.VICTIM_FENCED,)),
    ("stood_idle",   (R.ASSESSED, R.CONSENTED, R.VICTIM_EVACUATED),                   (R.VICTIM_EVACUATED, R.VICTIM_DEMOTED, R.PREDICTED, R.SAVED)),
    ("unconsumed",   (R.DISCARDING,),                                                 (R.PREDICTED, R.SAVED, R.VICTIM_DEMOTED)),
    ("copied_unseen", (R.DISCARDING, R.PREDICTED),                                    (R.RESYNCING, R.VERIFIED, R.RESTORED)),
    ("link_lost",    (R.RESYNCING, R.VERIFIED, R.RESTORED),                           (R.REFUSED,)),
)

TABLE: tuple[Row, ...] = PLANNED + tuple(
    Row(f"{event}_{source.name.lower()}_{target.name.lower()}", source, target, FEARED)
    for event, sources, targets in FEARS for source in sources for target in targets if source is not target
)


# -- the goal's cases --------------------------------------------------------------------------------------------------

def case_of(goal: Goal, facts: ClusterFacts, wanted: Wanted, ledger: Ledger) -> Case | None:
    """The recovery this run has of that resource, if it was told of one."""
    consent = next((one for one in goal.consents if one.resource == wanted.name), None)
    return Case(Pair.of(facts, wanted, ledger), consent, facts, goal) if consent is not None else None


def standing_still(goal: Goal, facts: ClusterFacts, ledger: Ledger) -> dict[str, bool]:
    """Nodes whose stack is not started while their changes may go; True where it is to be stopped now: the nodes know of it."""
    found: dict[str, bool] = {}
    for wanted in goal.resources:
        case = case_of(goal, facts, wanted, ledger)
        now = stage(case) if case is not None else R.RESTORED
        if case is not None and now in BEFORE_THE_MEETING:
            found[case.consent.victim] = found.get(case.consent.victim, False) or now in KNOWN_TO_THE_NODES
    return found


KNOWN_TO_THE_NODES = frozenset({R.CONSENTED, R.VICTIM_EVACUATED, R.VICTIM_DEMOTED, R.SAVED, R.PREDICTED, R.DISCARDING})
BEFORE_THE_MEETING = KNOWN_TO_THE_NODES | {R.ASSESSED, R.VICTIM_FENCED, R.SUSPECTED}
