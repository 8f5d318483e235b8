"""The files of Fedora 14 and RHEL 6, rendered from cluster.toml, and the programs the layers are made of."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from orchestrator.config import Config
from orchestrator.stack.files import FENCE_PATH, NodeFile, samba_conf

if TYPE_CHECKING:
    from jinja2 import Template

FENCE_SCRIPT = resources.files(__package__).joinpath("fence.sh").read_text()
CLUSTER_CONF = "/etc/cluster/cluster.conf"
PROGRAMS = {
    # program               package of RHEL 6
    "cman_tool":            "cman",
    "fence_tool":           "cman",
    "ccs_config_validate":  "cman",
    "clvmd":                "lvm2-cluster",
    "vgs":                  "lvm2",
    "mkfs.gfs2":            "gfs2-utils",
    "clustat":              "rgmanager",
}


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, StrictUndefined

    text = resources.files(__package__).joinpath("templates", name).read_text()
    return Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False).from_string(text)  # noqa: S701 - escaped below


def programs(config: Config) -> tuple[str, ...]:
    """What has to be on each node's PATH, with its package: `clvmd=lvm2-cluster`."""
    smbd = ("smbd=samba",) if config.share and config.samba.clustering != "none" else ()
    agents = {node.fence.agent for node in config.node.values() if node.fence is not None and node.fence.method == "agent"}
    return (*(f"{name}={package}" for name, package in PROGRAMS.items()), *smbd, *(f"{agent}=fence-agents" for agent in sorted(agents)))


def files_of(config: Config) -> tuple[NodeFile, ...]:
    """Every file of the stack, the same on both nodes. cluster.conf has version 1: what is written has a version of its own."""
    secret = any(node.fence is not None and node.fence.options for node in config.node.values())
    found = [
        NodeFile(CLUSTER_CONF, cluster_conf(config), "0640" if secret else "0644", secret=secret),
        NodeFile("/etc/sysconfig/cman", _template("cman.j2").render()),
        NodeFile("/etc/sysconfig/clvmd", _template("clvmd.j2").render()),
    ]
    if config.share and config.samba.clustering != "none":
        found.append(NodeFile("/etc/samba/orchestrate.conf", samba_conf(config)))
    if config.fencing != "none":
        found.append(NodeFile(FENCE_PATH, FENCE_SCRIPT, "0755", ours=True))
        lines = (f"{number} {name} {node.fence.method if node.fence is not None else 'manual'}\n"
                 for number, (name, node) in enumerate(config.node.items(), 1))
        found.append(NodeFile("/etc/orchestrate/fence/nodes", "".join(lines)))
    return tuple(found)


def cluster_conf(config: Config, version: int = 1) -> str:
    """What `ccs_tool create -2`, `addfence` and `addnode` would make, with an agent's options as attributes of its device.

    A node whose fence is a human has an empty <fence/>: fenced then waits for `fence_ack_manual`.
    """
    nodes = []
    for name, node in config.node.items():
        by_agent = node.fence is not None and node.fence.method == "agent"
        fence = node.fence if by_agent else None
        nodes.append({
            "name": escape(name), "agent": fence.agent if fence is not None else "", "action": fence.action if fence is not None else "",
            "delay": f"{config.corosync.fence_delay:g}" if name == config.storage[0] and config.corosync.fence_delay else "",
            "options": [(key, escape(value, {'"': "&quot;"})) for key, value in fence.options.items()] if fence is not None else [],
        })
    return _template("cluster.conf.j2").render(
        cluster=escape(config.cluster.name), version=version, port=config.corosync.port, token=config.corosync.token, nodes=nodes)


def lvm_filter(config: Config, node: str) -> str:
    """LVM's `filter` on one node: everything but DRBD's disks. No "a" pattern may follow: a disk has several names (lvm.conf(5))."""
    return "[ " + ", ".join(f'"r|^{config.disk_of(name, node)}$|"' for name in config.resource) + " ]"
