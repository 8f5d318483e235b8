"""A third node that only votes: what it has of the stack, what it may not have, and what goes on without it."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from fixtures.situations import node as example
from orchestrator.config import Config
from orchestrator.drbd.files import resource_file
from orchestrator.drbd.steps import Sender
from orchestrator.errors import ConfigError
from orchestrator.remote import Remote
from orchestrator.stack.files import corosync_conf, files_of, programs
from orchestrator.stack.steps import expected_stack, words
from orchestrator.transport import NotSent, Outcome, Why
from states.check import findings
from states.decide import decide
from states.facts import ClusterFacts, Generation, LayerFact
from states.goal import Direction, Do, Kind, Ledger, Reached, Refused, Step, Steps
from states.plan import plan
from states.vocabulary import Layer, Node
from tests.unit.stack_cluster import ONE, OTHER, THIRD, VOTED, facts_of, loaded, with_layer

VOTES = ("packages", "files", "authkey", "corosync")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return loaded(tmp_path, VOTED)


def three(config: Config, state: Layer = Layer.UP, like: str = "healthy") -> ClusterFacts:
    """Both storage nodes and the third, every layer in one state."""
    stack = config.stack()
    assert stack is not None
    two = facts_of(evolve(config, node={name: config.node[name] for name in config.storage}), state, like)
    layers = tuple(LayerFact(placed.name, state, "as an example") for placed in stack.layers if THIRD in placed.nodes)
    third = evolve(example(THIRD), sides=(), layers=layers, generation=Generation.UNKNOWN, version="")
    return ClusterFacts((*two.nodes, third))


def gone(seen: ClusterFacts, name: str, *, known: bool = False) -> ClusterFacts:
    """One node cannot be seen; `known`: the others know that it is off."""
    nodes = (evolve(one, off=(name,)) if known else one for one in seen.nodes)
    return ClusterFacts(tuple(evolve(one, state=Node.UNREACHABLE, why="no route", sides=(), layers=(), off=()) if one.name == name else one
                              for one in nodes))


@pytest.mark.parametrize(("old", "new", "said"), [
    ("storage = false", "", "(DRBD 8.4 keeps two copies), found 3; a third that only votes has storage = false"),
    ("minor = 1", f'minor = 1\n[resource.r0.disks]\n{THIRD} = "/dev/ubdb"',
     f"resource.r0.disks.{THIRD}: node {THIRD} has storage = false; DRBD 8.4 keeps two copies"),
    ("[share.public]", f'[samba]\nserve_on = ["{THIRD}"]\n[share.public]',
     f"samba.serve_on: node {THIRD} has storage = false, so no file system is mounted there (layer mount) and smbd"),
    ("storage = false", 'storage = false\n[node.fourth]\naddress = "10.99.0.14"\nstorage = false', f"found 2: {THIRD}, fourth"),
    ('[filesystem.opt]\nresource = "r0"\nmount = "/opt"\nvg = "vg0"\n\n[share.public]\nfilesystem = "opt"\n', "",
     f"node.{THIRD}.storage: it would vote in corosync, and without a [filesystem.NAME] there is none"),
    ("storage = false", 'storage = "no"', f"node.{THIRD}.storage: expected bool"),
])
def test_what_is_not_sensible_there_is_said(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in VOTED
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, VOTED.replace(old, new))
    assert said in str(error.value)


def test_it_has_the_cluster_layers_and_nothing_of_the_data(config: Config) -> None:
    stack = config.stack()
    assert stack is not None
    assert (stack.nodes, stack.voters) == ((ONE, OTHER, THIRD), (THIRD,))
    assert tuple(placed.name for placed in stack.layers if THIRD in placed.nodes) == VOTES
    assert config.wanted("r0").nodes == (ONE, OTHER)
    assert config.fencing == "agent"
    assert programs(config, THIRD) == ("corosync=corosync",)
    assert [file.path for file in files_of(config, THIRD)] == ["/etc/corosync/corosync.conf"]
    assert THIRD not in resource_file(config, "r0", Generation.V84)
    expected = expected_stack(config, THIRD)
    assert expected is not None
    assert (expected.layers, expected.volumes) == (VOTES, ())


def test_corosync_knows_three_nodes_and_asks_for_a_majority(config: Config) -> None:
    text = corosync_conf(config)
    assert "two_node" not in text
    assert text.count("nodeid:") == 3
    assert f"name: {THIRD}\n\t\tnodeid: 3\n\t\tring0_addr: 10.98.0.13" in text


def test_who_is_shot_how_says_that_it_votes(config: Config, tmp_path: Path) -> None:
    def lines(config: Config) -> list[str]:
        return next(file.text for file in files_of(config, ONE) if file.path == "/etc/orchestrate/fence/nodes").splitlines()

    assert lines(config)[2] == f"3 {THIRD} manual - off 20 0 votes"
    fence = f'\n[node.{THIRD}.fence]\nagent = "fence_ipmilan"\n'
    assert lines(loaded(tmp_path, VOTED + fence))[2] == f"3 {THIRD} agent fence_ipmilan off 20 0 votes"
    assert not [line for line in lines(config)[:2] if line.endswith("votes")]


def test_ctdb_and_the_journals_are_for_those_that_mount(tmp_path: Path) -> None:
    config = loaded(tmp_path, VOTED + '\n[samba]\nclustering = "ctdb"\n')
    assert next(file.text for file in files_of(config, ONE) if file.path == "/etc/ctdb/nodes") == "10.98.0.11\n10.98.0.12\n"
    sender = Sender(config, three(config), "")
    assert words(Step(Do.START_LAYER, ONE, "", "gfs2 opt"), sender)[4] == "2"


def test_the_lock_manager_is_told_not_to_wait_for_it(config: Config) -> None:
    sender = Sender(config, gone(three(config), OTHER, known=True), "")
    assert words(Step(Do.START_LAYER, ONE, "", "dlm"), Sender(config, three(config), "")) == ["start_dlm", "3"]
    assert words(Step(Do.START_LAYER, ONE, "", "dlm"), sender) == ["start_dlm", "2", "3"]
    assert words(Step(Do.START_LAYER, ONE, "", "corosync"), sender) == ["start_corosync", "2"]


def test_it_is_looked_at_without_a_resource(config: Config) -> None:
    class Deaf:
        """Keeps what was to be sent."""

        script = ""

        async def run(self, command: object) -> Outcome:
            self.script = str(command)
            return NotSent(Why.UNREACHABLE, "no route")

    remote = Remote(config, Deaf(), lambda: 0.0)  # type: ignore[arg-type]  # it is never sent to
    assert remote.expected(THIRD) == ()
    assert [one.peer for one in remote.expected(ONE)] == ["10.98.0.12"]


def keys(found: object) -> set[str]:
    assert isinstance(found, Steps), found
    return {step.key for step in found.steps}


def test_its_corosync_starts_with_the_others_at_once(config: Config) -> None:
    seen = three(config, Layer.DOWN, "attached")
    for name in VOTES[:3]:
        seen = with_layer(seen, name, Layer.UP, nodes=(ONE, OTHER, THIRD))
    assert {f"start-layer:corosync:{name}" for name in (ONE, OTHER, THIRD)} <= keys(decide(config.goal(Direction.UP), seen, Ledger()))


def test_it_gets_a_copy_of_the_key(config: Config) -> None:
    planned = plan(config.goal(Direction.UP), with_layer(three(config), "authkey", Layer.DOWN, nodes=(THIRD,)))
    assert [item.key for item in planned.items] == [f"start-layer:authkey:{THIRD}"]
    assert planned.refused is None


def test_there_is_nothing_to_do_where_all_is_there(config: Config) -> None:
    assert isinstance(decide(config.goal(Direction.UP), three(config), Ledger()), Reached)


def test_without_it_the_others_are_brought_up_all_the_same(config: Config) -> None:
    seen = gone(with_layer(three(config), "samba", Layer.DOWN), THIRD)
    goal = config.goal(Direction.UP)
    assert keys(decide(goal, seen, Ledger())) == {f"start-layer:samba:{name}" for name in (ONE, OTHER)}
    answer = decide(goal, with_layer(seen, "samba", Layer.UP), Ledger())
    assert isinstance(answer, Refused)
    assert (answer.rule, answer.kind) == ("unknown-is-not-down", Kind.UNREACHABLE)
    assert f"{THIRD} cannot be reached: no route" in str(answer)
    assert "the others have what was wanted" in str(answer)


def test_its_address_has_to_lead_to_it(config: Config) -> None:
    seen = three(config)
    answer = decide(config.goal(Direction.UP), seen.replace(evolve(seen.node(THIRD), hostname="printer")), Ledger())
    assert isinstance(answer, Refused)
    assert answer.rule == "right-node"
    assert "calls itself printer" in str(answer)


def test_it_may_be_known_to_be_off(config: Config) -> None:
    goal = config.goal(Direction.UP, degraded=True)
    assert isinstance(decide(goal, gone(three(config), THIRD, known=True), Ledger()), Reached)


def test_a_storage_node_that_is_away_is_not_let_pass_for_it(config: Config) -> None:
    answer = decide(config.goal(Direction.UP), gone(three(config), OTHER), Ledger())
    assert isinstance(answer, Refused)
    assert answer.kind is Kind.UNREACHABLE
    assert OTHER in str(answer)


def test_down_takes_its_corosync_too(config: Config) -> None:
    planned = plan(config.goal(Direction.DOWN), three(config))
    assert planned.refused is None
    assert [item.key for item in planned.items if item.node == THIRD] == [f"stop-layer:corosync:{THIRD}"]
    assert isinstance(decide(config.goal(Direction.DOWN), planned.after, Ledger()), Reached)
    alone = plan(config.goal(Direction.DOWN, only=frozenset({THIRD})), three(config))
    assert [item.key for item in alone.items] == [f"stop-layer:corosync:{THIRD}"]


def test_check_says_what_its_loss_means(config: Config) -> None:
    found = findings(config.goal(Direction.UP), gone(three(config), THIRD))
    assert "one more that is lost, and there is no quorum" in next(one.remedy for one in found if one.where == THIRD)
