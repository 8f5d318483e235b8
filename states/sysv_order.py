"""The order in which System V starts and stops DRBD and what stands on it: what is found, what would be right. Pure.

Found numbers are those of RHEL 6's scripts (their `# chkconfig:` lines: cman 21 79, clvmd 24 76, gfs2 26 74, drbd 70 08, smb 91 35,
rgmanager 99 01). Only drbd's are wrong, and in both directions: it starts after what stands on it, and stops before that.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from states.boot import BootFacts, Link


@frozen
class Place:
    """A service's place: the numbers its links have in any run level, and those that would be right. Lowest first."""

    service: str
    right_start: int
    right_stop: int
    starts: tuple[int, ...] = ()
    stops: tuple[int, ...] = ()

    @property
    def right(self) -> bool:
        """No link has another number."""
        return set(self.starts) <= {self.right_start} and set(self.stops) <= {self.right_stop}

    def __str__(self) -> str:
        found = " ".join((*(f"S{number:02}" for number in self.starts), *(f"K{number:02}" for number in self.stops)))
        return f"{self.service} {found}" + ("" if self.right else f" (right: S{self.right_start:02} K{self.right_stop:02})")


RIGHT = (
    #     service     start stop
    Place("drbd",        20, 80),
    Place("cman",        21, 79),
    Place("clvmd",       24, 76),
    Place("gfs2",        26, 74),
    Place("smb",         91, 35),
    Place("rgmanager",   99, 1),
)
"""Each stands on those before it. drbd: after the network (10, 90), before cman."""


def places(boot: BootFacts) -> tuple[Place, ...]:
    """A table of what is found and what is right, of the services that have links."""
    found = []
    for place in RIGHT:
        mine = [link for link in boot.links if link.service == place.service]
        starts, stops = (tuple(sorted({link.number for link in mine if link.starts is way})) for way in (True, False))
        if mine:
            found.append(Place(place.service, place.right_start, place.right_stop, starts, stops))
    return tuple(found)


def crossed(boot: BootFacts) -> Iterator[tuple[str, str, str]]:
    """Services other than drbd in the wrong order among themselves: which, what it stands on, and the links in words."""
    order = [place.service for place in RIGHT if place.service != "drbd"]
    for at, upper in enumerate(order):
        for lower in order[:at]:
            words = [f"{first} before {then}" for first, then in _crossings(boot, lower, upper)]
            if words:
                yield upper, lower, ", ".join(words)


def _crossings(boot: BootFacts, lower: str, upper: str) -> Iterator[tuple[Link, Link]]:
    """rc runs the links of a level in the order of their names; what stands on another starts after it, and stops before."""
    for one in boot.links:
        for other in boot.links:
            if (one.level, one.starts) != (other.level, other.starts) or (one.service, other.service) != (lower, upper):
                continue
            low, high = (one.number, lower), (other.number, upper)
            if one.starts and high < low:
                yield other, one
            elif not one.starts and low < high:
                yield one, other
