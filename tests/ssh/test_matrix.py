"""What goes wrong x when x what the command may do, each with a real sshd (`matrix` has the faults, `cell` the set-up).

In every cell: never a wrong outcome, by the files that witness what was done; then what the engine does: look again, and
send again. A DESTRUCTIVE operation sent again under its op-id is refused by the node if it ever started, and has run
exactly once in the end. Every cell ends in time, and leaves no process, task or socket.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from orchestrator.commands import Effect
from orchestrator.transport import Exited, NotSent, Outcome, Unknown
from tests.ssh.cell import NO_SHELL, OP, Cell, Sent
from tests.ssh.helpers import not_sent, sh, until
from tests.ssh.matrix import EVERYTHING, FAULTS, PATHS, PATIENT, RAN, Fault, Moment, cell_id

pytestmark = pytest.mark.anyio
Record = Callable[[str, object], None]
BOUND = 40.0  # seconds for a whole cell, on a busy machine
CELLS = [
    pytest.param(fault, moment, effect, path, id=cell_id(fault, moment, effect, path))
    for path in PATHS for fault in FAULTS for moment in Moment for effect in Effect
    if path == PATHS[0] or str(fault) == "reset" or os.environ.get(EVERYTHING)
]  # fmt: skip


@pytest.mark.parametrize(("fault", "moment", "effect", "path"), CELLS)
async def test_cell(tmp_path: Path, record_property: Record, fault: Fault, moment: Moment, effect: Effect, path: str) -> None:
    tasks, sockets = len(asyncio.all_tasks()), open_sockets()
    options = (*fault.options, *([NO_SHELL] if path != PATHS[0] else []))
    with anyio.fail_after(BOUND):
        async with Cell.open(tmp_path, effect, fault.timing, *options) as cell:
            assert await cell.nodes.run(sh("command -v date")) == Exited(0, f"{tmp_path}/bin/date\n".encode(), b"")
            sent = await struck(cell, fault, moment)
            record_property(f"cell {cell_id(fault, moment, effect, path)}", sent.kind)
            judge(cell, sent)
            assert sent.kind == fault.kind(moment)
            await healed(cell, fault, moment, sent)
            judge(cell, sent)
            await sent_again(cell, sent)
            await cell.nodes.aclose()
            await until(lambda: not cell.server.sessions() and not cell.server.strays(), "no process is left on the node")
            assert not (tmp_path / "date-asked").exists()
        await until(lambda: len(asyncio.all_tasks()) == tasks, "no task is left")
        await until(lambda: open_sockets() == sockets, "no socket is left")


def open_sockets() -> int:
    """Of this process."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            found += str(link.readlink()).startswith("socket:")
        except FileNotFoundError:  # the one that reads this folder
            continue
    return found


def judge(cell: Cell, sent: Sent) -> None:
    """The outcome, against what was really done by this first send."""
    starts, ends = cell.starts(), cell.ends()
    assert len(starts) <= 1, "sent once is started once"
    match sent.outcome:
        case Exited(code):
            assert (code, len(starts), len(ends)) == (0, 1, 1)
        case NotSent() | None:
            assert not starts
        case Unknown():
            assert not cell.intents(), "it is known in the journal that it is unknown"
        case _:
            pytest.fail(f"nobody signals it: {sent.outcome}")


async def struck(cell: Cell, fault: Fault, moment: Moment) -> Sent:
    """The fault at its moment, and what the send comes to."""
    if moment is Moment.BEFORE:
        cell.open_gate()
        cell.old = cell.server.sessions()
        await fault.strike(cell, moment)
        return await cell.send()
    sent: list[Sent] = []

    async def one() -> None:
        sent.append(await cell.send())

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        await until(cell.starts, "the operation started")
        cell.old = cell.server.sessions()
        if moment is Moment.EXITED:
            cell.relay.hold()
            cell.open_gate()
            await cell.gone()
            assert cell.ends() == cell.starts()
            await until(lambda: cell.relay.held, "its answer is on the way")
        assert not sent or fault.timing.keepalive < PATIENT.keepalive  # held answers are silence, to one who watches for it
        await fault.strike(cell, moment)
        if not fault.cuts:
            cell.relay.release()
            cell.open_gate()
    return sent[0]


async def healed(cell: Cell, fault: Fault, moment: Moment, sent: Sent) -> None:
    """The fault ends, and then what was still under way does."""
    if fault.until_healed is not None and (fault.cuts or moment is Moment.BEFORE):
        not_sent(await cell.nodes.run(sh("true")), fault.until_healed)
    await fault.heal(cell)
    if not fault.cuts or isinstance(sent.outcome, Exited):
        return
    await cell.old_sessions_gone()
    if moment is not Moment.RUNNING:
        return
    if cell.effect is Effect.READ:
        await cell.gone()  # it ended with its connection
        assert not cell.ends()
        cell.open_gate()
        return
    if cell.effect is Effect.DESTRUCTIVE:
        assert f"claim {OP} witness r0 " in (text := await cell.look())
        assert "\nrunning\n" in text
        refused(await cell.send(), "another destructive step is running")
    cell.open_gate()
    await cell.gone()  # a change does not end with its connection
    assert cell.ends() == cell.starts()


def refused(sent: Sent, words: str) -> Outcome:
    assert sent.kind == "Exited 75", sent
    assert isinstance(sent.outcome, Exited)
    assert words in sent.outcome.stdout.decode(), sent
    return sent.outcome


async def sent_again(cell: Cell, sent: Sent) -> None:
    """A look, then the same operation again: of a DESTRUCTIVE one the node sees to it that it runs once."""
    starts, ends = len(cell.starts()), len(cell.ends())
    open_before = [one.op for one in cell.intents()]
    assert open_before == ([OP] if sent.outcome is not None and not sent.recorded else [])
    text = await cell.look()
    if cell.effect is not Effect.DESTRUCTIVE:
        assert (await cell.send()).kind == RAN
        assert (len(cell.starts()), len(cell.ends())) == (starts + 1, ends + 1)
        return
    assert (f"claim {OP} " in text) == (starts == 1)
    assert ("\noutcome 0\n" in text) == (starts == 1)
    if not starts:
        assert (await cell.send()).kind == RAN
    refused(await cell.send(), f"claimed before: {OP}")
    assert (len(cell.starts()), len(cell.ends())) == (1, 1)
    assert not cell.intents()
