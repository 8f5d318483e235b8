"""A stage for tests of the simulated DRBD: two machines, one resource, and no world around them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from anyio.lowlevel import checkpoint
from attrs import define, evolve, field

from fixtures.sim.drbd import kernel
from fixtures.sim.drbd.cluster import Drbd, Volume
from fixtures.sim.drbd.values import Half, Pair
from fixtures.sim.machine import Finished, Machine
from orchestrator.probes.look import SCRIPT, Expected, read_look
from states.facts import Generation, NodeFacts

NODES = ("linux-nas01", "linux-nas02")
BOTH = (Generation.V84, Generation.V9)
CELLS = 4
LOOK = f'{SCRIPT}\nlook "$@"\n'
RESOURCE = """resource r0 {{
	net {{
		protocol C;
		allow-two-primaries {two};
		after-sb-0pri disconnect;
		after-sb-1pri {policy};
		max-buffers 8000; # not compared
	}}
	on linux-nas01 {{ {ids[0]} device /dev/drbd1 minor 1; disk /dev/vdb; address 10.98.0.11:7789; meta-disk internal; }}
	on linux-nas02 {{ {ids[1]} device /dev/drbd1 minor 1; disk /dev/vdb; address 10.98.0.12:7789; meta-disk internal; }}
}}
"""


@define(eq=False)
class Stage:
    """Two machines with DRBD and no world around them: nothing happens but what the test does."""

    generation: Generation
    two: str = "yes"
    policy: str = "disconnect"
    now: float = 100.0
    machines: tuple[Machine, Machine] = field(init=False)
    volume: Volume = field(init=False)
    drbd: Drbd = field(init=False)
    changes: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        one, other = (Machine(name, clock=lambda: self.now, epoch=1_795_397_000.0) for name in NODES)
        self.machines = (one, other)
        ids = ("node-id 0;", "node-id 1;") if self.generation is Generation.V9 else ("", "")
        for machine in self.machines:
            machine.files.write("/etc/drbd.d/r0.res", RESOURCE.format(two=self.two, policy=self.policy, ids=ids))
        blank = Half((0,) * CELLS)
        self.volume = Volume("r0", 1, ("/dev/vdb", "/dev/vdb"), Pair((blank, blank), self.generation), 4096)
        self.drbd = Drbd(self.machines, self.generation, (self.volume,))
        self.drbd.listeners.append(lambda volume, before, now, cause: self.changes.append(cause))

    def half(self, index: int) -> Half:
        return self.volume.pair.halves[index]

    async def do(self, index: int, *argv: str) -> Finished:
        """Run a tool; virtual time goes by on the stage's own clock."""
        async def pace(seconds: float) -> None:
            self.now += seconds
            await checkpoint()

        return await self.machines[index].run(argv, pace=pace)

    async def must(self, index: int, command: str) -> None:
        finished = await self.do(index, *command.split())
        assert finished.code == 0, finished

    def world(self, most: int = 100) -> None:
        """What happens by itself."""
        for _ in range(most):
            due = kernel.happenings(self.volume.pair)
            if not due:
                return
            self.drbd.happen(self.volume, due[0])

    def change(self, change: Callable[[Pair], Pair], cause: str = "world:test") -> None:
        self.drbd.become(self.volume, change(self.volume.pair), cause)

    def wires(self, *, works: bool) -> None:
        self.change(lambda pair: evolve(pair, wires=(works, works)))

    async def attached(self) -> None:
        """Metadata made, disks up, not connected."""
        for index in (0, 1):
            await self.must(index, "drbdadm create-md --force r0")
            await self.must(index, "drbdadm new-resource r0")
            if self.generation is Generation.V9:
                await self.must(index, "drbdadm new-peer r0")
                await self.must(index, "drbdadm new-path r0")
            await self.must(index, "drbdadm new-minor r0")
            await self.must(index, "drbdadm attach r0")

    async def connected(self) -> None:
        """Both Inconsistent, connected."""
        await self.attached()
        for index in (0, 1):
            await self.must(index, "drbdadm connect r0")
        self.world()

    async def synced(self) -> None:
        """Node 0 Primary, both good."""
        await self.connected()
        await self.must(0, "drbdadm primary --force r0")
        self.world()

    async def split(self) -> None:
        """Split brain, detected."""
        await self.synced()
        await self.must(1, "drbdadm primary r0")
        self.wires(works=False)
        self.world()
        for index in (0, 1):
            self.change(lambda pair, at=index: kernel.write(pair, at, at, 7 + at)[0])  # type: ignore[misc]
        self.wires(works=True)
        self.world()

    async def look(self, index: int) -> NodeFacts:
        finished = await self.do(index, "sh", "-c", LOOK, "sh", "r0", "1", "/dev/vdb", "7789", "0")
        assert finished.code == 0
        assert finished.stderr == ""
        return read_look(NODES[index], finished.stdout, (Expected("r0", 1, "/dev/vdb", None, "10.98.0.12", 7789),), 0.0)


def run(work: Callable[[], Awaitable[None]]) -> None:
    anyio.run(work, backend="trio")
