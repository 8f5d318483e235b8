"""cluster.toml as frozen values. Everything is checked before any connection is made.

Raises ConfigError with one line: file, key, what was expected. Every key has a safe default or is required.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Any

import cattrs
from attrs import Factory, evolve, field, fields, frozen
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn

from orchestrator.errors import ConfigError
from orchestrator.stack_config import (
    NO_STORAGE,
    CorosyncSection,
    FenceSection,
    FilesystemSection,
    Parts,
    SambaSection,
    ShareSection,
    fence_problems,
    in_bytes,
    stack_problems,
)
from states.goal import Direction, Goal, Wanted
from states.settings import POLICIES, discarding_policies
from states.stacks import MODERN, SERVERS, Stack, Volume, build
from states.vocabulary import AfterSplit

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
SIZE = re.compile(r"[0-9]+[KMG]?")


@frozen
class ClusterSection:
    """[cluster]: `accept_no_fencing` allows two Primaries without fencing, with a warning at every `up`."""

    name: str
    accept_no_fencing: bool = False
    journal: str = ""


@frozen
class SshSection:
    """[ssh]: how nodes are reached. Times in seconds. `legacy` allows the algorithms of sshd 5.3."""

    user: str = "root"
    key: str = ""
    known_hosts: str = "~/.ssh/known_hosts"
    proxy_command: str = ""
    connect_timeout: float = 10.0
    keepalive: float = 5.0
    agent: bool = False
    legacy: bool = False


@frozen
class NodeSection:
    """[node.NAME]: NAME is what `uname -n` says there. `replication_address` is where DRBD listens, and corosync.

    `storage = false`: a third node that only votes.
    """

    address: str
    replication_address: str = ""
    port: int = 22
    storage: bool = True
    fence: FenceSection | None = None


@frozen
class ResyncSection:
    """[resource.NAME.resync]: `c_plan_ahead` in 0.1 s (0: fixed `rate`); rates per second, K, M or G bytes.

    DRBD's own dynamic rate starts at some 200 KiB/s (measured): the defaults here let a LAN be used.
    """

    c_plan_ahead: int = 20
    rate: str = "100M"
    c_max_rate: str = "700M"
    c_min_rate: str = "10M"
    c_fill_target: str = "1M"
    max_buffers: int = 8000


@frozen
class ResourceSection:
    """[resource.NAME]: `disk` for all nodes or `disks` by node; `primaries` 0, 1 or 2; deadlines in seconds."""

    disk: str = ""
    disks: dict[str, str] = Factory(dict)
    minor: int = 0
    port: int = 7789
    primaries: int = 2
    protocol: str = "C"
    skip_initial_sync: bool = False
    shared_secret: str = field(default="", repr=False)
    verify_alg: str = ""
    after_sb_0pri: str = "disconnect"
    after_sb_1pri: str = "disconnect"
    after_sb_2pri: str = "disconnect"
    accept_auto_discard: bool = False
    connect_deadline: float = 60.0
    stall_after: float = 60.0
    manage_firewall: bool = True
    ping_timeout: int = 5
    resync: ResyncSection = Factory(ResyncSection)


@frozen
class Config:
    """A whole cluster.toml. `path` is where it was read; relative paths in it start there."""

    cluster: ClusterSection
    node: dict[str, NodeSection]
    resource: dict[str, ResourceSection]
    ssh: SshSection = Factory(SshSection)
    corosync: CorosyncSection = Factory(CorosyncSection)
    filesystem: dict[str, FilesystemSection] = Factory(dict)
    share: dict[str, ShareSection] = Factory(dict)
    samba: SambaSection = Factory(SambaSection)
    path: Path = Path("cluster.toml")

    @property
    def names(self) -> tuple[str, ...]:
        """Node names in the order of the file."""
        return tuple(self.node)

    @property
    def storage(self) -> tuple[str, ...]:
        """The two nodes that have the data, in the order of the file: the first is promoted first."""
        return tuple(name for name, node in self.node.items() if node.storage)

    @property
    def voters(self) -> tuple[str, ...]:
        """Nodes without storage."""
        return tuple(name for name, node in self.node.items() if not node.storage)

    def file(self, text: str) -> Path:
        """A path of this file, relative to its folder."""
        return (self.path.parent / Path(text).expanduser()).absolute()

    def disk_of(self, resource: str, node: str) -> str:
        """The backing device of a resource on one node."""
        section = self.resource[resource]
        return section.disks.get(node) or section.disk

    def goal(self, direction: Direction, apply_config: bool = False, only: frozenset[str] = frozenset(), degraded: bool = False) -> Goal:
        """What a run is to reach, in the words of `states`."""
        wanted = tuple(self.wanted(name) for name in self.resource)
        return Goal(direction, wanted, apply_config, self.stack(), only, degraded)

    @property
    def fencing(self) -> str:
        """How lost nodes are dealt with: `agent` if every node with storage has one, `manual` if any waits for a human, else `none`."""
        fences = [self.node[name].fence for name in self.storage]
        if any(fence is None for fence in fences):
            return "none"
        return "manual" if any(fence is not None and fence.method == "manual" for fence in fences) else "agent"

    def volume_of(self, name: str) -> tuple[str, str]:
        """The volume group and the logical volume of a file system."""
        section = self.filesystem[name]
        return section.vg or f"vg_{name}", section.lv or name

    def stack(self) -> Stack | None:
        """The layers above DRBD; None where no file system is asked for."""
        if not self.filesystem:
            return None
        volumes = tuple(Volume(name, one.resource, self.wanted(one.resource).nodes, in_bytes(one.size) is not None)
                        for name, one in self.filesystem.items())
        clustering = self.samba.clustering if self.share else "none"
        layers = build((*MODERN, *SERVERS[clustering]), volumes, self.storage, self.voters)
        if self.samba.serve_on:
            layers = tuple(evolve(one, nodes=tuple(self.samba.serve_on)) if one.name == "samba" else one for one in layers)
        return Stack(layers, self.names, self.fencing, self.cluster.accept_no_fencing, self.voters)

    def wanted(self, name: str) -> Wanted:
        """One resource as `states` wants it told."""
        section = self.resource[name]
        locks = ("corosync", "dlm") if self.filesystem else ()
        layers = ("config", "module", "boot", *(("port",) if section.manage_firewall else ()), *locks)
        return Wanted(
            name, (self.storage[0], self.storage[1]), section.primaries, section.skip_initial_sync, net_settings(section),
            fencing="resource-and-stonith" if self.fencing != "none" and self.filesystem else "dont-care",
            accept_no_fencing=self.cluster.accept_no_fencing, accept_auto_discard=section.accept_auto_discard,
            connect_deadline=section.connect_deadline, stall_after=section.stall_after, layers=layers, repairs=bool(self.filesystem),
        )


def net_settings(section: ResourceSection) -> tuple[tuple[str, str], ...]:
    """The connection settings the section asks for, in DRBD's spelling."""
    pairs = {
        "protocol": section.protocol,
        "allow-two-primaries": "yes" if section.primaries == 2 else "no",
        "after-sb-0pri": section.after_sb_0pri,
        "after-sb-1pri": section.after_sb_1pri,
        "after-sb-2pri": section.after_sb_2pri,
    }
    if section.shared_secret:
        pairs |= {"shared-secret": section.shared_secret, "cram-hmac-alg": "sha1"}
    if section.verify_alg:
        pairs["verify-alg"] = section.verify_alg
    return tuple(sorted(pairs.items()))


# -- reading -----------------------------------------------------------------------------------------------------------

def load(path: Path) -> Config:
    """Read and check a cluster.toml. Raises ConfigError."""
    try:
        data = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; name another with -c, or write one: docs/configuration.md") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    try:
        config = _converter().structure({**data, "path": path}, Config)
    except ClassValidationError as error:
        raise ConfigError(f"{path}: {_first(error)}") from error
    for problem in _problems(config):
        raise ConfigError(f"{path}: {problem}")
    return config


def _strict(kind: type) -> Any:
    def read(value: Any, _: Any) -> Any:
        good = isinstance(value, kind) and not (kind is not bool and isinstance(value, bool))
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not good:
            raise TypeError(f"expected {kind.__name__}, found {type(value).__name__} {value!r}")
        return value
    return read


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (str, int, float, bool):
        converter.register_structure_hook(kind, _strict(kind))
    converter.register_structure_hook(Path, lambda value, _: value)
    for section in (ClusterSection, SshSection, FenceSection, NodeSection, ResyncSection, ResourceSection, CorosyncSection,
                    FilesystemSection, ShareSection, SambaSection, Config):
        converter.register_structure_hook(section, make_dict_structure_fn(section, converter, _cattrs_forbid_extra_keys=True))
    return converter


def _first(error: BaseException, at: str = "") -> str:
    """The first thing wrong, as `key: what was expected`."""
    if isinstance(error, ClassValidationError | cattrs.errors.IterableValidationError):
        inner = error.exceptions[0]
        note = " ".join(getattr(inner, "__notes__", []))
        patterns = (r"attribute (\w+)", r"key '([^']+)'", r"key ([^' @]+)", r"@ (?:index|key) '([^']+)'", r"@ index (\S+)")
        places = (re.search(pattern, note) for pattern in patterns)
        name = next((place[1] for place in places if place), "")
        return _first(inner, f"{at}.{name}" if at and name else at or name)
    if isinstance(error, ForbiddenExtraKeysError):
        extra = sorted(error.extra_fields)[0]
        known = ", ".join(one.name for one in fields(error.cl) if one.name != "path")
        return f"{at + '.' if at else ''}{extra}: unknown key; known here: {known}"
    if isinstance(error, KeyError):
        return f"{at or error.args[0]}: missing, and it has no default"
    return f"{at or '?'}: {error}"


# -- what the parts say about each other -------------------------------------------------------------------------------

def _problems(config: Config) -> list[str]:
    found = [*_node_problems(config)]
    for name, section in config.resource.items():
        found += [f"resource.{name}.{text}" for text in _resource_problems(config, name, section)]
    found += _clashes(config)
    parts = Parts(config.storage, dict.fromkeys(config.resource, config.storage), config.voters)
    found += [text for name, node in config.node.items() for text in fence_problems(name, node.fence)]
    found += stack_problems(parts, config.filesystem, config.share, config.samba, config.corosync)
    if config.filesystem and not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", config.cluster.name):
        found.append("cluster.name: with a file system, at most 32 letters, digits, _ and - were expected")
    if not config.resource:
        found.append("resource: none is listed; one [resource.NAME] is needed")
    return found


def _node_problems(config: Config) -> list[str]:
    found = []
    if len(config.storage) != 2:
        found.append(f"node: exactly two nodes with storage are needed (DRBD 8.4 keeps two copies), found {len(config.storage)}; a third "
                     "that only votes has storage = false")
    if len(config.voters) > 1:
        found.append(f"node: one node with storage = false makes a majority, found {len(config.voters)}: {', '.join(config.voters)}")
    if config.voters and not config.filesystem:
        found.append(f"node.{config.voters[0]}.storage: it would vote in corosync, and without a [filesystem.NAME] there is none")
    seen: dict[str, str] = {}
    for name, node in config.node.items():
        if not NAME.fullmatch(name):
            found.append(f"node.{name}: a host name, as `uname -n` prints it, was expected")
        try:
            ipaddress.IPv4Address(node.replication_address or node.address)
        except ValueError:
            key = "replication_address" if node.replication_address else "address (DRBD listens there too, without a replication_address)"
            found.append(f"node.{name}.{key}: an IPv4 address was expected, found {node.replication_address or node.address!r}")
        for key, address in (("address", node.address), ("replication_address", node.replication_address)):
            if not address:
                continue
            owner = seen.setdefault(address, name)
            if owner != name:
                found.append(f"node.{name}.{key}: {address} is node {owner}'s already")
    return found


def _resource_problems(config: Config, name: str, section: ResourceSection) -> list[str]:
    if not NAME.fullmatch(name) or name == "all":  # drbdadm reads "all" as every resource
        return [" a name of letters, digits, . _ - was expected, and not `all`"]
    return [*_disk_problems(config, name, section), *_net_problems(section), *_rate_problems(section)]


def _disk_problems(config: Config, name: str, section: ResourceSection) -> list[str]:
    found = [f"disks.{node}: no such node; nodes are {', '.join(config.names)}" for node in section.disks if node not in config.node]
    found += [f"disks.{node}: {NO_STORAGE.format(node=node)}; DRBD 8.4 keeps two copies" for node in section.disks if node in config.voters]
    for node in config.storage:
        device = config.disk_of(name, node)
        if not device:
            found.append(f"disks: no device for node {node} (give `disk` for all nodes, or one line per node)")
        elif not re.fullmatch(r"/dev/[A-Za-z0-9_./:+-]+", device):
            found.append(f"disk: {device!r} is not a device path below /dev")
    return found


def _number_problems(section: ResourceSection) -> list[str]:
    limits = {"minor": (0, 1048575), "port": (1, 65535), "ping_timeout": (1, 300)}
    limits |= dict.fromkeys(("connect_deadline", "stall_after"), (1, 86400))
    bad = {key: getattr(section, key) for key, (low, high) in limits.items() if not low <= getattr(section, key) <= high}
    return [f"{key}: a number from {limits[key][0]} to {limits[key][1]} was expected, found {value}" for key, value in bad.items()]


def _net_problems(section: ResourceSection) -> list[str]:
    found = _number_problems(section)
    if not re.fullmatch(r"[A-Za-z0-9_-]*", section.verify_alg):
        found.append(f"verify_alg: the name of a hash was expected, found {section.verify_alg!r}")
    if section.primaries not in (0, 1, 2):
        found.append(f"primaries: 0, 1 or 2 was expected, found {section.primaries}")
    if section.protocol not in ("A", "B", "C"):
        found.append(f'protocol: "A", "B" or "C" was expected, found {section.protocol!r}')
    elif section.primaries == 2 and section.protocol != "C":
        found.append(f'protocol: two Primaries need "C", found {section.protocol!r}')
    for policy in POLICIES:
        value = dict(net_settings(section))[policy]
        if AfterSplit.read(value) is AfterSplit.UNKNOWN:
            found.append(f"{policy.replace('-', '_')}: {value!r} is no policy of drbd.conf(5)")
    discards = sorted(discarding_policies(net_settings(section)))
    if discards and not section.accept_auto_discard:
        key, value = discards[0]
        found.append(f'{key.replace("-", "_")}: {value!r} discards data by itself; write "disconnect", or accept_auto_discard = true')
    if any(character in section.shared_secret for character in '"\n\\') or len(section.shared_secret) > 64:
        found.append("shared_secret: at most 64 characters without quotes were expected")
    return found


def _rate_problems(section: ResourceSection) -> list[str]:
    rates = {key: getattr(section.resync, key) for key in ("rate", "c_max_rate", "c_min_rate", "c_fill_target")}
    bad = {key: rate for key, rate in rates.items() if not SIZE.fullmatch(rate)}
    return [f"resync.{key}: a number with K, M or G was expected, found {rate!r}" for key, rate in bad.items()]


def _clashes(config: Config) -> list[str]:
    found = []
    for key in ("minor", "port"):
        seen: dict[int, str] = {}
        for name, section in config.resource.items():
            owner = seen.setdefault(getattr(section, key), name)
            if owner != name:
                found.append(f"resource.{name}.{key}: {getattr(section, key)} is resource {owner}'s already")
    used: dict[tuple[str, str], str] = {}
    for name in config.resource:
        for node in config.storage:
            owner = used.setdefault((node, config.disk_of(name, node)), name)
            if owner != name:
                found.append(f"resource.{name}.disk: {config.disk_of(name, node)} on {node} is resource {owner}'s already")
    return found
