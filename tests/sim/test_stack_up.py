"""The whole stack on the simulator: from blank disks to Samba on both nodes, silence, down again; and an orchestrator that is killed."""

from __future__ import annotations

import random

import anyio
import pytest

from fixtures.sim.runs import KILLED, Life, Said
from fixtures.sim.seeds import NAMES
from fixtures.sim.stack.stage import Scene, play

STARTS = ("start corosync", "start dlm", "start lvmlockd", "vgchange --lock-start vg_opt", "lvchange -asy vg_opt/opt", "mount /opt",
          "start smbd")
STOPS = ("stop smbd", "umount /opt", "lvchange -an vg_opt/opt", "vgchange --lock-stop vg_opt", "stop lvmlockd", "stop dlm",
         "stop corosync")
MADE = ("vgcreate --shared -y vg_opt /dev/drbd1", "lvcreate -an -Wn -Zn -l 100%FREE -n opt vg_opt",
        "mkfs.gfs2 -q -O -K -p lock_dlm -t sim:opt -j 2 -J 32 /dev/vg_opt/opt")
POINTS = 160
"""An `up` from blank disks passes more of the points at which it may be killed than this."""


def on(scene: Scene, node: str, since: int = 0) -> list[str]:
    """What tools have changed on one node, in order."""
    return [one.words for one in scene.stack.log[since:] if one.node == node]


def in_order(log: list[str], wanted: tuple[str, ...]) -> bool:
    """Each of these is there once, in this order."""
    return [words for words in log if words in wanted] == list(wanted)


def serves(scene: Scene, index: int) -> bool:
    """The share's file system is there and takes writes, and smbd runs."""
    volumes = scene.stack.volumes
    return "/opt" in volumes.mounts[index] and not volumes.mounts[index]["/opt"].blocked and scene.stack.services.running(index, "smbd")


@pytest.mark.parametrize("seed", range(10))
def test_up_from_blank_disks_then_silence_then_down(seed: int) -> None:
    said: list[Said] = []
    steps: list[int] = []

    async def act(scene: Scene) -> None:
        said.append(await scene.up())
        assert (said[-1].code, said[-1].text) == (0, "")
        assert all(serves(scene, index) for index in (0, 1))
        for node in NAMES:
            log = on(scene, node)
            starts = [words.replace(MADE[0], STARTS[3]) for words in log]  # vgcreate starts the locks as well
            assert in_order(starts, STARTS), log
            assert log.index("drbdadm primary r0") < min(log.index(words) for words in log if words.startswith(("vgc", "vgchange")))
        assert in_order([one.words for one in scene.stack.log], MADE)
        steps.append(len(scene.stack.log))
        said.append(await scene.up())
        assert (said[-1].code, said[-1].sent, len(scene.stack.log)) == (0, (), steps[-1])
        said.append(await scene.down())
        assert (said[-1].code, said[-1].text) == (0, "")
        for node in NAMES:
            log = on(scene, node, steps[-1])
            assert in_order(log, STOPS), log
            assert log.index(STOPS[3]) < log.index("drbdadm secondary r0") < log.index("stop dlm"), log
            assert "drbdadm down r0" in log
        membership, volumes = scene.stack.membership, scene.stack.volumes
        assert not any((*scene.stack.services.units, *membership.spaces, *volumes.active, *volumes.mounts))
        assert not any(half.configured for half in scene.world.drbd.volumes[0].pair.halves)

    scene = play(seed, act)
    assert not scene.oracles.harms
    assert not scene.unknown()
    assert len(said) == 3


def test_what_was_written_is_there_after_down_and_up() -> None:
    async def act(scene: Scene) -> None:
        await scene.brought_up()
        assert all(scene.stack.volumes.write(index, "/opt", file).value == "done" for index, file in ((0, 0), (1, 1), (0, 1)))
        await scene.down()
        made = [one.words for one in scene.stack.log if one.words in MADE]
        await scene.brought_up()
        assert [one.words for one in scene.stack.log if one.words in MADE] == made
        assert all(serves(scene, index) and not scene.lost(index) for index in (0, 1))

    assert not play(3, act).oracles.harms


@pytest.mark.parametrize("seed", range(30))
def test_up_killed_anywhere_is_finished_by_the_next(seed: int) -> None:
    rng = random.Random(f"{seed}/kill")
    runs: list[Said] = []

    async def act(scene: Scene) -> None:
        for _ in range(rng.choice((1, 2))):
            runs.append(await scene.up(Life(rng.randrange(1, POINTS))))
            await anyio.sleep(rng.uniform(0, 25))
        for _ in range(3):
            runs.append(await scene.up())
            if runs[-1].code == 0:
                break
        assert runs[-1].code == 0, runs[-1].text
        assert all(serves(scene, index) for index in (0, 1))
        made = [one.words for one in scene.stack.log if one.words in MADE]
        assert sorted(made) == sorted(MADE), "each is made once"
        again = await scene.up()
        assert (again.code, again.sent) == (0, ())

    scene = play(seed, act)
    assert runs[0].code == KILLED
    assert not scene.oracles.harms
    assert not scene.unknown()
