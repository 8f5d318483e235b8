"""How a resync gets on: percent, rate and ETA from counters of blocks out of sync, and for how long nothing moved.

Units: KiB and seconds. The rate is that of the last few samples, so that a change of speed shows.
"""

from __future__ import annotations

from attrs import evolve, frozen

WINDOW = 8
"""Samples the rate is taken over."""


@frozen
class Progress:
    """A resync as its counters tell it. `total`: what was out of sync when it was first seen (or the device's size)."""

    total: int = 0
    left: int = 0
    samples: tuple[tuple[float, int], ...] = ()
    moved_at: float | None = None

    def seen(self, now: float, left: int, size: int = 0) -> Progress:
        """With one more reading. More out of sync than before is a new resync: it starts again from there."""
        if not self.samples or left > self.left:
            return Progress(max(left, 1), left, ((now, left),), now)
        moved = now if left < self.left else self.moved_at
        return evolve(self, left=left, samples=(*self.samples, (now, left))[-WINDOW:], moved_at=moved)

    @property
    def rate(self) -> float | None:
        """KiB per second over the last samples; None while that cannot be said."""
        if len(self.samples) < 2:
            return None
        (first_at, first), (last_at, last) = self.samples[0], self.samples[-1]
        return (first - last) / (last_at - first_at) if last_at > first_at and first > last else None

    @property
    def eta(self) -> float | None:
        """Seconds until nothing is left, at this rate."""
        return self.left / self.rate if self.rate else None

    @property
    def percent(self) -> float:
        """How much of what was out of sync has been copied."""
        return 100.0 * (1 - self.left / self.total) if self.total else 0.0

    def still_for(self, now: float) -> float:
        """Seconds since the counters last moved."""
        return now - self.moved_at if self.moved_at is not None else 0.0
