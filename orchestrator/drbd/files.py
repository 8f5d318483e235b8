"""The files DRBD reads, rendered from cluster.toml."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from orchestrator.config import Config
from orchestrator.net_settings import net_settings
from states.facts import Generation

if TYPE_CHECKING:
    from jinja2 import Template

QUOTED = frozenset({"shared-secret"})
FLAGS_83 = frozenset({"allow-two-primaries"})
ELSEWHERE_83 = frozenset({"protocol", "verify-alg"})
"""Of 8.3's syntax: what is a switch, and what stands outside of `net`."""


@cache
def _template(name: str) -> Template:
    """Compiled once; jinja2 is imported when the first file is rendered."""
    from jinja2 import Environment, StrictUndefined

    text = resources.files(__package__).joinpath("templates", name).read_text()
    return Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False).from_string(text)  # noqa: S701 - not HTML


def resource_file(config: Config, name: str, generation: Generation) -> str:
    """The .res file of one resource, the same for every node."""
    section = config.resource[name]
    nodes: list[dict[str, Any]] = [
        {"name": node, "disk": config.disk_of(name, node), "address": replication_address(config, node)} for node in config.storage
    ]
    net = [(key, f'"{value}"' if key in QUOTED else value) for key, value in net_settings(section)]
    old = generation is Generation.V83
    if old:
        net = [(key, value) for key, value in net if key not in FLAGS_83 | ELSEWHERE_83]
    return _template("resource-8.3.res.j2" if old else "resource.res.j2").render(
        two=section.primaries == 2, protocol=section.protocol, verify_alg=section.verify_alg,
        name=name, net=net, resync=section.resync, nodes=nodes, minor=section.minor, port=section.port,
        generation=generation.value, ping_timeout=section.ping_timeout, fencing=config.wanted(name).fencing != "dont-care",
    )


def replication_address(config: Config, node: str) -> str:
    """Where a node's DRBD listens."""
    section = config.node[node]
    return section.replication_address or section.address
