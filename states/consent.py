"""What somebody agreed to lose: whose changes of which resource, on seeing which generation identifiers.

A consent holds as long as both sides still have the identifiers that were shown, the "was Primary" bit apart (a demotion
clears it). It is kept on both nodes, with the place of the archive, so that another machine with an empty journal can go on.
"""

from __future__ import annotations

import hashlib
from urllib.parse import quote, unquote

from attrs import evolve, frozen

from states.identifiers import Identifiers

NOTHING_CHANGED = "zero-change"
"""`by` of a consent nobody had to give: the victim has changed nothing since the two parted."""
NOT_SAVED = "not-saved:"
"""How the place of an archive begins where there is none, by the operator's own reason."""


@frozen
class Consent:
    """The changes of `victim` may go. `shown`: node and identifiers, as they were when this was decided. `by`: who decided."""

    resource: str
    victim: str
    shown: tuple[tuple[str, Identifiers], ...]
    by: str = ""

    @property
    def token(self) -> str:
        """Ten characters that name what was shown: another pair of identifiers, another token."""
        return token_of(self.resource, self.shown)

    def agrees(self, other: Consent) -> bool:
        """The same victim, on seeing the same identifiers."""
        return (self.victim, self.token) == (other.victim, other.token)

    def holds(self, seen: tuple[tuple[str, Identifiers | None], ...]) -> bool:
        """Both sides still have what was shown."""
        return all(ids is not None for _, ids in seen) and token_of(self.resource, seen) == self.token


@frozen
class Record:
    """What a node has on its disk of a recovery. `saved`: where the verified archive is; "" before, NOT_SAVED if waived."""

    consent: Consent
    saved: str = ""

    def text(self) -> str:
        """One line of words without spaces, for the node's file."""
        sides = [f"{node}={_numbers(ids)}" for node, ids in self.consent.shown]
        return " ".join((self.consent.victim, quote(self.consent.by) or "-", quote(self.saved, safe="/:") or "-", *sides))

    @classmethod
    def parse(cls, resource: str, line: str) -> Record:
        """Read such a line. Raises ValueError on anything else."""
        words = line.split()
        if len(words) != 5:
            raise ValueError(f"not a record of a recovery: {line!r}")
        victim, by, saved = (unquote(word) for word in words[:3])
        shown = tuple((node, Identifiers.bare(numbers)) for node, _, numbers in (word.rpartition("=") for word in words[3:]))
        consent = Consent(resource, victim, shown, "" if by == "-" else by)
        return cls(consent, "" if saved == "-" else saved)

    def filed(self, place: str) -> Record:
        """The same, with the archive in its place."""
        return evolve(self, saved=place)


def _numbers(ids: Identifiers) -> str:
    return ":".join(f"{number & ~1:016X}" for number in (ids.current, ids.bitmap, *ids.history))


def token_of(resource: str, sides: tuple[tuple[str, Identifiers | None], ...]) -> str:
    """The token of a pair of identifiers. Sides that were not read give a token that no consent has."""
    words = sorted(f"{node}={_numbers(ids) if ids is not None else 'unread'}" for node, ids in sides)
    return hashlib.sha256("\n".join((resource, *words)).encode()).hexdigest()[:10]
