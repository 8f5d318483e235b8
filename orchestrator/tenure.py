"""Holding the lease of a cluster for the length of one run: take it everywhere, renew it, give it back.

A holder that is alive renews; a newcomer that sees a lease grow again goes away, one that sees it shrink waits it out.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
from attrs import define, field

from orchestrator.errors import LeaseHeldError
from orchestrator.lease import TTL, Held, is_dead, read_wanted, yields
from orchestrator.remote import Answer, Remote
from orchestrator.transport import Exited
from orchestrator.watch import Watch

ASK_AGAIN = 1.0
"""Seconds between questions for a lease that somebody else holds."""
ASK_SUPERVISOR = 0.3
"""... where it is a supervisor, which yields: it looks for who asks every `ASKED` seconds, and finishes the step in flight."""
ASKED = 0.7


@define
class Tenure:
    """The leases of one run. `epochs`: what each node said when it was taken; it must never change under us.

    `is_dead`: whether a holder is known to have ended, so that its lease need not be waited out. `stand`: what a human wants of
    each node from now on, "up" or "down". `wanted`: the command that asks a supervisor for its lease; "" before one does.
    """

    remote: Remote
    holder: str
    watch: Watch
    is_dead: Callable[[str], bool] = is_dead
    epochs: dict[str, int] = field(factory=dict)
    stand: dict[str, str] = field(factory=dict)
    wanted: str = ""
    _renewed: float = 0.0

    async def take(self) -> dict[str, Answer]:
        """Take the lease of every node and look, in one round trip each. Raises LeaseHeldError."""
        answers: dict[str, Answer] = {}
        async with anyio.create_task_group() as group:
            for name in self.remote.config.names:
                group.start_soon(self._try_one, name, answers)
        if any(answer.held for answer in answers.values()):  # two who each hold one node must not wait for each other
            await self._give_back(answers)
            for answer in answers.values() if yields(self.holder) else ():
                self.check(answer)
            for name in self.remote.config.names:
                await self._take_one(name, answers)
                if answers[name].held is not None:
                    await self._give_back(answers)
                self.check(answers[name])
        for answer in answers.values():
            self.check(answer)
        self._renewed = anyio.current_time()
        return answers

    async def _try_one(self, name: str, answers: dict[str, Answer]) -> None:
        answers[name] = await self.remote.lease(name, self.holder, zeros=True, stand=self.stand.get(name, ""))

    async def _give_back(self, answers: dict[str, Answer]) -> None:
        for name, answer in answers.items():
            if answer.epoch is not None:
                await self.remote.release(name, self.holder)

    async def _take_one(self, name: str, answers: dict[str, Answer]) -> None:
        """Ask for one node's lease until it is free, or seen to be renewed; then look at the node."""
        over, least = "-", TTL + 1
        while True:
            answer = answers[name] = await self.remote.ask(name, self.holder, over)
            if answer.held is None:
                answers[name] = await self.remote.lease(name, self.holder, over, zeros=True, stand=self.stand.get(name, ""))
                return
            if yields(answer.held.holder):
                self.watch.note(f"the supervisor is repairing something on {name}: it yields after the step in flight")
                await anyio.sleep(ASK_SUPERVISOR)
                continue
            if answer.held.left > least:
                return
            least = answer.held.left
            over = answer.held.holder if self.is_dead(answer.held.holder) else "-"
            if over == "-":
                self.watch.note(f"{held_words(answer.held)}: waiting, unless it renews it")
                await anyio.sleep(ASK_AGAIN)

    def check(self, answer: Answer) -> None:
        """Every answer says whose lease it is. Raises LeaseHeldError if it is no longer ours."""
        if answer.held is not None:
            raise LeaseHeldError(held_words(answer.held))
        self.wanted = answer.wanted or self.wanted
        name = answer.facts.name
        if answer.epoch is not None and self.epochs.setdefault(name, answer.epoch) != answer.epoch:
            raise LeaseHeldError(f"the lease of {name} was lost and taken again: another orchestrator has been at work; run again")

    async def renew(self) -> None:
        """A long wait must not lose the lease."""
        if anyio.current_time() - self._renewed > (ASKED if yields(self.holder) else TTL / 4):
            self._renewed = anyio.current_time()
            async with anyio.create_task_group() as group:
                for name in self.epochs:
                    group.start_soon(self._renew_one, name)

    async def _renew_one(self, name: str) -> None:
        outcome = await self.remote.renew(name, self.holder)
        if isinstance(outcome, Exited):
            self.wanted = read_wanted(outcome.stdout.decode(errors="replace")) or self.wanted

    async def release(self) -> None:
        """Give every lease back; what cannot be reached keeps ours until it runs out."""
        async with anyio.create_task_group() as group:
            for name in self.epochs:
                group.start_soon(self.remote.release, name, self.holder)


def held_words(held: Held) -> str:
    """Somebody else's lease in words."""
    return f"another orchestrator ({held.holder}) holds the lease of {held.node} for {held.left} s more"
