"""`view` and `far` against the real look.sh, act.sh and their parser, on what the search really meets."""

from __future__ import annotations

import random
from functools import cache

import pytest
from attrs import evolve

from fixtures.search.far import Far
from fixtures.search.mutants import start_named
from fixtures.search.real import Stage, bare
from fixtures.search.run import Search
from fixtures.search.state import NODES, RESOURCE, Sent, World
from fixtures.search.view import look, with_defaults
from orchestrator.drbd import steps
from states.facts import ClusterFacts, NodeFacts
from states.goal import Direction, Do, Step
from states.vocabulary import ConnectionState

NAMES = ("blank-up2-8.4", "blank-up2-9", "crashed-up2-8.4", "in-sync-up2-9", "healthy-down-9", "blank-skip-up2-9",
         "recover-up2-8.4", "recover-serving-up2-9", "recover-blip-up2-8.4")
OWN = (75, 76)
"""Exit codes that are act.sh's own; all other failures are alike to the orchestrator."""
WITHOUT = {
    # guard        the script's text                                                         without it
    "lease_mine": ('if lease_mine "$holds" "$at"; then',                                     "if :; then"),
    "claim":      ('claim "$op" "$step" "$resource" ||',                                     ": ||"),
    "still":      ('[ "$gi" = "$4" ] ||',                                                    ": ||"),
    "never_good": (' && never_good "$1" "$2" "$3" || ',                                      " || "),
    "blank":      ('blank "$3" "$2" "$1" || return',                                         ":"),
    "linked":     ("no*cs:WF*|no*cs:Connected*|no*connection:Connect*)",                    "never)"),
    "in-use":     ('*ds:Diskless/*|*ds:Failed/*|*" disk:Diskless"*|*" disk:Failed"*|*" disk:Detaching"*)', "never)"),
    "unmarked":   ("*out-of-sync:[1-9]*)",                                                  "never)"),
    "written":    ('[ "$kib" = 0 ] ||',                                                      ": ||"),
    "promote":    ("\t*cs:Connected*ds:UpToDate/UpToDate*) $adm primary",                    "\t*) $adm primary"),
}

STEP_OF = {
    "blank": Do.CREATE_METADATA, "promote": Do.PROMOTE, "still": Do.CONNECT, "never_good": Do.FORCE_PRIMARY, "linked": Do.ATTACH,
    "in-use": Do.CONNECT, "unmarked": Do.CONNECT, "written": Do.DISCARD,
}


@cache
def searched(name: str) -> Search:
    """A few thousand states, adversity and people included."""
    start = start_named(name)
    calm = start.direction is Direction.DOWN or start.world.recovery is not None  # else thousands of states come before the first step
    search = Search(evolve(start, adversities=0 if calm else 2, human=1), 2500)
    search.run()
    return search


def worlds(name: str, most: int) -> list[World]:
    found = list(searched(name).machinery.worlds.values)
    return random.Random(1).sample(found, min(most, len(found)))


@pytest.mark.parametrize("name", NAMES)
def test_a_look_is_what_the_real_probe_sees(name: str) -> None:
    """First looks and later ones of both nodes, through look.sh and its parser."""
    search, seen = searched(name), 0
    for world in worlds(name, 12):
        for index in (0, 1):
            half = world.pair.halves[index]
            if not half.powered:
                continue
            seen_in_use = bool(half.holder) and not half.attached
            noted = (world.noted[0] or (seen_in_use and index == 0), world.noted[1] or (seen_in_use and index == 1))
            for first in (True, False):
                real = Stage(search.machinery.start, world).look(index, first=first)
                mine = look(evolve(world, noted=noted), index, first=first, zeros=search.machinery.start.skip)
                assert real == bare(mine), world
                seen += 1
    assert seen > 10


def same_code(real: int, mine: int) -> bool:
    return real == mine or (real not in (0, *OWN) and mine not in (0, *OWN))


def known(world: World, index: int, sent: Sent) -> NodeFacts:
    """What was known of a node when the batch was sent."""
    facts = look(world, index)
    link = ConnectionState.CONNECTING if sent.known.linked else ConnectionState.STAND_ALONE
    dirty = sent.known.marked or (sent.steps[0].do is Do.DISCARD and not sent.known.clean)
    return facts.with_side(RESOURCE, evolve(facts.side(RESOURCE), connection=link, out_of_sync=4 if dirty else 0))


def compare(search: Search, world: World, sent: Sent, far: Far, script: tuple[tuple[str, str], ...] = ()) -> None:
    """One batch, through act.sh and through `far`: codes, kernels, files, and what the look after it says."""
    facts = ClusterFacts((known(world, 0, sent), known(world, 1, sent)))
    stage = Stage(search.machinery.start, world, script)
    answer = stage.act(sent, facts)
    now, codes = world, []
    for step in sent.steps:
        done = far.run(now, sent.node, step, sent.known)
        now = done.world
        codes.append(done.code)
    got = stage.now()
    real = [result.code for result in answer.results]
    assert len(real) == len(codes)
    assert all(map(same_code, real, codes)), (real, codes, answer.results, world)
    assert got.pair.halves == now.pair.halves, sent
    assert got.config == now.config
    assert (got.recovery and got.recovery.records) == (now.recovery and now.recovery.records)
    brief = all(step.do is not Do.CONNECT for step in sent.steps)
    assert evolve(bare(answer.facts), claims=()) == evolve(bare(look(evolve(now, noted=got.noted), sent.node, brief=brief)), claims=())


@pytest.mark.parametrize("name", NAMES)
def test_a_step_does_what_the_real_script_does(name: str) -> None:
    """Batches that the search ran, in the worlds where it ran them."""
    search = searched(name)
    machinery = search.machinery
    ran = [(machinery.worlds[world], machinery.sents[number]) for world, number in machinery.ran()]
    ran = [(world, sent) for world, sent in ran if world.pair.halves[sent.node].powered and not sent.saves]
    chosen = random.Random(2).sample(ran, min(20, len(ran)))
    for world, sent in chosen:
        compare(search, world, sent, machinery.far)
    assert chosen


@pytest.mark.parametrize("guard", [guard for guard in WITHOUT if guard not in ("lease_mine", "claim")])
def test_without_a_guard_both_do_the_same_harm(guard: str) -> None:
    """The mutants of `far` are those of the script: where the guard said no, both act without it."""
    old, new = WITHOUT[guard]
    assert old in steps.SCRIPT
    tried = 0
    for name in ("recover-up2-8.4",) if guard == "written" else ("blank-up2-8.4", "in-sync-up2-9", "crashed-up2-8.4", "healthy-down-9"):
        search, step = searched(name), STEP_OF[guard]
        far, without_it = search.machinery.far, evolve(search.machinery.far, without=frozenset({guard}))
        for world in worlds(name, 300):
            expect = "" if guard == "blank" else ":".join(["00000000000000AA"] * 4) if guard == "still" else identifiers(world)
            sent = Sent(0, (Step(step, NODES[0], RESOURCE, expect=expect),))
            if world.pair.halves[0].powered and tried < 6 and far.run(world, 0, sent.steps[0]).code == 76:
                compare(search, world, sent, without_it, ((old, new),))
                tried += 1
    assert tried


def identifiers(world: World) -> str:
    """What the first node's metadata says now."""
    return str(look(world, 0).side(RESOURCE).identifiers or "")


def blank_stage(script: tuple[tuple[str, str], ...] = ()) -> tuple[Stage, Sent, ClusterFacts]:
    start = start_named("blank-up2-8.4")
    world = evolve(start.world, config=(1, 1))
    sent = Sent(0, (Step(Do.CREATE_METADATA, NODES[0], RESOURCE),))
    return Stage(start, world, script), sent, ClusterFacts((look(world, 0), look(world, 1)))


def test_a_claimed_operation_runs_once() -> None:
    """The same operation a second time is refused; without the claim `blank` refuses it, and without both it runs."""
    stage, sent, facts = blank_stage()
    assert [stage.act(sent, facts).results[0].code for _ in range(2)] == [0, 75]
    stage, sent, facts = blank_stage((WITHOUT["claim"],))
    assert [stage.act(sent, facts).results[0].code for _ in range(2)] == [0, 76]
    stage, sent, facts = blank_stage((WITHOUT["claim"], WITHOUT["blank"]))
    assert [stage.act(sent, facts).results[0].code for _ in range(2)] == [0, 0]


def test_a_command_of_an_earlier_run_is_refused() -> None:
    """Another run has the lease now; without the check the command acts."""
    stage, sent, facts = blank_stage()
    assert stage.act(sent, facts, mine=False).results[0].code == 75
    assert stage.now().pair.halves[0].meta is None
    stage, sent, facts = blank_stage((WITHOUT["lease_mine"],))
    assert stage.act(sent, facts, mine=False).results[0].code == 0
    assert stage.now().pair.halves[0].meta is not None


def test_settings_are_those_a_kernel_runs() -> None:
    """What is compared with cluster.toml in a look is the same tuple everywhere."""
    start = start_named("blank-up2-9")
    assert searched("blank-up2-9").machinery.far.settings == with_defaults(start.wanted.net)
