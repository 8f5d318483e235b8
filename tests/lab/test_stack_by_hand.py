"""Where a human is the fence: nothing goes on before somebody has said that the other node is off, and then at once.

By choice (`method = "manual"`), or because a node's management controller died with it. And what a node that was away may not
do: serve what it has left, when the other one went on without it.
"""

from __future__ import annotations

import re
import time

import pytest

from tests.lab.cluster import N1, N2
from tests.lab.stack_cluster import MOUNT, NAME, StackCluster
from tests.lab.survivor import Writer, assert_nothing_lost, until, writing
from tests.lab.writers import stamps, uptime

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]
FROZEN = 90.0
"""Seconds after which a loss must have been noticed, at most."""
STATUS = 30.0
"""Seconds after which `status` must have answered, whatever hangs: half of what a look is given. Who waits for a lock never does."""
BY_HAND = {'agent = "fence_ipmilan"': 'method = "manual"'}


@pytest.fixture
def by_hand(serving: StackCluster) -> StackCluster:
    """Fencing is a human's."""
    serving.changes = dict(BY_HAND)
    said = serving.up("--apply-config")
    assert "fencing is by hand" in said.err
    return serving


def freezes(nodes: StackCluster, writers: dict[str, Writer], *words: str) -> str:
    """Wait until `status` says that what these writers are on hangs, since when, and these words; meanwhile nobody writes."""
    said = ""
    last: dict[str, int] = {}
    seen: dict[str, int] = {}

    def frozen() -> bool:
        nonlocal said, last, seen
        last, said = seen, nodes.run("status").out
        seen = {node: writer.last for node, writer in writers.items()}
        hung = all(re.search(rf"{node}: mount {NAME} is Hung since \S+ UTC \(\d+ s\)", said) for node in writers)
        return hung and last == seen and all(word in said for word in words)

    until(frozen, f"status calls it frozen and says {words}", FROZEN)
    return said


def seconds_of_status(nodes: StackCluster) -> float:
    """How long `status` takes; the quickest of three, for the machine has other things to do."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        nodes.run("status")
        took.append(time.monotonic() - began)
    return min(took)


def acknowledged(nodes: StackCluster, survivor: Writer, victim: str) -> None:
    """`fence-ack`, and the survivor goes on; prints how long that took."""
    clock, at = uptime(nodes, survivor.node), time.monotonic()
    held, began = survivor.last, time.monotonic()
    said = nodes.run("fence-ack", victim, "--yes")
    assert said.code == 0, said.err
    told = time.monotonic()
    until(lambda: survivor.last > held + 20, "the survivor goes on writing", FROZEN)
    _, again = survivor.resumed(began)
    heard = at + stamps(nodes, survivor.node, f"{victim} is off .a human says so", clock)[0] - clock
    print(f"\nfence-ack: took {told - began:.1f} s; {survivor.node} heard it after {heard - began:.1f} s,"
          f" and wrote again {again - heard:.1f} s later")
    assert again - heard < 10


def test_a_human_is_the_fence(by_hand: StackCluster) -> None:
    with writing(by_hand) as writers:
        writes = seconds_of_status(by_hand)
        by_hand.lab.cut(N2, "repl")
        said = freezes(by_hand, writers, "Frozen", f"orchestrate fence-ack {N1}", f"orchestrate fence-ack {N2}")
        hangs = seconds_of_status(by_hand)
        print(f"\nstatus of two nodes that write took {writes:.2f} s, of two frozen ones {hangs:.2f} s\n{said}")
        assert hangs < STATUS
        for victim in (N1, N2):
            refused = by_hand.run("fence-ack", victim, "--yes")
            assert refused.code == 3, refused
            assert "it is not off" in refused.err, refused.err
        by_hand.lab.power_off(N2)
        acknowledged(by_hand, writers[N1], N2)
    acked = {node: writer.last for node, writer in writers.items()}
    by_hand.lab.heal()
    by_hand.power_on()
    by_hand.up()
    by_hand.assert_serving()
    assert_nothing_lost(by_hand, acked)


def test_a_node_dies_with_its_management_controller(serving: StackCluster) -> None:
    with writing(serving) as writers:
        serving.lab.power_off(N2, with_bmc=True)
        said = freezes(serving, {N1: writers[N1]}, "fence_ipmilan off failed", f"orchestrate fence-ack {N2}")
        print(f"\n{said}")
        acknowledged(serving, writers[N1], N2)
    acked = {node: writer.last for node, writer in writers.items()}
    serving.power_on()
    serving.up()
    serving.assert_serving()
    assert_nothing_lost(serving, acked)


def test_both_were_off_and_one_is_back(serving: StackCluster) -> None:
    """Whether the other one runs, and serves, only a human can see."""
    before = serving.put(N1, "before", 12)
    serving.sh(N1, f"sync -f {MOUNT}")
    for node in (N2, N1):
        serving.lab.power_off(node)
    serving.lab.power_on(N1)
    for words in ((), ("--degraded",)):
        said = serving.up(*words, code=6)
        assert f"{N2} cannot be reached" in said.err, said.err
        assert f"orchestrate fence-ack {N2}" in said.err, said.err
    assert serving.layers()[N1]["mount " + NAME] == "Down"
    assert serving.run("fence-ack", N2, "--yes").code == 0
    alone = serving.up("--degraded")
    assert f"served by {N1} alone" in alone.err, alone.err
    assert serving.get(N1, "before") == before
    later = serving.put(N1, "later", 13)
    serving.power_on()
    serving.up()
    serving.assert_serving()
    assert serving.get(N2, "before") == before
    assert serving.get(N2, "later") == later


def test_a_node_that_was_away_does_not_serve_what_it_has_left(serving: StackCluster) -> None:
    """N1 goes on without N2, and dies; then N2 boots, alone, with what there was before."""
    assert serving.run("fence", N2, "--yes").code == 0
    alone = serving.up("--degraded")
    assert f"served by {N1} alone" in alone.err, alone.err
    put = serving.put(N1, "newer", 11)
    serving.sh(N1, f"sync -f {MOUNT}")
    serving.lab.power_off(N1)
    serving.lab.power_on(N2)
    assert serving.up(code=6).err.count(N1)
    assert serving.up("--degraded", code=6).err.count(f"orchestrate fence-ack {N1}")
    assert serving.run("fence-ack", N1, "--yes").code == 0
    refused = serving.up("--degraded", code=3)
    assert "no-start-alone-on-stale" in refused.err, refused.err
    assert "ro:Primary" not in serving.proc(N2)
    assert serving.layers()[N2]["mount " + NAME] == "Down"
    serving.power_on()
    serving.up()
    serving.assert_serving()
    for node in (N1, N2):
        assert serving.get(node, "newer") == put
