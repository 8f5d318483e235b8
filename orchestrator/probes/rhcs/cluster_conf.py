"""/etc/cluster/cluster.conf: read, and held against the rules of its schema (cluster.rng and what cman checks besides). Pure.

Read with patterns, not as XML: a node's file may be anything, and what is no cluster.conf is None.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

TAG = re.compile(r"<(/?)([A-Za-z][\w-]*)((?:\s+[\w:-]+\s*=\s*(?:\"[^\"<]*\"|'[^'<]*'))*)\s*(/?)>")
ATTRIBUTE = re.compile(r"([\w:-]+)\s*=\s*(?:\"([^\"<]*)\"|'([^'<]*)')")
VERSION = re.compile(r"(<cluster\b[^>]*\bconfig_version\s*=\s*[\"'])([0-9]+)")
LONGEST_NAME = 15
GONE_AGENTS = {"fence_manual": "there is no such agent since cluster 3: leave the node's <fence/> empty, and type fence_ack_manual"}


@frozen
class ClusterNode:
    """A <clusternode>: its number and votes as written, and the devices that fence it."""

    name: str
    nodeid: str
    votes: str
    devices: tuple[str, ...]


@frozen
class ClusterConf:
    """A whole file. `devices`: each <fencedevice>'s name and agent."""

    name: str
    version: str
    two_node: bool
    expected: str
    nodes: tuple[ClusterNode, ...]
    devices: tuple[tuple[str, str], ...]


def read_conf(text: str) -> ClusterConf | None:
    """None for what has no <cluster>, or does not end where it began."""
    bare = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    path: list[str] = []
    nodes: list[ClusterNode] = []
    head: dict[str, str] | None = None
    cman: dict[str, str] = {}
    devices: list[tuple[str, str]] = []
    used: list[str] = []
    for closes, name, body, empty in TAG.findall(bare):
        if closes:
            if not path or path.pop() != name:
                return None
            if name == "clusternode":
                nodes[-1] = ClusterNode(nodes[-1].name, nodes[-1].nodeid, nodes[-1].votes, tuple(used))
            continue
        has = {key: one or other for key, one, other in ATTRIBUTE.findall(body)}
        if name == "cluster" and not path:
            head = has
        elif name == "cman":
            cman = has
        elif name == "clusternode":
            used = []
            nodes.append(ClusterNode(has.get("name", ""), has.get("nodeid", ""), has.get("votes", "1"), ()))
        elif name == "device" and "clusternode" in path:
            used.append(has.get("name", ""))
        elif name == "fencedevice":
            devices.append((has.get("name", ""), has.get("agent", "")))
        if not empty:
            path.append(name)
    if head is None or path:
        return None
    return ClusterConf(head.get("name", ""), head.get("config_version", ""), cman.get("two_node") == "1", cman.get("expected_votes", ""),
                       tuple(nodes), tuple(devices))


def problems(conf: ClusterConf) -> Iterator[str]:
    """What the schema, or cman itself, refuses; and agents that are gone."""
    if not 0 < len(conf.name) <= LONGEST_NAME:
        yield f"cluster name {conf.name!r}: 1 to {LONGEST_NAME} characters were expected"
    if not re.fullmatch(r"[1-9][0-9]{0,8}", conf.version):
        yield f"config_version {conf.version!r}: a number from 1 was expected"
    for node in conf.nodes:
        yield from _of_node(node, dict(conf.devices))
    for what in ("name", "nodeid"):
        values = [getattr(node, what) for node in conf.nodes]
        if len(set(values)) < len(values):
            yield f"two nodes have one {what}: {', '.join(values)}"
    if conf.two_node and (len(conf.nodes) != 2 or conf.expected != "1"):
        yield f"two_node: two nodes and expected_votes=\"1\" were expected, found {len(conf.nodes)} and {conf.expected!r}"
    for name, agent in conf.devices:
        if agent in GONE_AGENTS:
            yield f"fence device {name}: agent {agent}: {GONE_AGENTS[agent]}"


def _of_node(node: ClusterNode, devices: dict[str, str]) -> Iterator[str]:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", node.nodeid):
        yield f"node {node.name}: nodeid {node.nodeid!r}: a number from 1 was expected"
    if not re.fullmatch(r"[0-9]{1,4}", node.votes):
        yield f"node {node.name}: votes {node.votes!r}: a number was expected"
    for device in node.devices:
        if device not in devices:
            yield f"node {node.name}: device {device!r} is in no <fencedevice>"


def version_of(text: str) -> int | None:
    """config_version; None where there is none."""
    found = VERSION.search(text)
    return int(found[2]) if found is not None and len(found[2]) < 10 else None


def with_version(text: str, version: int) -> str:
    """The same file with another config_version."""
    return VERSION.sub(lambda found: f"{found[1]}{version}", text)
