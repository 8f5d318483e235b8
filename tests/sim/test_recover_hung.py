"""A victim whose cluster was killed hangs for ever: the survivor's fence agent switches it off and on, and the recovery goes on."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from attrs import define, evolve, field

from fixtures.sim.runs import Said
from fixtures.sim.scratch import scratch
from fixtures.sim.seeds import NAMES
from fixtures.sim.stack.stage import WHERE, Scene, play, stack_config
from fixtures.sim.transport import SimTransport
from orchestrator.cli.common import look_at_all
from orchestrator.config import Config
from orchestrator.errors import OrchestrateError, RefusedError
from orchestrator.journal import Journal, read
from orchestrator.recovery.power import Power, hanging
from orchestrator.remote import Remote
from orchestrator.stack_config import FenceSection
from orchestrator.watch import Silent
from states.assessment import Choice, assess, consent_for
from states.consent import Consent
from states.facts import ClusterFacts
from states.goal import Direction, Goal
from states.recovery_rules import hung_layers

SURVIVOR, VICTIM = NAMES


def one_agent() -> Config:
    """No fencing; but the victim's power switch is known."""
    config = stack_config(fencing=False)
    fence = FenceSection(agent="fence_ipmilan", options={"ip": "10.99.2.12"})
    return evolve(config, node={**config.node, VICTIM: evolve(config.node[VICTIM], fence=fence)})


@define
class Ran:
    """What came of it. `first`: the recovery as far as it comes by itself; `failed`: what the power cycle said."""

    first: Said = field(factory=lambda: Said(-1))
    second: Said = field(factory=lambda: Said(-1))
    failed: OrchestrateError | None = None
    ill: Consent | None = None
    boots: tuple[str, str] = ("", "")
    choices: tuple[Choice, ...] = ()
    journal: tuple[str, ...] = ()

    def of(self, victim: str) -> Choice:
        """What was planned for that victim."""
        return next(one for one in self.choices if one.victim == victim)


def assert_planned_through_it(found: Ran) -> None:
    """The plan has it: agreed on both nodes, switched off and on by the survivor, saved, discarded, and serving again."""
    choice = found.of(VICTIM)
    assert choice.refused is None, choice.refused
    assert choice.hangs
    keys = [item.key for item in choice.plan.items]
    ways = [f"record-consent:r0:{VICTIM}", f"power-cycle:r0:{SURVIVOR}", f"start-layer:module:r0:{VICTIM}", f"save-changes:r0:{VICTIM}",
            f"discard-changes:r0:{VICTIM}", f"start-layer:samba:{VICTIM}"]
    assert [key for key in keys if key in ways] == ways, keys
    numbered = {key: number for number, key in enumerate(keys)}
    assert len(numbered) == len(keys)
    assert all(numbered[need] < numbered[item.key] for item in choice.plan.items for need in item.needs)
    assert found.of(SURVIVOR).refused is not None, "its peer has nobody to shoot with"


async def torn(scene: Scene) -> tuple[Goal, ClusterFacts]:
    """Both serve and write, the link goes, both go on, the link is back, and one lock manager has the other's node killed."""
    await scene.brought_up()
    scene.wires(False)
    await anyio.sleep(20)  # of the virtual clock: both have noticed
    for index in (0, 1):
        scene.stack.volumes.write(index, WHERE, index)
    scene.wires(True)
    await anyio.sleep(20)  # ... and met again
    goal = scene.world.config.goal(Direction.UP)
    facts = await looked(scene)
    assert hung_layers(goal, facts.node(VICTIM)), "nothing hangs"
    assert not hung_layers(goal, facts.node(SURVIVOR))
    return goal, facts


async def looked(scene: Scene) -> ClusterFacts:
    return await look_at_all(Remote(scene.world.config, SimTransport(scene.world, "looks", {}), scene.world.now))


def recovered(config: Config, seed: int = 1, *, heals_by_itself: bool = False) -> tuple[Scene, Ran]:
    """Agreed, refused because it hangs, its power cycled, and once more."""
    found = Ran()

    async def act(scene: Scene) -> None:
        scene.oracles.archives = scene.operator.archives  # what is saved may go
        goal, facts = await torn(scene)
        consent = consent_for(goal, facts, "r0", VICTIM, "anna")
        assert consent is not None
        found.choices = assess(goal, facts, "r0", config.agents).choices
        agreed = evolve(goal, consents=(consent,))
        found.first = await scene.operator.run(consents=(consent,))
        found.ill = hanging(agreed, found.first.facts)
        before = scene.world.machines[1].boot_id
        if heals_by_itself:
            scene.stack.cut(1)
            scene.world.power_on(1)
        with scratch() as folder, Journal(Path(folder) / "power.jsonl", scene.world.now) as journal:
            remote = Remote(config, SimTransport(scene.world, "power", {}), scene.world.now)
            try:
                await Power(remote, journal, agreed, "one:power:0", "power", Silent()).cycle(consent)
            except OrchestrateError as error:
                found.failed = error
            found.journal = tuple(f"{record['kind']} {record['key']}" for record in read(journal.path) if "key" in record)
        found.boots = before, scene.world.machines[1].boot_id
        if found.failed is None:
            found.second = await scene.operator.run(consents=(consent,))

    return play(seed, act, config), found


@pytest.mark.parametrize("seed", range(6))
def test_off_and_on_and_the_pair_is_whole(seed: int) -> None:
    scene, found = recovered(one_agent(), seed)
    end = "\n".join(scene.trace[-60:])
    assert_planned_through_it(found)
    assert found.first.code != 0, end
    assert found.ill is not None
    assert found.failed is None, end
    assert [(target, by) for _, target, by in scene.stack.shooting.shots] == [(1, SURVIVOR)]
    assert found.boots[0] != found.boots[1]
    assert found.journal == (f"intent power-cycle:r0:{SURVIVOR}", f"outcome power-cycle:r0:{SURVIVOR}")
    assert found.second.code == 0, f"{found.second.text}\n{end}"
    assert ("r0", 1) in scene.operator.archives
    assert not scene.oracles.harms
    assert not scene.unknown()


def test_a_switch_that_does_not_answer_leaves_it_as_it_is() -> None:
    config = one_agent()
    dead = evolve(config.node[VICTIM], fence=FenceSection(agent="fence_ipmilan", options={"plug": "9"}, timeout=5.0))
    scene, found = recovered(evolve(config, node={**config.node, VICTIM: dead}))
    assert isinstance(found.failed, RefusedError)
    assert (found.failed.code, "step-failed" in str(found.failed)) == (4, True)
    assert found.boots[0] == found.boots[1]
    assert not scene.stack.shooting.shots


def test_without_an_agent_it_is_refused_before_anything_is_agreed() -> None:
    _, found = recovered(stack_config(fencing=False))
    choice = found.of(VICTIM)
    assert choice.refused is not None
    assert (choice.refused.rule, choice.by_hand_first) == ("layer-hung", True)
    assert f"[node.{VICTIM}.fence]" in choice.refused.remedy


def test_who_hangs_no_more_is_left_alone() -> None:
    scene, found = recovered(one_agent(), heals_by_itself=True)
    assert found.failed is None
    assert not scene.stack.shooting.shots
    assert found.journal == ()
    assert found.second.code == 0, found.second.text
