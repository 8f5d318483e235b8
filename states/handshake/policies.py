"""Who loses a split brain: the after-sb policies, as tables of tests tried in order.

Facts: after-sb recovery for 0, 1 and 2 Primaries in 8.4.12 and 9.3.3 `drbd_receiver.c` (the same in both), captures
C01, C06, C08, C09. A policy that is not valid for the number of Primaries resolves nothing ("Configuration error" in
the log).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from states.handshake.view import MissingFact, View, dirty, role
from states.vocabulary import AfterSplit, Role


class Winner(Enum):
    """Whose data stays."""

    ME = "me"
    PEER = "peer"
    CHANCE = "chance"   # by who won the connection race: RESOLVE_CONFLICTS
    NOBODY = "nobody"   # unresolved

    def turned(self) -> Winner:
        """The same winner, seen from the other side."""
        return {Winner.ME: Winner.PEER, Winner.PEER: Winner.ME}.get(self, self)


Test = Callable[[View], Winner]


def _was_primary(view: View) -> tuple[int, int]:
    """The lowest bit of both bitmap identifiers: who was Primary when they parted."""
    return view.me.identifiers.bitmap & 1, view.peer.identifiers.bitmap & 1


def older_primary_wins(view: View) -> Winner:
    """Of one Primary at the split and one later, the earlier wins."""
    return {(0, 1): Winner.PEER, (1, 0): Winner.ME}.get(_was_primary(view), Winner.NOBODY)


def younger_primary_wins(view: View) -> Winner:
    """The other way round."""
    return older_primary_wins(view).turned()


def unchanged_loses(view: View) -> Winner:
    """A side that changed nothing loses nothing."""
    match dirty(view.me), dirty(view.peer):
        case 0, 0:
            return Winner.CHANCE
        case 0, _:
            return Winner.PEER
        case _, 0:
            return Winner.ME
    return Winner.NOBODY


def fewer_changes_lose(view: View) -> Winner:
    """The side with more changed blocks wins."""
    mine, theirs = dirty(view.me), dirty(view.peer)
    if mine == theirs:
        return Winner.CHANCE
    return Winner.ME if mine > theirs else Winner.PEER


NO_PRIMARY: dict[AfterSplit, tuple[Test, ...]] = {
    AfterSplit.DISCARD_YOUNGER_PRIMARY: (older_primary_wins, unchanged_loses, fewer_changes_lose),
    AfterSplit.DISCARD_OLDER_PRIMARY: (younger_primary_wins, unchanged_loses, fewer_changes_lose),
    AfterSplit.DISCARD_ZERO_CHANGES: (unchanged_loses,),
    AfterSplit.DISCARD_LEAST_CHANGES: (fewer_changes_lose,),
    AfterSplit.DISCARD_LOCAL: (lambda _: Winner.PEER,),
    AfterSplit.DISCARD_REMOTE: (lambda _: Winner.ME,),
}
"""after-sb-0pri. The first test with a decision decides."""


def _by_0pri(view: View) -> Winner:
    policy = view.terms.after_sb_0pri
    if policy is AfterSplit.UNKNOWN:
        raise MissingFact("what after-sb-0pri says")
    decisions = (test(view) for test in NO_PRIMARY.get(policy, ()))
    return next((winner for winner in decisions if winner is not Winner.NOBODY), Winner.NOBODY)


def _primary(view: View) -> Winner:
    return Winner.ME if role(view.me) is Role.PRIMARY else Winner.PEER


def _nobody(_: View) -> Winner:
    return Winner.NOBODY


def _consensus(view: View) -> Winner:
    """Only if 0pri would sacrifice the Secondary as well."""
    winner = _by_0pri(view)
    if winner is Winner.CHANCE:
        raise MissingFact("who wins the race by which consensus is found between two sides without changes")
    return winner if winner is _primary(view) else Winner.NOBODY


def _gives_up(view: View) -> Winner:
    """call-pri-lost-after-sb: as 0pri says, but a losing Primary has to be demoted first, or its handler may reboot
    it.
    """
    winner = _by_0pri(view)
    if winner is Winner.NOBODY or (view.primaries == 1 and winner is _primary(view)):
        return winner
    raise MissingFact("whether the losing Primary can be demoted, or is rebooted by its pri-lost-after-sb handler")


ONE_PRIMARY: dict[AfterSplit, Test] = {
    AfterSplit.CONSENSUS: _consensus,
    AfterSplit.DISCARD_SECONDARY: _primary,
    AfterSplit.VIOLENTLY: _by_0pri,
    AfterSplit.CALL_PRI_LOST: _gives_up,
}
"""after-sb-1pri."""

TWO_PRIMARIES: dict[AfterSplit, Test] = {
    AfterSplit.VIOLENTLY: _by_0pri,
    AfterSplit.CALL_PRI_LOST: _gives_up,
}
"""after-sb-2pri."""


def split_winner(view: View) -> Winner:
    """Who wins by the policy for as many Primaries as there are."""
    primaries = view.primaries
    policy = view.terms.after_split(primaries)
    if policy is AfterSplit.UNKNOWN:
        raise MissingFact(f"what after-sb-{primaries}pri says")
    if primaries == 0:
        return _by_0pri(view)
    table = ONE_PRIMARY if primaries == 1 else TWO_PRIMARIES
    return table.get(policy, _nobody)(view)
