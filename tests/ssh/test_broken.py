"""What a network, a node and an sshd can do to us, and the Outcome each of them is."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from attrs import evolve

from fixtures.sshd import LOCALHOST, Sshd, free_port, make_key
from orchestrator.commands import Effect
from orchestrator.ssh import Identity, SshTransport
from orchestrator.transport import Exited, Outcome, Why
from tests.ssh.helpers import PATIENT, QUICK, not_sent, sh, target, transport, unknown, until

pytestmark = pytest.mark.anyio
NewSshd = Callable[..., Sshd]
NEXT = Exited(0, b"next\n", b"")


@pytest.mark.parametrize("effect", list(Effect))
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "half-open"])
async def test_connection_lost_while_running(
    new_sshd: NewSshd, tmp_path: Path, effect: Effect, blow: signal.Signals
) -> None:
    server = new_sshd()
    mark = tmp_path / "started"
    async with transport(server, QUICK) as nodes:
        outcomes: list[Outcome] = []

        async def one() -> None:
            outcomes.append(await nodes.run(sh(f"echo begun; touch {mark}; exec sleep 50", effect)))

        async with anyio.create_task_group() as group:
            group.start_soon(one)
            await until(mark.exists, "command started")
            server.signal_sessions(blow)
        assert unknown(outcomes[0], Why.LOST).stdout == b"begun\n"
        assert await nodes.run(sh("echo next", effect)) == NEXT


async def test_a_read_ends_with_its_connection(new_sshd: NewSshd, tmp_path: Path) -> None:
    server = new_sshd()
    pid = tmp_path / "pid"
    async with transport(server, QUICK) as nodes, anyio.create_task_group() as group:
        group.start_soon(nodes.run, sh(f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 50"))
        await until(pid.exists, "command started")
        process = Path("/proc") / pid.read_text().strip()
        assert process.exists()
        server.signal_sessions(signal.SIGKILL)
        await until(lambda: not process.exists(), "command gone")


async def test_lost_before_the_command_is_sent(new_sshd: NewSshd) -> None:
    """A dead connection that nobody noticed yet: one new connection, and the command runs once."""
    server = new_sshd()
    async with transport(server) as nodes:
        assert await nodes.run(sh("echo next")) == NEXT
        server.signal_sessions(signal.SIGKILL)
        assert await nodes.run(sh("echo next", Effect.DESTRUCTIVE)) == NEXT


async def test_half_open_before_the_command_is_sent(new_sshd: NewSshd) -> None:
    server = new_sshd()
    async with transport(server, QUICK) as nodes:
        assert await nodes.connect("a") is None
        server.signal_sessions(signal.SIGSTOP)
        assert await nodes.run(sh("echo next", Effect.DESTRUCTIVE)) == NEXT


async def test_sshd_that_never_opens_a_session(new_sshd: NewSshd) -> None:
    """Without keepalive to find it, the wait for the session does; nothing was sent: a new connection may carry it."""
    server = new_sshd()
    async with transport(server, evolve(PATIENT, session=0.2)) as nodes:
        assert await nodes.connect("a") is None
        server.signal_sessions(signal.SIGSTOP)
        assert await nodes.run(sh("echo next")) == NEXT


async def test_sshd_restarts(new_sshd: NewSshd) -> None:
    server = new_sshd()
    async with transport(server) as nodes:
        assert await nodes.run(sh("echo next")) == NEXT
        server.down()
        not_sent(await nodes.run(sh("true")), Why.UNREACHABLE, "refused")
        server.up()
        assert await nodes.run(sh("echo next")) == NEXT


async def test_nobody_listens(sshd: Sshd) -> None:
    async with transport(sshd, port=free_port()) as nodes:
        not_sent(await nodes.run(sh("true")), Why.UNREACHABLE, "refused", LOCALHOST)


async def test_no_such_name(sshd: Sshd) -> None:
    async with transport(sshd, address="no-such-node.invalid") as nodes:
        not_sent(await nodes.run(sh("true")), Why.UNREACHABLE, "no-such-node.invalid")


async def test_a_listener_that_says_nothing(sshd: Sshd) -> None:
    with socket.create_server((LOCALHOST, 0)) as silent:
        async with transport(sshd, evolve(QUICK, login=0.3), port=silent.getsockname()[1]) as nodes:
            not_sent(await nodes.run(sh("true")), Why.UNREACHABLE, "imeout")


async def test_max_sessions(new_sshd: NewSshd, tmp_path: Path) -> None:
    server = new_sshd("MaxSessions 1")
    mark, done = tmp_path / "started", tmp_path / "done"
    async with transport(server) as nodes:
        outcomes: list[Outcome] = []

        async def one() -> None:
            outcomes.append(await nodes.run(sh(f"touch {mark}; until [ -e {done} ]; do sleep 0.01; done; echo next")))

        async with anyio.create_task_group() as group:
            group.start_soon(one)
            await until(mark.exists, "command started")
            not_sent(await nodes.run(sh("true")), Why.NO_SESSION, "refused")
            done.touch()
        assert outcomes == [NEXT]
        assert await nodes.run(sh("echo next")) == NEXT
    assert server.log().count("Accepted publickey") == 1


async def test_max_startups(new_sshd: NewSshd) -> None:
    server = new_sshd("MaxStartups 1")
    with socket.create_connection((LOCALHOST, server.port)) as other:
        assert other.recv(100).startswith(b"SSH-")
        async with transport(server, evolve(QUICK, retries=0)) as nodes:
            not_sent(await nodes.run(sh("true")), Why.UNREACHABLE, "MaxStartups")


async def test_max_startups_is_retried(new_sshd: NewSshd) -> None:
    server = new_sshd("MaxStartups 1")
    other = socket.create_connection((LOCALHOST, server.port))
    assert other.recv(100).startswith(b"SSH-")
    waits: list[float] = []

    def jitter() -> float:
        other.close()
        waits.append(0.0)
        return 0.0

    identity = Identity(server.known_hosts, server.client_key)
    async with SshTransport([target(server)], identity, evolve(QUICK, retries=6), jitter) as nodes:
        assert await nodes.run(sh("echo next")) == NEXT
    assert waits


async def test_host_key_unknown(sshd: Sshd, tmp_path: Path) -> None:
    empty = tmp_path / "known_hosts"
    empty.write_text("# nobody\nnot a line\nelsewhere ssh-ed25519 AAAA\n")
    async with transport(sshd, known_hosts=empty) as nodes:
        name = f"[{LOCALHOST}]:{sshd.port}"
        not_sent(await nodes.run(sh("true")), Why.HOST_KEY, "unknown", str(empty), name, "SHA256:")
        empty.write_text(sshd.known_line())
        assert await nodes.run(sh("echo next")) == NEXT


async def test_host_key_changed(new_sshd: NewSshd) -> None:
    server = new_sshd()
    server.known_hosts.write_text("# first\n" + server.known_line())
    async with transport(server) as nodes:
        assert await nodes.run(sh("echo next")) == NEXT
        server.change_host_key()
        line = f"{server.known_hosts} line 2"
        not_sent(await nodes.run(sh("true")), Why.HOST_KEY, "CHANGED", line, "ssh-keygen -f", "SHA256:")


async def test_host_key_of_another_type(new_sshd: NewSshd) -> None:
    server, other = new_sshd(), new_sshd(host_key_kind="ecdsa")
    kind_and_key = other.known_line().split(maxsplit=1)[1]
    server.known_hosts.write_text(f"[{LOCALHOST}]:{server.port} {kind_and_key}")
    async with transport(server) as nodes:
        not_sent(await nodes.run(sh("true")), Why.HOST_KEY, "CHANGED", "line 1")


async def test_host_key_revoked(sshd: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"{sshd.known_line()}@revoked {sshd.known_line()}")
    async with transport(sshd, known_hosts=known) as nodes:
        not_sent(await nodes.run(sh("true")), Why.HOST_KEY, "revoked", str(known))


async def test_no_known_hosts_file(sshd: Sshd, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    async with transport(sshd, known_hosts=missing) as nodes:
        not_sent(await nodes.run(sh("true")), Why.HOST_KEY, str(missing), "No such file")


async def test_wrong_key(sshd: Sshd, tmp_path: Path) -> None:
    async with transport(sshd, key=make_key(tmp_path / "other")) as nodes:
        not_sent(await nodes.run(sh("true")), Why.AUTHENTICATION, f"{sshd.user}@{LOCALHOST}")


async def test_key_with_a_passphrase(sshd: Sshd, tmp_path: Path) -> None:
    key = make_key(tmp_path / "locked", passphrase="secret")  # noqa: S106
    async with transport(sshd, key=key) as nodes:
        not_sent(await nodes.run(sh("true")), Why.AUTHENTICATION, str(key), "passphrase")


@pytest.mark.parametrize("content", [None, "nonsense"])
async def test_key_that_cannot_be_read(sshd: Sshd, tmp_path: Path, content: str | None) -> None:
    key = tmp_path / "key"
    if content is not None:
        key.write_text(content)
    async with transport(sshd, key=key) as nodes:
        not_sent(await nodes.run(sh("true")), Why.AUTHENTICATION, str(key))


async def test_neither_key_nor_agent(sshd: Sshd) -> None:
    async with SshTransport([target(sshd)], Identity(sshd.known_hosts)) as nodes:
        not_sent(await nodes.run(sh("true")), Why.AUTHENTICATION, "neither")


async def test_agent(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "agent"
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    identity = Identity(sshd.known_hosts, agent=True)
    async with SshTransport([target(sshd)], identity) as nodes:
        not_sent(await nodes.run(sh("true")), Why.AUTHENTICATION, str(path))
        agent = await anyio.open_process(["ssh-agent", "-D", "-a", str(path)])
        try:
            await until(path.exists, "agent is there")
            not_sent(await nodes.run(sh("true")), Why.AUTHENTICATION, "ssh-add")
            await anyio.run_process(["ssh-add", "-q", str(sshd.client_key)])
            assert await nodes.run(sh("echo next")) == NEXT
        finally:
            agent.terminate()
            await agent.aclose()


@pytest.mark.filterwarnings("ignore:Diffie-Hellman over finite fields")  # the only ones that sshd 5.3 knows
async def test_legacy_algorithms_only_where_asked(new_sshd: NewSshd) -> None:
    server = new_sshd(
        "KexAlgorithms diffie-hellman-group14-sha1", "Ciphers aes128-cbc", "MACs hmac-sha1",
        "HostKeyAlgorithms ssh-rsa", host_key_kind="rsa",
    )  # fmt: skip
    async with transport(server) as nodes:
        not_sent(await nodes.run(sh("true")), Why.UNREACHABLE, "legacy = true")
    async with transport(server, legacy=True) as nodes:
        assert await nodes.run(sh("echo next")) == NEXT


async def test_closing_while_a_command_runs(new_sshd: NewSshd, tmp_path: Path) -> None:
    server = new_sshd()
    mark = tmp_path / "started"
    outcomes: list[Outcome] = []
    nodes = transport(server)

    async def one() -> None:
        outcomes.append(await nodes.run(sh(f"touch {mark}; exec sleep 50")))

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        await until(mark.exists, "command started")
        await nodes.aclose()
    unknown(outcomes[0], Why.LOST)
    await until(lambda: not server.sessions(), "no connection left")
