"""The follower's real script in a real sshd's session: what it says, that it is alone, and that nothing of it outlives its listener.

Its tools are stand-ins that last (`sleep`); what it reads of the kernel and keeps on the node is in a folder of the test.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest
from attrs import evolve, frozen

from fixtures.sshd import Sshd
from orchestrator.commands import Command
from orchestrator.ssh import SshTransport, Timing
from orchestrator.ssh.transport import Lines
from orchestrator.supervisor.follower import BEST_SHELL, SCRIPT, Follower, Wish
from orchestrator.supervisor.intake import Intake
from orchestrator.supervisor.said import DrbdSeen, Following, Gap, Leased, Marked, Said, Stirred, WatchedBy
from tests.ssh.helpers import PATIENT, QUICK, transport, until
from tests.ssh.relay import Relay

pytestmark = pytest.mark.anyio
SHELLS = [name for name in ("bash", "dash") if shutil.which(name)]
LASTING = f"98765.{os.getpid()}"
"""Seconds a stand-in sleeps: how it is told from every other process."""
PLACES = {"/var/lib/orchestrate": "lib", "/run/orchestrate": "run", "/proc/drbd": "drbd", "/sys/fs/cgroup": "cgroup",
          "/run/systemd/system": "systemd"}
PROC = """\
version: 8.4.11 (api:1/proto:86-101)
 1: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----
    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:{oos}
"""


@frozen
class Place:
    """A node's places in a folder."""

    folder: Path
    shell: str = "bash"

    def make(self) -> None:
        """What is there at the start."""
        (self.folder / "lib").mkdir(parents=True)
        (self.folder / "bin").mkdir()
        (self.folder / "systemd").mkdir()  # a machine that systemd runs
        (self.folder / "drbd").write_text(PROC.format(oos=0))
        for tool in ("drbdsetup", "dmesg", "journalctl"):
            path = self.folder / "bin" / tool
            path.write_text(f"#!/bin/sh\nexec sleep {LASTING}\n")
            path.chmod(0o755)

    def moved(self, command: Command) -> Command:
        """The same command in here."""
        script = SCRIPT
        for place, name in PLACES.items():
            script = script.replace(place, str(self.folder / name))
        script = f"PATH={self.folder}/bin:$PATH\n{script}"
        words = {SCRIPT: script, BEST_SHELL: f'exec {self.shell} -c "$@"'}
        return evolve(command, argv=tuple(words.get(word, word) for word in command.argv))

    def processes(self) -> list[int]:
        """What runs there: the follower's shell, what is around it, and its stand-ins. Not the oldest of them, `sshd`'s own."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace")
                if (str(self.folder) in words and "sshd_config" not in words) or LASTING in words:
                    found.append(int(entry.name))
        return found

    def shells(self) -> list[int]:
        """The follower's shell itself."""
        return [pid for pid in self.processes() if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(f"{self.shell}\0".encode())]

    def tools(self) -> list[int]:
        """The stand-ins that run."""
        return [pid for pid in self.processes() if LASTING.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.fixture(params=SHELLS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    made = Place(tmp_path / "node", request.param)
    made.make()
    return made


class Elsewhere:
    """A transport whose followers live in a folder."""

    def __init__(self, nodes: SshTransport, place: Place) -> None:
        self._nodes = nodes
        self._place = place
        self.run, self.pull, self.aclose = nodes.run, nodes.pull, nodes.aclose

    def follow(self, command: Command) -> AbstractAsyncContextManager[Lines]:
        """See Transport."""
        return self._nodes.follow(self._place.moved(command))


class Heard:
    """What a follower's intake was given, in order."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.said: list[Said] = []

    async def until(self, fits: Callable[[Said], bool]) -> Said:
        """The first that fits, of all that was said."""
        with anyio.fail_after(20):
            while True:
                for said in self.said:
                    if fits(said):
                        return said
                await self.follower.intake.wait()
                self.said += [said for said in self.follower.intake.take() if not hasattr(said, "facts")]  # type: ignore[misc]

    async def kind(self, wanted: type[Said]) -> Said:
        """The first of a kind."""
        return await self.until(lambda said: isinstance(said, wanted))


@asynccontextmanager
async def following(
    nodes: SshTransport, place: Place, wish: Wish | None = None, dead: Callable[[str], bool] = lambda _: False
) -> AsyncIterator[Heard]:
    """A follower at work."""
    follower = Follower(Elsewhere(nodes, place), "a", wish or Wish("me:1:1", 0.2, ("smbd",), ("smbd",)), Intake(), dead)
    async with anyio.create_task_group() as group:
        group.start_soon(follower.run)
        yield Heard(follower)
        group.cancel_scope.cancel()


def boot_id() -> str:
    """This boot's."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def uptime() -> int:
    """Whole seconds since then."""
    return int(float(Path("/proc/uptime").read_text().split()[0]))


async def test_it_says_what_it_knows_and_then_what_changes(sshd: Sshd, place: Place) -> None:
    async with transport(sshd) as nodes, following(nodes, place) as heard:
        began = await heard.kind(Following)
        assert isinstance(began, Following)
        assert began.boot_id == boot_id()
        await heard.until(lambda said: said == Leased("a", "", 0))
        await heard.until(lambda said: said == Marked("a", ""))
        await heard.until(lambda said: said == DrbdSeen("a", 1, "1: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r----- oos:0"))
        await heard.until(lambda said: said == Stirred("a", "units", "smbd=-"))
        (place.folder / "lib" / "lease").write_text(f"7 other:2:3 {began.boot_id} {uptime() + 20}\n")
        await heard.until(lambda said: said == Leased("a", "other:2:3", 7))
        (place.folder / "lib" / "lease").write_text("7 - - 0\n")
        await heard.until(lambda said: said == Leased("a", "", 7))
        (place.folder / "lib" / "maintenance").write_text("until noon\n")
        await heard.until(lambda said: said == Marked("a", "until noon"))
        (place.folder / "drbd").write_text(PROC.format(oos=4096))
        await heard.until(lambda said: isinstance(said, DrbdSeen) and said.text.endswith("oos:4096"))
        unit = place.folder / "cgroup" / "system.slice" / "smbd.service"
        unit.mkdir(parents=True)
        (unit / "cgroup.procs").write_text("4711\n4712\n")
        await heard.until(lambda said: said == Stirred("a", "units", "smbd=4711"))


async def test_a_lease_that_has_run_out_is_nobodys(sshd: Sshd, place: Place) -> None:
    (place.folder / "lib" / "lease").write_text(f"7 other:2:3 {boot_id()} {uptime() + 2}\n")
    async with transport(sshd) as nodes, following(nodes, place) as heard:
        await heard.until(lambda said: said == Leased("a", "other:2:3", 7))
        await heard.until(lambda said: said == Leased("a", "", 7))


async def _leave(server: Sshd, place: Place, relay: Relay) -> None:
    """The listener goes away by itself, see the test."""


async def _kill_session(server: Sshd, place: Place, relay: Relay) -> None:
    server.signal_sessions(signal.SIGKILL)


async def _kill_shell(server: Sshd, place: Place, relay: Relay) -> None:
    for pid in place.shells():
        os.kill(pid, signal.SIGKILL)


async def _end_shell(server: Sshd, place: Place, relay: Relay) -> None:
    for pid in place.shells():
        os.kill(pid, signal.SIGTERM)


async def _reset(server: Sshd, place: Place, relay: Relay) -> None:
    relay.reset()


def through(server: Sshd, relay: Relay, timing: Timing) -> SshTransport:
    """A transport whose packets pass the relay."""
    known = server.folder / "known_through_relay"
    known.write_text(server.known_line(relay.port))
    return transport(server, timing, port=relay.port, known_hosts=known)


@pytest.mark.parametrize("ends", [_leave, _kill_session, _kill_shell, _end_shell, _reset])
async def test_nothing_outlives_its_listener(
    new_sshd: Callable[..., Sshd], place: Place, ends: Callable[[Sshd, Place, Relay], Awaitable[None]]
) -> None:
    server = new_sshd()
    async with Relay.to(server.port) as relay, through(server, relay, PATIENT) as nodes:
        async with following(nodes, place) as heard:
            await heard.kind(Following)
            await until(lambda: len(place.tools()) == 3, "its tools run")
            before = set(place.processes())
            await ends(server, place, relay)
            if ends is not _leave:
                await heard.kind(Gap)
                await until(lambda: not before & set(place.processes()), "nothing is left of it")
                heard.said.clear()
                await heard.kind(Following)  # and it is begun again
        await until(lambda: not place.processes(), "nothing is left")


async def test_at_rest_it_starts_no_process(sshd: Sshd, tmp_path: Path) -> None:
    """Of a process that was waited for, its page faults would be counted here (proc(5), cminflt)."""
    place = Place(tmp_path / "node")
    place.make()
    async with transport(sshd) as nodes, following(nodes, place, Wish("-", 0.1, ("smbd", "corosync", "dlm"))) as heard:
        await heard.kind(Following)
        await until(lambda: len(place.tools()) == 2, "its tools run")
        await heard.until(lambda said: isinstance(said, Stirred) and said.what == "fence")
        (shell,) = place.shells()

        def faults() -> str:
            return Path(f"/proc/{shell}/stat").read_text().rpartition(")")[2].split()[8]

        with anyio.fail_after(20):
            (place.folder / "lib" / "maintenance").write_text("one\n")
            await heard.until(lambda said: said == Marked("a", "one"))
            before = faults()
            for count in range(10):  # each is another sweep at least
                (place.folder / "lib" / "maintenance").write_text(f"again {count}\n")
                await heard.until(lambda said, count=count: said == Marked("a", f"again {count}"))  # type: ignore[misc]
        assert faults() == before


async def test_one_supervisor_watches(sshd: Sshd, place: Place) -> None:
    async with transport(sshd) as nodes, following(nodes, place, Wish("one:1:1", 0.2)) as first:
        await first.kind(Following)
        async with following(nodes, place, Wish("two:2:2", 0.2)) as second:
            assert await second.kind(WatchedBy) == WatchedBy("a", "one:1:1")
        async with following(nodes, place, Wish("-", 0.2)) as reader:
            await reader.kind(Following)
        await until(lambda: len(place.shells()) == 1, "the others' shells have ended")
        (shell,) = place.shells()
        os.kill(shell, signal.SIGKILL)  # its lock goes with it
        async with following(nodes, place, Wish("two:2:2", 0.2)) as second:
            await second.kind(Following)


async def test_a_watcher_whose_connection_hangs_takes_over_from_itself(sshd: Sshd, place: Place) -> None:
    async with transport(sshd) as nodes, transport(sshd) as others, following(nodes, place, Wish("one:1:1", 0.2)) as first:
        await first.kind(Following)
        async with following(others, place, Wish("one:1:1", 0.2)) as again:
            await again.kind(Following)
            await first.kind(Gap)


async def test_a_dead_watcher_is_passed_over(sshd: Sshd, place: Place) -> None:
    async with transport(sshd) as nodes, transport(sshd) as others, following(nodes, place, Wish("one:1:1", 0.2)) as first:
        await first.kind(Following)
        async with following(others, place, Wish("two:2:2", 0.2), lambda name: name == "one:1:1") as second:
            await second.kind(Following)
            await first.kind(Gap)


async def test_a_connection_that_falls_silent_is_given_up(
    new_sshd: Callable[..., Sshd], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.supervisor.follower.SILENCE", 4.0)
    server = new_sshd()
    async with Relay.to(server.port) as relay, through(server, relay, evolve(QUICK, keepalive=60)) as nodes:
        async with following(nodes, place) as heard:
            await heard.kind(Following)
            relay.fall_silent()
            gap = await heard.kind(Gap)
            assert isinstance(gap, Gap)
            assert "said nothing" in gap.why
            assert gap.unreachable
            relay.speak()
            heard.said.clear()
            await heard.kind(Following)
        await until(lambda: not place.processes(), "nothing is left")
