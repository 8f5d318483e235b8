"""Names by a program, and in a hosts file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import anyio
import pytest

from orchestrator.names import NotPublishedError, Records, back_end
from orchestrator.names.exec import ExecBackEnd
from orchestrator.names.hosts import HostsBackEnd
from orchestrator.supervise_config import NamesSection
from tests.names.pictures import FIRST, NAME, SECOND, SECOND6, configured
from tests.names.test_dns import records

pytestmark = pytest.mark.anyio


def program(folder: Path, script: str, timeout: float = 5.0) -> ExecBackEnd:
    return ExecBackEnd(NamesSection("exec", NAME, command=("sh", "-c", script), timeout=timeout), folder)


async def test_the_program_gets_the_records_and_what_to_remove(tmp_path: Path) -> None:
    await program(tmp_path, "cat >told").write(records(FIRST))
    assert json.loads((tmp_path / "told").read_text()) == {
        "name": NAME, "ttl": 7, "records": [{"type": "A", "address": FIRST}],
        "remove": [{"type": "A", "address": SECOND}, {"type": "AAAA", "address": SECOND6}],
    }
    assert await program(tmp_path, "exit 1").read() is None


async def test_a_program_need_not_read_what_it_is_told(tmp_path: Path) -> None:
    big = Records(NAME, 7, frozenset(), records().unwanted)
    for _ in range(5):
        await program(tmp_path, "exec true").write(big)


@pytest.mark.parametrize(("script", "said"), [
    ("echo no key >&2; exit 3", "sh ended with exit 3: no key"),
    ("exec sleep 60", "sh did not end within 0.5 s"),
])
async def test_a_program_that_fails_is_said(tmp_path: Path, script: str, said: str) -> None:
    began = anyio.current_time()
    with pytest.raises(NotPublishedError, match=said):
        await program(tmp_path, script, timeout=0.5).write(records(FIRST))
    assert anyio.current_time() - began < 5.0
    with pytest.raises(NotPublishedError, match="cannot be run"):
        await ExecBackEnd(NamesSection("exec", NAME, command=("/no/such/program",)), tmp_path).write(records(FIRST))


FOREIGN = f"# by hand\n127.0.0.1 localhost\n{FIRST} linux-nas01 nas\n198.51.100.7\t{NAME}\n"


def hosts(path: Path) -> HostsBackEnd:
    return HostsBackEnd(NamesSection("hosts", NAME, file=str(path)), path)


async def test_a_hosts_file_gets_our_lines_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text(FOREIGN + f"{SECOND} {NAME}\n")
    path.chmod(0o640)
    await hosts(path).write(records(FIRST, SECOND6))
    assert path.read_text() == FOREIGN + f"{FIRST}\t{NAME}\n{SECOND6}\t{NAME}\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert {str(one) for one in await hosts(path).read() or ()} == {FIRST, SECOND6, "198.51.100.7"}
    before = path.stat().st_ino
    await hosts(path).write(records(FIRST, SECOND6))
    assert path.stat().st_ino == before
    await hosts(path).write(records())
    assert path.read_text() == FOREIGN
    assert os.listdir(tmp_path) == ["hosts"]  # noqa: PTH208 - nothing half written is left


async def test_a_hosts_file_is_made_and_a_link_is_followed(tmp_path: Path) -> None:
    link, path = tmp_path / "link", tmp_path / "real"
    link.symlink_to(path)
    assert await hosts(link).read() == frozenset()
    await hosts(link).write(records(FIRST))
    assert link.is_symlink()
    assert path.read_text() == f"{FIRST}\t{NAME}\n"


async def test_a_hosts_file_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotPublishedError, match="cannot be read"):
        await hosts(tmp_path).read()
    with pytest.raises(NotPublishedError, match="cannot be written: No such file or directory"):
        await hosts(tmp_path / "no" / "hosts").write(records(FIRST))


async def test_cluster_toml_says_which_one(tmp_path: Path) -> None:
    assert isinstance(back_end(configured(tmp_path, 'backend = "exec"', 'command = ["true"]')), ExecBackEnd)
    chosen = back_end(configured(tmp_path, 'backend = "hosts"', 'file = "hosts"'))
    assert isinstance(chosen, HostsBackEnd)
    assert chosen.path == tmp_path / "hosts"
