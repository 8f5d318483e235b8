"""`orchestrate watch`: on simulated nodes, behind real SSH and in a real terminal, and on the virtual clock.

Every `sleep` with a `Scene` is on the virtual one.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from attrs import define

from fixtures.sim.seeds import NAMES
from fixtures.sim.stack.stage import Scene
from orchestrator.cli.watch import Shown
from orchestrator.render import console
from tests.sim.test_observer import Watched, watching
from tests.sim.test_sim_sshd import ONE, TWO, nodes

COMMAND = [sys.executable, "-m", "orchestrator"]
ROWS, COLUMNS = 24, 80


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_once_draws_it_and_says_whether_all_were_seen(tmp_path: Path) -> None:
    async with nodes(tmp_path) as (config, world, _):
        once = [*COMMAND, "-c", str(config.path), "watch", "--once"]
        whole = await anyio.run_process(once, check=False)
        world.power_off(1)
        half = await anyio.run_process(once, check=False)
    text = whole.stdout.decode()
    assert whole.returncode == 0, whole.stderr
    assert text.startswith("cluster simulated  2 of 2 nodes seen")
    assert "r0  Unconfigured" in text
    assert "\x1b" not in text
    assert half.returncode == 6
    assert f"{TWO}  Unreachable" in half.stdout.decode()
    assert f"critical: {TWO} cannot be reached, and nobody knows whether it is off: " in half.stdout.decode()
    assert f"{ONE}  Reachable" in half.stdout.decode()


@define
class Terminal:
    """A program on a terminal of its own, and what it has written there."""

    process: subprocess.Popen[bytes]
    master: int
    written: bytes = b""

    async def until(self, text: str) -> None:
        """Read until this is on the screen."""
        with anyio.fail_after(90):
            while text.encode() not in self.written:
                await anyio.wait_readable(self.master)
                self.written += os.read(self.master, 65536)


@contextmanager
def heard(number: signal.Signals) -> Iterator[None]:
    """What is started meanwhile does not inherit that this signal is ignored."""
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def on_a_terminal(argv: list[str]) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    # a shell that starts the tests in the background has SIGINT ignored, and programs inherit that: a handler is not inherited
    with heard(signal.SIGINT):
        process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True)
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)


@pytest.mark.anyio
async def test_on_a_terminal_the_screen_moves_until_ctrl_c(tmp_path: Path) -> None:
    async with nodes(tmp_path) as (config, world, _):
        with on_a_terminal([*COMMAND, "-c", str(config.path), "watch"]) as terminal:
            await terminal.until("2 of 2 nodes seen")
            assert b"\x1b[?1049h" in terminal.written  # the terminal's other screen: what was there comes back
            world.power_off(1)
            await terminal.until("1 of 2 nodes seen")
            terminal.process.send_signal(signal.SIGINT)
            await terminal.until("\x1b[?1049l")
            assert await anyio.to_thread.run_sync(terminal.process.wait) == 0


def test_without_a_terminal_every_move_is_a_line() -> None:
    stream = io.StringIO()

    async def act(scene: Scene, watched: Watched) -> None:
        shown = Shown(console(stream), scene.world.now)
        shown.take(watched.pictures[-1])
        async with anyio.create_task_group() as group:
            group.start_soon(shown.lines)
            await anyio.sleep(1)
            watched.also = shown.take
            scene.stack.services.end(0, "smbd")
            await anyio.sleep(5)
            group.cancel_scope.cancel()

    watching(act)
    lines = stream.getvalue().splitlines()
    assert any(line.startswith("r0  DualPrimary") for line in lines)
    assert f"samba on {NAMES[0]}: Up -> Down (went_down)" in lines[-1]
    assert sum("went_down" in line for line in lines) == 1
