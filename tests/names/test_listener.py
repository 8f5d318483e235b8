"""The listener with a real DNS server: what a client is told follows what is seen, whatever the server does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from attrs import define

from fixtures.bind import KEY_NAME, SECRET, ZONE, Bind
from fixtures.sshd import LOCALHOST
from orchestrator.config import Config
from orchestrator.supervisor.names import Names
from tests.names.lines import Lines
from tests.names.pictures import FIRST, NAME, SECOND, SECOND6, configured, picture, without
from tests.unit.stack_cluster import ONE, OTHER, away, facts_of

pytestmark = pytest.mark.anyio
EVERY = {FIRST, SECOND, SECOND6}
AT_ONCE = 1.0
"""Seconds from a picture to what a client is told."""


@define
class Running:
    """A listener that runs, its server, and its log."""

    config: Config
    bind: Bind
    names: Names
    log: Lines

    async def until(self, *addresses: str, within: float = AT_ONCE) -> float:
        """Wait until a client is told just these. Returns the seconds that took. Raises TimeoutError."""
        began = anyio.current_time()
        with anyio.fail_after(within):
            while await anyio.to_thread.run_sync(self.bind.addresses, NAME) != set(addresses):  # noqa: ASYNC110 - a client can only ask again
                await anyio.sleep(0.01)
        return anyio.current_time() - began

    async def logged(self, event: str, times: int = 1, within: float = 10.0) -> None:
        with anyio.fail_after(within):
            while self.log.count(event) < times:  # noqa: ASYNC110 - a log tells nobody
                await anyio.sleep(0.01)


def cluster(folder: Path, bind: Bind, *lines: str) -> Config:
    return configured(folder, 'backend = "dns"', f'zone = "{ZONE}"', f'server = "{LOCALHOST}"', f"port = {bind.port}",
                      f'key_name = "{KEY_NAME}"', f'key_file = "{bind.key_file}"', "timeout = 0.5", *lines)


@asynccontextmanager
async def running(folder: Path, bind: Bind, *lines: str) -> AsyncIterator[Running]:
    config, log = cluster(folder, bind, *lines), Lines()
    names = Names(config, log)
    async with anyio.create_task_group() as group:
        group.start_soon(names.run)
        yield Running(config, bind, names, log)
        group.cancel_scope.cancel()


async def test_a_node_is_gone_within_a_second_and_back_after(tmp_path: Path, bind: Bind) -> None:
    async with running(tmp_path, bind) as run:
        run.names.picture(picture(run.config))
        await run.until(*EVERY)
        for _ in range(3):
            run.names.picture(without(run.config, OTHER))
            assert await run.until(FIRST) < AT_ONCE
            run.names.picture(picture(run.config))
            assert await run.until(*EVERY) < AT_ONCE
        run.names.picture(picture(run.config, away(facts_of(run.config), ONE)))
        await run.until(SECOND, SECOND6)
        await run.logged("names_published", 8)
        assert run.names.counts == {"names_updates": 8, "names_failures": 0}
        assert run.names.alarms == ()


async def test_the_same_again_asks_the_server_nothing(tmp_path: Path, bind: Bind) -> None:
    async with running(tmp_path, bind) as run:
        for _ in range(100):
            run.names.picture(picture(run.config))
            await anyio.lowlevel.checkpoint()
        await run.until(*EVERY)
        await run.logged("names_published")
        assert run.names.counts["names_updates"] == 1


async def test_after_a_restart_what_is_there_is_recognised_and_the_last_one_stays(tmp_path: Path, new_bind: Callable[..., Bind]) -> None:
    bind = new_bind(f"nas 10 A {SECOND}", f"nas 10 AAAA {SECOND6}", "nas 10 A 198.51.100.7")
    async with running(tmp_path, bind) as run:
        run.names.picture(without(run.config, ONE, OTHER))  # nobody serves, and who was the last is to be read there
        await run.logged("names_found")
        await run.logged("names_published")
        assert bind.addresses(NAME) == {SECOND, SECOND6, "198.51.100.7"}
        run.names.picture(without(run.config, OTHER))
        await run.until(FIRST, "198.51.100.7")


async def test_told_so_the_last_one_is_withdrawn_too(tmp_path: Path, bind: Bind) -> None:
    async with running(tmp_path, bind, "keep_last = false") as run:
        run.names.picture(picture(run.config))
        await run.until(*EVERY)
        run.names.picture(without(run.config, ONE, OTHER))
        await run.until()


async def test_a_wrong_key_is_reported_retried_and_over_once_it_is_mended(tmp_path: Path, bind: Bind) -> None:
    bind.key_file.write_text("d3Jvbmc=")
    async with running(tmp_path, bind) as run:
        run.names.picture(picture(run.config))
        await run.logged("names_failed", 2)
        alarm, = run.names.alarms
        assert (alarm.name, alarm.about) == ("names-not-published", NAME)
        assert "the signature by orchestrate is wrong" in alarm.evidence
        assert "key_file" in alarm.remedy
        assert run.names.counts["names_failures"] >= 2
        bind.key_file.write_text(SECRET)
        await run.until(*EVERY, within=10.0)
        await run.logged("names_published")
        assert run.names.alarms == ()


async def test_a_server_that_was_down_gets_the_newest_when_it_is_back(tmp_path: Path, bind: Bind) -> None:
    async with running(tmp_path, bind) as run:
        run.names.picture(picture(run.config))
        await run.until(*EVERY)
        bind.down()
        run.names.picture(without(run.config, ONE))
        await run.logged("names_failed")
        run.names.picture(without(run.config, OTHER))
        await run.logged("names_failed", 2)
        await anyio.to_thread.run_sync(bind.up)
        await run.until(FIRST, within=10.0)


async def test_a_server_that_hangs_holds_nobody_up(tmp_path: Path, bind: Bind) -> None:
    async with running(tmp_path, bind) as run:
        run.names.picture(picture(run.config))
        await run.until(*EVERY)
        bind.hang()
        run.names.picture(without(run.config, OTHER))
        await anyio.lowlevel.checkpoint()  # the attempt is under way
        storm = (picture(run.config), without(run.config, ONE)) * 500
        began = anyio.current_time()
        for seen in storm:
            run.names.picture(seen)
        assert anyio.current_time() - began < 1.0  # a thousand pictures, and each returned at once
        await run.logged("names_failed")
        assert "did not answer within 0.5 s" in run.names.alarms[0].evidence
        bind.go_on()
        await run.until(SECOND, SECOND6, within=10.0)
        assert run.names.counts["names_updates"] < 10


async def test_before_anything_was_seen_nothing_is_touched(tmp_path: Path, new_bind: Callable[..., Bind]) -> None:
    bind = new_bind(f"nas 10 A {FIRST}", f"nas 10 A {SECOND}", f"nas 10 AAAA {SECOND6}")
    before = bind.serial()
    async with running(tmp_path, bind) as run:
        run.names.picture(picture(run.config, away(away(facts_of(run.config)), ONE)))
        await run.logged("names_found")
        await run.logged("names_published")
        assert bind.serial() == before
