"""One repair: an engine's run that no human asked for, under a lease that it yields to a command, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from attrs import define, frozen

from orchestrator.engine import Engine
from orchestrator.errors import LeaseHeldError, OrchestrateError
from orchestrator.journal import Journal
from orchestrator.lease import is_dead
from orchestrator.remote import Remote
from orchestrator.watch import Silent
from states.flap import steps_of
from states.goal import Ledger, Step
from states.supervise import Repair

LEAVE = 0.7
"""Seconds that giving the lease back may take: who is told to end ends within one."""


class End(Enum):
    """How a repair ended."""

    DONE = "done"          # all was sent that could be; what came of it is seen, not said
    YIELDED = "yielded"    # a command is at work, or asked for the lease
    FAILED = "failed"


@frozen
class Came:
    """What came of a repair. `sent`: key and machine of every step that was sent."""

    end: End
    said: str
    sent: tuple[tuple[str, str], ...] = ()


@define
class Telling(Silent):
    """Says which step is under way, and remembers all of them."""

    tell: Callable[[str], None]
    steps: list[Step]

    def step(self, step: Step) -> None:
        """See Watch."""
        self.steps.append(step)
        self.tell(f"repairing: {step.do.value} {step.layer or step.resource} on {step.node}")

    def note(self, text: str) -> None:
        """See Watch."""
        self.tell(text)


async def carry_out(
    repair: Repair, remote: Remote, journal: Journal, ledger: Ledger, holder: str, run_id: str, tell: Callable[[str], None],
    dead: Callable[[str], bool] = is_dead,
) -> Came:
    """Take the lease, send what there is to be sent, give it back. Never raises for what a node, a rule or a command does."""
    watch = Telling(tell, [])
    journal.write({"kind": "repair", "run": run_id, "why": repair.why, "machines": list(repair.machines)})
    engine = Engine(remote, journal, repair.goal, holder, run_id, watch, Ledger(newest=ledger.newest), dead, leave_within=LEAVE)
    try:
        reached = await engine.run()
    except LeaseHeldError as error:
        return Came(End.YIELDED, str(error), steps_of(tuple(watch.steps)))
    except OrchestrateError as error:
        return Came(End.FAILED, str(error), steps_of(tuple(watch.steps)))
    return Came(End.DONE, "; ".join(reached.warnings), steps_of(tuple(watch.steps)))
