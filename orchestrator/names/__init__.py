"""Where names are published: a DNS server, a program, or a hosts file. Which addresses is decided in `states.names`.

Whatever the back end, only addresses that cluster.toml gives to our nodes are ours: those are added and taken away, and
every other record of the same name is somebody else's. So what an earlier supervisor has published is recognised without
any memory of it, and publishing the same once more changes nothing.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from orchestrator.config import Config

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class NotPublishedError(Exception):
    """A back end did not do what it was asked. One sentence: what was seen. `remedy`: what to do about it."""

    def __init__(self, seen: str, remedy: str = "") -> None:
        super().__init__(seen)
        self.remedy = remedy


@frozen
class Records:
    """What a name is to have of ours, and what of ours it is not to have. `ttl`: seconds."""

    name: str
    ttl: int
    wanted: frozenset[Address]
    unwanted: frozenset[Address]


class BackEnd(Protocol):
    """One place where a name is published. Both calls raise NotPublishedError, and nothing else a network can cause."""

    async def read(self) -> frozenset[Address] | None:
        """Every address the name has there, ours and others'. None: this back end cannot tell."""
        ...

    async def write(self, records: Records) -> None:
        """Make it so. The same records once more change nothing."""
        ...


def kind(address: Address) -> str:
    """The type of an address's record."""
    return "AAAA" if address.version == 6 else "A"


def in_order(addresses: frozenset[Address]) -> list[Address]:
    """As people expect them in a list."""
    return sorted(addresses, key=lambda one: (one.version, int(one)))


def addresses_of(config: Config) -> dict[str, frozenset[Address]]:
    """The addresses clients use, for each node with storage: `[supervise.names] addresses`, else `[node.X] address`."""
    given = {name: (node.address,) for name, node in config.node.items()} | config.supervise.names.addresses
    return {name: frozenset(ipaddress.ip_address(one) for one in given[name]) for name in config.storage}


def back_end(config: Config) -> BackEnd:
    """The one `[supervise.names]` asks for. Raises ValueError where it asks for none."""
    from orchestrator.names.dns import DnsBackEnd
    from orchestrator.names.exec import ExecBackEnd
    from orchestrator.names.hosts import HostsBackEnd

    names = config.supervise.names
    match names.backend:
        case "dns":
            return DnsBackEnd(names, config.file(names.key_file) if names.key_file else None)
        case "exec":
            return ExecBackEnd(names, config.path.parent)
        case "hosts":
            return HostsBackEnd(names, config.file(names.file))
        case other:
            raise ValueError(f"no such back end: {other!r}")
