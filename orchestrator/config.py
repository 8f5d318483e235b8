"""cluster.toml as frozen values. Everything is checked before any connection is made.

Raises ConfigError with one line: file, key, what was expected. Every key has a safe default or is required.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import cattrs
from attrs import Factory, evolve, field, fields, frozen
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn

from orchestrator.config_problems import problems
from orchestrator.errors import ConfigError
from orchestrator.net_settings import net_settings
from orchestrator.stack_config import (
    CorosyncSection,
    FenceSection,
    FilesystemSection,
    SambaSection,
    ShareSection,
    in_bytes,
)
from orchestrator.supervise_config import SECTIONS, SuperviseSection
from states.goal import Direction, Goal, Wanted
from states.stacks import LOCKS, SERVERS, STACKS, Stack, Volume, build


@frozen
class ClusterSection:
    """[cluster]: `accept_no_fencing` allows two Primaries without fencing, with a warning at every `up`. `profile`: of the stack."""

    name: str
    profile: str = "modern"
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

    `storage = false`: a third node that only votes. `legacy`: as in [ssh], for this node alone.
    """

    address: str
    replication_address: str = ""
    port: int = 22
    legacy: bool = False
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
    supervise: SuperviseSection = Factory(SuperviseSection)
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

    def has_agent(self, node: str) -> bool:
        """A program can switch that node off and on."""
        fence = self.node[node].fence
        return fence is not None and fence.method == "agent"

    @property
    def agents(self) -> frozenset[str]:
        """Nodes that a program can switch off and on."""
        return frozenset(name for name in self.names if self.has_agent(name))

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
        layers = build((*STACKS[self.cluster.profile], *SERVERS[clustering]), volumes, self.storage, self.voters)
        if self.samba.serve_on:
            layers = tuple(evolve(one, nodes=tuple(self.samba.serve_on)) if one.name == "samba" else one for one in layers)
        return Stack(layers, self.names, self.fencing, self.cluster.accept_no_fencing, self.voters, self.cluster.profile)

    def wanted(self, name: str) -> Wanted:
        """One resource as `states` wants it told."""
        section = self.resource[name]
        locks = LOCKS[self.cluster.profile] if self.filesystem else ()
        layers = ("config", "module", "boot", *(("port",) if section.manage_firewall else ()), *locks)
        return Wanted(
            name, (self.storage[0], self.storage[1]), section.primaries, section.skip_initial_sync, net_settings(section),
            fencing="resource-and-stonith" if self.fencing != "none" and self.filesystem else "dont-care",
            accept_no_fencing=self.cluster.accept_no_fencing, accept_auto_discard=section.accept_auto_discard,
            connect_deadline=section.connect_deadline, stall_after=section.stall_after, layers=layers, repairs=bool(self.filesystem),
        )


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
    for problem in problems(config):
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
                    FilesystemSection, ShareSection, SambaSection, *SECTIONS, Config):
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
