"""Records in a real DNS server's zone: added, taken away, and everybody else's left alone; every way it can fail, said."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve

from fixtures.bind import KEY_NAME, SECRET, ZONE, Bind
from fixtures.sshd import LOCALHOST, free_port
from orchestrator.names import Address, NotPublishedError, Records
from orchestrator.names.dns import DnsBackEnd, secret_of
from orchestrator.supervise_config import NamesSection
from tests.names.pictures import FIRST, NAME, SECOND, SECOND6

pytestmark = pytest.mark.anyio
FOREIGN = "198.51.100.7"


def ips(*texts: str) -> frozenset[Address]:
    return frozenset(ipaddress.ip_address(text) for text in texts)


ALL = ips(FIRST, SECOND, SECOND6)


def at(bind: Bind, **changes: Any) -> DnsBackEnd:
    section = NamesSection("dns", NAME, ZONE, LOCALHOST, bind.port, KEY_NAME, str(bind.key_file), ttl=7)
    return DnsBackEnd(evolve(section, **changes), bind.key_file)


def records(*wanted: str) -> Records:
    return Records(NAME, 7, ips(*wanted), ALL - ips(*wanted))


async def test_what_is_wanted_is_there_and_what_is_not_is_gone(bind: Bind) -> None:
    server = at(bind)
    assert await server.read() == frozenset()
    await server.write(records(FIRST, SECOND, SECOND6))
    assert bind.addresses(NAME) == {FIRST, SECOND, SECOND6}
    assert bind.ttl(NAME) == 7
    await server.write(records(FIRST))
    assert bind.addresses(NAME) == {FIRST}
    assert await server.read() == ips(FIRST)
    await server.write(records())
    assert bind.addresses(NAME) == set()


async def test_records_of_others_stay(new_bind: Callable[..., Bind]) -> None:
    bind = new_bind(f"nas 60 A {FOREIGN}", f"nas 60 A {SECOND}", 'nas 60 TXT "hands off"')
    server = at(bind)
    await server.write(records(FIRST))
    assert bind.addresses(NAME) == {FIRST, FOREIGN}
    assert await server.read() == ips(FIRST, FOREIGN)
    await server.write(records())
    assert bind.addresses(NAME) == {FOREIGN}


async def test_the_same_once_more_changes_nothing(bind: Bind) -> None:
    server = at(bind)
    await server.write(records(FIRST))
    before = bind.serial()
    await server.write(records(FIRST))
    assert bind.serial() == before
    await server.write(records(SECOND))
    assert bind.serial() > before


async def failing(server: DnsBackEnd, what: Records | None = None) -> tuple[str, str]:
    with pytest.raises(NotPublishedError) as caught:
        await server.write(what or records(FIRST))
    return str(caught.value), caught.value.remedy


@pytest.mark.parametrize(("changes", "text", "said"), [
    ({"key_name": "somebody"}, SECRET, "it does not know the key somebody"),
    ({}, "d3Jvbmc=", "the signature by orchestrate is wrong"),
    ({}, "not base64!", "holds no key"),
    ({"zone": "example.net", "name": "nas.example.net"}, SECRET, "refuses nas.example.net: NOTAUTH"),
])
async def test_a_key_or_a_zone_that_the_server_does_not_take_is_said(bind: Bind, changes: dict[str, str], text: str, said: str) -> None:
    bind.key_file.write_text(text)
    seen, remedy = await failing(at(bind, **changes))
    assert said in seen
    assert remedy
    assert bind.addresses(NAME) == set()


async def test_without_a_key_the_server_refuses(bind: Bind) -> None:
    server = DnsBackEnd(at(bind, key_name="", key_file="").names)
    seen, _ = await failing(server)
    assert "refuses nas.example.org: REFUSED" in seen
    assert await server.read() == frozenset()


async def test_a_key_file_that_is_not_there_is_said_and_read_again_when_it_is(bind: Bind) -> None:
    text = bind.key_file.read_text()
    bind.key_file.unlink()
    assert "cannot be read: No such file" in (await failing(at(bind)))[0]
    bind.key_file.write_text(text)
    await at(bind).write(records(FIRST))
    assert bind.addresses(NAME) == {FIRST}


async def test_a_server_that_is_down_or_hangs_is_said_within_the_time_limit(bind: Bind) -> None:
    bind.hang()
    began = anyio.current_time()
    assert "did not answer within 0.3 s" in (await failing(at(bind, timeout=0.3)))[0]
    assert anyio.current_time() - began < 2.0  # of a busy machine
    bind.down()
    assert "cannot be reached" in (await failing(at(bind)))[0]
    assert "cannot be reached" in (await failing(at(bind, server=".".join(["far-too-long"] * 30))))[0]
    assert "cannot be reached" in (await failing(at(bind, server="no..such..host")))[0]


async def test_somebody_else_on_that_port_is_said(bind: Bind) -> None:
    async def hang_up(stream: Any) -> None:
        async with stream:
            await stream.receive()

    async def babble(stream: Any) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"\0\x05hello")

    for serve, said in ((hang_up, "hung up without an answer"), (babble, "its answer cannot be read")):
        port = free_port()
        listener = await anyio.create_tcp_listener(local_host=LOCALHOST, local_port=port)
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, serve)
            seen, _ = await failing(at(bind, port=port))
            group.cancel_scope.cancel()
        assert said in seen


async def test_an_alias_ignores_addresses_and_that_is_seen(new_bind: Callable[..., Bind]) -> None:
    bind = new_bind("nas 60 CNAME ns")
    seen, remedy = await failing(at(bind))
    assert "took the update" in seen
    assert "CNAME" in remedy


@pytest.mark.parametrize("text", [
    SECRET, f"{SECRET}\n", f'key "orchestrate" {{\n\talgorithm hmac-sha256;\n\tsecret "{SECRET}";\n}};\n',
    f"key:\n- id: orchestrate\n  algorithm: hmac-sha256\n  secret: {SECRET}\n",
])
async def test_key_files_of_several_tools_are_read(text: str, tmp_path: Path) -> None:
    assert secret_of(text) == SECRET
