"""Many commands through one session: nothing may differ from a session for each, except the time it takes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from attrs import evolve

from fixtures.sshd import Sshd, stand_still
from orchestrator.commands import Command, Effect
from orchestrator.ssh import SshTransport, warm
from orchestrator.ssh.shell import PRELUDE, Shell, Stream, fits, order
from orchestrator.transport import Exited, NotSent, Outcome, Signalled, Unknown, Why
from tests.ssh.helpers import PATIENT, QUICK, left, not_sent, sh, transport, unknown, until

pytestmark = pytest.mark.anyio
NewSshd = Callable[..., Sshd]
NEXT = Exited(0, b"next\n", b"")
BINARY = "".join(f"\\{number:03o}" for number in range(256))
WORD = "0123456789abcdef" * 2
SCRIPTS = (
    "true", "exit 7", "exit 124", "exit 127", "no-such-command", "echo out; echo err >&2; exit 3", "printf no-newline",
    "printf err >&2", f"printf '{BINARY}'; printf '{BINARY}' >&2", f"echo '{WORD} 0'; echo '{WORD}'; printf '{WORD} 5'",
    "cat", "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2", "seq 20000", "exec >&- 2>&-; sleep 0.1; exit 9",
    "exec sleep 5", "kill -9 $PPID", "kill -TERM $PPID; sleep 1", "kill -SEGV $$", "umask 0; cd /; trap '' TERM; X=1; export X",
    "umask; pwd", "echo } ; echo '{'", "grep -E 'Sig(Ign|Blk)' /proc/self/status", "ls -l /proc/self/fd | wc -l",
    "#" * 20_000 + "\nexit 5", "\n\n  echo 'a\n b'\n",
)  # fmt: skip


@pytest.fixture(params=["exec /bin/sh", "exec bash --posix"], ids=["sh", "bash"])
def far_shell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    words: str = request.param
    monkeypatch.setattr(warm, "START", words)
    return words


def shell_of(nodes: SshTransport) -> Shell | None:
    link = nodes._nodes["a"].current
    return None if link is None else link._warm._shell


def sessions(server: Sshd) -> int:
    """How many sessions the server was asked for."""
    return server.log().count("Starting session")


async def feeders(server: Sshd) -> tuple[int, int]:
    """The warm shell, and the cat that feeds it."""
    found: dict[bytes, int] = {}

    def look() -> bool:
        for pid in sorted(server.commands(), reverse=True):
            with suppress(OSError):
                found[Path(f"/proc/{pid}/cmdline").read_bytes()] = pid
        return b"cat\0" in found

    await until(look, "the warm shell is there")
    return found[b"/bin/sh\0"], found[b"cat\0"]


def test_stream() -> None:
    begin, end = b"b" * 32, b"e" * 32
    said = b"left over" + begin + b"\nwords " + end[:-1] + b"\n" + begin + b"\n" + end + b" 42\nmore"
    for size in (1, 2, 31, 1000):
        stream = Stream(begin, end)
        for at in range(0, len(said), size):
            stream.feed(said[at : at + size])
        assert stream.code == 42
        assert stream.output == b"words " + end[:-1] + b"\n" + begin + b"\n"
        assert stream.rest


def test_what_does_not_fit() -> None:
    assert fits(sh("true"))
    assert not fits(Command("a", ("cat",), stdin=b""))
    assert not fits(Command("a", ("printf", "a\0b")))
    assert not fits(Command("a", ("printf", "\udc80")))


@pytest.mark.parametrize("argv", [("/bin/sh",), ("bash", "--posix")], ids=["sh", "bash"])
@pytest.mark.parametrize("effect", [Effect.READ, Effect.DESTRUCTIVE])
def test_a_cut_order_runs_nothing(tmp_path: Path, argv: tuple[str, ...], effect: Effect) -> None:
    """However much of it arrived: either nothing of the command is run, or all of it."""
    done = tmp_path / "done"
    whole = order(Command("a", ("touch", str(done), f"{done}.it's\n2"), effect), b"end")
    for size in range(0, len(whole), 2):
        subprocess.run(argv, input=PRELUDE % b"begin" + whole[:size], capture_output=True, check=False)
        assert size >= len(whole) - 1 or not list(tmp_path.iterdir()), whole[:size]
    with subprocess.Popen(argv, stdin=-1, stdout=-1, stderr=-3, bufsize=0) as far:
        assert far.stdin is not None
        assert far.stdout is not None
        far.stdin.write(PRELUDE % b"begin" + whole)
        assert far.stdout.readline() == b"begin\n"
        assert far.stdout.readline().split()[:2] == [b"end", b"0"]
        far.stdin.close()  # not before: a shell that hears of the end first runs nothing any more
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("argv", [("/bin/sh",), ("bash", "--posix"), ("nohup", "/bin/sh")], ids=["sh", "bash", "nohup"])
def test_a_read_ends_with_its_stream_from_its_first_moment(argv: tuple[str, ...]) -> None:
    """A TERM to what the shell has just forked would be lost in the shell's own trap: seen 28 times in 250."""
    dice = random.Random(1)
    for _ in range(80):
        with subprocess.Popen(argv, stdin=-1, stdout=-1, stderr=-3, bufsize=0, start_new_session=True) as far:
            assert far.stdin is not None
            assert far.stdout is not None
            far.stdin.write(PRELUDE % b"begin")
            assert far.stdout.readline() == b"begin\n"
            far.stdin.write(order(sh("exec sleep 60"), b"end"))
            time.sleep(dice.uniform(0, 0.004))
            far.stdin.close()
            far.wait(40)


@pytest.mark.parametrize("effect", [Effect.READ, Effect.IDEMPOTENT])
async def test_the_same_as_in_sessions_of_their_own(new_sshd: NewSshd, far_shell: str, effect: Effect) -> None:
    server = new_sshd()
    outcomes: list[list[Outcome]] = []
    async with transport(server) as nodes:
        for off in (False, True):
            assert await nodes.connect("a") is None
            link = nodes._nodes["a"].current
            assert link is not None
            link._warm._off = off
            before = sessions(server)
            outcomes.append([await nodes.run(sh(script, effect, 0.2 if "sleep 5" in script else 20)) for script in SCRIPTS])
            assert sessions(server) - before == (len(SCRIPTS) if off else 1)
    for script, one, own in zip(SCRIPTS, *outcomes, strict=True):
        other = own
        if effect is Effect.READ and script.startswith("kill"):  # the shell that ties a READ adds a word of its own
            assert isinstance(other, Exited)
            other = evolve(other, stderr=b"")
        assert one == other, script[:100]


async def test_nothing_leaks_into_the_next(sshd: Sshd) -> None:
    async with transport(sshd) as nodes:
        link_env = []
        for off in (False, True):
            assert await nodes.connect("a") is None
            link = nodes._nodes["a"].current
            assert link is not None
            link._warm._off = off
            outcome = await nodes.run(Command("a", ("env",), Effect.IDEMPOTENT))
            assert isinstance(outcome, Exited)
            link_env.append(sorted(line for line in outcome.stdout.splitlines() if not line.startswith((b"_=", b"OLDPWD="))))
        assert link_env[0] == link_env[1]


async def test_a_code_above_128_of_a_change_is_told_as_its_signal(sshd: Sshd) -> None:
    """The one difference: the shell cannot tell `exit 137` from signal 9."""
    async with transport(sshd) as nodes:
        assert await nodes.run(sh("exit 137", Effect.IDEMPOTENT)) == Signalled("KILL", b"", b"")
        assert await nodes.run(sh("exit 255", Effect.IDEMPOTENT)) == Exited(255, b"", b"")
        assert await nodes.run(sh("exit 137", Effect.READ)) == Exited(137, b"", b"")


async def test_two_hundred_one_after_the_other(new_sshd: NewSshd, far_shell: str) -> None:
    server = new_sshd()
    async with transport(server) as nodes:
        for number in range(200):
            effect = Effect.READ if number % 2 else Effect.DESTRUCTIVE
            outcome = await nodes.run(sh(f"echo {number}; echo {-number} >&2; exit {number % 100}", effect))
            assert outcome == Exited(number % 100, b"%d\n" % number, b"%d\n" % -number)
    assert sessions(server) == 1


async def test_many_at_once(new_sshd: NewSshd) -> None:
    server = new_sshd()
    outcomes: dict[int, Outcome] = {}
    async with transport(server) as nodes:

        async def one(number: int) -> None:
            outcomes[number] = await nodes.run(sh(f"echo {number}"))

        for start in (0, 20):
            async with anyio.create_task_group() as group:
                for number in range(start, start + 20):
                    group.start_soon(one, number)
    assert outcomes == {number: Exited(0, b"%d\n" % number, b"") for number in range(40)}
    assert sessions(server) < 40


@pytest.mark.parametrize("whom", [0, 1], ids=["shell", "feeder"])
async def test_killed_between_commands(new_sshd: NewSshd, whom: int) -> None:
    """At once, and after the news came: the next one runs, once, on the same connection."""
    server = new_sshd()
    async with transport(server, QUICK) as nodes:
        for wait in (0, 0.3):
            assert await nodes.run(sh("echo next")) == NEXT
            os.kill((await feeders(server))[whom], signal.SIGKILL)
            await anyio.sleep(wait)
            assert await nodes.run(sh("echo next", Effect.DESTRUCTIVE)) == NEXT
        await until(lambda: len(server.commands()) <= 3, "nothing left of the killed ones")
    assert server.log().count("Accepted publickey") == 1


@pytest.mark.parametrize("effect", list(Effect))
async def test_shell_killed_while_running(new_sshd: NewSshd, tmp_path: Path, effect: Effect) -> None:
    server = new_sshd()
    mark = tmp_path / "started"
    outcomes: list[Outcome] = []
    async with transport(server, QUICK) as nodes:

        async def one() -> None:
            outcomes.append(await nodes.run(sh(f"echo begun; touch {mark}; exec sleep 3", effect)))

        async with anyio.create_task_group() as group:
            group.start_soon(one)
            await until(mark.exists, "command started")
            began = time.monotonic()
            os.kill((await feeders(server))[0], signal.SIGKILL)
        assert time.monotonic() - began < 2
        assert unknown(outcomes[0], Why.LOST).stdout == b"begun\n"
        assert await nodes.run(sh("echo next")) == NEXT


async def test_a_change_runs_on_without_its_connection(new_sshd: NewSshd, tmp_path: Path) -> None:
    server = new_sshd()
    mark, done = tmp_path / "started", tmp_path / "done"
    async with transport(server, QUICK) as nodes, anyio.create_task_group() as group:
        group.start_soon(nodes.run, sh(f"touch {mark}; sleep 1; touch {done}", Effect.DESTRUCTIVE))
        await until(mark.exists, "command started")
        server.signal_sessions(signal.SIGKILL)
        await until(done.exists, "command came to its end")


async def test_half_open_is_noticed_before_anything_is_sent(new_sshd: NewSshd, tmp_path: Path) -> None:
    server = new_sshd()
    count = tmp_path / "count"
    async with transport(server, QUICK) as nodes:
        assert await nodes.run(sh("echo next")) == NEXT
        server.signal_sessions(signal.SIGSTOP)
        assert await nodes.run(sh(f"echo x >>{count}; echo next", Effect.DESTRUCTIVE)) == NEXT
        server.signal_sessions(signal.SIGCONT)
        await anyio.sleep(0.3)
    assert count.read_text() == "x\n"


async def test_a_stopped_shell_costs_no_command(new_sshd: NewSshd) -> None:
    server = new_sshd()
    async with transport(server, evolve(PATIENT, session=0.3)) as nodes:
        assert await nodes.run(sh("echo next")) == NEXT
        pid = (await feeders(server))[0]
        stand_still(pid)
        assert await nodes.run(sh("echo next", Effect.DESTRUCTIVE)) == NEXT
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def test_no_news_in_time(new_sshd: NewSshd, tmp_path: Path) -> None:
    server = new_sshd()
    pid = tmp_path / "pid"
    async with transport(server, evolve(QUICK, answer=0.1)) as nodes:
        outcome = await nodes.run(sh(f"echo $PPID >{pid}; echo begun; kill -STOP $PPID; exec sleep 50", limit=0.1))
        assert unknown(outcome, Why.TIMEOUT).stdout == b"begun\n"
        assert shell_of(nodes) is None
        assert await nodes.run(sh("echo next")) == NEXT
    with suppress(ProcessLookupError):
        os.killpg(int(pid.read_text()), signal.SIGKILL)


@pytest.mark.parametrize("effect", [Effect.READ, Effect.IDEMPOTENT])
@pytest.mark.parametrize("where", ["", " >&2"], ids=["out", "err"])
async def test_too_much(new_sshd: NewSshd, effect: Effect, where: str) -> None:
    server = new_sshd()
    async with transport(server, evolve(QUICK, most_output=100_000)) as nodes:
        for _ in range(2):
            assert isinstance(await nodes.run(sh(f"head -c 99000 /dev/zero{where}", effect)), Exited)
        unknown(await nodes.run(sh(f"exec cat /dev/zero{where}", effect, limit=2)), Why.TOO_LONG)
        assert shell_of(nodes) is None
        assert await nodes.run(sh("echo next")) == NEXT
        await until(lambda: not left(server), "nothing runs on")


async def test_an_orphan_that_speaks_between_commands(new_sshd: NewSshd) -> None:
    server = new_sshd()
    async with transport(server) as nodes:
        assert await nodes.run(sh("(sleep 0.2; echo stray; sleep 0.4; echo stray >&2) & echo next")) == NEXT
        await anyio.sleep(0.4)
        assert await nodes.run(sh("sleep 0.4; echo next")) == NEXT
    assert sessions(server) == 2


async def test_cancelled_again_and_again(new_sshd: NewSshd) -> None:
    server = new_sshd()
    async with transport(server, QUICK) as nodes:
        assert await nodes.run(sh("echo next")) == NEXT
        for number in range(30):
            with anyio.move_on_after(number / 1000):
                await nodes.run(sh("sleep 50"))
            assert await nodes.run(sh("echo next")) == NEXT
        await until(lambda: not left(server), "nothing runs on")
    assert server.log().count("Accepted publickey") == 1


async def test_one_session_allowed(new_sshd: NewSshd) -> None:
    """A warm shell makes room for what cannot go through it."""
    for other in ("stdin", "follow"):
        server = new_sshd("MaxSessions 1")
        async with transport(server) as nodes:
            assert await nodes.run(sh("echo next")) == NEXT
            if other == "stdin":
                assert await nodes.run(Command("a", ("cat",), stdin=b"some")) == Exited(0, b"some", b"")
            else:
                async with nodes.follow(sh("echo line")) as lines:
                    assert [line async for line in lines] == ["line"]
                    assert lines.why_ended is None
            for _ in range(3):
                assert await nodes.run(sh("echo next")) == NEXT
        assert server.log().count("Accepted publickey") == 1


async def test_sshd_restarts(new_sshd: NewSshd) -> None:
    server = new_sshd()
    async with transport(server, QUICK) as nodes:
        for _ in range(2):
            assert await nodes.run(sh("echo next")) == NEXT
            server.down()
            not_sent(await nodes.run(sh("true", Effect.DESTRUCTIVE)), Why.UNREACHABLE, "refused")
            server.up()
        assert await nodes.run(sh("echo next")) == NEXT
        assert shell_of(nodes) is not None


@pytest.mark.parametrize("words", ["exit 1", "echo restricted >&2; exit 126", "exec /no/such/shell", "/bin/true", "cat"])
async def test_a_login_that_gives_no_shell(new_sshd: NewSshd, words: str) -> None:
    """Then every command has a session of its own, also on later connections."""
    server = new_sshd(f'ForceCommand case "$SSH_ORIGINAL_COMMAND" in "exec /bin/sh") {words};; *) eval "$SSH_ORIGINAL_COMMAND";; esac')
    async with transport(server, evolve(QUICK, session=0.5)) as nodes:
        for _ in range(2):
            assert await nodes.run(sh("echo next", Effect.DESTRUCTIVE)) == NEXT
        assert shell_of(nodes) is None
        assert sessions(server) == 3
        if words != "cat":
            server.signal_sessions(signal.SIGKILL)
            assert await nodes.run(sh("echo next", Effect.DESTRUCTIVE)) == NEXT
            assert sessions(server) == 4


@pytest.mark.parametrize("seed", range(4))
async def test_never_twice(new_sshd: NewSshd, tmp_path: Path, seed: int) -> None:
    """Shell, feeder or connection are killed at random points: said to have run is once, not sent is never."""
    server, dice, count = new_sshd(), random.Random(seed), tmp_path / "count"
    outcomes: list[Outcome] = []
    async with transport(server, QUICK) as nodes:

        async def one(number: int) -> None:
            outcomes.append(await nodes.run(sh(f"echo {number} >>{count}; sleep 0.01; echo {number}", Effect.DESTRUCTIVE)))

        for number in range(30):
            async with anyio.create_task_group() as group:
                group.start_soon(one, number)
                await anyio.sleep(dice.uniform(0, 0.03))
                victims = dice.choice([server.sessions, lambda: server.commands()[:1], server.commands, list])()
                for pid in victims:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
    await anyio.sleep(0.1)
    ran = Counter(int(line) for line in count.read_text().split())
    kinds: Counter[str] = Counter()
    for number, outcome in enumerate(outcomes):
        kinds[type(outcome).__name__] += 1
        assert ran[number] <= 1, (number, outcome)
        assert ran[number] == 1 or not isinstance(outcome, Exited), outcome
        assert ran[number] == 0 or not isinstance(outcome, NotSent), outcome
        assert isinstance(outcome, Exited | Signalled | NotSent | Unknown)
    print(f"seed {seed}: {dict(kinds)}")
    assert kinds["Exited"] >= 5


async def test_it_is_not_slower(sshd: Sshd) -> None:
    took = []
    async with transport(sshd) as nodes:
        for off in (False, True):
            assert await nodes.run(sh("true")) == Exited(0, b"", b"")
            link = nodes._nodes["a"].current
            assert link is not None
            link._warm._off = off
            began = time.monotonic()
            for _ in range(30):
                await nodes.run(Command("a", ("true",)))
            took.append((time.monotonic() - began) / 30)
    print(f"\na command: {took[0] * 1000:.1f} ms in the warm shell, {took[1] * 1000:.1f} ms in a session of its own")
    assert took[0] < took[1]
