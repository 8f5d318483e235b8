"""Stack profiles are data: every need is there and comes first, and every layer can be seen, started and stopped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.drbd import steps as drbd
from orchestrator.drbd.steps import Sender
from orchestrator.probes.rhcs.layers import READERS as OLD_READERS
from orchestrator.probes.stack import READERS, SERVICES
from orchestrator.probes.volumes import VOLUME_READERS
from orchestrator.stack import steps
from orchestrator.stack.rhcs import steps as rhcs
from states import layer
from states.goal import Direction, Do, Step
from states.stacks import DRBD, MODERN, NFS, PROFILES, RHCS, SERVERS, LayerSpec, Stack, Volume, build, spec, without
from states.table import towards
from states.vocabulary import By, Layer
from tests.unit.stack_cluster import CTDB, OLD_STACK, ONE, OTHER, SIZED, facts_of, loaded

NODES = ("a", "b", "c")
VOLUMES = (Volume("x", "r0", ("a", "b")), Volume("y", "r1", ("b", "c")))
COMPLETE = (*MODERN, *SERVERS["ctdb"], NFS)
FUNCTIONS = set(re.findall(r"^(\w+)\(\)", steps.SCRIPT + drbd.SCRIPT, re.MULTILINE))
EVERY = [*MODERN, *SERVERS["ctdb"], NFS]
"""Every layer above DRBD, whatever serves the shares."""
OLD = [*RHCS, *SERVERS["plain"]]
"""Those of Fedora 14 and RHEL 6."""
OLD_FUNCTIONS = FUNCTIONS | set(re.findall(r"^(\w+)\(\)", rhcs.SCRIPT, re.MULTILINE))


@pytest.mark.parametrize("profile", [*PROFILES.values(), *((*MODERN, *layers) for layers in SERVERS.values())])
def test_what_is_needed_is_there_and_comes_first(profile: tuple[LayerSpec, ...]) -> None:
    names = [one.name for one in profile]
    assert len(set(names)) == len(names)
    for number, one in enumerate(profile):
        assert set(one.needs) <= set(names[:number]), one.name
        assert one.because
        assert one.start or one.name in ("packages", "hosts")


def test_the_layers_of_a_volume_are_there_once_for_each_and_need_their_own() -> None:
    stack = Stack(build(COMPLETE, VOLUMES, NODES), NODES)
    mounts = {placed.name: placed for placed in stack.layers if placed.spec.name == "mount"}
    assert set(mounts) == {"mount x", "mount y"}
    assert mounts["mount y"].needs == ("active y", "gfs2 y")
    assert (mounts["mount y"].nodes, mounts["mount y"].resource) == (("b", "c"), "r1")
    assert stack.placed("vg x").needs == ("lvmlockd",)
    assert stack.placed("ctdb").needs == ("mount x", "mount y")
    assert stack.placed("ctdb").nodes == NODES
    assert stack.placed("ctdb").resource == ""


def test_what_serves_a_volume_is_only_where_one_is() -> None:
    stack = Stack(build(COMPLETE, VOLUMES[:1], NODES), NODES)
    for name in ("ctdb", "samba", "nfs"):
        assert stack.placed(name).nodes == ("a", "b"), name
    assert stack.placed("dlm").nodes == NODES


@pytest.mark.parametrize("name", [placed.name for placed in build(COMPLETE, VOLUMES, NODES)])
def test_above_and_below_are_each_others_opposite(name: str) -> None:
    stack = Stack(build(COMPLETE, VOLUMES, NODES), NODES)
    order = [placed.name for placed in stack.layers]
    below, above = ([one.name for one in found] for found in (stack.below(name), stack.above(name)))
    assert set(below) | {name} <= set(order[:order.index(name) + 1])
    assert set(above) <= set(order[order.index(name) + 1:])
    assert below == sorted(below, key=order.index)
    assert above == sorted(above, key=order.index)
    for other in order:
        assert (other in below) == (name in [one.name for one in stack.above(other)])


def test_the_ends_of_the_stack() -> None:
    stack = Stack(build(COMPLETE, VOLUMES, NODES), NODES)
    assert stack.below("packages") == ()
    assert stack.above("samba") == ()
    assert {one.name for one in stack.below("mount x")} == {
        "packages", "files", "authkey", "corosync", "dlm", "lvmlockd", "vg x", "lockspace x", "lv x", "active x", "gfs2 x"}
    assert {one.name for one in stack.above("gfs2 y")} == {"mount y", "ctdb", "samba", "nfs"}


@pytest.mark.parametrize("name", [one.name for one in COMPLETE])
def test_without_a_layer_those_above_need_what_it_needed(name: str) -> None:
    left = without(COMPLETE, name)
    names = [one.name for one in left]
    assert names == [one.name for one in COMPLETE if one.name != name]
    gone = next(one for one in COMPLETE if one.name == name)
    for number, one in enumerate(left):
        assert set(one.needs) <= set(names[:number])
        assert len(set(one.needs)) == len(one.needs)
        before = next(each for each in COMPLETE if each.name == one.name)
        if name in before.needs:
            assert set(gone.needs) <= set(one.needs)
        else:
            assert one == before


def test_without_ctdb_the_profile_is_the_plain_one() -> None:
    assert without((*MODERN, *SERVERS["ctdb"]), "ctdb") == (*MODERN, *SERVERS["plain"])


def test_a_layer_is_found_by_its_name_and_by_the_name_it_has_for_a_volume() -> None:
    assert spec("mount opt") is spec("mount")
    assert spec("mount").name == "mount"
    assert spec("module") in DRBD
    with pytest.raises(KeyError):
        spec("heartbeat")


@pytest.mark.parametrize("one", OLD, ids=lambda one: one.name)
def test_every_layer_of_rhcs_has_a_reader(one: LayerSpec) -> None:
    assert one.name in (VOLUME_READERS if one.volume else OLD_READERS)


def test_no_reader_of_rhcs_is_for_nobody() -> None:
    assert set(OLD_READERS) == {one.name for one in OLD if not one.volume}


@pytest.mark.parametrize("one", OLD, ids=lambda one: one.name)
def test_every_layer_of_rhcs_has_its_functions_on_the_node(one: LayerSpec, tmp_path: Path) -> None:
    config = loaded(tmp_path, OLD_STACK)
    sender = Sender(config, facts_of(config), "")
    for do, wanted in ((Do.START_LAYER, bool(one.start)), (Do.STOP_LAYER, bool(one.stop))):
        if wanted:
            words = steps.words(Step(do, ONE, "", f"{one.name} opt" if one.volume else one.name), sender)
            assert words[0] in OLD_FUNCTIONS
            assert all(isinstance(word, str) for word in words)


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
def test_every_layer_has_a_reader(one: LayerSpec) -> None:
    assert one.name in (VOLUME_READERS if one.volume else READERS)


def test_no_reader_is_for_nobody() -> None:
    names = {one.name for one in EVERY}
    assert set(READERS) | set(VOLUME_READERS) == names
    assert set(SERVICES) <= names


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
def test_every_layer_that_can_be_started_or_stopped_has_its_function_on_the_node(one: LayerSpec, tmp_path: Path) -> None:
    config = loaded(tmp_path, CTDB)
    sender = Sender(config, facts_of(config), "")
    name = f"{one.name} opt" if one.volume else one.name
    for do, wanted in ((Do.START_LAYER, bool(one.start)), (Do.STOP_LAYER, bool(one.stop))):
        if wanted:
            words = steps.words(Step(do, ONE, "", name), sender)
            assert words[0] in FUNCTIONS
            assert all(isinstance(word, str) for word in words)


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
@pytest.mark.parametrize("state", Layer)
def test_no_state_leads_to_a_step_that_the_layer_does_not_have(one: LayerSpec, state: Layer) -> None:
    """What cannot be started is never started, from whatever state; packages are never Down."""
    row = towards(layer.TABLE, state, Layer.UP, Direction.UP, one)
    if row is not None and row.by is By.US and (one.name not in ("packages", "hosts") or state is not Layer.DOWN):
        assert one.start


@pytest.mark.parametrize("one", [*EVERY, *OLD], ids=lambda one: one.name)
def test_what_two_profiles_share_is_the_same_to_those_who_ask_by_name(one: LayerSpec) -> None:
    """`spec` finds a layer by its name alone."""
    known = spec(one.name)
    assert (known.start, known.stop, known.once, known.joint, known.deadline) == (one.start, one.stop, one.once, one.joint, one.deadline)


@pytest.mark.parametrize("one", [*EVERY, *OLD], ids=lambda one: one.name)
def test_what_carries_data_says_so(one: LayerSpec) -> None:
    assert one.data == one.volume
    assert not (one.once and one.stop), "what is made for ever is not unmade"
    assert not (one.once and not one.volume)


def test_a_configuration_makes_the_stack_it_says(tmp_path: Path) -> None:
    def names(text: str) -> set[str]:
        stack = loaded(tmp_path, text).stack()
        return set() if stack is None else {placed.spec.name for placed in stack.layers}

    small = {one.name for one in MODERN if not one.grows}
    assert names(CTDB) == {*small, *(one.name for one in SERVERS["ctdb"])}
    assert names(CTDB.replace('"ctdb"', '"plain"')) == {*small, *(one.name for one in SERVERS["plain"])}
    assert names(CTDB.replace('"ctdb"', '"none"')) == small
    assert names(CTDB.replace('[share.public]\nfilesystem = "opt"', "")) == small
    assert names(OLD_STACK) == {one.name for one in OLD}
    assert names(SIZED) == {one.name for one in (*MODERN, *SERVERS["plain"])}
    assert names(CTDB[:CTDB.index("[filesystem.opt]")]) == set()


def test_samba_serves_on_the_nodes_that_are_named(tmp_path: Path) -> None:
    stack = loaded(tmp_path, CTDB.replace('"ctdb"', f'"plain"\nserve_on = ["{OTHER}"]')).stack()
    assert stack is not None
    assert stack.placed("samba").nodes == (OTHER,)
    assert stack.placed("mount opt").nodes == (ONE, OTHER)
