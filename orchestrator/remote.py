"""Round trips to one node: a look, or steps and the look that follows them, in one far-side shell each.

`Answer` is what came back: facts (UNREACHABLE if nothing trustworthy came), the steps' codes and node-side times, and
the lease. An answer never says that a step "worked".
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from functools import cache, partial

from attrs import field, frozen

from orchestrator.commands import Command, Effect
from orchestrator.config import Config
from orchestrator.drbd import steps as drbd
from orchestrator.drbd.files import replication_address, resource_file
from orchestrator.lease import TTL, Held, read_held, read_taken, read_wanted
from orchestrator.probes import boot as boot_probe
from orchestrator.probes import look
from orchestrator.probes import stack as stack_probe
from orchestrator.probes.rhcs import layers as rhcs_layers
from orchestrator.probes.sections import Sections
from orchestrator.probes.stack import ExpectedStack
from orchestrator.stack import steps as stack
from orchestrator.stack.rhcs import steps as rhcs
from orchestrator.stack.steps import expected_stack
from orchestrator.transport import Exited, NotSent, Outcome, Signalled, Transport, Unknown
from states.boot import BootFacts
from states.evolve import evolve
from states.facts import NodeFacts
from states.goal import Do, Step
from states.vocabulary import Node

LOOK_LIMIT = 60.0
"""Seconds a look may take on the node. Reading a whole blank disk (skip_initial_sync) is given ten times that."""


@frozen
class Result:
    """One step's own account: the tool's code and words, and the node's uptime before and after, seconds."""

    key: str
    code: int
    began: float
    ended: float
    text: str


@frozen
class Answer:
    """What came back from one round trip. `sent`: False only if the command certainly never started.

    `began`: the node's uptime, seconds, when the look began: with steps, after the last of them.
    """

    facts: NodeFacts
    results: tuple[Result, ...] = ()
    held: Held | None = None
    epoch: int | None = None
    firewall: str = ""
    sent: bool = True
    authkey: str = field(default="", repr=False)
    began: float = 0.0
    wanted: str = ""  # a command that asks for our lease, where we are one that yields it


class Remote:
    """Builds the far-side scripts for a cluster and reads what they print. `clock`: monotonic seconds."""

    def __init__(self, config: Config, transport: Transport, clock: Callable[[], float], compare: bool = True) -> None:
        self.config = config
        self.transport = transport
        self._clock = clock
        file = cache(partial(resource_file, config))  # every look asks for it again
        self._file = file if compare else None
        self._expected = {name: self._expect(name) for name in config.names}
        self._stacks = {name: expected_stack(config, name) for name in config.names}
        looks, acts = _scripts(config)
        self._calls: dict[tuple[str, bool, bool], str] = {}
        self._look_script, self._script = "\n".join(looks), "\n".join((*looks, *acts))

    def services(self, node: str) -> tuple[str, ...]:
        """The daemons of this node's stack, as systemd names their units; of the original stack, as the kernel names their processes."""
        stack = self._stacks[node]
        return () if stack is None else stack.services

    def expected(self, node: str) -> tuple[look.Expected, ...]:
        """What this node's look is compared with."""
        return self._expected[node]

    def _expect(self, node: str) -> tuple[look.Expected, ...]:
        if node in self.config.voters:
            return ()
        peer = next(name for name in self.config.storage if name != node)
        return tuple(
            look.Expected(
                name, section.minor, self.config.disk_of(name, node),
                None if self._file is None else partial(self._file, name),
                replication_address(self.config, peer), section.port, section.skip_initial_sync,
            )
            for name, section in self.config.resource.items()
        )

    def _look_call(self, node: str, zeros: bool, *, contents: bool = True) -> str:
        """The look at a node; the same in every round trip."""
        key = node, zeros, contents
        if key not in self._calls:
            self._calls[key] = self._new_look_call(*key)
        return self._calls[key]

    def _new_look_call(self, node: str, zeros: bool, contents: bool) -> str:
        """`peer_id`: the other node's number in the resource files we write (DRBD 9)."""
        words = ["look"]
        for one in self.expected(node):
            words += [one.resource, str(one.minor), one.disk, str(one.port), "1" if one.zeros and zeros else "0" if contents else "-"]
        above = stack.look_calls(self._stacks[node])
        peer_id = f"peer_id={1 - self.config.storage.index(node)}; " if node in self.config.storage else ""
        return f"{above}{peer_id}{shlex.join(words)}"

    async def look(self, node: str, zeros: bool = False) -> Answer:
        """Look, and change nothing."""
        return await self._round_trip(node, f"{self._look_script}\n{self._look_call(node, zeros)}", Effect.READ, self._limit(zeros))

    async def boot(self, node: str) -> BootFacts:
        """What a boot of this node starts; changes nothing. Unread where it does not answer."""
        mounts = [section.mount for section in self.config.filesystem.values()]
        disks = [word for name, section in self.config.resource.items()
                 for word in (name, str(section.minor), self.config.disk_of(name, node))]
        scripts = dict.fromkeys((look.SCRIPT, stack_probe.SCRIPT, boot_probe.SCRIPT, *_scripts(self.config)[0]))
        script = "\n".join((*scripts, "which_generation", shlex.join(("look_boot", *mounts, "--", *disks))))
        outcome = await self.transport.run(Command(node, ("sh", "-c", script), Effect.READ, LOOK_LIMIT))
        return boot_probe.read_boot(node, outcome.stdout.decode(errors="replace") if isinstance(outcome, Exited) else "")

    async def glance(self, facts: NodeFacts) -> NodeFacts:
        """Only the counters, for a resync that is watched: no fork on an 8.x node. Unseen leaves the facts as they are."""
        script = f"{look.SCRIPT}\n{shlex.join(('glance', *self.config.resource))}"
        outcome = await self.transport.run(Command(facts.name, ("sh", "-c", script), Effect.READ, 20.0))
        if not isinstance(outcome, Exited):
            return facts
        return look.read_glance(facts, outcome.stdout.decode(errors="replace"), self.expected(facts.name), self._clock())

    async def lease(
        self, node: str, holder: str, over: str = "-", zeros: bool = False, stand: str = "", *, contents: bool = False,
    ) -> Answer:
        """Take or renew the lease and look. Blank disks are read again only by a run's first look (`zeros`), or where that one did
        not see them blank (`contents`). `stand`: what a human wants of the node from now on, "up" or "down"; written down there with the
        lease, and not without it."""
        look_call = self._look_call(node, zeros, contents=zeros or contents)
        also = f" && stand_{stand}" if stand else ""
        lines = [self._script, shlex.join(("lease_take", holder, str(TTL), over)) + also, "keep=yes", look_call]
        return await self._round_trip(node, "\n".join(lines), Effect.IDEMPOTENT, self._limit(zeros))

    async def ask(self, node: str, holder: str, over: str) -> Answer:
        """Take the lease and do not look: who waits for it asks often. The answer's facts are worth nothing."""
        script = "\n".join((self._script, shlex.join(("lease_take", holder, str(TTL), over))))
        return await self._round_trip(node, script, Effect.IDEMPOTENT, 20.0)

    async def renew(self, node: str, holder: str) -> Outcome:
        """Renew the lease and nothing else."""
        script = "\n".join((self._script, shlex.join(("lease_take", holder, str(TTL), "-"))))
        return await self.transport.run(Command(node, ("sh", "-c", script), Effect.IDEMPOTENT, 20.0))

    async def release(self, node: str, holder: str) -> Outcome:
        """Give the lease back."""
        script = "\n".join((self._script, shlex.join(("lease_drop", holder))))
        return await self.transport.run(Command(node, ("sh", "-c", script), Effect.IDEMPOTENT, 20.0))

    async def stand(self, node: str, words: str) -> Outcome:
        """Write down why nobody is to touch this node unasked; "-": that is over."""
        script = "\n".join((self._script, shlex.join(("stand", words))))
        return await self.transport.run(Command(node, ("sh", "-c", script), Effect.IDEMPOTENT, 20.0))

    async def act(self, node: str, steps: tuple[tuple[Step, str], ...], sender: drbd.Sender, holder: str, epoch: int) -> Answer:
        """Carry out steps (each with its op-id) in order, renewing the lease first, then look."""
        lines = [self._script, "which_generation", shlex.join(("lease_take", holder, str(TTL), "-"))]
        lines.append("brief=yes" if all(step.do is not Do.CONNECT for step, _ in steps) else "")
        lines += [f"act {shlex.join((step.key, holder, str(epoch)))} {drbd.call(step, sender, op)}" for step, op in steps]
        lines.append(self._look_call(node, any(step.do is Do.CONNECT for step, _ in steps), contents=False))
        destructive = any(step.destructive for step, _ in steps)
        limit = sum(drbd.limit(step) for step, _ in steps) + LOOK_LIMIT
        return await self._round_trip(node, "\n".join(lines), Effect.DESTRUCTIVE if destructive else Effect.IDEMPOTENT, limit)

    def _limit(self, zeros: bool) -> float:
        return LOOK_LIMIT * 10 if zeros and any(one.skip_initial_sync for one in self.config.resource.values()) else LOOK_LIMIT

    async def _round_trip(self, node: str, script: str, effect: Effect, limit: float) -> Answer:
        outcome = await self.transport.run(Command(node, ("sh", "-c", script), effect, limit))
        return read_answer(node, outcome, self.expected(node), self._clock(), self._stacks[node])


def _scripts(config: Config) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The far-side scripts of this cluster's profile: those that look, and those that act."""
    built = config.stack()
    if built is None:
        return (look.SCRIPT,), (drbd.SCRIPT,)
    old = (rhcs_layers.SCRIPT,), (rhcs.SCRIPT,)
    more = old if built.profile == "rhcs" else ((), ())
    return (look.SCRIPT, stack_probe.SCRIPT, *more[0]), (drbd.SCRIPT, stack.SCRIPT, *more[1])


def read_answer(
    node: str, outcome: Outcome, expected: tuple[look.Expected, ...], at: float, stack: ExpectedStack | None = None
) -> Answer:
    """An outcome as facts, results and lease. Pure."""
    if isinstance(outcome, NotSent):
        return Answer(_unseen(node, at, str(outcome)), sent=False)
    text = outcome.stdout.decode(errors="replace")
    sections = Sections.cut(text)
    if isinstance(outcome, Unknown | Signalled):
        facts = _unseen(node, at, str(outcome))
    else:
        facts = look.read_sections(node, sections, expected, at, stack)
        if not facts.reachable:
            facts = evolve(facts, why=_why_cut(outcome))
    results = _results(text)
    if isinstance(outcome, Exited) and outcome.span is not None and facts.reachable:
        facts = evolve(facts, uptime=outcome.span[0], ended=outcome.span[1])
        results = tuple(evolve(one, began=outcome.span[0]) if one is results[0] else one for one in results)
    return Answer(facts, results, read_held(node, text), read_taken(text), sections.get("firewall") or "",
                  authkey=(sections.get("authkey") or "").strip(), began=results[-1].ended if results else facts.uptime,
                  wanted=read_wanted(text))


def _why_cut(outcome: Exited) -> str:
    if outcome.code in (124, 137):
        return "it answers, but a look did not end in time: something hangs there"
    words = outcome.stderr.decode(errors="replace").strip().splitlines()
    if outcome.code == 125 and words and re.search("invalid option -- '?k", words[-1]):  # timeout's own, before it starts anything
        return f"its coreutils are older than 8.5 ({words[-1]}): it needs legacy = true"
    return f"its answer was cut off (exit {outcome.code}{': ' + words[-1] if words else ''})"


def _unseen(node: str, at: float, why: str) -> NodeFacts:
    return NodeFacts(node, Node.UNREACHABLE, at, why)


RESULT = re.compile(r"^==step (\S+) ([\d.]+)\n(.*?)^==result \1 (\d+) ([\d.]+)$", re.MULTILINE | re.DOTALL)


def _results(text: str) -> tuple[Result, ...]:
    found = []
    last = text.find("\n", text.rfind("\n==result ") + 1)  # the look comes behind them
    within = text[:last] if last >= 0 else text
    for key, began, words, code, ended in RESULT.findall(within) if "==step " in text else ():  # a plain look has none
        found.append(Result(key, int(code), float(began), float(ended), words.strip()))
    return tuple(found)
