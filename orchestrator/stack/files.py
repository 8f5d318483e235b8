"""The files the layers above DRBD read, rendered from cluster.toml, and the programs they are made of."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from attrs import field, frozen

from orchestrator.config import Config
from orchestrator.drbd.files import replication_address

if TYPE_CHECKING:
    from jinja2 import Template

FENCE_SCRIPT = resources.files(__package__).joinpath("fence.sh").read_text()
FENCE_PATH = "/usr/local/sbin/orchestrate-fence"

PACKAGES: dict[str, tuple[str, str]] = {
    # program            Debian            Fedora and its like
    "corosync":          ("corosync",      "corosync"),
    "dlm_controld":      ("dlm-controld",  "dlm"),
    "lvmlockd":          ("lvm2-lockd",    "lvm2-lockd"),
    "vgs":               ("lvm2",          "lvm2"),
    "mkfs.gfs2":         ("gfs2-utils",    "gfs2-utils"),
    "smbd":              ("samba",         "samba"),
    "ctdbd":             ("ctdb",          "ctdb"),
}


@frozen
class NodeFile:
    """A file as a node is to have it. `mode` as chmod takes it; `secret`: its lines are never shown. `ours`: a program of this
    package, which a newer one replaces without asking."""

    path: str
    text: str = field(repr=False)  # with a password in it, some of them
    mode: str = "0644"
    secret: bool = False
    ours: bool = False


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, StrictUndefined

    text = resources.files(__package__).joinpath("templates", name).read_text()
    return Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False).from_string(text)  # noqa: S701 - not HTML


def programs(config: Config, node: str) -> tuple[str, ...]:
    """What has to be on a node's PATH, each with its package: `corosync=corosync (Fedora: corosync)`."""
    if node in config.voters:
        return (f"corosync={PACKAGES['corosync'][0]}",)
    wanted = ["corosync", "dlm_controld", "lvmlockd", "vgs", "mkfs.gfs2"]
    if config.share and config.samba.clustering != "none":
        wanted += ["smbd", *(["ctdbd"] if config.samba.clustering == "ctdb" else [])]
    found = [f"{name}={PACKAGES[name][0]}" for name in wanted]
    agents = {node.fence.agent for node in config.node.values() if node.fence is not None and node.fence.method == "agent"}
    return (*found, *(f"{agent}=fence-agents" for agent in sorted(agents)))


def files_of(config: Config, node: str) -> tuple[NodeFile, ...]:
    """Every file of the stack on one node, but for the cluster's key."""
    if node in config.voters:
        return (NodeFile("/etc/corosync/corosync.conf", corosync_conf(config)),)
    found = [
        NodeFile("/etc/corosync/corosync.conf", corosync_conf(config)),
        NodeFile("/etc/dlm/dlm.conf", _template("dlm.conf.j2").render(fencing=config.fencing)),
        NodeFile("/etc/lvm/lvmlocal.conf", lvm_conf(config, node)),
    ]
    if config.share and config.samba.clustering != "none":
        found.append(NodeFile("/etc/samba/orchestrate.conf", samba_conf(config)))
    if config.share and config.samba.clustering == "ctdb":
        found.append(NodeFile("/etc/ctdb/nodes", "".join(f"{replication_address(config, name)}\n" for name in config.storage)))
        found.append(NodeFile("/etc/ctdb/ctdb.conf", _template("ctdb.conf.j2").render(lock=recovery_lock(config))))
    if any(section.fence is not None for section in config.node.values()):  # one of them alone: for hands, and for a recovery
        found += _fence_files(config)
    return tuple(found)


def corosync_conf(config: Config) -> str:
    """Membership over the replication addresses, the same file on every node."""
    nodes = [{"name": name, "address": replication_address(config, name)} for name in config.names]
    return _template("corosync.conf.j2").render(
        cluster=config.cluster.name, token=config.corosync.token, port=config.corosync.port, nodes=nodes)


def lvm_conf(config: Config, node: str) -> str:
    """LVM's lock daemon on, and DRBD's disks hidden from it."""
    return _template("lvmlocal.conf.j2").render(disks=[config.disk_of(name, node) for name in config.resource])


def recovery_lock(config: Config) -> str:
    """A file on the first file system that is shared: who holds its lock leads the ctdb nodes."""
    first = next(iter(config.share.values()))
    return f"{config.filesystem[first.filesystem].mount}/.ctdb/recovery"


def samba_conf(config: Config) -> str:
    """The shares."""
    shares = []
    for name, share in config.share.items():
        mount = config.filesystem[share.filesystem].mount
        shares.append({"name": name, "path": f"{mount}/{share.path}".rstrip("/"), "options": tuple(share.options.items())})
    return _template("smb.conf.j2").render(ctdb=config.samba.clustering == "ctdb", shares=shares)


def _fence_files(config: Config) -> list[NodeFile]:
    """The program that shoots, who is shot how, and what each agent has to know. A node's own line is there too: it is the same file."""
    lines, found = [], []
    for number, (name, section) in enumerate(config.node.items(), 1):
        fence, votes = section.fence, "" if section.storage else " votes"
        if fence is None:
            lines += [f"{number} {name} manual - off 20 0{votes}\n"] if votes else []
            continue
        delay = config.corosync.fence_delay if name == config.storage[0] else 0.0
        lines.append(f"{number} {name} {fence.method} {fence.agent or '-'} {fence.action} {fence.timeout:g} {delay:g}{votes}\n")
        options = "".join(f"{key}={value}\n" for key, value in fence.options.items())
        found.append(NodeFile(f"/etc/orchestrate/fence/{name}", options, "0600", secret=True))
    return [NodeFile(FENCE_PATH, FENCE_SCRIPT, "0755", ours=True), NodeFile("/etc/orchestrate/fence/nodes", "".join(lines)), *found]
