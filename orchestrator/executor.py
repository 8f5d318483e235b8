"""Steps to one node: rules once more, intent on disk, send, outcome on disk. Never retries; the engine looks and decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen

from orchestrator.drbd.steps import Sender
from orchestrator.errors import RefusedError
from orchestrator.journal import Journal
from orchestrator.remote import Answer, Remote
from states.facts import ClusterFacts
from states.goal import Do, Goal, Ledger, Refused, Step
from states.invariants import judge
from states.stack_rules import judge_layer

Leases = tuple[tuple[str, str, int], ...]
"""Node, holder, epoch: whose turn it is on each node."""
Saver = Callable[[Step, ClusterFacts, Leases], Awaitable[str]]
"""Saves what a split brain's victim alone has, verifies it, and says where. Raises OrchestrateError if it is not all there."""


@frozen
class Sent:
    """What one batch of steps came back with."""

    node: str
    steps: tuple[Step, ...]
    answer: Answer


class Executor:
    """Sends steps under one lease. `run_id` makes operation ids unique between runs; it comes in as a value."""

    def __init__(self, remote: Remote, journal: Journal, goal: Goal, holder: str, run_id: str) -> None:
        self._remote = remote
        self._journal = journal
        self._goal = goal
        self._holder = holder
        self._run_id = run_id
        self._count = 0

    def _op_id(self, step: Step) -> str:
        self._count += 1
        consent = f"-{step.says}" if step.do is Do.DISCARD else ""  # a claim names the consent it was made under
        return f"{self._run_id}-{self._count:03d}-{step.do.value}-{step.claims}{consent}"

    async def send(
        self, steps: tuple[Step, ...], sender: Sender, ledger: Ledger, epoch: int, narrate: Callable[[Step], None]
    ) -> Sent:
        """Carry out steps of one node, in order, in one round trip. Raises RefusedError and JournalError before sending."""
        node = steps[0].node
        for step in steps:
            self._judge(step, sender.facts, ledger)
        named = tuple((step, self._op_id(step)) for step in steps)
        self._journal.write(*(self._intent(step, op) for step, op in named))
        for step in steps:
            narrate(step)
        answer = await self._remote.act(node, named, sender, self._holder, epoch)
        self._journal.write(*(self._outcome(step, op, answer) for step, op in named))
        return Sent(node, steps, answer)

    async def save(
        self, step: Step, facts: ClusterFacts, ledger: Ledger, saver: Saver, epochs: dict[str, int], narrate: Callable[[Step], None]
    ) -> str:
        """Have the victim's changes saved: no command of the node's, but intent and outcome all the same. Returns the place."""
        self._judge(step, facts, ledger)
        op = self._op_id(step)
        self._journal.write(self._intent(step, op))
        narrate(step)
        place = await saver(step, facts, tuple((node, self._holder, epoch) for node, epoch in epochs.items()))
        ended = {"kind": "outcome", "run": self._run_id, "op": op, "key": step.key, "node": step.node}
        self._journal.write({**ended, "said": "saved", "text": place})
        return place

    def _judge(self, step: Step, facts: ClusterFacts, ledger: Ledger) -> None:
        """Every rule once more, on what is known now. Raises RefusedError."""
        wanted = next((one for one in self._goal.resources if one.name == step.resource), None)
        violation = judge(facts, step, wanted, self._goal, ledger=ledger) if wanted is not None else judge_layer(facts, step, self._goal)
        if violation is not None:
            raise RefusedError(Refused(violation.rule, f"{step.key} just before sending", violation.evidence, violation.remedy))

    def _intent(self, step: Step, op: str) -> dict[str, Any]:
        return {
            "kind": "intent", "run": self._run_id, "op": op, "key": step.key, "node": step.node, "row": step.event,
            "effect": "destructive" if step.destructive else "idempotent", "because": step.because, "expect": step.expect,
        }

    def _outcome(self, step: Step, op: str, answer: Answer) -> dict[str, Any]:
        result = next((one for one in answer.results if one.key == step.key), None)
        if result is None:
            said = "not sent" if not answer.sent else "unknown"
            return {"kind": "outcome", "run": self._run_id, "op": op, "key": step.key, "said": said, "why": answer.facts.why}
        return {
            "kind": "outcome", "run": self._run_id, "op": op, "key": step.key, "node": step.node, "said": "exited", "code": result.code,
            "began": result.began, "ended": result.ended, "looked": answer.facts.ended, "text": result.text[-400:] if result.code else "",
        }
