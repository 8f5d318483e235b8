"""What every test here begins with."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import anyio
from attrs import evolve

from fixtures.sshd import LOCALHOST, READY, Sshd
from orchestrator.commands import Command, Effect
from orchestrator.ssh import Identity, SshTransport, Target, Timing
from orchestrator.transport import NotSent, Outcome, Unknown, Why

QUICK = Timing(connect=3, login=5, session=3, keepalive=0.1, keepalive_count=2, answer=1, stop=0.5, linger=0.2)
PATIENT = evolve(QUICK, keepalive=30)


def target(server: Sshd, **changes: object) -> Target:
    return evolve(Target("a", LOCALHOST, server.port, server.user), **changes)  # type: ignore[arg-type]


def transport(
    server: Sshd,
    timing: Timing = PATIENT,
    *,
    key: Path | None = None,
    known_hosts: Path | None = None,
    **changes: object,
) -> SshTransport:
    identity = Identity(known_hosts or server.known_hosts, key or server.client_key)
    return SshTransport([target(server, **changes)], identity, timing)


def sh(script: str, effect: Effect = Effect.READ, limit: float = 20.0) -> Command:
    return Command("a", ("sh", "-c", script), effect, limit)


async def until(condition: object, what: str) -> None:
    """As `fixtures.sshd.wait_for`, without blocking the loop."""
    assert callable(condition)
    with anyio.move_on_after(READY):
        while not condition():  # noqa: ASYNC110  # what is waited for is another process
            await anyio.sleep(0.005)
        return
    raise TimeoutError(what)


def left(server: Sshd) -> list[int]:
    """As `Sshd.commands`, without an idle warm shell and what feeds it."""
    found = []
    for pid in server.commands():
        with suppress(OSError):  # ended meanwhile
            if Path(f"/proc/{pid}/cmdline").read_bytes() not in (b"/bin/sh\0", b"cat\0"):
                found.append(pid)
    return found


def not_sent(outcome: Outcome | None, why: Why, *words: str) -> None:
    assert isinstance(outcome, NotSent), outcome
    assert outcome.why is why, outcome
    for word in words:
        assert word in outcome.detail


def unknown(outcome: Outcome, why: Why) -> Unknown:
    assert isinstance(outcome, Unknown), outcome
    assert outcome.why is why, outcome
    return outcome
