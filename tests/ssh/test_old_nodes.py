"""Nodes of RHEL 6's age: a `timeout` that knows no -k is used without it, one that does is used with it, by a real shell."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.sshd import Sshd
from orchestrator.commands import Command, bounded
from orchestrator.transport import Exited
from tests.ssh.helpers import sh, transport

NewSshd = Callable[..., Sshd]
OLD = """#!/bin/sh
case $1 in -k*) echo "timeout: invalid option -- 'k'" >&2; exit 125 ;; esac
exec /usr/bin/timeout "$@"
"""


def run(line: str, first: Path | None = None) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([*([str(first)] if first is not None else []), os.environ["PATH"]])
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, env={**os.environ, "PATH": path}, check=False)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    tool = tmp_path / "timeout"
    tool.write_text(OLD)
    tool.chmod(0o755)
    return tmp_path


def test_an_old_timeout_is_used_without_what_it_does_not_know(old: Path) -> None:
    line = Command("a", ("sh", "-c", 'printf "%s|" "$@"; exit 7', "sh", "it's", "two words"), old_node=True).line()
    said = run(line, old)
    assert (said.returncode, said.stdout, said.stderr) == (7, "it's|two words|", "")


def test_a_newer_one_is_used_as_ever(old: Path) -> None:
    for first in (None, old):
        assert run(Command("a", ("sleep", "20"), limit=0.2, old_node=True).line(), first).returncode == 124
    deaf = ("sh", "-c", "trap '' TERM; sleep 20; sleep 20")
    assert run(bounded(0.2, 0.2, deaf, old_node=True)).returncode == 137


def test_without_it_the_old_one_would_run_nothing(old: Path) -> None:
    assert run(Command("a", ("true",)).line(), old).returncode == 125


@pytest.mark.anyio
async def test_a_legacy_node_is_asked_that_way(new_sshd: NewSshd) -> None:
    server = new_sshd()
    async with transport(server, legacy=True) as nodes:
        assert await nodes.run(sh("echo up")) == Exited(0, b"up\n", b"")
