"""What the simulated stack does where things go wrong, held to what was captured on real nodes; and LVM behind DRBD's back."""

from __future__ import annotations

import re
from pathlib import Path

import anyio

from fixtures.sim.clock import sleep
from fixtures.sim.drbd.kernel import Written
from fixtures.sim.machine import Finished
from fixtures.sim.stack.shooting import Bmc
from fixtures.sim.stack.stage import Scene, play
from states.vocabulary import DiskState

CAPTURES = Path(__file__).parents[2] / "fixtures" / "captures" / "stack"
OPEN = "devices { global_filter = [ ] }"


async def typed(scene: Scene, index: int, *words: str) -> Finished:
    """A command that somebody types on a node."""
    return await scene.world.machines[index].run(words, pace=sleep)


def captured(case: str, probe: str, node: str = "linux-nas01") -> str:
    """What a real node said."""
    return (CAPTURES / case / f"{node}-{probe}.txt").read_text()


async def behind(scene: Scene) -> None:
    """Up and down once; then somebody breaks the group open and activates it on the first node's backing disk."""
    await scene.brought_up()
    await scene.down()
    hidden = await typed(scene, 0, "vgchange", "-ay", "vg_opt")
    assert (hidden.code, hidden.stderr) == (5, '  Volume group "vg_opt" not found\n')  # the filter is honoured
    shared = await typed(scene, 0, "vgchange", "-ay", "--config", OPEN, "vg_opt")
    assert shared.code == 5  # a shared group guards itself
    forced = ("--lock-type", "none", "--lock-opt", "force")
    assert (await typed(scene, 0, "vgchange", "-y", *forced, "--config", OPEN, "vg_opt")).code == 0
    assert (await typed(scene, 0, "vgchange", "-ay", "--config", OPEN, "vg_opt")).code == 0
    assert scene.world.drbd.volumes[0].half(0).holder == "dm-0"


def test_a_group_active_behind_drbd_is_let_go_and_that_disk_counts_as_old() -> None:
    async def act(scene: Scene) -> None:
        await behind(scene)
        said = await scene.up()
        assert said.code == 0, said.text
        assert said.sent.index("release-backing:r0:linux-nas01") < said.sent.index("distrust:r0:linux-nas01")
        one, other = scene.world.drbd.volumes[0].pair.halves
        assert one.disk is other.disk is DiskState.UP_TO_DATE
        assert one.cells[:-1] == other.cells[:-1]

    scene = play(0, act)
    assert not scene.oracles.harms
    assert not scene.unknown()


def test_a_shared_group_with_its_locks_active_behind_drbd_is_let_go_too() -> None:
    async def act(scene: Scene) -> None:
        await scene.brought_up()
        await scene.down()
        for index in (0, 1):
            for unit in ("corosync", "dlm", "lvmlockd"):
                assert (await typed(scene, index, "systemctl", "start", unit)).code == 0
        for words in (("vgchange", "--lock-start", "--config", OPEN, "vg_opt"), ("lvchange", "-asy", "--config", OPEN, "vg_opt/opt")):
            assert (await typed(scene, 0, *words)).code == 0
        assert scene.world.drbd.volumes[0].half(0).holder == "dm-0"
        said = await scene.up()
        assert said.code == 0, said.text
        assert said.sent[:2] == ("release-backing:r0:linux-nas01", "distrust:r0:linux-nas01")
        one, other = scene.world.drbd.volumes[0].pair.halves
        assert one.disk is other.disk is DiskState.UP_TO_DATE
        assert one.cells[:-1] == other.cells[:-1]

    scene = play(0, act)
    assert not scene.oracles.harms
    assert not scene.unknown()


def test_a_group_mounted_behind_drbd_is_refused_and_stays_refused() -> None:
    async def act(scene: Scene) -> None:
        await behind(scene)
        scene.world.machines[0].files.makedirs("/mnt")
        assert (await typed(scene, 0, "mount", "-t", "gfs2", "-o", "lockproto=lock_nolock", "/dev/vg_opt/opt", "/mnt")).code == 0
        said = await scene.up()
        assert said.refused is not None
        assert (said.refused.rule, said.sent) == ("no-lvm-under-drbd", ())
        assert (await typed(scene, 0, "umount", "/mnt")).code == 0
        said = await scene.up()
        assert said.refused is not None
        assert said.refused.rule == "backing-touched"
        assert not scene.world.drbd.volumes[0].half(0).attached

    scene = play(0, act)
    assert not scene.oracles.harms


def test_a_secondary_shows_no_group() -> None:
    async def act(scene: Scene) -> None:
        await scene.brought_up()
        shown = ("pvs", "--nolocking", "--noheadings", "--separator", "|", "-o", "pv_name,vg_name,vg_lock_type")
        assert (await typed(scene, 1, *shown)).stdout == "  /dev/drbd1|vg_opt|dlm\n"
        await scene.down()
        assert (await typed(scene, 1, "drbdadm", "up", "r0")).code == 0
        assert (await typed(scene, 1, *shown)).stdout == ""
        assert scene.world.machines[1].files.read("/sys/block/drbd1/ro") == "1\n"

    play(1, act)


def test_corosync_alone_has_no_quorum_and_a_join_waits_for_it() -> None:
    async def act(scene: Scene) -> None:
        await scene.brought_up()
        await scene.down()
        scene.world.power_off(1)
        await typed(scene, 0, "systemctl", "start", "corosync")
        alone, real = await typed(scene, 0, "corosync-quorumtool", "-s"), captured("corosync-alone", "quorumtool")
        for line in ("Quorate:          No", "Quorum:           1 Activity blocked", "Flags:            2Node WaitForAll"):
            assert line in real
            assert line in alone.stdout
        assert f"rc={alone.code} " in real
        await typed(scene, 0, "systemctl", "start", "dlm")
        joined: list[bool] = []

        async def join() -> None:
            joined.append(await scene.stack.membership.join(0, "opt", scene.world.machines[0].begin(sleep)))

        async with anyio.create_task_group() as group:
            group.start_soon(join)
            await anyio.sleep(30)
            assert not joined
            scene.world.power_on(1)
            await typed(scene, 1, "systemctl", "start", "corosync")
            await anyio.sleep(5)
            assert joined == [True]

    play(2, act)


def test_where_nobody_can_be_fenced_nothing_moves_not_even_after_the_link_is_back() -> None:
    """Captures fencing and healed-unfenced."""
    async def act(scene: Scene) -> None:
        await scene.brought_up()
        scene.stack.shooting.addresses.clear()  # no BMC answers
        scene.wires(False)
        await anyio.sleep(60)
        for index, machine in enumerate(scene.world.machines):
            assert machine.files.read("/sys/kernel/dlm/opt/recover_status") == "0\n"
            assert machine.files.read("/sys/fs/gfs2/sim:opt/lock_module/block") == "1\n"
            assert scene.world.drbd.volumes[0].half(index).suspended
            assert "C s-----" in machine.files.read("/proc/drbd")
            assert scene.stack.volumes.write(index, "/opt", index) is Written.WAITS
        for probe, argument in (("dlm_status", "status"), ("dlm_ls", "ls")):
            pattern = r"^(?:fence 2 nodedown|node 2 X|flags         0x00000004 kern_stop|new status    wait fencing)"
            real = set(re.findall(pattern, captured("fencing", probe), re.MULTILINE))
            said = (await typed(scene, 0, "dlm_tool", argument)).stdout
            assert real == set(re.findall(pattern, said, re.MULTILINE)), said
        scene.wires(True)
        await anyio.sleep(60)
        for machine in scene.world.machines:
            assert "cs:Connected ro:Primary/Primary ds:UpToDate/UpToDate C r-----" in machine.files.read("/proc/drbd")
            assert machine.files.read("/sys/kernel/dlm/opt/recover_status") == "0\n"
        assert re.search(r"^node 2 M", (await typed(scene, 0, "dlm_tool", "status")).stdout, re.MULTILINE)
        assert re.search(r"^node 2 M", captured("healed-unfenced", "dlm_status"), re.MULTILINE)

    scene = play(3, act)
    assert scene.power() == (True, True)
    assert not scene.oracles.harms


def test_a_human_who_says_that_the_other_is_off_lets_it_go_on() -> None:
    """Capture partner-off."""
    async def act(scene: Scene) -> None:
        await scene.brought_up()
        scene.stack.shooting.addresses.clear()
        scene.world.power_off(1)
        await anyio.sleep(40)
        assert scene.stack.volumes.write(0, "/opt", 0) is Written.WAITS
        await typed(scene, 0, "dlm_tool", "fence_ack", "2")
        await anyio.sleep(3)
        assert scene.world.machines[0].files.read("/sys/kernel/dlm/opt/recover_status") == "ff\n"
        assert scene.world.machines[0].files.read("/sys/fs/gfs2/sim:opt/lock_module/block") == "1\n"  # the journal is behind a frozen DRBD

    play(4, act)


def test_an_agent_that_takes_too_long_is_ended_and_asked_again() -> None:
    async def act(scene: Scene) -> None:
        await scene.brought_up()
        scene.wires(False)
        await anyio.sleep(120)

    scene = play(5, act, bmc=Bmc(talk=(25.0, 30.0)))  # 20 s is what the configuration gives it
    for machine in scene.world.machines:
        assert sum("fence_ipmilan off failed" in line for line in machine.kernel_log) >= 2
    assert (scene.power(), scene.stack.shooting.shots) == ((True, True), [])
