"""What waits to be taken in is bounded, and nodes take turns; and when a node is looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from fixtures.sim.clock import on_virtual_clock
from orchestrator.supervisor.intake import BATCH, MOST, Intake
from orchestrator.supervisor.looks import AGAIN, SPACING, Looks
from orchestrator.supervisor.said import Gap, Leased


def lease(node: str, epoch: int) -> Leased:
    return Leased(node, "somebody", epoch)


def test_more_than_there_is_room_for_becomes_a_gap_and_nothing_else() -> None:
    intake = Intake()
    for number in range(MOST):
        assert intake.put(lease("one", number))
    assert intake.put(lease("other", 7))
    assert not intake.put(lease("one", MOST))
    assert intake.waiting == 2
    gap, other = intake.take()
    assert isinstance(gap, Gap)
    assert (gap.node, gap.overflow) == ("one", True)
    assert other == lease("other", 7)
    assert intake.put(lease("one", 0))


def test_a_node_that_says_much_does_not_keep_another_waiting() -> None:
    intake = Intake()
    for number in range(5 * BATCH):
        intake.put(lease("one", number))
    intake.put(lease("other", 1))
    assert [said for said in intake.take() if isinstance(said, Leased)] == [*(lease("one", n) for n in range(BATCH)), lease("other", 1)]
    assert intake.waiting == 4 * BATCH


def virtually(act: Callable[[], Awaitable[None]]) -> None:
    """On the virtual clock."""
    ended = []

    async def live() -> None:
        await act()
        ended.append(True)

    on_virtual_clock(1, live)
    assert ended


def test_who_waits_is_woken() -> None:
    async def act() -> None:
        intake = Intake()

        async def later() -> None:
            await anyio.sleep(3)
            intake.put(lease("one", 1))

        async with anyio.create_task_group() as group:
            group.start_soon(later)
            await intake.wait()
            assert anyio.current_time() == began + 3
        await intake.wait()  # something is still there

    began = 0.0
    virtually(act)


def test_a_node_is_looked_at_once_at_a_time_and_not_too_often() -> None:
    async def act() -> None:
        looks = Looks(every=300)
        looks.want("one")
        looks.want("one", 5)
        assert looks.ready() == ("one",)
        looks.want("one")
        assert looks.ready() == ()  # it is under way
        looks.came("one", settled=True)
        assert looks.next == anyio.current_time()  # wanted meanwhile: not forgotten
        assert looks.ready() == ("one",)
        looks.came("one", settled=True)
        looks.want("one")
        assert looks.ready() == ()
        assert looks.next == anyio.current_time() + SPACING
        await anyio.sleep(SPACING)
        assert looks.ready() == ("one",)
        looks.came("one", settled=True)
        assert looks.next == anyio.current_time() + 300

    virtually(act)


def test_what_announces_nothing_is_looked_at_again_ever_less_often() -> None:
    async def act() -> None:
        looks = Looks(every=300)
        pauses = []
        looks.want("one")
        for _ in range(8):
            await anyio.sleep(max(0.0, looks.next - anyio.current_time()))
            assert looks.ready() == ("one",)
            looks.came("one", settled=False)
            pauses.append(looks.next - anyio.current_time())
        assert [round(pause) for pause in pauses] == [*AGAIN, AGAIN[-1], AGAIN[-1]]
        looks.moved("one")
        await anyio.sleep(AGAIN[-1])
        assert looks.ready() == ("one",)
        looks.came("one", settled=False)
        assert round(looks.next - anyio.current_time()) == AGAIN[0]
        looks.forget("one")
        assert looks.next > 1e9

    virtually(act)
