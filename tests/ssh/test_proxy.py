"""A node that is reached through a command."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from attrs import evolve

from fixtures.sshd import LOCALHOST, Sshd
from orchestrator.ssh.dial import expand
from orchestrator.ssh.values import Target
from orchestrator.transport import Exited, Why
from tests.ssh.helpers import QUICK, not_sent, sh, transport, until

pytestmark = pytest.mark.anyio

PIPE = """
import os, select, socket, sys
print("a word on stderr", file=sys.stderr, flush=True)
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
while True:
    for ready in select.select([0, sock], [], [])[0]:
        data = os.read(ready if ready == 0 else sock.fileno(), 65536)
        if not data:
            sys.exit()
        sys.stderr.write("chatter\\n" * 20)
        (sock.sendall if ready == 0 else sys.stdout.buffer.write)(data)
        sys.stdout.flush()
"""


@pytest.fixture
def pipe(tmp_path: Path) -> str:
    script = tmp_path / "a pipe.py"
    script.write_text(PIPE)
    return f"{sys.executable} '{script}' %h %p"


def running(word: str) -> list[str]:
    """Numbers of the processes with `word` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_text().replace("\0", " ")
        except OSError:
            continue
        if word in text:
            found.append(path.parent.name)
    return found


async def test_through_a_command(sshd: Sshd, pipe: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with transport(sshd, proxy_command=pipe) as nodes:
        assert await nodes.run(sh("echo through")) == Exited(0, b"through\n", b"")
        assert len((await nodes.run(sh("head -c 1000000 /dev/zero"))).stdout) == 1_000_000  # type: ignore[union-attr]
        assert running(str(tmp_path))
    assert not running(str(tmp_path))
    assert capfd.readouterr() == ("", "")


async def test_the_proxy_dies(sshd: Sshd, pipe: str, tmp_path: Path) -> None:
    async with transport(sshd, QUICK, proxy_command=pipe) as nodes:
        assert await nodes.run(sh("echo through")) == Exited(0, b"through\n", b"")
        (own,) = running(str(tmp_path))
        os.kill(int(own), signal.SIGKILL)
        assert await nodes.run(sh("echo again")) == Exited(0, b"again\n", b"")
    await until(lambda: not running(str(tmp_path)), "proxy gone")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/no/such/command %h", ["127", "not found"]),
        ("sh -c 'echo no route to %h >&2; exit 3'", ["ended with 3", f"no route to {LOCALHOST}"]),
        ("true", ["ended with 0"]),
    ],
)
async def test_the_proxy_fails(sshd: Sshd, command: str, words: list[str]) -> None:
    async with transport(sshd, QUICK, proxy_command=command) as nodes:
        not_sent(await nodes.run(sh("true")), Why.UNREACHABLE, "proxy command", *words)


async def test_the_proxy_hangs(sshd: Sshd, tmp_path: Path) -> None:
    quick = evolve(QUICK, login=0.3)
    async with transport(sshd, quick, proxy_command=f"sh -c 'sleep 60; : {tmp_path}'") as nodes:
        not_sent(await nodes.run(sh("true")), Why.UNREACHABLE, "is still running")
        assert not running(str(tmp_path))


async def test_unknown_host_key_through_a_proxy(sshd: Sshd, pipe: str, tmp_path: Path) -> None:
    empty = tmp_path / "known_hosts"
    empty.touch()
    async with transport(sshd, proxy_command=pipe, known_hosts=empty) as nodes:
        not_sent(await nodes.run(sh("true")), Why.HOST_KEY, str(empty), "ProxyCommand")


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("nc %h %p", "nc 192.0.2.1 2222"),
        ("ssh -W %h:%p -l %r bastion", "ssh -W 192.0.2.1:2222 -l 'o p' bastion"),
        ("x %%h %", "x %h %"),
        ("x %z", "x %z"),
    ],
)
def test_expand(command: str, line: str) -> None:
    assert expand(command, Target("a", "192.0.2.1", 2222, "o p")) == line
