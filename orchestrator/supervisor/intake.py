"""What the followers of all nodes have said and nobody has taken in yet. It never grows without bound, and no node starves another."""

from __future__ import annotations

from collections import deque

import anyio
from attrs import define, field

from orchestrator.remote import Answer
from orchestrator.supervisor.said import Gap, Said
from states.facts import NodeFacts

MOST = 2000
"""Lines of one node that may wait."""
BATCH = 100
"""Lines of one node that are taken at once, when others wait, too."""


@define
class Looked:
    """A look came back."""

    answer: Answer
    asked_at: float


@define
class Glanced:
    """Counters came back."""

    facts: NodeFacts


Message = Said | Looked | Glanced


@define
class Intake:
    """Queues by node. Putting never waits."""

    _queues: dict[str, deque[Said]] = field(factory=dict)
    _answers: deque[Looked | Glanced] = field(factory=deque)  # at most one of each kind for every node is under way
    _news: anyio.Event = field(factory=anyio.Event)

    def put(self, said: Said) -> bool:
        """Add one. False: there is no room; all of that node's is thrown away, and a Gap is what is left of it."""
        queue = self._queues.setdefault(said.node, deque())
        room = len(queue) < MOST
        if room:
            queue.append(said)
        else:
            queue.clear()
            queue.append(Gap(said.node, f"more than {MOST} lines waited", overflow=True))
        self._news.set()
        return room

    def crowded(self, node: str) -> bool:
        """Whoever reads that node's lines should let somebody take them."""
        return len(self._queues.get(node, ())) >= MOST // 2

    def answer(self, answer: Looked | Glanced) -> None:
        """Add what was asked for."""
        self._answers.append(answer)
        self._news.set()

    @property
    def waiting(self) -> int:
        """How many wait, over all nodes."""
        return len(self._answers) + sum(map(len, self._queues.values()))

    async def wait(self) -> None:
        """Until there is something."""
        if not self.waiting:
            self._news = anyio.Event()
            await self._news.wait()

    def take(self) -> list[Message]:
        """Some of it: the answers, and of each node what is its turn."""
        found: list[Message] = [*self._answers]
        self._answers.clear()
        for queue in self._queues.values():
            found += [queue.popleft() for _ in range(min(BATCH, len(queue)))]
        return found
