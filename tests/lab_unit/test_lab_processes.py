"""Processes the lab starts and ends, the relay and its proxy: on this machine's loopback, without any privilege."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.lab import image, relay, tools
from fixtures.lab.errors import LabError
from fixtures.lab.system import Process, group_members, spawn, wait_until


def test_the_whole_group_is_ended_and_nobody_else(tmp_path: Path) -> None:
    other = spawn(["sleep", "60"], output=tmp_path / "other", cwd=tmp_path)
    group = spawn(["sh", "-c", "sleep 60 & sleep 60 & wait"], output=tmp_path / "out", cwd=tmp_path)
    assert wait_until(lambda: len(group_members(group.pid)) == 3, 5)
    group.end_group()
    assert not group.alive()
    assert group_members(group.pid) == []
    assert other.alive()
    other.end_group()
    other.end_group()       # what is gone stays gone


def test_what_hangs_goes_on_where_it_stood_and_can_be_ended(tmp_path: Path) -> None:
    process = spawn(["sh", "-c", "while :; do echo; sleep 0.01; done"], output=tmp_path / "out", cwd=tmp_path)
    process.hold()
    assert wait_until(lambda: _state(process.pid) == "T", 5)
    assert process.alive(), "it has power"
    process.resume()
    assert wait_until(lambda: _state(process.pid) in "RS", 5)
    process.hold()
    process.end_group()
    assert not process.alive()
    process.resume()        # what is gone stays gone


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_number_used_again_is_not_the_process(tmp_path: Path) -> None:
    process = spawn(["sleep", "60"], output=tmp_path / "out", cwd=tmp_path)
    process.save(tmp_path / "pid")
    assert Process.load(tmp_path / "pid") == process
    stranger = Process(process.pid, process.start + 1, process.boot)
    stranger.end_group()
    assert process.alive()
    process.end_group()
    assert Process.load(tmp_path / "none") is None
    (tmp_path / "torn").write_text('{"pid": 1')
    assert Process.load(tmp_path / "torn") is None


def test_a_program_that_ends_at_once_is_an_error_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="ended at once"):
        spawn(["no-such-program-here"], output=tmp_path / "out", cwd=tmp_path)


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A relay, and the proxy beside it, in a folder with a long and odd name."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / ("long " * 30)
    folder.mkdir()
    (folder / "proxy").write_bytes(tools.compiled("proxy.c").read_bytes())
    (folder / "proxy").chmod(0o755)
    process = spawn([sys.executable, "-I", "-S", relay.__file__, str(folder)], output=tmp_path / "log", cwd=tmp_path)
    assert wait_until((folder / "relay.sock").exists, 5)
    yield folder
    process.end_group()


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    """Answers each connection, once its end has come, with what was sent, twice."""
    listening = socket.create_server(("127.0.0.1", 0))

    def answer(visitor: socket.socket) -> None:
        with visitor:
            said = b"".join(iter(lambda: visitor.recv(65536), b""))
            visitor.sendall(said * 2)

    def serve() -> None:
        while True:
            try:
                visitor, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(visitor,)).start()

    thread = threading.Thread(target=serve)
    thread.start()
    yield listening.getsockname()
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


def test_only_the_owner_may_open_the_door(door: Path) -> None:
    assert (door / "relay.sock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_the_proxy_forwards_both_ways_and_each_end_by_itself(door: Path, server: tuple[str, int], size: int) -> None:
    content = os.urandom(size)
    done = subprocess.run([door / "proxy", server[0], str(server[1])], input=content, capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == content * 2


def test_many_at_once(door: Path, server: tuple[str, int]) -> None:
    argv = [str(door / "proxy"), server[0], str(server[1])]
    running = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(40)]
    for number, proxy in enumerate(running):
        said, _ = proxy.communicate(str(number).encode(), timeout=30)
        assert said == str(number).encode() * 2


def test_the_proxy_ends_when_its_reader_is_gone(door: Path, server: tuple[str, int]) -> None:
    argv = [str(door / "proxy"), server[0], str(server[1])]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as proxy:
        assert proxy.stdout is not None
        proxy.stdout.close()
        assert proxy.wait(timeout=5) == 0


def test_what_the_proxy_cannot_reach_it_names(door: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    done = subprocess.run([door / "proxy", "127.0.0.1", str(port)], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (1, "lab proxy: 127.0.0.1: Connection refused\n")
    (door / "relay.sock").unlink()
    done = subprocess.run([door / "proxy", "127.0.0.1", "1"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "is the lab up?" in done.stderr


def test_a_socket_from_python(door: Path, server: tuple[str, int]) -> None:
    with relay.open_socket(door / "relay.sock", 5) as made:
        made.connect(server)
        made.sendall(b"x")
        made.shutdown(socket.SHUT_WR)
        assert made.recv(10) == b"xx"


def test_programs_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = tools.compiled("uml_shim.c")
    written = first.stat().st_mtime_ns
    assert tools.compiled("uml_shim.c") == first
    assert first.stat().st_mtime_ns == written
    assert first.parent == image.cache_root()


def test_the_shim_closes_what_a_reboot_would_inherit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shim = tools.compiled("uml_shim.c")
    env = os.environ | {"LD_PRELOAD": str(shim)}
    with (tmp_path / "inherited").open("w") as file:
        # `env` starts the next program by execvp, as User-Mode Linux starts itself.
        argv = ["env", "-u", "LD_PRELOAD", "sh", "-c", f"test ! -e /proc/self/fd/{file.fileno()}"]
        assert subprocess.run(argv, pass_fds=[file.fileno()], timeout=30).returncode == 1
        assert subprocess.run(argv, pass_fds=[file.fileno()], env=env, timeout=30).returncode == 0
