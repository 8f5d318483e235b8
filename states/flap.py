"""No flapping: what a supervisor has tried, how often, and when it has to stop and wait for a human.

A thing is one step on one machine. Sent often enough within the window it is given up, and stays so until its machine was seen
well, or a human has been at work. A run that failed is not begun again at once. Times are seconds since the epoch.
"""

from __future__ import annotations

from attrs import evolve, field, frozen

from states.goal import Step

PAUSES = (2.0, 10.0, 30.0, 60.0)
"""Seconds from a repair that came to nothing to the next; the last one from then on."""


@frozen
class Tried:
    """A step was sent. `machine`: what it was for, a resource or "LAYER on NODE"."""

    key: str
    machine: str
    at: float


@frozen
class History:
    """What was tried. `limit` tries within `window` seconds are enough. `given_up`: steps, each with its machine, that wait for
    a human. `failures`: of the last repairs in a row; `failed`: when, and in words."""

    limit: int = 3
    window: float = 600.0
    tried: tuple[Tried, ...] = ()
    given_up: tuple[tuple[str, str], ...] = ()
    failures: int = 0
    failed: tuple[float, str] = field(default=(0.0, ""))

    def sent(self, steps: tuple[tuple[str, str], ...], now: float) -> History:
        """These steps (key, machine) were sent."""
        recent = tuple(one for one in self.tried if now - one.at < self.window)
        tried = (*recent, *(Tried(key, machine, now) for key, machine in steps))
        counts = {key: sum(one.key == key for one in tried) for key, _ in steps}
        over = {key: machine for key, machine in steps if counts[key] >= self.limit}
        return evolve(self, tried=tried, given_up=tuple({**dict(self.given_up), **over}.items()))

    def ended(self, now: float, said: str = "") -> History:
        """A repair has ended; `said`: why it came to nothing."""
        return evolve(self, failures=self.failures + 1 if said else 0, failed=(now, said))

    def seen_well(self, machines: frozenset[str]) -> History:
        """These are as they should be: what was given up for them may be tried again, as far as the window lets it."""
        kept = tuple(one for one in self.given_up if one[1] not in machines)
        return self if kept == self.given_up else evolve(self, given_up=kept)

    def human(self) -> History:
        """A human has been at work: everything may be tried again."""
        return History(self.limit, self.window)

    def stopped(self, key: str, now: float) -> bool:
        """That step is not sent again by itself."""
        recent = sum(one.key == key and now - one.at < self.window for one in self.tried)
        return recent >= self.limit or key in dict(self.given_up)

    def times(self, key: str, now: float) -> int:
        """How often it was sent within the window."""
        return sum(one.key == key and now - one.at < self.window for one in self.tried)

    @property
    def next_try(self) -> float:
        """Not before then."""
        return self.failed[0] + PAUSES[min(self.failures, len(PAUSES)) - 1] if self.failures else 0.0


def machine_of(step: Step) -> str:
    """What a step is for."""
    return step.resource or f"{step.layer} on {step.node}"


def steps_of(steps: tuple[Step, ...]) -> tuple[tuple[str, str], ...]:
    """Key and machine of each."""
    return tuple((step.key, machine_of(step)) for step in steps)
