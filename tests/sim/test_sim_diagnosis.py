"""Causes on the simulated DRBD, 8.4 and 9, through the real look: what `orchestrate status` would call each.

The same causes on real 8.4 kernels: `tests/lab/test_diagnosis.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

from fixtures.sim.drbd import kernel
from states.diagnosis import Cause, Diagnosis, diagnose
from states.facts import ClusterFacts, Generation
from states.goal import Ledger, Wanted
from states.pair import Pair
from tests.sim.drbd_stage import BOTH, NODES, Stage

WANTED = Wanted("r0", (NODES[0], NODES[1]), net=tuple(sorted({
    "protocol": "C", "allow-two-primaries": "yes", **{f"after-sb-{number}pri": "disconnect" for number in range(3)},
}.items())))
ONE, OTHER = NODES
Act = Callable[[Stage], Awaitable[None]]


def found(generation: Generation, act: Act, policy: str = "disconnect") -> Diagnosis:
    """What is diagnosed after this was done."""
    stage = Stage(generation, policy=policy)

    async def play() -> ClusterFacts:
        await act(stage)
        return ClusterFacts((await stage.look(0), await stage.look(1)))

    facts = anyio.run(play)
    return diagnose(Pair.of(facts, WANTED, Ledger()), facts)


async def quiet(stage: Stage) -> None:
    """Both good, connected, nobody Primary."""
    await stage.synced()
    await stage.must(0, "drbdadm secondary r0")


@pytest.mark.parametrize("generation", BOTH, ids=str)
def test_a_good_pair_is_healthy(generation: Generation) -> None:
    assert found(generation, Stage.synced).kind is Cause.HEALTHY


@pytest.mark.parametrize("generation", BOTH, ids=str)
def test_a_hand_is_told_from_a_broken_link(generation: Generation) -> None:
    async def by_hand(stage: Stage) -> None:
        await quiet(stage)
        await stage.must(0, "drbdadm disconnect r0")
        stage.world()

    async def cut(stage: Stage) -> None:
        await quiet(stage)
        stage.wires(works=False)
        stage.world()

    seen = found(generation, by_hand)
    assert seen.kind is Cause.BY_HAND, seen
    assert ONE in seen.summary
    seen = found(generation, cut)
    assert seen.kind is Cause.NETWORK, seen
    assert any("they parted" in line for line in seen.evidence)


@pytest.mark.parametrize("generation", BOTH, ids=str)
def test_a_node_that_is_down(generation: Generation) -> None:
    async def act(stage: Stage) -> None:
        await quiet(stage)
        await stage.must(1, "drbdadm down r0")
        stage.world()

    seen = found(generation, act)
    assert (seen.kind, seen.type_next) == (Cause.PEER_DOWN, "orchestrate up")
    assert OTHER in seen.summary


@pytest.mark.parametrize("generation", BOTH, ids=str)
def test_a_split_brain(generation: Generation) -> None:
    seen = found(generation, Stage.split)
    assert seen.kind is Cause.SPLIT_BRAIN, seen
    lines = "\n".join(seen.evidence)
    assert "both went on from" in lines
    assert "Split-Brain detected but unresolved" in lines
    assert "no policy discards anything" in lines


@pytest.mark.parametrize("generation", BOTH, ids=str)
def test_what_a_policy_would_discard_is_foretold(generation: Generation) -> None:
    """Two Primaries: nothing. As soon as one is demoted, that one loses."""
    lines = "\n".join(found(generation, Stage.split, policy="discard-secondary").evidence)
    assert "left alone: split brain, unresolved" in lines
    assert f"if {OTHER} is demoted, or rebooted and `drbdadm up` is typed: split brain, solved: {OTHER} LOSES its changes" in lines


def test_diverged_on_nine() -> None:
    """Only one of two Primaries wrote while they were apart."""
    async def act(stage: Stage) -> None:
        await stage.synced()
        await stage.must(1, "drbdadm primary r0")
        stage.wires(works=False)
        stage.world()
        stage.change(lambda pair: kernel.write(pair, 0, 0, 7)[0])
        stage.wires(works=True)
        stage.world()

    seen = found(Generation.V9, act)
    assert seen.kind is Cause.DIVERGED, seen
    assert seen.type_next.startswith(f"on {OTHER}: ")
    assert found(Generation.V84, act).kind is Cause.SPLIT_BRAIN  # there the loss of the link alone makes new identifiers
