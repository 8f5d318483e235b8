"""The sections of cluster.toml for what stands on DRBD: fencing, corosync, file systems, shares.

A cluster.toml with a [filesystem.NAME] has the whole stack; without one it is DRBD only. Kept apart from `config` so that
each page can be read at once; `config` reads and checks both.
"""

from __future__ import annotations

import re

from attrs import Factory, define, field, frozen

NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,29}")
"""A file system's name: GFS2 takes 30 characters, and it is part of device and lockspace names."""
LVM_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,59}")
SIZE = re.compile(r"[1-9][0-9]*[MGT]|(100|[1-9]?[0-9])%(FREE|VG)")
OPTION = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
SHARE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._$-]{0,79}")
SMB_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9 :_-]*")
SMB_SPECIAL = ("global", "homes", "printers")
"""Sections of smb.conf that are no shares."""
NO_STORAGE = "node {node} has storage = false"
MODES = ("agent", "manual")
CLUSTERINGS = ("plain", "ctdb", "none")
ACTIONS = ("off", "reboot")


@frozen
class FenceSection:
    """[node.NAME.fence]: how this node is switched off. `agent`: a program of fence-agents, `options` as its man page has them.

    `method = "manual"`: a human does it and says so with `orchestrate fence-ack NAME`. `timeout`: seconds one try may take.
    """

    method: str = "agent"
    agent: str = ""
    options: dict[str, str] = field(factory=dict, repr=False)  # with a password in it
    action: str = "off"
    timeout: float = 20.0


@frozen
class CorosyncSection:
    """[corosync]: times in milliseconds. `fence_delay`: seconds the other nodes wait before they shoot the first of the file."""

    token: int = 3000
    port: int = 5405
    fence_delay: float = 10.0


@frozen
class FilesystemSection:
    """[filesystem.NAME]: a GFS2 on a logical volume of a shared volume group on one DRBD resource.

    `size`: of the volume, as 20G or 100%FREE; it grows when the former does. `journal`: MiB for each node's journal, 8 or more.
    """

    resource: str
    mount: str
    vg: str = ""
    lv: str = ""
    size: str = "100%FREE"
    options: str = "noatime"
    journal: int = 32


@frozen
class ShareSection:
    """[share.NAME]: what Samba serves: a folder of a file system. `options`: more lines for smb.conf."""

    filesystem: str
    path: str = ""
    options: dict[str, str] = field(factory=dict)


@frozen
class SambaSection:
    """[samba]: `clustering`: "ctdb" shares locks between the nodes' smbd; "plain" does not, and says so; "none": no Samba.

    `serve_on`: nodes that run smbd; empty: all that have the file systems. One node only is safe without ctdb.
    """

    clustering: str = "plain"
    serve_on: list[str] = field(factory=list)
    smb_conf: str = "/etc/samba/smb.conf"


def in_bytes(size: str) -> int | None:
    """A volume's size as LVM reads it; None for a part of its group (100%FREE), which is only asked for when it is made."""
    return None if size.endswith(("%FREE", "%VG")) else int(size[:-1]) << {"M": 20, "G": 30, "T": 40}[size[-1]]


@define
class Parts:
    """What the checks need of the rest of the file: nodes with storage, resources with the nodes each is on, and who only votes."""

    nodes: tuple[str, ...]
    resources: dict[str, tuple[str, ...]] = Factory(dict)
    voters: tuple[str, ...] = ()


def stack_problems(
    parts: Parts, filesystems: dict[str, FilesystemSection], shares: dict[str, ShareSection], samba: SambaSection, corosync: CorosyncSection
) -> list[str]:
    """What is wrong in these sections, each as `key: what was expected`."""
    found = []
    for name, section in filesystems.items():
        found += [f"filesystem.{name}{text}" for text in _filesystem(name, section, parts)]
    found += _clashes(filesystems)
    for name, share in shares.items():
        if not SHARE.fullmatch(name) or name.lower() in SMB_SPECIAL:
            found.append(f"share.{name}: the name of a share was expected: letters, digits, spaces, . _ - $")
        found += [f"share.{name}.{text}" for text in _share(share, filesystems)]
    if samba.clustering not in CLUSTERINGS:
        found.append(f"samba.clustering: {' or '.join(CLUSTERINGS)} was expected, found {samba.clustering!r}")
    found += [f"samba.serve_on: {NO_STORAGE.format(node=node)}, so no file system is mounted there (layer mount) and smbd (layer samba) "
              "has nothing to serve" for node in samba.serve_on if node in parts.voters]
    found += [f"samba.serve_on: no such node: {node}" for node in samba.serve_on if node not in (*parts.nodes, *parts.voters)]
    if not re.fullmatch(r"/[A-Za-z0-9_./-]*[A-Za-z0-9_]", samba.smb_conf):
        found.append(f"samba.smb_conf: an absolute path was expected, found {samba.smb_conf!r}")
    if not 0 <= corosync.fence_delay <= 60:
        found.append(f"corosync.fence_delay: 0 to 60 seconds were expected, found {corosync.fence_delay:g}")
    if not 300 <= corosync.token <= 60000:
        found.append(f"corosync.token: 300 to 60000 milliseconds were expected, found {corosync.token}")
    if not 1 <= corosync.port <= 65535:
        found.append(f"corosync.port: a number from 1 to 65535 was expected, found {corosync.port}")
    return found


def _filesystem(name: str, section: FilesystemSection, parts: Parts) -> list[str]:
    found = []
    if not NAME.fullmatch(name):
        found.append(": a name of at most 30 small letters, digits and _ was expected")
    if section.resource not in parts.resources:
        found.append(f".resource: no such resource: {section.resource!r}; there are {', '.join(parts.resources)}")
    if not re.fullmatch(r"/[A-Za-z0-9_./-]*[A-Za-z0-9_]", section.mount) or ".." in section.mount:
        found.append(f".mount: an absolute path was expected, found {section.mount!r}")
    for key, value in (("vg", section.vg), ("lv", section.lv)):
        if value and not LVM_NAME.fullmatch(value):
            found.append(f".{key}: {value!r} is no name for LVM")
    if not SIZE.fullmatch(section.size):
        found.append(f".size: a size like 20G or 100%FREE was expected, found {section.size!r}")
    if not re.fullmatch(r"[A-Za-z0-9_=,.-]*", section.options):
        found.append(f".options: mount options like noatime,nodiratime were expected, found {section.options!r}")
    if not 8 <= section.journal <= 1024:
        found.append(f".journal: 8 to 1024 MiB were expected, found {section.journal}")
    return found


def _clashes(filesystems: dict[str, FilesystemSection]) -> list[str]:
    found = []
    for key in ("resource", "mount", "vg"):
        seen: dict[str, str] = {}
        for name, section in filesystems.items():
            value = getattr(section, key) or f"vg_{name}"  # only vg may be empty
            owner = seen.setdefault(value, name)
            if owner != name:
                found.append(f"filesystem.{name}.{key}: {value} is file system {owner}'s already")
    return found


def _share(share: ShareSection, filesystems: dict[str, FilesystemSection]) -> list[str]:
    found = []
    if share.filesystem not in filesystems:
        found.append(f"filesystem: no such file system: {share.filesystem!r}; there are {', '.join(filesystems) or 'none'}")
    if share.path.startswith("/") or ".." in share.path or "\n" in share.path:
        found.append(f"path: a path inside the file system was expected, found {share.path!r}")
    bad = [key for key, value in share.options.items() if "\n" in value or not SMB_OPTION.fullmatch(key)]
    found += [f"options.{key!r}: an option of smb.conf and one line of text were expected" for key in bad]
    return found


def fence_problems(node: str, fence: FenceSection | None) -> list[str]:
    """What is wrong in one [node.NAME.fence]."""
    if fence is None:
        return []
    at = f"node.{node}.fence"
    found = []
    if fence.agent == "fence_manual":
        found.append(f'{at}.agent: there is no fence_manual since cluster 3 (Fedora 14, RHEL 6); write method = "manual": who has switched '
                     f"{node} off says so with `orchestrate fence-ack {node}`, which types fence_ack_manual")
    if fence.method not in MODES:
        found.append(f"{at}.method: agent or manual was expected, found {fence.method!r}")
    if fence.method == "agent" and not re.fullmatch(r"fence_[a-z0-9_]+", fence.agent):
        found.append(f"{at}.agent: a program like fence_ipmilan was expected, found {fence.agent!r}")
    if fence.action not in ACTIONS:
        found.append(f"{at}.action: off or reboot was expected, found {fence.action!r}")
    if not 1 <= fence.timeout <= 300:
        found.append(f"{at}.timeout: 1 to 300 seconds were expected, found {fence.timeout:g}")
    if "action" in fence.options:
        found.append(f"{at}.options.action: write it as {at}.action")
    for key, value in fence.options.items():
        if not OPTION.fullmatch(key) or "\n" in value:
            found.append(f"{at}.options.{key}: a name and one line of text were expected")
    return found


def rhcs_problems(cluster: str, filesystems: dict[str, FilesystemSection], samba: SambaSection, voters: tuple[str, ...]) -> list[str]:
    """What the profile rhcs does not have, each as `key: what was expected`. Limits of names: cman 3 and mkfs.gfs2 of that time."""
    found = []
    if len(cluster) > 15:
        found.append(f"cluster.name: cman takes 15 characters at most, found {len(cluster)}")
    found += [f"filesystem.{name}: GFS2 of RHEL 6 takes 16 characters at most, found {len(name)}" for name in filesystems if len(name) > 16]
    if samba.clustering == "ctdb":
        found.append('samba.clustering: profile rhcs sets up no ctdb: "plain" with serve_on = ["ONE-NODE"], or "none", was expected')
    found += [f"node.{node}.storage: cman's two_node is for two nodes: profile rhcs has no third that only votes" for node in voters]
    return found
