"""/metrics, /healthz, /readyz over real sockets: what is answered, and clients that are slow, many, or talk nonsense."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from io import StringIO
from pathlib import Path

import anyio
import httpx
import pytest
from anyio.abc import SocketStream
from attrs import define, evolve

from orchestrator.logs import Form, Told
from orchestrator.supervisor import http
from orchestrator.supervisor.http import Pages
from orchestrator.supervisor.metrics import Board, Metrics
from states.picture import Picture
from tests.telling.pictures import START, cluster, picture
from tests.unit.stack_cluster import OTHER, away, facts_of, off

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@define
class Serving:
    """A server that serves. `now` is its clock."""

    pages: Pages
    board: Board
    show: Callable[[Picture], None]
    now: float = START

    @property
    def address(self) -> tuple[str, int]:
        assert self.pages.address is not None
        return self.pages.address

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url="http://{}:{}".format(*self.address)) as client:
            return await client.get(path)


@asynccontextmanager
async def serving(folder: Path, listen: str = "127.0.0.1:0") -> AsyncIterator[Serving]:
    config = cluster(folder)
    board = Board()
    with Told(StringIO(), Form.JSON) as told:
        pages = Pages(listen, board, lambda: server.now, told.log)
        server = Serving(pages, board, Metrics(board, config).picture)
        async with anyio.create_task_group() as group:
            group.start_soon(pages.run)
            await until(lambda: pages.address is not None)
            yield server
            group.cancel_scope.cancel()


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not holds():  # noqa: ASYNC110 - it is another thread's, or the far side's, to say
            await anyio.sleep(0.005)


async def test_what_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        early = await server.get("/readyz")
        assert (early.status_code, early.text) == (503, "NASCluster: no picture yet\n")
        assert (await server.get("/healthz")).status_code == 200, "the process turns, though it has seen nothing yet"
        server.show(picture(cluster(tmp_path)))
        assert (await server.get("/readyz")).text == "ok\n"
        metrics = await server.get("/metrics?x=y")
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert 'orchestrate_resource_state{cluster="NASCluster",name="r0",state="DualPrimary"} 1.0' in metrics.text
        assert (await server.get("/")).status_code == 404
        async with httpx.AsyncClient(base_url="http://{}:{}".format(*server.address)) as client:
            assert (await client.post("/metrics", content=b"{}")).status_code == 405
            head = await client.head("/healthz")
            assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "3")


async def test_ready_means_seen_or_known_to_be_off_or_in_maintenance(tmp_path: Path) -> None:
    config = cluster(tmp_path)
    gone = picture(config, away(facts_of(config)))
    async with serving(tmp_path) as server:
        server.show(gone)
        answer = await server.get("/readyz")
        assert (answer.status_code, answer.text) == (503, f"NASCluster: {OTHER} is not seen: no route\n")
        for one in (picture(config, off(facts_of(config))), evolve(gone, maintenance=frozenset({OTHER}))):
            server.show(one)
            assert (await server.get("/readyz")).status_code == 200


async def test_healthy_means_that_pictures_come(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.show(picture(cluster(tmp_path)))
        server.now = START + 660
        assert (await server.get("/healthz")).status_code == 200, "two looks may fail"
        server.now = START + 661
        answer = await server.get("/healthz")
        assert (answer.status_code, answer.text) == (503, "NASCluster: no new picture for 661 s\n")


async def test_a_new_picture_is_told_a_moment_later(tmp_path: Path) -> None:
    """Within a second the same page is handed out: asking a thousand times costs one."""
    config = cluster(tmp_path)
    async with serving(tmp_path) as server:
        server.show(picture(config))
        await server.get("/metrics")
        server.show(picture(config, away(facts_of(config))))
        wanted = f'orchestrate_node_state{{cluster="NASCluster",node="{OTHER}",state="Unreachable"}} 1.0'
        with anyio.fail_after(http.KEPT + 20):
            while wanted not in (await server.get("/metrics")).text:  # noqa: ASYNC110 - asked as Prometheus would
                await anyio.sleep(0.05)


async def test_silent_and_slow_and_many_clients_hold_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PATIENCE", 4.0)
    async with serving(tmp_path) as server, AsyncExitStack() as streams:
        server.show(picture(cluster(tmp_path)))

        async def connect() -> SocketStream:
            return await streams.enter_async_context(await anyio.connect_tcp(*server.address))

        silent = [await connect() for _ in range(http.MOST - 1)]
        await silent[0].send(b"GET /metrics HTTP/1.1\r\nHost: ")
        began = anyio.current_time()
        assert (await server.get("/healthz")).status_code == 200
        assert anyio.current_time() - began < http.PATIENCE, "one place is left, and it is served at once"
        last = await connect()
        one_too_many = await connect()
        for stream in (one_too_many, *silent, last):
            with anyio.fail_after(30), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()  # turned away, or cut off when its time was over
        assert (await server.get("/metrics")).status_code == 200, "and there is room again"


async def test_a_client_that_does_not_read_its_answer_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PATIENCE", 4.0)
    config = cluster(tmp_path)
    async with serving(tmp_path) as server:
        shown = picture(config)
        for number in range(200):  # some megabytes
            one = evolve(config, cluster=evolve(config.cluster, name=f"c{number}"))
            Metrics(server.board, one).picture(evolve(shown, cluster=f"c{number}"))
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.connect(server.address)
            lazy.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            began = anyio.current_time()
            assert (await server.get("/healthz")).status_code == 200
            assert anyio.current_time() - began < http.PATIENCE, "also while the page is made"
            with anyio.fail_after(40):
                while not await anyio.to_thread.run_sync(_ended, lazy):  # noqa: ASYNC110 - the far side's to say
                    await anyio.sleep(0.05)


def _ended(lazy: socket.socket) -> bool:
    """Whether the server has hung up, without reading what was sent."""
    try:
        lazy.sendall(b"x")
    except OSError:
        return True
    return False


TLS = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)
TOO_LONG = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20000 + b"\r\n\r\n"


@pytest.mark.parametrize("said", [TLS, b"GET /metrics\r\n\r\n", b"nonsense\r\n\r\n", b"GET /metrics HTTP/1.1\r\n\r\n", TOO_LONG, b""])
async def test_nonsense_is_answered_or_cut_off(said: bytes, tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        async with await anyio.connect_tcp(*server.address) as stream:
            answer = b""
            with anyio.fail_after(30):
                try:
                    await stream.send(said)
                    await stream.send_eof()
                    async for chunk in stream:
                        answer += chunk
                except (anyio.BrokenResourceError, OSError):
                    pass  # cut off in the middle of its nonsense
        assert not answer or answer.startswith(b"HTTP/1.1 4")
        assert (await server.get("/healthz")).status_code == 200


async def test_an_address_that_is_taken_is_had_when_it_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "AGAIN", (0.05,))
    out = StringIO()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        host, port = taken.getsockname()
        with Told(out, Form.JSON) as told:
            pages = Pages(f"{host}:{port}", Board(), lambda: START, told.log)
            async with anyio.create_task_group() as group:
                group.start_soon(pages.run)
                await until(lambda: "not_listening" in out.getvalue())
                assert pages.address is None
                taken.close()
                await until(lambda: pages.address == (host, port))
                group.cancel_scope.cancel()
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in said] == ["not_listening", "listening"], "it is said once, however often it is tried"
    assert "in use" in said[0]["seen"]
