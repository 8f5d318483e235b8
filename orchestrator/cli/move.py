"""`orchestrate plan --to modern`: the move to newer programs, for people to carry out. Shown, never done."""

from __future__ import annotations

import json
from typing import TextIO

import click
from attrs import evolve
from rich.table import Table
from rich.text import Text

from orchestrator.config import Config
from orchestrator.errors import RefusedError
from orchestrator.render import console
from states.facts import ClusterFacts
from states.move import TARGETS, MoveStep, Moving, Site, Still, Where, moving, unfit


def site_of(config: Config) -> Site:
    """What of cluster.toml the move is about. The node that goes first is the first that serves."""
    serve = [name for name in config.samba.serve_on if name in config.storage]
    first = serve[0] if serve else config.storage[0]
    second = next(name for name in config.storage if name != first)
    stack = config.stack()
    stopped = [placed for placed in stack.layers if placed.spec.stop and first in placed.nodes] if stack is not None else []
    reached = {name: f"{config.ssh.user}@{config.node[name].address}" for name in config.storage}
    return Site(
        first, second, reached[first], reached[second], tuple(config.resource),
        volumes=tuple((config.volume_of(name)[0], one.mount) for name, one in config.filesystem.items()),
        disks=tuple((config.disk_of(name, first), config.disk_of(name, second)) for name in config.resource),
        verified=tuple(name for name, one in config.resource.items() if one.verify_alg),
        services=len(stopped) + len(config.resource), old=config.path.name, known_hosts=config.ssh.known_hosts,
        name=config.supervise.names.name if config.supervise.names.backend else "",
    )


def draw_move(found: Moving, site: Site, stream: TextIO) -> None:
    """What changes, the way, what stands still for how long, and what to type."""
    out = console(stream)
    out.print(f"From rhcs to modern, {site.first} first. Only shown: this command changes nothing, here or on a node.\n")
    changes = _table("now", "then", "by")
    for change in found.changes:
        changes.add_row(change.was, change.becomes, change.by)
    out.print(changes)
    out.print()
    steps = _table("#", "after", "node", "stands still", "what", "lasts", "the way back")
    for number, step in enumerate(found.steps, 1):
        still = Text(step.still.value, "bold red" if step.still is Still.ALL else "")
        what = Text(f"NO RETURN FROM HERE: {step.what}", "bold") if step.no_return else Text(step.what)
        steps.add_row(str(number), ",".join(map(str, after(found, step))), _nodes(step, site), still, what, step.lasts, step.back)
    out.print(steps)
    out.print("\nto type:")
    for number, step in enumerate(found.steps, 1):
        for line in step.typed:
            out.print(f"{number:3}  {line}")
    out.print(f"\n{_outage(found)}")
    for note in found.notes:
        out.print(f"note: {note}", style="yellow")


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading == "#" else "left")
    return table


def after(found: Moving, step: MoveStep) -> list[int]:
    """The numbers of the steps it waits for."""
    return [number for number, one in enumerate(found.steps, 1) if one.name in step.needs]


def _nodes(step: MoveStep, site: Site) -> str:
    return {Where.HERE: "here", Where.BOTH: "both", Where.FIRST: site.first, Where.SECOND: site.second}[step.where]


def _outage(found: Moving) -> str:
    began, ended = found.still
    parts = "; ".join(step.lasts for step in found.steps[began - 1:ended])
    return f"nobody is served from step {began} to the end of step {ended}, which is: {parts}"


def as_document(found: Moving, site: Site) -> dict[str, object]:
    """The move for scripts: to be shown to people, for nothing in it is carried out by a program."""
    steps = [
        {"number": number, "name": step.name, "what": step.what, "node": _nodes(step, site), "after": after(found, step),
         "stands_still": step.still.name.lower(), "lasts": step.lasts, "back": step.back, "no_return": step.no_return,
         "type": list(step.typed)}
        for number, step in enumerate(found.steps, 1)
    ]
    changes = [{"now": one.was, "then": one.becomes, "by": one.by} for one in found.changes]
    return {"changes": changes, "steps": steps, "nobody_is_served": list(found.still), "notes": list(found.notes)}


def show_move(config: Config, facts: ClusterFacts | None, *, as_json: bool, stream: TextIO) -> int:
    """Print the move. `facts`: what was seen of the nodes, None where nobody looked. Exit 0: there is nothing to move, 10: there is."""
    if config.cluster.profile in TARGETS:
        done = f"nothing to move: {config.path.name} has profile {config.cluster.profile}"
        click.echo(json.dumps({"changes": [], "steps": [], "nobody_is_served": [], "notes": [done]}, indent=2) if as_json else done, stream)
        return 0
    site = site_of(config)
    found = moving(site)
    found = evolve(found, notes=(*found.notes, *_unseen(facts)))
    if as_json:
        click.echo(json.dumps(as_document(found, site), indent=2), stream)
    else:
        draw_move(found, site, stream)
    refused = unfit(facts, tuple(config.wanted(name) for name in config.resource)) if facts is not None else None
    if refused is not None:
        raise RefusedError(refused)
    return 10


def _unseen(facts: ClusterFacts | None) -> list[str]:
    """A move begins only with both sides UpToDate: who was not seen may be anything."""
    if facts is None:
        return ["nobody looked at the nodes: step 1 does"]
    return [f"{node.name} was not seen: {node.why}. Step 1 has to see it connected and UpToDate"
            for node in facts.nodes if not node.reachable]
