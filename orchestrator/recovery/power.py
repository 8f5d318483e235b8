"""A victim that hangs is switched off and on by its fence agent, so that its recovery can go on without a hand.

Nothing is lost by it that could have been saved: what hangs in its memory can no longer reach its disk. What is on its disk is
saved when it is back, for nothing there starts by itself.
"""

from __future__ import annotations

import anyio
from attrs import frozen

from orchestrator.drbd.steps import Sender
from orchestrator.errors import RefusedError
from orchestrator.executor import Executor, Sent
from orchestrator.journal import Journal
from orchestrator.remote import Remote
from orchestrator.tenure import Tenure
from orchestrator.watch import Watch
from states.consent import Consent
from states.facts import ClusterFacts
from states.goal import Do, Goal, Kind, Ledger, Refused, Step
from states.recovery_rules import hung_layers

HANGS_FOR = 30.0
"""Seconds something has to be seen hanging: a lock manager that recovers stands still for some seconds, too."""
BACK_WITHIN = 300.0
"""Seconds a node may take to boot."""
AGAIN = 2.0
"""Seconds between two looks."""


def hanging(goal: Goal, facts: ClusterFacts) -> Consent | None:
    """The agreed recovery whose victim hangs."""
    return next((one for one in goal.consents if hung_layers(goal, facts.node(one.victim))), None)


@frozen
class Power:
    """Who does it: the survivor's own agent, under the lease, by the rules. The journal has it before it is sent."""

    remote: Remote
    journal: Journal
    goal: Goal
    holder: str
    run_id: str
    watch: Watch

    async def cycle(self, consent: Consent) -> None:
        """Off and on, and back; or it hangs no more by itself. Raises RefusedError: a rule, the agent said no, it did not come back."""
        tenure = Tenure(self.remote, self.holder, self.watch)
        try:
            answers = await tenure.take()
            facts = await self._still_hangs(ClusterFacts(tuple(answers[name].facts for name in self.remote.config.names)), consent, tenure)
            if facts is None:
                return
            shooter = next(node for node, _ in consent.shown if node != consent.victim)
            step = Step(Do.POWER_CYCLE, shooter, consent.resource, because=f"{consent.victim} hangs: only its power ends that",
                        event="fenced", says=consent.victim)
            before = facts.node(consent.victim).boot_id
            executor = Executor(self.remote, self.journal, self.goal, self.holder, self.run_id)
            epoch = tenure.epochs.get(shooter, 0)
            _done(await executor.send((step,), Sender(self.remote.config, facts, ""), Ledger(), epoch, self.watch.step), step)
            await self._back(consent.victim, before, tenure)
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(10):
                await tenure.release()

    async def _still_hangs(self, facts: ClusterFacts, consent: Consent, tenure: Tenure) -> ClusterFacts | None:
        """The newest look, when it has hung long enough; None as soon as nothing hangs there."""
        until = anyio.current_time() + HANGS_FOR
        hung = hung_layers(self.goal, facts.node(consent.victim))
        self.watch.note(f"{consent.victim} hangs ({', '.join(hung)}): if it still does in {HANGS_FOR:.0f} s it is switched off and on")
        while hung_layers(self.goal, facts.node(consent.victim)):
            if anyio.current_time() >= until:
                return facts
            await anyio.sleep(AGAIN)
            await tenure.renew()
            for name in self.remote.config.names:
                facts = facts.replace((await self.remote.look(name)).facts)
        self.watch.note(f"{consent.victim} hangs no more")
        return None

    async def _back(self, node: str, before: str, tenure: Tenure) -> None:
        """Until it answers from another boot."""
        self.watch.note(f"{node} is switched off and on: waiting until it is back")
        with anyio.move_on_after(BACK_WITHIN):
            while True:
                facts = (await self.remote.look(node)).facts
                if facts.reachable and facts.boot_id != before:
                    return
                await tenure.renew()
                await anyio.sleep(AGAIN)
        raise RefusedError(Refused("deadline", f"switch {node} off and on", f"it did not come back within {BACK_WITHIN:.0f} s",
                                   "look at its console; when it is up, run the same command again", Kind.DEADLINE))


def _done(sent: Sent, step: Step) -> None:
    result = next(iter(sent.answer.results), None)
    if result is None or result.code != 0:
        said = sent.answer.facts.why if result is None else f"exit {result.code}: {result.text or 'it said nothing'}"
        raise RefusedError(Refused("step-failed", f"switch {step.says} off and on, from {step.node}", said,
                                   f"see that {step.says} is off, switch it on by hand, then run the same command again", Kind.FAILED))
