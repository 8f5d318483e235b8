"""A node is switched off by its fence agent, or a human says that it is: both through the other nodes' own fencing (`fence.sh`)."""

from __future__ import annotations

from orchestrator.commands import Command, Effect
from orchestrator.errors import RefusedError, StepFailedError
from orchestrator.remote import Remote
from orchestrator.stack.files import FENCE_PATH
from orchestrator.transport import Exited
from states.facts import ClusterFacts
from states.goal import Kind, Refused


async def switch_off(remote: Remote, facts: ClusterFacts, victim: str) -> None:
    """By its agent, from the first node that can. Raises RefusedError if none can be reached, StepFailedError if none succeeds."""
    shooters = [node.name for node in facts.nodes if node.reachable and node.name != victim and node.name in remote.config.storage]
    if not shooters:
        raise RefusedError(Refused("unknown-is-not-down", f"fence {victim}", "no other node can be reached to do it from",
                                   f"switch {victim} off by hand", Kind.UNREACHABLE))
    said = ""
    for shooter in shooters:
        code, said = await _far(remote, shooter, "--node", victim, 90.0)
        if code == 0:
            return
    raise StepFailedError(f"fence {victim}: {said or 'the agent said nothing'}; "
                          f"if it has no power, say so: orchestrate fence-ack {victim}")


async def acknowledge(remote: Remote, facts: ClusterFacts, victim: str) -> list[str]:
    """Tell every node that can be reached that the victim is off, and say which. Raises RefusedError while the victim still answers,
    StepFailedError where a node does not take it."""
    shown = alive(facts, victim)
    if shown:
        raise RefusedError(Refused("unknown-is-not-down", f"fence-ack {victim}", f"it is not off: {shown}",
                                   f"switch it off first: orchestrate fence {victim}"))
    told = []
    for node in facts.nodes:
        if node.reachable and node.name in remote.config.storage:  # who only votes has nothing that waits
            code, said = await _far(remote, node.name, "--ack", victim, 30.0)
            if code != 0:
                raise StepFailedError(f"fence-ack {victim} on {node.name}: {said or f'exit {code}'}")
            told.append(node.name)
    if not told:
        raise RefusedError(Refused("unknown-is-not-down", f"fence-ack {victim}", "no other node can be reached",
                                   "make one reachable", Kind.UNREACHABLE))
    return told


def alive(facts: ClusterFacts, victim: str) -> str:
    """What shows that it runs: it was reached, or its DRBD talks to another node. Only silence on every way may mean "off"."""
    node = facts.node(victim)
    if node.reachable or "hangs" in node.why:
        return f"{victim} answers"
    for other in facts.nodes:
        for resource, side in other.sides:
            if other.name != victim and side.connected:
                return f"{resource} on {other.name} is connected to it"
    return ""


async def _far(remote: Remote, node: str, word: str, victim: str, limit: float) -> tuple[int, str]:
    outcome = await remote.transport.run(Command(node, (FENCE_PATH, word, victim), Effect.IDEMPOTENT, limit))
    if not isinstance(outcome, Exited):
        return 255, f"{node} was lost: {outcome}"
    words = (outcome.stderr or outcome.stdout).decode(errors="replace").strip()
    return outcome.code, f"{node}: {words}"
