"""The simulated DRBD as its machines show it: what the real probes read there, whatever became of it."""

from __future__ import annotations

import random
import re

import anyio
import pytest
from attrs import evolve

from fixtures.sim.drbd import kernel, text
from fixtures.sim.drbd.text import APART
from orchestrator.probes.events2 import apply, parse_line
from states.facts import Generation, NodeFacts, Side
from states.vocabulary import ConnectionState, DiskState, Metadata, ReplicationState, Role
from tests.sim.drbd_stage import BOTH, CELLS, NODES, Stage, run

# -- the real probes on what is rendered -------------------------------------------------------------------------------

def expected(stage: Stage, index: int) -> Side:
    """The side that a look has to give back, from the state itself."""
    half, old = stage.half(index), stage.generation is Generation.V84
    side = Side(NODES[index], metadata=Metadata.VALID if half.meta else Metadata.MISSING, backing_size=CELLS * 4096)
    if half.holder and not half.attached:
        side = evolve(side, metadata=Metadata.UNKNOWN)
    kib = stage.drbd.names(stage.volume, index)
    if not half.configured or (old and text.unconfigured(half)):
        made = half.configured or (not old and bool(stage.drbd.objects(stage.volume, index)))
        return evolve(
            side, configured=made, role=Role.SECONDARY, disk=DiskState.DISKLESS, connection=ConnectionState.MISSING,
            replication=ReplicationState.OFF, peer_role=Role.UNKNOWN, peer_disk=DiskState.UNKNOWN)
    return evolve(
        side, configured=True, role=half.role, disk=half.disk, replication=half.replication, peer_role=half.peer_role,
        connection=ConnectionState.STAND_ALONE if old and half.link is ConnectionState.MISSING else half.link,
        peer_disk=half.peer_disk, suspended=half.suspended, out_of_sync=kib.dirty_kib(half),
        running=() if old and half.link in APART else half.settings)


COMPARED = ("configured", "role", "disk", "connection", "replication", "peer_role", "peer_disk", "suspended", "running",
            "metadata", "backing_size", "out_of_sync")
ON_THE_WAY = ("configured", "role", "disk", "connection", "replication", "peer_role", "peer_disk", "suspended")


def compare(stage: Stage, index: int, facts: NodeFacts) -> None:
    half, seen, want = stage.half(index), facts.side("r0"), expected(stage, index)
    assert {name: getattr(seen, name) for name in COMPARED} == {name: getattr(want, name) for name in COMPARED}
    readable = half.meta is not None and (half.attached or not half.holder)
    assert seen.identifiers == (text.identifiers(half.meta) if readable and half.meta else None)
    assert facts.layer("module").state.value == ("Up" if stage.machines[index].modules["drbd"].loaded else "Down")
    if half.attached:
        assert seen.size == CELLS * 4096 - 40  # 36 KiB and 4 KiB of bitmap
    assert seen.out_of_sync is None or seen.out_of_sync <= CELLS * 4096 - 40


TOOLS = (
    "create-md --force", "up", "up", "down", "attach", "detach", "connect", "connect", "connect --discard-my-data", "disconnect", "primary",
    "primary --force", "secondary", "adjust", "invalidate", "apply-al", "new-current-uuid --clear-bitmap", "verify", "new-resource",
    "new-minor", "new-peer", "new-path", "get-gi", "role", "cstate", "dstate", "status",
)


async def one_step(stage: Stage, rng: random.Random) -> None:
    """Something happens: a tool, the world, a wire, the power, a write, a disk."""
    index, what = rng.randrange(2), rng.random()
    machine = stage.machines[index]
    if not machine.on and rng.random() < 0.2:
        machine.power_on()
    if what < 0.45:
        if machine.on:
            ready = stage.half(index).configured or rng.random() < 0.3
            command, *options = rng.choice(TOOLS if ready else ("create-md --force", "up", "adjust", "adjust")).split()
            old_only = stage.generation is Generation.V84 and command in ("new-peer", "new-path")
            if not old_only:
                suffix = "/0" if command == "new-current-uuid" else ""
                await stage.do(index, "drbdadm", command, *options, f"r0{suffix}")
    elif what < 0.8:
        due = kernel.happenings(stage.volume.pair)
        if due:
            stage.drbd.happen(stage.volume, rng.choice(due))
    elif what < 0.88:
        stage.wires(works=rng.random() < 0.7)
    elif what < 0.91:
        if not machine.on:
            machine.power_on()
        elif rng.random() < 0.3:
            machine.power_off()
    elif what < 0.97:
        stage.change(lambda pair: kernel.write(pair, index, rng.randrange(CELLS - 1), rng.randrange(1, 99))[0], "write")
    else:
        stage.change(lambda pair: kernel.fail_disk(pair, index), "world:fail")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("generation", BOTH)
def test_a_look_gives_back_the_state(generation: Generation, seed: int) -> None:
    async def walk() -> None:
        rng, stage = random.Random(seed), Stage(generation)
        if seed % 2:
            await stage.synced()
        for _ in range(120):
            await one_step(stage, rng)
            index = rng.randrange(2)
            if stage.machines[index].on:
                compare(stage, index, await stage.look(index))
        assert stage.machines[0].unknown == stage.machines[1].unknown == []

    run(walk)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("generation", BOTH)
def test_the_stream_says_what_a_look_would(generation: Generation, seed: int) -> None:
    """Folded from its first line on, the stream gives the same side after every step, but for counters on the way."""
    async def walk() -> None:
        rng, stage = random.Random(seed), Stage(generation)
        await (stage.synced() if seed % 2 else stage.connected())
        lines: list[str] = []
        async with anyio.create_task_group() as group:
            async def read() -> None:
                async for line in stage.drbd.follow(0):
                    lines.append(line)
                lines.append("ended")

            group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            side = Side(NODES[0])
            for _ in range(150):
                await one_step(stage, rng)
                await anyio.wait_all_tasks_blocked()
                if "ended" in lines:
                    assert not stage.machines[0].on
                    return
                side = fold(side, lines)
                fresh = expected(stage, 0)
                missing = {ConnectionState.MISSING: ConnectionState.STAND_ALONE} if generation is Generation.V84 else {}
                side, fresh = (evolve(each, connection=missing.get(each.connection, each.connection)) for each in (side, fresh))
                if generation is Generation.V84 and fresh.connection is ConnectionState.STAND_ALONE:
                    fresh = evolve(fresh, peer_disk=side.peer_disk)  # /proc/drbd remembers a bad one, events2 has no peer device
                if generation is Generation.V84 and not fresh.configured:
                    continue  # /proc/drbd has no line yet where events2 already names the resource
                assert {name: getattr(side, name) for name in ON_THE_WAY} == {name: getattr(fresh, name) for name in ON_THE_WAY}
            group.cancel_scope.cancel()

    run(walk)


def fold(side: Side, lines: list[str]) -> Side:
    """The side after these lines, which are taken."""
    for line in lines:
        assert re.match(r"2026-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00 \S", line)
        event = parse_line(line)
        if event is not None:
            side = apply(event, side)
    lines.clear()
    return side
