"""The original stack on the simulator: DRBD 8.3, cman, clvmd, rgmanager, init scripts."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from attrs import evolve

from fixtures.sim.clock import sleep
from fixtures.sim.drbd.kernel import Written
from fixtures.sim.rhcs.stack import RhcsStack
from fixtures.sim.runs import Life, Said
from fixtures.sim.scratch import scratch
from fixtures.sim.seeds import NAMES
from fixtures.sim.stack.stage import Scene, play
from fixtures.sim.transport import SimTransport
from fixtures.sim.world import Tempo
from orchestrator.cli.common import look_at_all
from orchestrator.commands import Command, Effect
from orchestrator.engine import Engine
from orchestrator.journal import Journal
from orchestrator.remote import Remote
from orchestrator.transport import Outcome
from orchestrator.watch import Silent
from states.consent import Consent
from states.facts import Generation
from states.goal import Direction, Ledger
from states.vocabulary import Layer
from tests.sim.rhcs_scene import by_hand, old_config, played, typed

STARTS = ("service cman start", "service clvmd start", "mount /opt", "service smb start")
SERVED, LEFT = ("service smb stop", "umount /opt", "lvchange -aln vg_opt/opt"), ("fence_tool leave", "service cman stop")
STOPS = ((*SERVED, "drbdadm secondary r0", *LEFT), (*SERVED, "service clvmd stop", *LEFT))
"""Once its volume is let go, neither DRBD nor clvmd waits for the other."""
MADE = ("vgcreate -c y vg_opt /dev/drbd1", "lvcreate -l 100%FREE -n opt vg_opt",
        "mkfs.gfs2 -q -O -K -p lock_dlm -t NASCluster:opt -j 2 -J 32 /dev/vg_opt/opt")


def on(scene: Scene, node: str, since: int = 0) -> list[str]:
    return [one.words for one in scene.stack.log[since:] if one.node == node]


def in_order(log: list[str], wanted: tuple[str, ...]) -> bool:
    return [words for words in log if words in wanted] == list(wanted)


@pytest.mark.parametrize("seed", range(4))
def test_up_from_blank_disks_then_silence_then_down(seed: int) -> None:
    said: list[Said] = []
    sent: list[int] = []

    async def act(scene: Scene) -> None:
        said.append(await scene.up())
        assert (said[-1].code, said[-1].text) == (0, "")
        sent.append(len(scene.stack.log))
        said.append(await scene.up())
        assert (said[-1].code, said[-1].sent, len(scene.stack.log)) == (0, (), sent[-1])
        said.append(await scene.down())
        assert (said[-1].code, said[-1].text) == (0, "")
        membership, volumes = scene.stack.membership, scene.stack.volumes
        assert not any((*scene.stack.services.units, *membership.spaces, *volumes.active, *volumes.mounts))
        assert not any(half.configured for half in scene.world.drbd.volumes[0].pair.halves)

    scene = played(seed, act)
    for node in NAMES:
        up = [words for words in on(scene, node) if words not in {*STOPS[0], *STOPS[1]}]
        assert in_order(up, STARTS), up
        down = on(scene, node, sent[-1])
        assert all(in_order(down, chain) for chain in STOPS), down
        assert down.index("drbdadm secondary r0") < down.index("drbdadm down r0")
    assert in_order([one.words for one in scene.stack.log], MADE)
    assert said[0].facts.nodes[0].generation is Generation.V83
    starts = {one.node: one.at for one in scene.stack.log if one.words == "service cman start"}
    assert max(starts.values()) - min(starts.values()) < 10, "both at once"
    assert not scene.oracles.harms
    assert not scene.unknown()


def test_what_up_leaves_behind() -> None:
    texts: dict[str, str] = {}

    async def act(scene: Scene) -> None:
        await scene.brought_up()
        for path in ("/etc/cluster/cluster.conf", "/etc/lvm/lvm.conf", "/etc/drbd.d/r0.res", "/etc/fstab", "/etc/sysconfig/clvmd"):
            texts[path] = scene.world.machines[1].files.read(path)
        texts["links"] = " ".join(scene.world.machines[1].files.names("/etc/rc3.d"))

    played(1, act)
    assert 'config_version="1"' in texts["/etc/cluster/cluster.conf"]
    assert 'agent="fence_ipmilan" ip="10.99.2.12"' in texts["/etc/cluster/cluster.conf"]
    assert '    filter = [ "r|^/dev/vda3$|" ]\n' in texts["/etc/lvm/lvm.conf"]
    assert "    locking_type = 3\n    fallback_to_local_locking = 0\n" in texts["/etc/lvm/lvm.conf"]
    assert "\tnet {\n\t\tallow-two-primaries;\n" in texts["/etc/drbd.d/r0.res"]
    assert texts["/etc/fstab"].startswith("UUID=")
    assert texts["/etc/fstab"].endswith(" /opt gfs2 noauto,_netdev,noatime 0 0\n")
    assert 'CLVMDOPTS="-I cman"' in texts["/etc/sysconfig/clvmd"]
    assert not {"S21cman", "S24clvmd", "S26gfs2", "S70drbd", "S91smb", "S99rgmanager"} & set(texts["links"].split())


def test_a_new_setting_raises_the_version_and_the_running_cluster_is_told() -> None:
    said: list[Said] = []
    versions: list[list[int]] = []

    async def act(scene: Scene) -> None:
        await scene.brought_up()
        scene.world.config = old_config(token=2000)
        scene.operator.world.config = scene.world.config
        said.append(await scene.up())
        said.append(await scene.operator.run(apply_config=True))
        assert isinstance(scene.stack, RhcsStack)
        versions.append(list(scene.stack.membership.versions))
        texts = [machine.files.read("/etc/cluster/cluster.conf") for machine in scene.world.machines]
        assert texts[0] == texts[1]
        assert 'config_version="2"' in texts[0]

    scene = played(2, act)
    assert (said[0].code, said[0].refused is not None and said[0].refused.rule) == (3, "config-drift")
    assert (said[1].code, versions) == (0, [[2, 2]])
    assert [one.words for one in scene.stack.log].count("service cman start") == 2, "nothing was restarted"


# -- it breaks ---------------------------------------------------------------------------------------------------------

def test_a_node_without_power_is_fenced_once_and_the_other_serves_on() -> None:
    found: list[object] = []

    async def act(scene: Scene) -> None:
        await scene.brought_up()
        scene.stack.cut(1)
        found.append(await written(scene, 120))
        scene.world.power_on(1)
        found.extend([(await scene.up()).code, scene.power()])

    scene = played(7, act)
    assert found == [True, 0, (True, True)]
    assert not scene.oracles.harms


async def written(scene: Scene, seconds: float) -> bool:
    """Whether the first node's application is told within that time that its write is safe."""
    with anyio.move_on_after(seconds):
        while scene.stack.volumes.write(0, "/opt", 0) is not Written.DONE:
            await sleep(0.5)
        return True
    return False


def test_one_node_after_the_other_goes_down_and_comes_back_while_the_other_serves() -> None:
    """The steps of `restart --rolling`."""
    codes: list[int] = []
    served: list[bool] = []

    async def act(scene: Scene) -> None:
        await scene.brought_up()
        for index, name in enumerate(NAMES):
            codes.append((await scene.operator.run(Direction.DOWN, only=name)).code)
            assert not scene.stack.services.running(index, "corosync")
            served.append(scene.stack.volumes.write(1 - index, "/opt", 0) is Written.DONE)
            codes.append((await scene.up()).code)

    scene = played(13, act)
    assert (codes, served) == ([0] * 4, [True] * 2)
    assert scene.stack.shooting.shots == []
    assert not scene.oracles.harms


def test_where_a_human_is_the_fence_all_waits_for_a_word_and_then_goes_on() -> None:
    found: list[object] = []

    async def act(scene: Scene) -> None:
        await scene.brought_up()
        scene.stack.cut(1)
        found.append(await written(scene, 60))
        status = await look_at_all(Remote(scene.world.config, SimTransport(scene.world, "somebody"), scene.world.now))
        found.append({name: status.node(NAMES[0]).layer(name).state for name in ("fenced", "mount opt")})
        found.append(await scene.stack.shooting.run(0, f"/usr/local/sbin/orchestrate-fence --ack {NAMES[1]}", "", {}))
        found.append(await written(scene, 30))
        scene.world.power_on(1)
        found.append((await scene.up()).code)

    scene = played(10, act, by_hand())
    assert found == [False, {"fenced": Layer.HUNG, "mount opt": Layer.HUNG}, 0, True, 0]
    assert scene.stack.shooting.shots == []
    assert not scene.oracles.harms


def test_up_degraded_when_the_other_is_known_to_be_off() -> None:
    found: list[object] = []

    async def act(scene: Scene) -> None:
        await scene.brought_up()
        scene.world.power_off(1)
        found.append((await scene.up()).code)
        found.append(await scene.stack.shooting.run(0, f"/usr/local/sbin/orchestrate-fence --ack {NAMES[1]}", "", {}))
        said = await scene.operator.run(degraded=True)
        found.append((said.code, said.text))
        found.append(await written(scene, 30))

    scene = played(11, act, by_hand())
    assert found[0] == 6, "beside a node that nobody can see nothing is done"
    assert found[1:] == [0, (0, ""), True]
    assert not scene.oracles.harms


class Counting(SimTransport):
    """How many commands are under way on each node at once, and how far apart reads of the counters are."""

    now: Counter[str]
    most: int
    glances: list[float]

    async def run(self, command: Command) -> Outcome:
        self.now[command.host] += 1
        self.most = max(self.most, self.now[command.host])
        if command.effect is Effect.READ:
            self.glances.append(self.world.now())
        try:
            return await super().run(command)
        finally:
            self.now[command.host] -= 1


def test_while_blocks_are_copied_no_node_is_asked_twice_at_once() -> None:
    """Nothing is pushed by 8.3: /proc/drbd is read, often near the end, seldom before, never again before the answer is there."""
    codes: list[int] = []
    counted: list[Counting] = []

    async def act(scene: Scene) -> None:
        config = evolve(scene.world.config, filesystem={}, share={}, cluster=evolve(scene.world.config.cluster, accept_no_fencing=True))
        transport = Counting(scene.world, "counting")
        transport.now, transport.most, transport.glances = Counter(), 0, []
        counted.append(transport)
        with scratch() as folder, Journal(Path(folder) / "j", scene.world.now) as journal:
            remote = Remote(config, transport, scene.world.now)
            engine = Engine(remote, journal, config.goal(Direction.UP), "counting:1:0", "counting-1", Silent(), Ledger(), lambda _: False)
            await engine.run()
            codes.append(0)

    slow = Tempo(meet=(0.02, 0.1), notice=(2.0, 5.5), cell=(8.0, 9.0))
    play(12, act, old_config(), tempo=slow, make=RhcsStack)
    assert codes == [0]
    assert counted[0].most == 1
    gaps = [later - earlier for earlier, later in pairwise(sorted(set(counted[0].glances)))]
    assert len(gaps) > 10
    assert max(gaps) <= 10.5
    assert min(gaps) < 1.0 < max(gaps), "often while nobody can say how long it takes, and near the end; seldom between"


def test_a_split_brain_is_recovered_with_the_words_of_8_3() -> None:
    """Without fencing both write on. The victim's changes go, once they were saved, by `drbdadm -- --discard-my-data connect`."""
    said: list[Said] = []
    typed_there: list[str] = []

    async def act(scene: Scene) -> None:
        await scene.brought_up()
        await scene.down()
        for index in (0, 1):
            await typed(scene, index, "drbdadm attach r0; drbdadm primary r0")
            scene.world.write(scene.world.drbd.volumes[0], index, 3 + index)
            await typed(scene, index, "drbdadm secondary r0; drbdadm down r0")
        said.append(await scene.up())
        split = said[0].facts
        shown = tuple((node.name, ids) for node in split.nodes if (ids := node.side("r0").identifiers) is not None)
        scene.world.drbd.listeners.append(lambda volume, before, now, cause: typed_there.append(cause))
        said.append(await scene.operator.run(Direction.UP, consents=(Consent("r0", NAMES[1], shown, "an operator"),)))

    scene = played(8, act, old_config(fencing=False))
    assert said[0].code == 3
    assert said[1].code == 0, said[1].text
    assert [key for key in said[1].sent if key.startswith("discard-changes")] == [f"discard-changes:r0:{NAMES[1]}"]
    one, other = (half.cells for half in scene.world.drbd.volumes[0].pair.halves)
    assert one == other
    assert scene.operator.archives
    assert not scene.unknown()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("point", range(3, 160, 16))
def test_killed_anywhere_the_next_run_ends_the_same(point: int) -> None:
    said: list[Said] = []

    async def act(scene: Scene) -> None:
        said.append(await scene.up(Life(ends_at=point)))
        said.extend([await scene.up(), await scene.up()])

    scene = played(9, act)
    assert 0 in (said[1].code, said[2].code), [one.text for one in said]
    assert all(node.layer("samba").state is Layer.UP for node in said[2].facts.nodes)
    assert [one.words for one in scene.stack.log].count(MADE[0]) == 1
    assert scene.stack.shooting.shots == []
    assert not scene.oracles.harms
