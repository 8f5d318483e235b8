"""`check`'s look at a node's boot, run by the simulated shell: it reads what is there and knows every word it uses."""

from __future__ import annotations

from fixtures.sim.clock import sleep
from fixtures.sim.stack.stage import Scene, play
from orchestrator.probes import boot, look, stack
from states.boot import BootFacts

SCRIPT = "\n".join((look.SCRIPT, stack.SCRIPT, boot.SCRIPT, "look_boot /opt -- r0 1 /dev/vda3"))


async def read(scene: Scene) -> BootFacts:
    """The first node's boot."""
    said = await scene.world.machines[0].run(("sh", "-c", SCRIPT), pace=sleep)
    return boot.read_boot("node", said.stdout)


def test_up_leaves_a_boot_that_starts_nothing_of_ours() -> None:
    seen: list[BootFacts] = []

    async def act(scene: Scene) -> None:
        await scene.brought_up()
        files = scene.world.machines[0].files
        seen.append(await read(scene))
        files.remove("/etc/lvm/lvmlocal.conf")
        await scene.down()
        files.symlink("/lib/systemd/system/smbd.service", "/etc/systemd/system/multi-user.target.wants/smbd.service")
        files.write("/etc/fstab", "/dev/drbd1 /opt gfs2 noatime 0 0\n//server/share /mnt cifs password=secret 0 0\n")
        seen.append(await read(scene))

    scene = play(0, act)
    quiet, loud = seen
    assert quiet.read
    assert [unit.name for unit in quiet.units if unit.name.endswith(".service")] == []
    assert [line.at_boot for line in quiet.fstab] == [False]
    assert (quiet.backing, quiet.unread) == ((), ())
    assert (loud.backing, loud.unread) == ((), (("r0", "disk /dev/vda3"),))  # a shared group without its locks is not shown
    assert [(unit.name, unit.pulled_by) for unit in loud.units if unit.pulled_by] == [("smbd.service", "multi-user.target")]
    assert [str(line) for line in loud.fstab] == ["/dev/drbd1 /opt gfs2 noatime"]
    assert not scene.unknown()
