"""`cman_tool status`, `cman_tool nodes` and `fence_tool ls` as values.

Facts: cluster 3's `cman_tool` and `fence_tool` (texts: fixtures/captures/rhcs). A text that is cut off, or is something else, is
None: it says neither "member" nor "gone".
"""

from __future__ import annotations

import re
from enum import Enum

from attrs import frozen

NOT_RUNNING = re.compile(r"Cannot open connection to cman, is it running")
"""What `cman_tool` says where there is no cman; its exit code is 1, as for any other failure."""


class Member(Enum):
    """The letter `cman_tool nodes` has for a node."""

    MEMBER = "M"
    GONE = "X"
    DISALLOWED = "d"  # it came back with the state it had when it was lost: nothing may lock with it
    UNKNOWN = "?"


@frozen
class CmanStatus:
    """One node's own view. `version`: of its cluster.conf. `blocked`: not quorate. `two_node`: one node alone is quorate."""

    cluster: str
    version: int
    member: bool
    nodes: int
    expected: int
    votes: int
    quorum: int
    blocked: bool
    flags: frozenset[str]
    name: str
    node_id: int

    @property
    def two_node(self) -> bool:
        """Each of the two is quorate by itself: only fencing keeps them from both going on."""
        return "2node" in self.flags

    @property
    def disallowed(self) -> bool:
        """Somebody came back with old state; only a restart of cman there cures it."""
        return "DisallowedNodes" in self.flags


@frozen
class CmanNode:
    """One line of `cman_tool nodes`. `joined`: as printed, "" for a node that is no member."""

    number: int
    state: Member
    incarnation: int
    joined: str
    name: str


@frozen
class FenceDomain:
    """`fence_tool ls`. `waits`: none, quorum, messages or fencing. `victim`: the node being fenced now, 0 for none."""

    members: tuple[int, ...]
    victims: int
    victim: int
    master: int
    waits: str


def read_status(text: str) -> CmanStatus | None:
    """`cman_tool status`; None unless every line that decides is there."""
    said = dict(re.findall(r"^([A-Z][\w ]*):[ \t]*(.*?)[ \t]*$", text, re.MULTILINE))
    quorum = re.fullmatch(r"([0-9]{1,9})(?: +(Activity blocked))?", said.get("Quorum", ""))
    keys = ("Config Version", "Nodes", "Expected votes", "Total votes", "Node ID")
    numbers = [said.get(key, "") for key in keys]
    if quorum is None or not all(re.fullmatch(r"[0-9]{1,9}", number) for number in numbers):
        return None
    version, nodes, expected, votes, node_id = map(int, numbers)
    if not said.get("Cluster Name") or not said.get("Node name") or "Flags" not in said:
        return None
    member = said.get("Membership state") == "Cluster-Member"
    return CmanStatus(said["Cluster Name"], version, member, nodes, expected, votes, int(quorum[1]), quorum[2] is not None,
                      frozenset(said["Flags"].split()), said["Node name"], node_id)


LINE = re.compile(r" {0,3}([0-9]{1,9})   (\S) {2,7}([0-9]{1,9})   (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d| {19})  (\S+)")


def read_nodes(text: str) -> tuple[CmanNode, ...] | None:
    """`cman_tool nodes`; None without its heading, or with a line that is none of its own."""
    head, found, body = text.partition("Node  Sts   Inc   Joined               Name\n")
    if not found or (head and not head.startswith("NOTE: ")):
        return None
    nodes = []
    for line in body.splitlines():
        row = LINE.fullmatch(line)
        if row is None:
            return None
        number, letter, incarnation, joined, name = row.groups()
        state = Member(letter) if letter in "MXd" else Member.UNKNOWN
        nodes.append(CmanNode(int(number), state, int(incarnation), joined.strip(), name))
    return tuple(nodes)


def read_domain(text: str) -> FenceDomain | None:
    """`fence_tool ls`; None for anything that is not the whole of it. fenced that does not run prints nothing at all."""
    said = dict(re.findall(r"^(member count|victim count|victim now|master nodeid|wait state|members) +(.*?) *$", text, re.MULTILINE))
    numbers = [said.get(key, "") for key in ("member count", "victim count", "victim now", "master nodeid")]
    if not text.startswith("fence domain\n") or not all(re.fullmatch(r"[0-9]{1,9}", number) for number in numbers):
        return None
    members, waits = said.get("members", "").split(), said.get("wait state", "")
    if not waits or not all(re.fullmatch(r"[0-9]{1,9}", one) for one in members) or len(members) != int(numbers[0]):
        return None
    return FenceDomain(tuple(map(int, members)), int(numbers[1]), int(numbers[2]), int(numbers[3]), waits)
