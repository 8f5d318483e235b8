"""The loop for one goal: look, decide, send, look. No policy lives here; `states.decide` is asked after everything new.

One task owns the facts and decides. Sends, event streams and polls run beside it and only put what they saw into its
queue. Time comes from anyio's clock, so the same loop runs in virtual time on simulated nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream
from attrs import define, field

from orchestrator.drbd.steps import Sender
from orchestrator.errors import OrchestrateError, RefusedError, YieldedError
from orchestrator.executor import Executor, Saver, Sent
from orchestrator.inbox import Answered, Broke, Inbox, Looked, Message, Saved
from orchestrator.journal import Journal
from orchestrator.lease import TTL, is_dead
from orchestrator.narrator import Narrator
from orchestrator.polling import counted, interval
from orchestrator.remote import Answer, Remote
from orchestrator.sight import Sight
from orchestrator.streams import EventLine, Streams
from orchestrator.tenure import ASKED, Tenure
from orchestrator.watch import Watch
from states.decide import decide
from states.evolve import evolve
from states.facts import ClusterFacts
from states.goal import Decision, Do, Goal, Kind, Ledger, Look, Reached, Refused, Step, Steps, Waiting, Wanted
from states.pair import Pair
from states.resource import classify
from states.stuck import layer_overdue, overdue
from states.vocabulary import Layer

NOTES = frozenset({"looked", "awaits", "came", "moved", "known"})
"""Records nothing is decided by: they need not wait for the disk."""
MOST_SENDS = 4
"""How often one step may be sent in a run without the looks showing that anything came of it."""


@define
class Wait:
    """What is being waited for, and since when."""

    waiting: Waiting
    since: float


@define
class Engine:
    """One run towards one goal. Raises RefusedError, LeaseHeldError, JournalError; returns what was Reached.

    A run that nobody asked for (`goal.unasked`) waits for nothing but its own steps, and yields to a command (YieldedError).
    `leave_within`: seconds that giving the lease back may take.
    """

    remote: Remote
    journal: Journal
    goal: Goal
    holder: str
    run_id: str
    watch: Watch
    ledger: Ledger = field(factory=Ledger)
    is_dead: Callable[[str], bool] = is_dead
    saver: Saver | None = None
    leave_within: float = 10.0
    _sight: Sight = field(factory=Sight)
    _looking: set[str] = field(factory=set)
    _sends: dict[str, int] = field(factory=dict)
    _wait: Wait | None = None
    _doubt: str = ""
    _tenure: Tenure = field(init=False)
    _executor: Executor = field(init=False)
    _narrator: Narrator = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._tenure = Tenure(self.remote, self.holder, self.watch, self.is_dead, stand=self._stand())
        self._narrator = Narrator(self.goal, self.watch, self._write)
        self._executor = Executor(self.remote, self.journal, self.goal, self.holder, self.run_id)

    def _stand(self) -> dict[str, str]:
        """What a human's command wants of each node it is about, from now on."""
        if self.goal.unasked:
            return {}
        return {name: self.goal.direction.value for name in self.remote.config.names if not self.goal.only or name in self.goal.only}

    @property
    def facts(self) -> ClusterFacts:
        """What is known now."""
        return self._sight.facts

    async def run(self) -> Reached:
        """Take the goal's resources there. The lease is given back on every way out."""
        self._write(kind="run", goal=self.goal.direction.value, holder=self.holder)
        try:
            await self._first_look()
            reached = await self._loop()
        except OrchestrateError as error:
            self._write(kind="end", said=str(error), code=error.code)
            raise
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(self.leave_within):
                await self._tenure.release()
        self._write(kind="end", said="reached", code=0)
        return reached

    def _write(self, **record: Any) -> None:
        self.journal.write({"run": self.run_id, **record}, note=record["kind"] in NOTES)

    async def _first_look(self) -> None:
        answers = await self._tenure.take()
        self._sight.start({name: answers[name] for name in self.remote.config.names})
        for node in self.facts.nodes:
            self._write(kind="looked", node=node.name, began=node.uptime, ended=node.ended, state=node.state.value, why=node.why)
        self._measure()

    # -- the loop ------------------------------------------------------------------------------------------------------

    async def _loop(self) -> Reached:
        """Until the goal is seen. An error is carried out of the task group whole, not as a group of one."""
        ended: Reached | OrchestrateError
        send, receive = anyio.create_memory_object_stream[Message](math.inf)
        async with send, receive, anyio.create_task_group() as group:
            try:
                ended = await self._turns(group, send, receive)
            except OrchestrateError as error:
                ended = error
            group.cancel_scope.cancel()
        if isinstance(ended, OrchestrateError):
            raise ended
        return ended

    async def _turns(self, group: TaskGroup, send: Inbox, receive: MemoryObjectReceiveStream[Message]) -> Reached:
        async def tell(line: EventLine) -> None:
            send.send_nowait(line)  # there is room for any number: a burst arrives whole

        streams = Streams(self.remote, group, tell)
        while True:
            streams.follow(self._sight.loaded)
            decision = self._decide()
            self._narrator.observe(self.facts, self.ledger)
            if isinstance(decision, Reached):
                return decision
            if self.goal.unasked and not self.ledger.in_flight and (ended := self._over(decision)):
                return ended
            if self.goal.unasked and self._tenure.wanted:  # a command waits for the step in flight
                await self._next(receive, decision)
                continue
            if isinstance(decision, Refused) and not self.ledger.in_flight:
                decision = self._seen_twice(decision)
            self._pursue(decision, group, send)
            await self._next(receive, decision)

    def _over(self, decision: Decision) -> Reached | None:
        """Nobody holds a lease only to wait: what comes next is seen by who watches. Raises YieldedError where a command asks."""
        if self._tenure.wanted:
            raise YieldedError(f"a command ({self._tenure.wanted}) asked for the lease")
        return Reached((f"waits: {decision.why}",)) if isinstance(decision, Waiting) else None

    def _seen_twice(self, refused: Refused) -> Look:
        """The looks at two nodes are not simultaneous: what a rule refuses is looked at once more. Raises RefusedError."""
        final = refused.kind not in (Kind.RULE, Kind.FAILED) or refused.rule == "step-failed"
        if final or (self._doubt == refused.rule and not self._looking):
            raise RefusedError(refused)
        nodes = self.remote.config.names if self._doubt != refused.rule else ()
        self._doubt = refused.rule
        return Look(nodes, f"rule {refused.rule} refuses: to see it twice")

    def _decide(self) -> Decision:
        decision = decide(self.goal, self.facts, self.ledger)
        if isinstance(decision, Look) and self._wait is not None:
            return decision  # a look in between does not begin the wait anew: a flapping link has a deadline too
        if not isinstance(decision, Waiting):
            self._end_wait()
            return decision
        now = anyio.current_time()
        if self._wait is None or (self._wait.waiting.event, self._wait.waiting.layer) != (decision.event, decision.layer):
            self._end_wait()
            self._wait = Wait(decision, now)
            self._write(kind="awaits", event=decision.event, resource=decision.resource)
        if decision.deadline is not None and now - self._wait.since >= decision.deadline:
            return self._overdue(decision, now - self._wait.since)
        return decision

    def _overdue(self, waiting: Waiting, waited: float) -> Refused:
        if waiting.layer:
            return layer_overdue(waiting, waited)
        pair = self._pair(waiting.resource)
        return overdue(waiting, self.facts, pair, classify(pair), waited)

    def _end_wait(self) -> None:
        if self._wait is not None:
            waited = anyio.current_time() - self._wait.since
            self._write(kind="came", event=self._wait.waiting.event, resource=self._wait.waiting.resource, waited=round(waited, 3))
            self._wait = None

    def _pursue(self, decision: Decision, group: TaskGroup, send: Inbox) -> None:
        """Start what the decision asks for; nothing here waits for an answer."""
        old = self._sight.old(self.remote.config.names) if isinstance(decision, Steps) else ()
        if old:
            decision = Look(old, "what was seen is too old to act on")
        if isinstance(decision, Steps):
            for node in self.remote.config.names:
                batch = tuple(step for step in decision.steps if step.node == node)
                for lane in dict.fromkeys(step.lane for step in batch):
                    steps = tuple(step for step in batch if step.lane == lane)
                    self._start(steps)
                    group.start_soon(self._send, steps, send)
                if not batch:  # the other node has nothing to do: let it be read meanwhile, if something of it is unknown
                    self._refresh(node, group, send)
        if isinstance(decision, Look):
            for node in decision.nodes:
                self._start_look(node, group, send)
        if isinstance(decision, Waiting) and decision.event == "answers":
            for node in self.remote.config.names:
                self._refresh(node, group, send)

    def _refresh(self, node: str, group: TaskGroup, send: Inbox) -> None:
        """Look at a node that has nothing to do and was not seen whole, or was seen in between: it need not wait for the others."""
        busy = any(key.endswith(f":{node}") for key in self.ledger.in_flight)
        unread = any(side.identifiers is None for _, side in self.facts.node(node).sides)
        between = any(fact.state not in (Layer.UP, Layer.DOWN) for fact in self.facts.node(node).layers)
        if not busy and (unread or between):
            self._start_look(node, group, send)

    def _start(self, batch: tuple[Step, ...]) -> None:
        began = self.facts.node(batch[0].node).uptime
        sent = {**dict(self.ledger.sent), **{step.key: began for step in batch}}
        chosen = {step.resource: step.node for step in batch if step.do in (Do.FORCE_PRIMARY, Do.CLEAR_BITMAP)}
        for step in batch:
            self._sends[step.key] = self._sends.get(step.key, 0) + 1
        self.ledger = evolve(
            self.ledger, sent=tuple(sent.items()), in_flight=self.ledger.in_flight | {step.key for step in batch},
            chosen=tuple({**dict(self.ledger.chosen), **chosen}.items()), archives=self.ledger.archived(batch),
        )

    async def _send(self, batch: tuple[Step, ...], send: Inbox) -> None:
        node, asked = batch[0].node, anyio.current_time()
        try:
            if batch[0].do is Do.SAVE:
                send.send_nowait(await self._save(batch[0]))
                return
            sender = Sender(self.remote.config, self.facts, self._sight.firewalls.get(node, ""), self._sight.authkey)
            sent = await self._executor.send(batch, sender, self.ledger, self._tenure.epochs[node], self.watch.step)
            send.send_nowait(Answered(sent, asked))
        except OrchestrateError as error:
            send.send_nowait(Broke(error))

    async def _save(self, step: Step) -> Saved:
        if self.saver is None:
            raise ValueError(f"{step.key}: nobody was told how to save")
        return Saved(step, await self._executor.save(
            step, self.facts, self.ledger, self.saver, self._tenure.epochs, self.watch.step))

    def _start_look(self, node: str, group: TaskGroup, send: Inbox) -> None:
        if node not in self._looking:
            self._looking.add(node)
            group.start_soon(self._look, node, send)

    async def _look(self, node: str, send: Inbox) -> None:
        asked = anyio.current_time()
        answer = await self.remote.lease(node, self.holder, contents=self._sight.not_blank(node))
        send.send_nowait(Looked(answer, asked))

    # -- taking in what was seen ---------------------------------------------------------------------------------------

    async def _next(self, receive: MemoryObjectReceiveStream[Message], decision: Decision) -> None:
        """Wait for the next message (or the next due poll), then take in everything that is there."""
        pause = min(self._pause(decision), ASKED) if self.goal.unasked else self._pause(decision)
        with anyio.move_on_after(pause) as scope:
            self._take(await receive.receive())
        if scope.cancelled_caught and isinstance(decision, Waiting):
            await self._poll(decision)
        await anyio.lowlevel.checkpoint()  # half a burst of events is not yet a state
        while self._take_waiting(receive):
            await anyio.lowlevel.checkpoint()
        await self._tenure.renew()

    def _take_waiting(self, receive: MemoryObjectReceiveStream[Message]) -> bool:
        """Take in what has come; False if it was nothing."""
        count = receive.statistics().current_buffer_used
        for _ in range(count):
            self._take(receive.receive_nowait())
        return count > 0

    def _pause(self, decision: Decision) -> float:
        """Seconds until something is due without an event."""
        if not isinstance(decision, Waiting) or decision.event == "answers":
            return TTL / 4
        left = math.inf
        if decision.deadline is not None and self._wait is not None:
            left = max(0.05, self._wait.since + decision.deadline - anyio.current_time())
        progress = self._narrator.progress.get(decision.resource)
        return min(interval(decision, progress.eta if progress else None, self.facts), left)

    async def _poll(self, waiting: Waiting) -> None:
        """Look at the waiting resource's nodes, both at once; while blocks are copied, only at the counters."""
        if waiting.event.startswith(("synced", "moves_again")):
            async with anyio.create_task_group() as group:
                for name in counted(waiting, self.facts):
                    group.start_soon(self._sight.glance, self.remote, name)
            self._measure()
            return
        answers: list[Looked] = []
        async with anyio.create_task_group() as group:
            for node in waiting.nodes:
                group.start_soon(self._poll_one, node, answers)
        for looked in answers:
            self._take(looked)

    async def _poll_one(self, node: str, answers: list[Looked]) -> None:
        asked = anyio.current_time()
        answers.append(Looked(await self.remote.lease(node, self.holder), asked))

    def _take(self, message: Message) -> None:
        if isinstance(message, EventLine):
            self._sight.event(message)
        elif isinstance(message, Looked):
            self._looking.discard(message.answer.facts.name)
            self._accept(message.answer, message.asked_at)
        elif isinstance(message, Answered):
            self._answered(message.sent, message.asked_at)
        elif isinstance(message, Saved):
            archives = {**dict(self.ledger.archives), message.step.resource: message.place}
            self.ledger = evolve(self.ledger, archives=tuple(archives.items()), in_flight=self.ledger.in_flight - {message.step.key})
            self.watch.done(message.step.key, 0, 0.0)
        else:
            raise message.error

    def _accept(self, answer: Answer, asked_at: float) -> None:
        self._tenure.check(answer)
        self._sight.look(answer, asked_at)
        self._measure()

    def _answered(self, sent: Sent, asked_at: float) -> None:
        keys = {step.key for step in sent.steps}
        self.ledger = evolve(self.ledger, in_flight=self.ledger.in_flight - keys)
        self._accept(sent.answer, asked_at)
        for result in sent.answer.results:
            self.watch.done(result.key, result.code, result.ended - result.began)
            if result.code not in (0, 75, 76) and not _transient(result.text):
                self._fail(result.key, f"exit {result.code}: {result.text or 'it said nothing'}")
        for step in sent.steps:
            if self._sends[step.key] >= MOST_SENDS:
                last = next((result.text for result in sent.answer.results if result.key == step.key), sent.answer.facts.why)
                self._fail(step.key, f"sent {MOST_SENDS} times, and no look shows that anything came of it; last said: {last or 'nothing'}")

    def _fail(self, key: str, seen: str) -> None:
        self.ledger = evolve(self.ledger, failed=(*self.ledger.failed, (key, seen)))

    # -- what is told --------------------------------------------------------------------------------------------------

    def _pair(self, resource: str) -> Pair:
        wanted: Wanted = next(one for one in self.goal.resources if one.name == resource)
        return Pair.of(self.facts, wanted, self.ledger)

    def _measure(self) -> None:
        """Progress of every resync, and which have stalled."""
        stalled = self._narrator.measure(self.facts, self.ledger)
        if stalled != self.ledger.stalled:
            self.ledger = evolve(self.ledger, stalled=stalled)


TRANSIENT = ("(-10)", "(-18)", "(-19)", "(-23)")
"""State change errors of the kernel that a second try may get past: refused by peer, transient, concurrent, timeout."""


def _transient(text: str) -> bool:
    return any(code in text for code in TRANSIENT)
