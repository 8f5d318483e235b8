"""cman, fenced, rgmanager, init scripts and run levels: what they print, and that half of it is never taken for a state."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.probes.rhcs.clustat import Clustat, ClusterMember, Service, read_clustat
from orchestrator.probes.rhcs.cman import NOT_RUNNING, CmanNode, CmanStatus, FenceDomain, Member, read_domain, read_nodes, read_status
from orchestrator.probes.rhcs.services import CODES, RunLevels, Said, read_chkconfig, read_service
from tests.unit.captures import CAPTURES, captured
from tests.unit.rhcs.test_proc_drbd import damaged
from tests.unit.strategies import STEADY

ONE, OTHER = "linux-nas01", "linux-nas02"


def text_of(name: str) -> str:
    return captured(f"rhcs/{name}.txt")


def test_status_of_a_member() -> None:
    status = read_status(text_of("cman_tool-status"))
    assert status == CmanStatus("NASCluster", 4, True, 2, 1, 2, 1, False, frozenset({"2node"}), ONE, 1)
    assert status.two_node
    assert not status.disallowed


def test_activity_blocked_is_no_quorum() -> None:
    status = read_status(text_of("cman_tool-status-blocked"))
    assert status is not None
    assert (status.blocked, status.quorum, status.votes, status.two_node) == (True, 2, 1, False)


def test_no_cman_is_none_and_says_so() -> None:
    text = text_of("cman_tool-down")
    assert read_status(text) is None
    assert read_nodes(text) is None
    assert NOT_RUNNING.search(text)


@pytest.mark.parametrize(("name", "states"), [
    ("cman_tool-nodes", [Member.MEMBER, Member.MEMBER]), ("cman_tool-nodes-lost", [Member.MEMBER, Member.GONE]),
    ("cman_tool-nodes-disallowed", [Member.MEMBER, Member.DISALLOWED]),
])
def test_nodes(name: str, states: list[Member]) -> None:
    nodes = read_nodes(text_of(name))
    assert nodes is not None
    assert [node.state for node in nodes] == states
    assert [(node.number, node.name) for node in nodes] == [(1, ONE), (2, OTHER)]
    assert nodes[0] == CmanNode(1, Member.MEMBER, 4, "2011-03-06 20:25:01", ONE)
    assert bool(nodes[1].joined) is (states[1] is not Member.GONE)


@pytest.mark.parametrize(("name", "domain"), [
    ("fence_tool-ls", FenceDomain((1, 2), 0, 0, 1, "none")), ("fence_tool-ls-victim", FenceDomain((1,), 1, 2, 1, "fencing")),
    ("fence_tool-ls-quorum", FenceDomain((1,), 1, 0, 1, "quorum")),
])
def test_fence_domain(name: str, domain: FenceDomain) -> None:
    assert read_domain(text_of(name)) == domain


@pytest.mark.parametrize("text", ["", "fence domain\n", "fence domain\nmember count  2\n", "fenced query error -2\n"])
def test_half_a_fence_domain_is_none(text: str) -> None:
    assert read_domain(text) is None


def test_clustat() -> None:
    assert read_clustat(text_of("clustat")) == Clustat(
        True,
        (ClusterMember(ONE, 1, frozenset({"Online", "Local", "rgmanager"})), ClusterMember(OTHER, 2, frozenset({"Online", "rgmanager"}))),
        (Service("service:opt_01", ONE, "started"), Service("service:opt_02", OTHER, "failed")),
    )


def test_clustat_without_rgmanager_manages_nothing() -> None:
    with_it, without = read_clustat(text_of("clustat")), read_clustat(text_of("clustat-no-rgmanager"))
    assert with_it is not None
    assert without is not None
    assert (with_it.managed, without.managed) == (True, False)
    assert without.members[1].flags == {"Offline"}
    assert read_clustat(text_of("clustat-down")) is None


def statuses() -> list[tuple[str, int, str]]:
    return [(name, int(code), words) for name, code, words in re.findall(r"^== (\S+) (\d+)\n((?:(?!== ).*\n)*)", text_of("service-status"),
                                                                         re.MULTILINE)]


def test_status_texts() -> None:
    found = [(name, read_service(name, code, words).value) for name, code, words in statuses()]
    assert found == [
        ("cman", "running"), ("cman", "stopped"), ("cman", "stopped"), ("clvmd", "running"), ("clvmd", "stopped"), ("clvmd", "dead"),
        ("gfs2", "unknown"), ("gfs2", "unknown"), ("rgmanager", "running"), ("rgmanager", "stopped"), ("rgmanager", "dead"),
        ("smb", "running"), ("smb", "stopped"), ("smb", "unknown"), ("foo", "unknown"),
    ]


@pytest.mark.parametrize(("name", "code", "words"), statuses())
def test_words_and_code_have_to_agree(name: str, code: int, words: str) -> None:
    for other in set(range(5)) - {code}:
        if CODES.get(other) is not CODES.get(code):
            assert read_service(name, other, words) is Said.UNKNOWN


def test_run_levels() -> None:
    levels = {one.service: one for one in read_chkconfig(text_of("chkconfig-list"))}
    assert set(levels) == {"clvmd", "cman", "drbd", "gfs2", "lvm2-monitor", "rgmanager", "smb"}
    assert levels["drbd"] == RunLevels("drbd", frozenset("2345"))
    assert levels["lvm2-monitor"].on == set("12345")
    assert not levels["rgmanager"].at_boot
    assert levels["smb"].at_boot


def test_every_text_is_read_here() -> None:
    here = (CAPTURES.parents[1] / "tests/unit/rhcs/test_cluster_tools.py").read_text()
    for path in (CAPTURES / "rhcs").glob("*.txt"):
        assert path.stem.startswith(("proc-", "events-")) or f'"{path.stem}"' in here, path.name


# -- anything ----------------------------------------------------------------------------------------------------------

ALL = [path.read_text() for path in sorted((CAPTURES / "rhcs").glob("*.txt")) if not path.stem.startswith(("proc-", "events-"))]


@STEADY
@given(st.one_of(damaged(ALL), st.text()), st.integers(0, 5), st.sampled_from(("cman", "clvmd", "gfs2", "rgmanager", "smb")))
def test_whatever_is_printed_nothing_is_up_by_mistake(text: str, code: int, service: str) -> None:
    status, nodes, domain, seen = read_status(text), read_nodes(text), read_domain(text), read_clustat(text)
    if status is not None and status.member and not status.blocked:
        assert "Membership state: Cluster-Member" in text
        assert "Quorum: " in text
    assert nodes is None or all(node.state is not Member.MEMBER or "   M  " in text for node in nodes)
    if domain is not None and domain.waits == "none":
        assert "wait state    none" in text
    assert seen is None or not seen.quorate or "Member Status: Quorate" in text
    if read_service(service, code, text) is Said.RUNNING:
        assert code == 0
        assert "running" in text
        assert service != "gfs2"
    read_chkconfig(text)
