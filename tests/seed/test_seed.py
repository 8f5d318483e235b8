"""The how-to's own pair: its cluster.toml is good, `plan` shows the whole way on one screen, `check` names what is wrong with it."""

from __future__ import annotations

import io
from pathlib import Path

from attrs import define, field

from fixtures.sim.rhcs.stack import RhcsStack
from fixtures.sim.stack.stage import Scene, play
from fixtures.sim.transport import SimTransport
from orchestrator.cli.common import look_at_all
from orchestrator.config import Config, load
from orchestrator.remote import Remote
from orchestrator.render import draw_findings, draw_plan
from states.boot import BootFacts
from states.check import findings
from states.facts import ClusterFacts
from states.finding import Finding, Weight
from states.goal import Direction
from states.plan import plan

SEED = Path(__file__).parents[2] / "fixtures" / "seed"
CELL_KIB = 112 * 1024
"""Nine such cells hold the volume of 900 MiB."""
SCREEN = 60
"""Lines of a terminal at full height."""


@define
class Seen:
    """What a look at both simulated nodes brought."""

    facts: ClusterFacts = field(factory=ClusterFacts)
    boots: tuple[BootFacts, ...] = ()
    codes: list[int] = field(factory=list)
    sizes: list[int] = field(factory=list)


def config() -> Config:
    return load(SEED / "cluster.toml")


def looked(*, up: bool = False) -> Seen:
    seen = Seen()

    async def act(scene: Scene) -> None:
        if up:
            seen.codes.extend([(await scene.up()).code, (await scene.up()).code])
            seen.sizes.extend(active.size for each in scene.stack.volumes.active for active in each.values())
        remote = Remote(config(), SimTransport(scene.world, "somebody"), scene.world.now)
        seen.facts = await look_at_all(remote, zeros=True)
        seen.boots = tuple([await remote.boot(name) for name in config().names])
        assert not scene.unknown()

    play(1, act, config(), cell_kib=CELL_KIB, make=RhcsStack)
    return seen


def plan_text(facts: ClusterFacts) -> str:
    out = io.StringIO()
    draw_plan(plan(config().goal(Direction.UP), facts), out)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def said(seen: Seen) -> tuple[Finding, ...]:
    return findings(config().goal(Direction.UP), seen.facts, seen.boots)


def test_it_is_the_pair_of_the_how_to() -> None:
    pair = config()
    assert [(name, node.address) for name, node in pair.node.items()] == [("linux-nas01", "192.168.0.18"), ("linux-nas02", "192.168.0.19")]
    assert pair.volume_of("opt") == ("drbd_vg", "drbd_lv")
    assert (pair.fencing, pair.resource["r0"].disk, pair.filesystem["opt"].size) == ("manual", "/dev/vda3", "900M")


def test_its_plan_is_one_screen_and_the_one_that_was_read() -> None:
    text = plan_text(looked().facts)
    assert len(text.splitlines()) <= SCREEN
    assert text == (SEED / "plan.txt").read_text()


def test_check_names_what_is_wrong_with_it() -> None:
    found = {(one.weight, one.where): one for one in said(looked())}
    words = "\n".join(f"{one.where}: {one.what}: {one.evidence}" for one in found.values())
    assert (Weight.DANGER, "samba") in found
    assert "a human is the fence" in found[Weight.NOTE, "fencing"].what
    everything = "\n".join(f"{one.what}: {one.evidence}" for one in said(looked()))
    for trap in ("clvmd starts before DRBD", "gfs2 starts before DRBD", "drbd S70 (right: S20 K80)",
                 "parts of the stack start by themselves at boot"):
        assert trap in everything, words


def test_it_comes_up_and_what_is_left_to_say_is_what_cluster_toml_asks_for() -> None:
    seen = looked(up=True)
    assert seen.codes == [0, 0]
    assert seen.sizes == [900 * 2**20] * 2
    out = io.StringIO()
    draw_findings(said(seen), out)
    assert {one.where for one in said(seen)} == {"fencing", "samba"}, out.getvalue()
