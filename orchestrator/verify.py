"""One online verify: started under the lease, by rule and journal as every step, and watched to its end. It repairs nothing."""

from __future__ import annotations

import shlex

import anyio
from attrs import evolve, frozen

from orchestrator.commands import Command, Effect
from orchestrator.drbd.steps import Sender
from orchestrator.errors import RefusedError, StepFailedError
from orchestrator.executor import Executor, Sent
from orchestrator.journal import Journal
from orchestrator.probes import look
from orchestrator.probes.sections import Sections
from orchestrator.probes.verify import SCRIPT, Compared, read_compared, read_left
from orchestrator.remote import Remote
from orchestrator.tenure import Tenure
from orchestrator.transport import Exited, Outcome
from orchestrator.watch import Watch
from states.facts import ClusterFacts
from states.goal import Do, Goal, Kind, Ledger, Refused, Step, Wanted
from states.progress import Progress
from states.reach import unseen
from states.vocabulary import Role

POLL = (0.5, 5.0)
"""Seconds between two looks at the counters, at least and at most."""


@frozen
class Verified:
    """What came of it. `node`: where it was started; the other side was compared with it. `marked`: KiB that DRBD has marked as
    out of sync when it ended, those that were marked before among them; None where a look could not say."""

    resource: str
    node: str
    compared: Compared
    marked: int | None
    seconds: float


async def verify(remote: Remote, journal: Journal, goal: Goal, wanted: Wanted, holder: str, run_id: str, watch: Watch) -> Verified:
    """Compare every block of both sides. Raises RefusedError (a rule, a node that is not reached, a verify that stands still),
    StepFailedError (it was broken off), LeaseHeldError and JournalError. The lease is given back on every way out."""
    tenure = Tenure(remote, holder, watch)
    try:
        answers = await tenure.take()
        facts = ClusterFacts(tuple(answers[name].facts for name in remote.config.names))
        missing = unseen(goal, facts, wanted)
        if missing is not None:
            raise RefusedError(evolve(missing, what=f"verify {wanted.name}"))
        node = _where(facts, wanted)
        executor = Executor(remote, journal, goal, holder, run_id)
        step = Step(Do.VERIFY, node, wanted.name, because="every block of both sides is read and compared", event="verify")
        sent = await executor.send((step,), Sender(remote.config, facts, ""), Ledger(), tenure.epochs.get(node, 0), watch.step)
        _began(sent, step)
        began = anyio.current_time()
        await _watched(remote, tenure, wanted, node, facts.node(node).side(wanted.name).size or 0, watch)
        return await _outcome(remote, journal, wanted, node, anyio.current_time() - began, run_id)
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(10):
            await tenure.release()


def _where(facts: ClusterFacts, wanted: Wanted) -> str:
    """On the side that has less to do: a Secondary, else the second of the file."""
    idle = [side.node for side in facts.sides(wanted.name, wanted.nodes) if side.role is Role.SECONDARY]
    return next(iter(idle), wanted.nodes[1])


def _began(sent: Sent, step: Step) -> None:
    """The node has started it, as far as its tool says; whether it runs is looked at."""
    result = next(iter(sent.answer.results), None)
    if result is None:
        raise RefusedError(Refused("unknown-means-look", step.key, f"{step.node} did not answer: {sent.answer.facts.why}",
                                   "orchestrate status says whether it runs (VerifyS)", Kind.UNREACHABLE))
    if result.code != 0:
        raise RefusedError(Refused("step-failed", step.key, f"exit {result.code}: {result.text or 'it said nothing'}",
                                   "mend what it says, then run again", Kind.FAILED))


async def _watched(remote: Remote, tenure: Tenure, wanted: Wanted, node: str, size: int, watch: Watch) -> None:
    """Until no verify runs there any more."""
    minor = remote.config.resource[wanted.name].minor
    progress = Progress()
    while True:
        text = _said(await _ask(remote, node, ("verify_now", wanted.name)), node)
        left = read_left(text, minor, size)
        if left is None:
            return
        now = anyio.current_time()
        progress = progress.seen(now, left)
        watch.progress(f"{wanted.name}: verifying", progress)
        if progress.still_for(now) > wanted.stall_after:
            raise RefusedError(Refused("deadline", f"verify {wanted.name}", f"nothing was compared for {wanted.stall_after:.0f} s",
                                       "look at both nodes: orchestrate status", Kind.DEADLINE))
        await tenure.renew()
        await anyio.sleep(min(max((progress.eta or 0) / 6, POLL[0]), POLL[1]))


async def _outcome(remote: Remote, journal: Journal, wanted: Wanted, node: str, seconds: float, run_id: str) -> Verified:
    """What the kernel has found, and what is marked now."""
    minor = remote.config.resource[wanted.name].minor
    log = Sections.cut(_said(await _ask(remote, node, ("verify_log", wanted.name, str(minor))), node)).get(f"kernel {wanted.name}") or ""
    compared = read_compared(log, wanted.name)
    marked = (await remote.look(node)).facts.side(wanted.name).out_of_sync
    journal.write({"kind": "verified", "run": run_id, "resource": wanted.name, "node": node, "finished": compared.finished,
                   "blocks": compared.blocks, "runs": [list(run) for run in compared.runs], "marked": marked})
    if not compared.finished:
        raise StepFailedError(f"verify {wanted.name}: it was broken off on {node}: {compared.said or 'its kernel said nothing'}; "
                              "orchestrate status, then run it again")
    return Verified(wanted.name, node, compared, marked, seconds)


async def _ask(remote: Remote, node: str, call: tuple[str, ...]) -> Outcome:
    script = "\n".join((look.SCRIPT, SCRIPT, "which_generation", shlex.join(call)))
    return await remote.transport.run(Command(node, ("sh", "-c", script), Effect.READ, 20.0))


def _said(outcome: Outcome, node: str) -> str:
    """Its answer. RefusedError if it does not answer: the verify goes on there by itself."""
    if isinstance(outcome, Exited) and outcome.code == 0:
        return outcome.stdout.decode(errors="replace")
    raise RefusedError(Refused("unknown-means-look", f"verify on {node}", f"it could not be asked: {outcome}",
                               "it goes on by itself; orchestrate status shows it, `orchestrate verify` says more when run again",
                               Kind.UNREACHABLE))
