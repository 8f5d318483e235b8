"""The laws of the move from `rhcs` to `modern`: what may come before what, what comes back, and from where there is no way back."""

from __future__ import annotations

import pytest
from attrs import evolve

from states.facts import ClusterFacts, NodeFacts, Side
from states.goal import Wanted
from states.move import BECOMES, NO_WAY, STEPS, MoveStep, Moving, Site, Still, Where, moving, unfit
from states.stacks import DRBD, MODERN, RHCS, SERVERS
from states.vocabulary import ConnectionState, DiskState, Node

OLD = {one.name: one for one in (*RHCS, *SERVERS["plain"])}
NEW = {one.name: one for one in (*DRBD, *MODERN, *SERVERS["plain"])}
NODES = (Where.FIRST, Where.SECOND)
STEP = {step.name: step for step in STEPS}
SITE = Site("a", "b", "root@10.0.0.1", "root@10.0.0.2", ("r0", "r1"), (("vg0", "/srv"), ("vg1", "/opt")),
            (("/dev/x", "/dev/y"), ("/dev/z", "/dev/z")), verified=("r0",), services=9)


def of(node: Where) -> list[MoveStep]:
    """The steps that are about one node, in order."""
    return [step for step in STEPS if step.where in (node, Where.BOTH)]


def started(node: Where) -> list[str]:
    return [name for step in of(node) for name in step.starts]


def before(name: str) -> set[str]:
    """Every step that one waits for, directly or not."""
    found = set(STEP[name].needs)
    return found.union(*(before(one) for one in found))


@pytest.mark.parametrize("node", NODES)
def test_nothing_is_started_before_what_it_needs(node: Where) -> None:
    done: set[str] = set()
    for name in started(node):
        if name == "drbd":
            assert done >= {one.name for one in DRBD}
        else:
            assert set(NEW[name].needs) <= done, name
            assert "drbd" in done or not NEW[name].data, name
        assert name not in done, f"{name} is started twice"
        done.add(name)
    assert done == {*NEW, "drbd"}


def test_everything_of_the_old_stack_becomes_something_or_is_gone_for_good() -> None:
    assert set(BECOMES) == {*OLD, "drbd", "supervise"}
    assert {name for names in BECOMES.values() for name in names} <= {*NEW, "drbd", "supervise"}
    assert {name for name, then in BECOMES.items() if not then} == {"hosts", "version", "rgmanager"}


@pytest.mark.parametrize("node", NODES)
def test_every_stop_has_its_start_later_or_is_gone_for_good(node: Where) -> None:
    for at, step in enumerate(STEPS):
        if step.where in (node, Where.BOTH):
            later = [name for one in STEPS[at + 1:] if one.where in (node, Where.BOTH) for name in one.starts]
            assert {then for name in step.stops for then in BECOMES[name]} <= set(later), step.name
    assert STEP["unwatch"].stops == STEP["watch"].starts == ("supervise",)
    assert [step.name for step in STEPS if "supervise" in (*step.stops, *step.starts)] == ["unwatch", "watch"]


@pytest.mark.parametrize("node", NODES)
def test_everything_that_runs_is_stopped_from_the_top(node: Where) -> None:
    stops = [name for step in of(node) for name in step.stops]
    assert sorted(stops) == sorted([*(name for name, one in OLD.items() if one.stop), "drbd"])
    for at, name in enumerate(stops):
        for lower in stops[:at]:
            assert name == "drbd" or lower == "drbd" or lower not in needed(name), f"{lower} is stopped below {name}"
    assert all(stops.index(name) < stops.index("drbd") for name in stops if name != "drbd" and OLD[name].data)
    assert all(stops.index(name) > stops.index("drbd") for name in stops if name != "drbd" and OLD[name].holds_role)


def needed(name: str) -> set[str]:
    """Every layer below one of the old stack."""
    return set(OLD[name].needs).union(*(needed(one) for one in OLD[name].needs))


def test_there_is_one_point_of_no_return_and_it_is_where_clients_may_write() -> None:
    marked = [step for step in STEPS if step.no_return]
    assert [step.name for step in marked] == ["serve"]
    assert [step.name for step in STEPS if "samba" in step.starts and step.where is Where.FIRST] == ["serve"]
    at = STEPS.index(marked[0])
    assert all(not step.back.startswith(NO_WAY) for step in STEPS[:at])
    assert all(step.back.startswith(NO_WAY) or "lost" in step.back for step in STEPS[at:])
    assert not any("nothing is lost" in step.back for step in STEPS[at:])
    assert {"mount", "samba"} <= set(marked[0].starts), "and nothing of it runs earlier"
    assert not {"mount", "samba"} & {name for step in STEPS[:at] for name in step.starts}


def test_the_two_clusters_never_have_one_gfs2_mounted() -> None:
    """Both nodes' old mounts are gone, and the second node is off, before anything of the new cluster runs anywhere."""
    first = next(step for step in STEPS if step.starts)
    assert {"down", "keep"} <= before(first.name)
    assert STEP["down"].where is Where.BOTH
    assert {"mount", "cman"} <= set(STEP["down"].stops)
    assert "install-second" in before("join"), "its old system is not started again"


def test_a_group_is_converted_while_the_other_node_is_off_and_before_its_locks_start() -> None:
    assert {"keep", "start-first"} <= before("convert")
    assert "convert" in before("serve")
    assert "lockspace" in STEP["serve"].starts


def test_every_step_waits_for_earlier_ones_only() -> None:
    names = [step.name for step in STEPS]
    assert len(set(names)) == len(names)
    for at, step in enumerate(STEPS):
        assert set(step.needs) <= set(names[:at]), step.name
    assert before("watch") >= set(names) - {"watch", "compare-again"}


def test_nobody_is_served_from_down_to_serve_and_at_no_other_time() -> None:
    still = [step.name for step in STEPS if step.still is Still.ALL]
    names = [step.name for step in STEPS]
    assert still == names[names.index("down"):names.index("serve") + 1]
    assert all(step.lasts for step in STEPS)
    assert [step.name for step in STEPS if step.still is Still.SPARE] == ["try", "install-second", "join"]


def lines(found: Moving, name: str) -> tuple[str, ...]:
    return next(step.typed for step in found.steps if step.name == name)


def test_every_group_mount_and_disk_has_its_line() -> None:
    found = moving(SITE)
    assert [line.rpartition(" ")[2] for line in lines(found, "convert")] == ["vg0", "vg1", "vg0", "vg1"]
    assert [line.split()[2] for line in lines(found, "copy")] == ["root@10.0.0.1:/srv/", "root@10.0.0.1:/opt/"]
    for name, node, disks in (("install-first", "1", ["/dev/x", "/dev/z"]), ("install-second", "2", ["/dev/y", "/dev/z"])):
        looks = [line.split()[:4] for line in lines(found, name) if "lsblk" in line]
        assert looks == [["ssh", f"root@10.0.0.{node}", "lsblk", disk] for disk in disks]
    assert lines(found, "compare") == ("orchestrate -c cluster.toml verify r0",)
    assert "r1: cannot be compared before and after: no verify_alg in cluster.toml" in found.notes
    assert not [text for step in found.steps for text in (step.what, step.lasts, step.back, *step.typed) if "{" in text or "}" in text]


def test_what_has_no_line_is_left_out_and_the_order_stays() -> None:
    bare = moving(evolve(SITE, verified=(), volumes=()))
    needs = {step.name: step.needs for step in bare.steps}
    assert set(STEP) - set(needs) == {"compare", "copy", "compare-again", "convert"}
    assert needs["serve"] == ("start-first",)
    assert needs["unwatch"] == ("look", "describe")
    assert (bare.still, moving(SITE).still) == ((4, 8), (6, 11))


def test_a_name_is_spoken_of_where_there_is_one() -> None:
    assert len(moving(evolve(SITE, name="nas.example.org")).changes) == len(moving(SITE).changes) + 1


def node(name: str, disk: DiskState, connection: ConnectionState = ConnectionState.CONNECTED, state: Node = Node.REACHABLE) -> NodeFacts:
    return NodeFacts(name, state, sides=(("r0", Side(name, configured=True, disk=disk, connection=connection)),))


GOOD = DiskState.UP_TO_DATE
WANTED = (Wanted("r0", ("a", "b")),)


@pytest.mark.parametrize(("nodes", "seen"), [
    ((node("a", GOOD), node("b", GOOD)), None),
    ((node("a", GOOD), node("b", DiskState.INCONSISTENT)), "b is Inconsistent"),
    ((node("a", GOOD, ConnectionState.STAND_ALONE), node("b", GOOD)), "a is UpToDate, not connected"),
    ((node("a", GOOD), NodeFacts("b", Node.UNREACHABLE, why="no route")), None),
    ((node("a", DiskState.OUTDATED), NodeFacts("b", Node.UNREACHABLE, why="no route")), "a is Outdated"),
    ((NodeFacts("a", Node.UNREACHABLE, why="no route"), NodeFacts("b", Node.UNREACHABLE, why="no route")), None),
])
def test_a_move_begins_with_a_whole_pair_and_who_is_not_seen_says_nothing(nodes: tuple[NodeFacts, ...], seen: str | None) -> None:
    found = unfit(ClusterFacts(nodes), WANTED)
    assert (found is None) == (seen is None)
    if found is not None:
        assert (found.rule, found.evidence) == ("move-from-whole", seen)
