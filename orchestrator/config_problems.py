"""What is wrong with a cluster.toml that could be read: values out of bounds, and parts that contradict each other."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from orchestrator.net_settings import net_settings
from orchestrator.stack_config import NO_STORAGE, Parts, fence_problems, rhcs_problems, stack_problems
from orchestrator.supervise_config import address_problems, supervise_problems
from states.settings import POLICIES, discarding_policies
from states.stacks import STACKS
from states.vocabulary import AfterSplit

if TYPE_CHECKING:
    from orchestrator.config import Config, ResourceSection

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
SIZE = re.compile(r"[0-9]+[KMG]?")


def problems(config: Config) -> list[str]:
    """Each as `key: what was expected`, the first to be mended first."""
    if config.cluster.profile not in STACKS:
        return [f"cluster.profile: {' or '.join(STACKS)} was expected, found {config.cluster.profile!r}"]
    found = [*_node_problems(config)]
    for name, section in config.resource.items():
        found += [f"resource.{name}.{text}" for text in _resource_problems(config, name, section)]
    found += _clashes(config)
    parts = Parts(config.storage, dict.fromkeys(config.resource, config.storage), config.voters)
    found += [text for name, node in config.node.items() for text in fence_problems(name, node.fence)]
    found += stack_problems(parts, config.filesystem, config.share, config.samba, config.corosync)
    if config.cluster.profile == "rhcs":
        found += rhcs_problems(config.cluster.name, config.filesystem, config.samba, config.voters)
    if config.filesystem and not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", config.cluster.name):
        found.append("cluster.name: with a file system, at most 32 letters, digits, _ and - were expected")
    elif not NAME.fullmatch(config.cluster.name):
        found.append(f"cluster.name: letters, digits, _ . - were expected (it names the journal's folder), found {config.cluster.name!r}")
    found += supervise_problems(config.supervise, config.names, tuple(config.resource))
    found += address_problems(config.supervise.names, {name: config.node[name].address for name in config.storage})
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
        if not 1 <= node.port <= 65535:
            found.append(f"node.{name}.port: a number from 1 to 65535 was expected, found {node.port}")
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
