"""The virtual clock: time jumps, a seed decides the order, and cancellation is anyio's own."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import anyio
import pytest

from fixtures.sim.clock import Bell, on_virtual_clock, present_clock, present_starter, sleep
from fixtures.sim.loop import Stuck


def run(main: Callable[[list[str]], Awaitable[object]], seed: int = 0) -> list[str]:
    """What `main` told on a virtual clock."""
    told: list[str] = []
    on_virtual_clock(seed, lambda: main(told))
    return told


async def _many(told: list[str]) -> None:
    """Ten tasks that wake at the same moments, and are cancelled at the same moment while they clean up."""
    async def one(name: str) -> None:
        try:
            for _ in range(3):
                await sleep(1)
                told.append(name)
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await sleep(1)
                told.append(f"end of {name}")

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(one, str(number))
        await sleep(5)
        group.cancel_scope.cancel()


def test_time_jumps_and_is_exact() -> None:
    async def main(told: list[str]) -> None:
        for seconds in (0.1, 0.2, 1e6):
            await sleep(seconds)
            told.append(repr(anyio.current_time()))
        assert present_clock()() == anyio.current_time()

    began = time.monotonic()
    assert run(main) == [repr(0.1), repr(0.1 + 0.2), repr(0.1 + 0.2 + 1e6)]
    assert time.monotonic() - began < 60, "a million seconds of the virtual clock are none of ours"


def test_timers_go_off_in_the_order_of_their_times() -> None:
    async def main(told: list[str]) -> None:
        async def one(seconds: float) -> None:
            await sleep(seconds)
            told.append(f"{seconds} at {anyio.current_time()}")

        async with anyio.create_task_group() as group:
            for seconds in (3.0, 1.0, 2.5):
                group.start_soon(one, seconds)

    assert run(main) == ["1.0 at 1.0", "2.5 at 2.5", "3.0 at 3.0"]


def test_what_can_run_runs_before_time_jumps() -> None:
    async def main(told: list[str]) -> None:
        async def busy() -> None:
            for _ in range(100):
                await anyio.lowlevel.checkpoint()
            told.append(f"busy until {anyio.current_time()}")

        async with anyio.create_task_group() as group:
            group.start_soon(busy)
            await sleep(1)
            told.append("slept")

    assert run(main) == ["busy until 0.0", "slept"]


def test_one_seed_one_order_another_seed_another() -> None:
    assert run(_many, 1) == run(_many, 1)
    assert len({tuple(run(_many, seed)) for seed in range(5)}) == 5
    assert sorted(run(_many, 1)) == sorted(run(_many, 2))


def test_the_order_of_a_cancellation_is_that_of_the_seed_not_of_memory() -> None:
    """anyio keeps a scope's tasks in a set: another process has them at other addresses."""
    script = "from tests.sim.test_clock import _many, run; print(run(_many, 3))"
    seen = {subprocess.run([sys.executable, "-c", f"junk = [object()] * {junk}; {script}"], env={**os.environ, "PYTHONHASHSEED": str(junk)},
                           capture_output=True, text=True, check=True).stdout for junk in (1, 777, 50000)}
    assert len(seen) == 1


def test_a_deadline_and_a_cancellation() -> None:
    async def main(told: list[str]) -> None:
        with anyio.move_on_after(2) as scope:
            await sleep(5)
        told.append(f"{scope.cancelled_caught} at {anyio.current_time()}")
        with pytest.raises(TimeoutError), anyio.fail_after(1):
            await anyio.sleep_forever()
        told.append(f"{anyio.current_time()}")
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            group.cancel_scope.cancel()

    assert run(main) == ["True at 2.0", "3.0"]


def test_a_bell_wakes_who_waits_and_nobody_else() -> None:
    async def main(told: list[str]) -> None:
        bell = Bell()
        bell.ring()  # nobody waits: it is not kept
        await bell.wait(1.0)
        told.append(f"not rung until {anyio.current_time()}")
        async with anyio.create_task_group() as group:
            group.start_soon(bell.wait, math.inf)
            await sleep(2)
            bell.ring()
            bell.ring()
        told.append(f"rung at {anyio.current_time()}")
        with anyio.move_on_after(1):
            await bell.wait()
        bell.ring()  # who waited is gone
        told.append(f"given up at {anyio.current_time()}")

    assert run(main) == ["not rung until 1.0", "rung at 3.0", "given up at 4.0"]


def test_a_task_of_nobody_ends_with_the_run_and_the_run_with_its_failure() -> None:
    async def main(told: list[str]) -> None:
        async def endless() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                told.append("ended")

        async with anyio.create_task_group() as group:
            present_starter(group)(endless)
            await sleep(1)
            told.append("through")

    async def failing(told: list[str]) -> None:
        async def fail() -> None:
            raise LookupError("it failed")

        async with anyio.create_task_group() as group:
            present_starter(group)(fail)
            await sleep(1)
            told.append("never")

    assert run(main) == ["through", "ended"]
    with pytest.raises(LookupError, match="it failed"):
        run(failing)


def test_a_run_in_which_nobody_will_ever_do_anything_is_an_error() -> None:
    async def main(_: list[str]) -> None:
        await anyio.Event().wait()

    with pytest.raises(Stuck):
        run(main)


def test_a_bell_on_a_real_clock() -> None:
    async def main() -> list[bool]:
        bell, seen = Bell(), []
        with anyio.move_on_after(30) as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(bell.wait)
                await anyio.wait_all_tasks_blocked()
                bell.ring()
        seen.append(scope.cancelled_caught)
        return seen

    assert anyio.run(main) == [False]
