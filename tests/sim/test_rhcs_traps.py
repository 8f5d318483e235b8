"""The how-to's traps, on simulated nodes: each is walked into, named by `check`, and then avoided or repaired by `up`."""

from __future__ import annotations

import anyio
import pytest
from attrs import evolve

from fixtures.sim.rhcs.stack import RhcsStack
from fixtures.sim.runs import Said
from fixtures.sim.seeds import NAMES
from fixtures.sim.stack.stage import Scene
from fixtures.sim.transport import SimTransport
from orchestrator.cli.common import look_at_all
from orchestrator.drbd.files import resource_file
from orchestrator.remote import Remote
from states.check import findings
from states.facts import Generation
from states.goal import Direction
from states.vocabulary import DiskState
from tests.sim.rhcs_scene import by_hand, played, typed

ONE, TWO = NAMES
CONF, COLUMNS = "/etc/cluster/cluster.conf", "pv_name,vg_name,vg_attr"


async def checked(scene: Scene) -> str:
    """What `orchestrate check` would print now, a finding a line."""
    config = scene.world.config
    remote = Remote(config, SimTransport(scene.world, "somebody"), scene.world.now)
    facts = await look_at_all(remote, zeros=True)
    boots = tuple([await remote.boot(name) for name in config.names if facts.node(name).reachable])
    found = findings(config.goal(Direction.UP), facts, boots)
    return "\n".join(f"{one.weight.value}: {one.where}: {one.what} [{one.evidence}] {one.remedy}" for one in found)


def test_by_hand_one_cman_alone_has_the_other_node_fenced() -> None:
    async def act(scene: Scene) -> None:
        await scene.brought_up()
        await scene.down()
        await typed(scene, 0, "/sbin/service cman start")
        await anyio.sleep(70)  # of the virtual clock: post_join_delay is 60

    scene = played(3, act)
    assert [(victim, by) for _, victim, by in scene.stack.shooting.shots] == [(1, NAMES[0])]


@pytest.mark.parametrize("wrong", ["127.0.0.1", ""])
def test_a_name_that_leads_elsewhere_is_said_and_nobody_is_fenced_for_it(wrong: str) -> None:
    said: list[Said] = []
    seen: list[str] = []

    async def act(scene: Scene) -> None:
        files = scene.world.machines[1].files
        names = files.read("/etc/hosts").replace(f"10.99.1.11 {NAMES[0]}\n", f"{wrong} {NAMES[0]}\n" if wrong else "")
        files.write("/etc/hosts", names)
        seen.append(await checked(scene))
        said.append(await scene.up())
        await anyio.sleep(90)  # of the virtual clock: as above

    scene = played(4, act)
    assert said[0].code == 4
    assert f"problem: {TWO}: hosts is Failed [{ONE} leads" in seen[0], seen[0]
    assert f"{NAMES[0]} leads {f'to {wrong}' if wrong else 'nowhere'} here, cluster.toml says 10.99.1.11: mend /etc/hosts" in said[0].text
    assert scene.stack.shooting.shots == []
    assert "service cman start" not in [one.words for one in scene.stack.log]


def test_clvmd_before_drbd_takes_the_disk_and_up_mends_it() -> None:
    """The stock order, typed: LVM sees vda3, and its volume stands on it, when DRBD comes."""
    said: list[Said] = []
    seen: list[str] = []

    async def act(scene: Scene) -> None:
        await scene.brought_up()
        await scene.down()
        machine = scene.world.machines[1]
        machine.files.write("/etc/lvm/lvm.conf", machine.files.read("/etc/lvm/lvm.conf").replace('"r|^/dev/vda3$|"', '"a/.*/"'))
        for index in (0, 1):
            scene.world.group.start_soon(typed, scene, index, "/sbin/service cman start")
        await anyio.sleep(20)  # of the virtual clock: both are members
        await typed(scene, 1, "/sbin/service clvmd start; drbdadm attach r0 2>&1")
        seen.append(scene.world.drbd.volumes[0].half(1).holder)
        seen.append(await checked(scene))
        said.append(await scene.up())

    scene = played(5, act)
    assert seen[0] == "dm-0"
    assert f"danger: {TWO}: something has the backing disk of r0 behind DRBD's back [dm-0]" in seen[1], seen[1]
    assert f"{TWO}: LVM sees the disk below r0" in seen[1]
    assert said[0].code == 0, said[0].text
    assert any(key.startswith("release-backing") for key in said[0].sent)
    assert any(key.startswith("distrust") for key in said[0].sent)
    assert not scene.oracles.harms


def test_a_cluster_conf_of_somebody_with_fence_manual_is_refused_by_name() -> None:
    said: list[Said] = []
    seen: list[str] = []
    conf = ('<?xml version="1.0"?>\n<cluster name="NASCluster" config_version="7">\n<cman two_node="1" expected_votes="1"/>\n<clusternodes>'
            '<clusternode name="linux-nas01" nodeid="1"><fence><method name="m"><device name="human"/></method></fence></clusternode>\n'
            '<clusternode name="linux-nas02" nodeid="2"/></clusternodes>\n'
            '<fencedevices><fencedevice name="human" agent="fence_manual"/></fencedevices></cluster>\n')

    async def act(scene: Scene) -> None:
        for machine in scene.world.machines:
            machine.files.makedirs("/etc/cluster")
            machine.files.write("/etc/cluster/cluster.conf", conf)
        seen.append(await checked(scene))
        said.append(await scene.up())
        said.append(await scene.operator.run(apply_config=True))
        assert 'config_version="8"' in scene.world.machines[0].files.read("/etc/cluster/cluster.conf")

    played(6, act)
    assert (said[0].code, said[1].code) == (3, 0)
    assert "fence device human: agent fence_manual: there is no such agent since cluster 3" in said[0].text
    assert "agent fence_manual: there is no such agent" in seen[0], seen[0]


def test_cman_that_ends_under_clvmd_leaves_locks_that_only_a_power_cycle_ends() -> None:
    """The how-to's "clvmd kills cman": whichever ends the other, clvmd's lockspace stays in the kernel, and no cman starts beside it."""
    found: list[object] = []

    async def act(scene: Scene) -> None:
        await scene.brought_up()
        scene.stack.kill_corosync(1)
        await anyio.sleep(20)  # of the virtual clock: the other node has noticed, and waits for a human
        found.append(await checked(scene))
        scene.world.power_off(1)
        assert await scene.stack.shooting.run(0, f"/usr/local/sbin/orchestrate-fence --ack {TWO}", "", {}) == 0
        scene.world.power_on(1)
        found.append((await scene.up()).code)

    scene = played(21, act, by_hand())
    assert f"problem: {TWO}: cman is Hung [it is gone, and left lockspaces behind" in str(found[0]), found[0]
    assert "only a power cycle of this node helps" in str(found[0])
    assert found[1] == 0
    assert not scene.oracles.harms


def test_a_node_of_another_name_is_left_alone() -> None:
    said: list[Said] = []
    seen: list[str] = []

    async def act(scene: Scene) -> None:
        scene.world.machines[1].name = "localhost.localdomain"
        seen.append(await checked(scene))
        said.append(await scene.up())
        assert not scene.stack.log

    played(22, act)
    assert "(rule right-node)" in seen[0], seen[0]
    assert said[0].code == 3
    assert "localhost.localdomain" in said[0].text


def test_another_clusters_name_in_the_label_is_no_file_system_to_be_made_anew() -> None:
    said: list[Said] = []
    seen: list[str] = []

    async def act(scene: Scene) -> None:
        await scene.brought_up()
        await scene.down()
        scene.world.config = evolve(scene.world.config, cluster=evolve(scene.world.config.cluster, name="Renamed"))
        scene.operator.world.config = scene.world.config
        said.append(await scene.operator.run(apply_config=True))
        seen.append(await checked(scene))

    scene = played(23, act)
    assert said[0].code == 3
    assert "its GFS2 belongs to 'NASCluster:opt', this cluster's would be 'Renamed:opt'" in said[0].text
    assert "gfs2 opt is Failed [its GFS2 belongs to 'NASCluster:opt'" in seen[0], seen[0]
    assert sum(one.words.startswith("mkfs.gfs2") for one in scene.stack.log) == 1, "its data is still there"


def test_two_sides_that_were_never_good_get_one() -> None:
    """Metadata, attach, connect; and then the how-to's reader waits for an UpToDate that nobody will ever bring."""
    seen: list[str] = []

    async def act(scene: Scene) -> None:
        config = scene.world.config
        for index, machine in enumerate(scene.world.machines):
            machine.files.makedirs("/etc/drbd.d")
            machine.files.write("/etc/drbd.d/r0.res", resource_file(config, "r0", Generation.V83))
            await typed(scene, index, "modprobe drbd; drbdadm -- --force create-md r0; drbdadm attach r0; drbdadm connect r0")
        await anyio.sleep(5)  # of the virtual clock: they have met
        assert [half.disk for half in scene.world.drbd.volumes[0].pair.halves] == [DiskState.INCONSISTENT] * 2
        seen.append(await checked(scene))
        assert (await scene.up()).code == 0

    played(24, act)
    assert "note: r0: neither side is UpToDate: until one is declared good, nothing can be Primary" in seen[0], seen[0]


def test_a_packet_filter_gets_one_rule_and_stays() -> None:
    seen: list[str] = []

    async def act(scene: Scene) -> None:
        for machine in scene.world.machines:
            machine.modules["ip_tables"].loaded = True
            machine.firewall.policies["INPUT"] = "DROP"
        seen.append(await checked(scene))
        assert (await scene.up()).code == 0
        for machine, peer in zip(scene.world.machines, ("10.99.1.12", "10.99.1.11"), strict=True):
            assert machine.firewall.policies["INPUT"] == "DROP"
            rules = machine.firewall.chains["INPUT"]
            assert any(f"-s {peer}/32" in rule and "--dport 7789" in rule and rule.endswith("ACCEPT") for rule in rules), rules

    played(25, act)
    assert f"note: {ONE}: its packet filter keeps the other node out" in seen[0], seen[0]
    assert "the policy of INPUT is DROP" in seen[0]


def test_two_smbd_that_share_no_locks_are_said_before_and_after() -> None:
    seen: list[str] = []

    async def act(scene: Scene) -> None:
        seen.append(await checked(scene))
        await scene.brought_up()
        seen.append(await checked(scene))
        one = evolve(scene.world.config, samba=evolve(scene.world.config.samba, serve_on=[ONE]))
        scene.world.config = scene.operator.world.config = one
        assert (await scene.operator.run(apply_config=True)).code == 0
        seen.append(await checked(scene))

    played(26, act)
    assert ["danger: samba: two plain smbd serve one file system" in text for text in seen] == [True, True, False]


def test_an_edit_whose_version_was_not_raised_is_heard_by_nobody() -> None:
    said: list[Said] = []
    seen: list[str] = []

    async def act(scene: Scene) -> None:
        await scene.brought_up()
        for machine in scene.world.machines:
            machine.files.write(CONF, machine.files.read(CONF).replace('token="1000"', 'token="54000"'))
        seen.append(await checked(scene))
        said.append(await scene.up())
        said.append(await scene.operator.run(apply_config=True))
        assert isinstance(scene.stack, RhcsStack)
        assert scene.stack.membership.versions == [2, 2]

    played(27, act)
    assert "config_version was not raised: cman runs that number already, and will not read it" in seen[0], seen[0]
    assert [one.code for one in said] == [3, 0]


@pytest.mark.parametrize(("link", "words"), [
    ("rc3.d/S21cman", "cman starts where DRBD does not: with two_node it is quorate by itself, and fences a node that boots more slowly"),
    ("rc3.d/S24clvmd", "clvmd starts where DRBD does not"),
    ("rc2.d/S02lvm2-monitor", "lvm2-monitor starts where DRBD does not [rc2.d/S02lvm2-monitor]"),
])
def test_what_a_boot_would_start_is_named_and_taken_out_of_it(link: str, words: str) -> None:
    """lvm2-monitor is the node's own, for other volumes: it stays, and finds no volume of ours, since `up` hides the disk from LVM."""
    seen: list[str] = []

    async def act(scene: Scene) -> None:
        await scene.brought_up()
        files = scene.world.machines[1].files
        files.makedirs("/etc/" + link.partition("/")[0])
        files.symlink(f"../init.d/{link[9:]}", f"/etc/{link}")
        seen.append(await checked(scene))
        assert (await scene.up()).code == 0
        assert (link[6:] in files.names(f"/etc/{link[:5]}")) is ("lvm2-monitor" in link)
        await scene.down()
        assert "/dev/vda3" not in await typed(scene, 1, f"pvs --config 'global {{ locking_type = 0 }}' --noheadings -o {COLUMNS}")

    played(28, act)
    assert words in seen[0], seen[0]
