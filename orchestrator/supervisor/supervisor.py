"""One cluster, watched and kept up for as long as this runs: pictures in, verdicts out, one repair at a time.

    Observer --Picture--> judge --Verdict--> repair (an engine's run) and listeners

At rest it holds nothing but the watching lock, so a command gets the lease at once; in the middle of a repair it yields.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from orchestrator.config import Config
from orchestrator.errors import OrchestrateError
from orchestrator.journal import Journal, Record
from orchestrator.lease import SUPERVISOR, is_dead, yields
from orchestrator.remote import Remote
from orchestrator.supervisor.compared import Compared
from orchestrator.supervisor.listener import Complains, Listener
from orchestrator.supervisor.repair import Came, End, carry_out
from states.alarm import Alarm
from states.evolve import evolve
from states.facts import ClusterFacts
from states.flap import History, Tried
from states.goal import Ledger
from states.picture import Picture
from states.supervise import Policies, Repair, Verdict, judge
from states.watchful import AT_ONCE

AFRESH = 5.0
"""Seconds after which a listener that broke off is begun again."""
LOOK_AGAIN = 1.0
"""Seconds between two looks that are asked for because something could not be told."""
UNSEEN = 10.0
"""Seconds after a repair for which its looks are waited for."""
HAZY = 2.0
"""Seconds for which an alarm waits for a look at every node that answers."""
AFTER_A_COMMAND = 2.0
"""Seconds for which nothing is begun after a command had the lease: its mark may not have been seen yet."""


class Sees(Protocol):
    """What this needs of an observer."""

    @property
    def ledger(self) -> Ledger:
        """What is known from earlier, kept up to date."""
        ...

    def look(self, *nodes: str) -> None:
        """Look at these nodes as soon as can be; at all of them if none is named."""
        ...

    async def run(self, tell: Callable[[Picture], None]) -> None:
        """Until it is cancelled. Raises LeaseHeldError when another supervisor watches."""
        ...


@define(eq=False)
class Supervisor:
    """`holder`: this process, as the lease names it; `clock`: seconds since the epoch; `say`: a line for people about a
    listener's bug, which it comes with."""

    config: Config
    remote: Remote
    journal: Journal
    observer: Sees
    listeners: tuple[Listener, ...]
    holder: str
    clock: Callable[[], float]
    say: Callable[[str, Exception], None]
    history: History = field(factory=History)
    is_dead: Callable[[str], bool] = is_dead
    _picture: Picture | None = None
    _alarms: dict[str, Alarm] = field(factory=dict)
    _verdict: Verdict = field(factory=Verdict)
    _doing: str = ""
    _repairing: bool = False
    _busy: str = ""
    _not_before: float = 0.0
    _looked: float = -math.inf
    _ended_at: float = -math.inf
    _fresh_at: float = -math.inf
    _pending: tuple[Alarm, ...] = ()
    _count: int = 0
    _news: anyio.Event = field(factory=anyio.Event)

    async def run(self) -> None:
        """Until it is cancelled. Raises LeaseHeldError when another supervisor watches, JournalError when nothing can be written."""
        ended: list[OrchestrateError] = []
        async with anyio.create_task_group() as group:
            for listener in self.listeners:
                group.start_soon(self._attend, listener)
            for part in (self._watch, lambda: self._think(group)):
                group.start_soon(self._part, part, group, ended)
        if ended:
            raise ended[0]

    async def _part(self, part: Callable[[], Awaitable[None]], group: TaskGroup, ended: list[OrchestrateError]) -> None:
        """An error of ours ends all, and is carried out of the group whole."""
        try:
            await part()
        except OrchestrateError as error:
            ended.append(error)
            group.cancel_scope.cancel()

    async def _attend(self, listener: Listener) -> None:
        """A listener's trouble is its own: it is said, and begun again."""
        while True:
            try:
                return await listener.run()
            except Exception as error:  # noqa: BLE001 - whatever a listener does, supervision goes on
                self.say(f"{type(listener).__name__} broke off: {type(error).__name__}: {error}; it is begun again", error)
            await anyio.sleep(AFRESH)

    async def _watch(self) -> None:
        await self.observer.run(self._see)

    def _see(self, picture: Picture) -> None:
        self._picture = picture
        self._news.set()

    # -- thinking ----------------------------------------------------------------------------------------------------------

    async def _think(self, group: TaskGroup) -> None:
        while True:
            with anyio.move_on_after(self._pause()):
                await self._news.wait()
            self._news = anyio.Event()
            if self._picture is not None:
                self._judge(self._picture, group)

    def _pause(self) -> float:
        """Seconds until there is something to think about without news."""
        due = [at - self.clock() for at in (self._verdict.again, self._not_before) if at is not None and at > self.clock()]
        if self._verdict.look or self._busy:
            due.append(LOOK_AGAIN)
        return max(0.05, min(due, default=math.inf))

    def _judge(self, picture: Picture, group: TaskGroup) -> None:
        now = self.clock()
        self._notice_commands(picture, now)
        facts = marked(picture)
        section = self.config.supervise
        policies = Policies(section.policy, section.resources, section.layers)
        self._verdict = judge(policies, picture.goal, facts, self.observer.ledger, self.history, now, self._busy)
        self.history = self._verdict.history
        if self._verdict.look:
            self._look(*self._verdict.look)
        self._tell(evolve(picture, facts=facts))
        ready = now >= self._not_before and self._seen_since(facts)
        if self._verdict.repair is not None and not self._repairing and ready:
            self._begin(self._verdict.repair, group)
            self._tell(evolve(picture, facts=facts))

    def _look(self, *nodes: str) -> None:
        """Not all the time."""
        if anyio.current_time() - self._looked >= LOOK_AGAIN:
            self._looked = anyio.current_time()
            self.observer.look(*nodes)

    def _seen_since(self, facts: ClusterFacts) -> bool:
        """Every node that answers was looked at since the last repair or command, or nobody could for too long: a repair looks itself."""
        seen = all(node.fresh and node.seen_at >= self._ended_at for node in facts.nodes if node.reachable)
        return seen or anyio.current_time() > self._ended_at + UNSEEN

    def _notice_commands(self, picture: Picture, now: float) -> None:
        """A command that is at work goes first; when it has ended, what it has left is looked at before anything is begun."""
        mine = self.holder + SUPERVISOR
        told = {holder for node, holder in picture.leases if node in picture.followed}  # of the others that is old news
        seen = {node.leased for node in picture.facts.nodes if node.reachable and node.fresh}
        others = sorted(holder for holder in (told | seen) - {"", mine} if not self.is_dead(holder))
        before, self._busy = self._busy, others[0] if others else ""
        if self._busy:
            self._not_before = now + AFTER_A_COMMAND
            if self._busy not in told:
                self._look()  # a look that came just then: whether it still is there only another one tells
        elif before:
            self.history = self.history if yields(before) else self.history.human()
            self._ended_at = anyio.current_time()  # what was seen while it was at work is no ground for an alarm, either
            self.observer.look()

    def _hazy(self, facts: ClusterFacts) -> bool:
        """What looks wrong may be somebody's work that is under way: a command's, a repair's, or not looked at yet."""
        fresh = all(node.fresh for node in facts.nodes if node.reachable)
        now = anyio.current_time()
        self._fresh_at = now if fresh else self._fresh_at
        return bool(self._busy) or self._repairing or not self._seen_since(facts) or now < self._fresh_at + HAZY * (not fresh)

    def _tell(self, picture: Picture, confirmed: tuple[Alarm, ...] = ()) -> None:
        """Everybody hears the new picture; the journal hears which alarms came and went. `confirmed`: alarms on which something is
        being done now."""
        own = [one for one in self.listeners if isinstance(one, Complains)]
        own_alarms = tuple(alarm for one in own for alarm in one.alarms)
        alarms = (*self._verdict.alarms, *own_alarms)
        counts = {**picture.counts, **{name: count for one in own for name, count in one.counts.items()}}
        kept = frozenset(node.name for node in picture.facts.nodes if node.maintenance)
        ripe = alarms
        if self._hazy(picture.facts):
            ripe = tuple(one for one in alarms if one.name in AT_ONCE or one.key in self._alarms or one in own_alarms)
        waits = {one.about for one in alarms if one not in ripe}
        alarms = (*ripe, *(one for one in confirmed if one.key not in {each.key for each in ripe}))
        alarms = (*alarms, *self._standing({one.key for one in alarms}, waits))
        now = {alarm.key: alarm for alarm in alarms}
        verified = tuple(found for one in own if isinstance(one, Compared) for found in one.last)
        told = evolve(picture, alarms=alarms, maintenance=kept, doing=self._doing or self._idle(kept), counts=counts, verified=verified)
        changes = [("raised", now[key]) for key in now.keys() - self._alarms.keys()]
        changes += [("cleared", self._alarms[key]) for key in self._alarms.keys() - now.keys()]
        for what, alarm in changes:
            self._write(kind="alarm", name=alarm.name, about=alarm.about, change=what, what=alarm.what, evidence=alarm.evidence)
        self._alarms = now
        for listener in self.listeners:
            try:
                listener.picture(told)
            except Exception as error:  # noqa: BLE001 - whatever a listener does, supervision goes on
                self.say(f"{type(listener).__name__} could not take a picture: {type(error).__name__}: {error}", error)

    def _standing(self, seen: set[str], waits: set[str]) -> list[Alarm]:
        """Alarms that are not seen any more and stay: nobody can tell whether their cause is gone, or what comes in their place waits
        for a look. What is raised at once waits for nothing in its place."""
        gone = [one for key, one in self._alarms.items() if key not in seen]
        return [one for one in gone if one.about in self._verdict.unclear or (one.about in waits and one.name not in AT_ONCE)]

    def _idle(self, kept: frozenset[str]) -> str:
        """Why nothing is done, where something might be."""
        if self._busy:
            return f"leaves it to {self._busy}"
        if self._verdict.why:
            return f"waits: {self._verdict.why}"
        return f"leaves {', '.join(sorted(kept))} alone" if kept else ""

    def _write(self, **record: Any) -> None:
        self.journal.write({"run": "supervise", **record}, note=True)

    # -- repairing ---------------------------------------------------------------------------------------------------------

    def _begin(self, repair: Repair, group: TaskGroup) -> None:
        self._repairing, self._doing, self._pending = True, f"repairing: {repair.why}", self._verdict.alarms
        self._count += 1
        run_id = f"{int(self.clock() * 1000):x}-{self.holder.split(':')[1]}-{self._count}"
        group.start_soon(self._repair, repair, run_id)

    async def _repair(self, repair: Repair, run_id: str) -> None:
        came = await carry_out(repair, self.remote, self.journal, self.observer.ledger, self.holder + SUPERVISOR, run_id, self._now_doing,
                               self.is_dead)
        self._ended(came)
        self.observer.look()  # what came of it is seen, not said
        self._news.set()

    def _now_doing(self, text: str) -> None:
        """A step goes out: a look under the lease has confirmed what is wrong."""
        self._doing, confirmed, self._pending = text, self._pending, ()
        if self._picture is not None:
            self._tell(evolve(self._picture, facts=marked(self._picture)), confirmed)

    def _ended(self, came: Came) -> None:
        now = self.clock()
        self._repairing, self._doing, self._ended_at = False, "", anyio.current_time()
        self.history = self.history.sent(came.sent, now)
        self._write(kind="repaired", end=came.end.value, said=came.said, sent=[key for key, _ in came.sent])
        if came.end is End.YIELDED:
            self._not_before = now + AFTER_A_COMMAND
        elif came.end is End.FAILED:
            self.history = self.history.ended(now, came.said)
        elif came.sent or self.history.failures:
            self.history = self.history.ended(now)


def marked(picture: Picture) -> ClusterFacts:
    """The facts, with the maintenance marks that a node's follower has told of since its last look."""
    facts, marks = picture.facts, dict(picture.marks)
    for node in facts.nodes:
        mark = marks.get(node.name, "")
        if mark and not node.maintenance:
            facts = facts.replace(evolve(node, maintenance=mark))
    return facts


def remembered(past: Iterable[Record], now: float, limit: int, window: float) -> History:
    """What earlier supervisors have sent lately: who was killed does not begin to count anew."""
    runs: set[str] = set()
    tried: list[Tried] = []
    for record in past:
        if record["kind"] == "run" and yields(record.get("holder", "")):
            runs.add(record["run"])
        elif record["kind"] == "run" and record["at"] <= now:
            tried = []  # a human has been at work since
        elif record["kind"] == "intent" and record["run"] in runs and now - record["at"] < window:
            tried.append(Tried(record["key"], _machine(record["key"]), record["at"]))
    return History(limit, window, tuple(tried))


def _machine(key: str) -> str:
    """What a step was for, from its key: do:LAYER:NODE, do:RESOURCE:NODE or do:LAYER:RESOURCE:NODE."""
    do, *names = key.split(":")
    return f"{names[0].replace('-', ' ', 1)} on {names[-1]}" if do.endswith("-layer") and len(names) == 2 else names[-2]
