"""A pair as the prediction knows it, given to the simulator's own model of the handshake."""

from __future__ import annotations

from functools import lru_cache

from attrs import frozen

from fixtures.sim.drbd.handshake import Decision, Greeting, Move, meet
from states.handshake import Generation, Side, Terms, Verdict
from states.vocabulary import Role


@lru_cache(maxsize=64)
def words(terms: Terms) -> tuple[tuple[str, str], ...]:
    """Settings as drbd.conf spells them."""
    yes = {True: "yes", False: "no"}
    return (
        ("protocol", terms.protocol), ("allow-two-primaries", yes[terms.allow_two_primaries]),
        ("always-asbp", yes[terms.always_asbp]), ("rr-conflict", terms.rr_conflict.value),
        ("data-integrity-alg", terms.data_integrity_alg), ("quorum", "majority" if terms.quorum else "off"),
        *((f"after-sb-{count}pri", terms.after_split(count).value) for count in range(3)),
    )


def greeting(side: Side, terms: Terms, *, first: bool, reconnecting: bool = False) -> Greeting:
    """The same side, as its kernel holds it."""
    ids, primary = side.identifiers, side.role is Role.PRIMARY
    current = ids.current & ~1 | primary if terms.generation is Generation.V84 else ids.current
    return Greeting(
        current, ids.bitmap, ids.history, ids.flags, side.role, side.disk, side.dirty or 0, side.discard, side.crashed, first,
        reconnecting, words(terms), quorum=side.has_quorum is not False, node_id=int(side.name == "node2"),
    )


def met(
    sides: tuple[Side, Side], terms: tuple[Terms, Terms], first: int, late: int | None = None, back: tuple[bool, bool] | None = None,
) -> tuple[Decision, Decision]:
    """Both decisions; `first` won the connection race, `back`: who was connected before, where the sides do not say."""
    back = back or (bool(sides[0].reconnecting), bool(sides[1].reconnecting))
    one, two = (
        greeting(sides[index], terms[index], first=first == index, reconnecting=back[index]) for index in (0, 1)
    )
    return meet(terms[0].generation.value, one, two, late)


@frozen
class Outcome:
    """What became of the pair, in the prediction's terms."""

    verdict: Verdict
    source: int | None
    full: bool
    rules: tuple[str, str]

    @classmethod
    def of(cls, sides: tuple[Side, Side], pair: tuple[Decision, Decision]) -> Outcome:
        """UNKNOWN if the two contradict each other."""
        rules, moves = (pair[0].rule, pair[1].rule), {each.move for each in pair}
        if Move.DROP in moves:
            verdicts = {"unrelated": Verdict.UNRELATED, "unresolved": Verdict.SPLIT_BRAIN}
            told = [verdicts.get(each.reason, Verdict.REFUSED) for each in pair if each.move is Move.DROP]
            return cls(next((v for v in verdicts.values() if v in told), Verdict.REFUSED), None, False, rules)
        if moves == {Move.STAY}:
            new = all(side.identifiers.current & ~1 in (0, 4) for side in sides)
            return cls(Verdict.BOTH_NEW if new else Verdict.IN_SYNC, None, False, rules)
        sources = [index for index in (0, 1) if pair[index].move in (Move.SOURCE, Move.SOURCE_FULL)]
        full = bool(moves & {Move.SOURCE_FULL, Move.TARGET_FULL})
        if len(sources) != 1 or Move.STAY in moves:
            return cls(Verdict.UNKNOWN, None, full, rules)
        source = sources[0]
        if pair[0].split:
            return cls(Verdict.SPLIT_AUTO, source, full, rules)
        plain = Verdict.FULL_SYNC if full else Verdict.BITMAP_SYNC
        return cls(Verdict.REVERTED if pair[0].reversed else plain, source, full, rules)
