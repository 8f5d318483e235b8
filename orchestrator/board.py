"""One picture of a cluster as a screen: what is there, what is wrong, what is copied, and what moved last.

Everything but the moves is always there; the moves get the lines that are left.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from enum import Enum

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.render import CALM, size_words, style_of
from states.alarm import Severity
from states.diagnosis import Cause, diagnose
from states.facts import NodeFacts, Side
from states.goal import Ledger
from states.pair import Pair
from states.picture import Move, Picture
from states.progress import Progress
from states.vocabulary import Layer, ReplicationState

WEIGHT = {Severity.CRITICAL: "bold red", Severity.WARNING: "yellow", Severity.NOTICE: ""}
FIRST = 1.0
"""Seconds within which all machines are seen for the first time."""
BAR = 20
"""Columns of a resync's bar."""


def board(picture: Picture, now: float, console: Console, height: int | None = None) -> Group:
    """All of it, in at most `height` lines if the cluster is not too large for that. `now`: seconds since the epoch."""
    parts = [_head(picture, now), *_resources(picture, now), *_nodes(picture, now), *_wrong(picture)]
    moves = [move for move in picture.moves if move.before is not None]
    if height is not None:
        used = len(console.render_lines(Group(*parts), console.options.update(height=None)))
        moves = moves[len(moves) - max(0, min(height - used - 1, len(moves))):]
    if moves:
        parts += [Text("last moves", "bold"), *(move_line(move) for move in moves)]
    return Group(*parts)


def _head(picture: Picture, now: float) -> Text:
    seen = sum(node.reachable for node in picture.facts.nodes)
    line = Text.assemble((f"cluster {picture.cluster}", "bold"), f"  {seen} of {len(picture.facts.nodes)} nodes seen  {clock(now)} UTC")
    if picture.doing:
        line.append(f"  {picture.doing}", "bold yellow")
    return line


# -- what is there -------------------------------------------------------------------------------------------------------

def _resources(picture: Picture, now: float) -> Iterator[RenderableType]:
    copying = dict(picture.progress)
    for wanted in picture.goal.resources:
        yield Text.assemble((wanted.name, "bold"), "  ", _state(picture.state(wanted.name), _since(picture, wanted.name, now)))
        rows: list[tuple[RenderableType, ...]] = []
        for side in picture.facts.sides(wanted.name, wanted.nodes):
            differs = "" if side.out_of_sync is None else f"{size_words(side.out_of_sync)} out of sync"
            rows.append((side.node, side.role.value, side.disk.value, _link(side), differs))
        yield _indented(*rows)
        if wanted.name in copying:
            yield _indented(_copy(copying[wanted.name]))


def _indented(*rows: tuple[RenderableType, ...]) -> Table:
    """Rows in columns, two spaces from the left and from each other."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row("", *row)
    return table


def _link(side: Side) -> str:
    copying = side.connected and side.replication not in (ReplicationState.ESTABLISHED, ReplicationState.UNKNOWN)
    return side.replication.value if copying else side.connection.value


def _state(state: Enum | None, since: float | None) -> Text:
    if state is None:
        return Text("not seen yet", "yellow")
    return Text(state.value + (f" {span(since)}" if since is not None else ""), style_of(state))


def _since(picture: Picture, machine: str, now: float) -> float | None:
    """For how many seconds a machine has been what it is. None for what it was when the watch began: nobody knows since when."""
    began = min((one.since for one in picture.machines), default=now) + FIRST
    return next((max(0.0, now - one.since) for one in picture.machines if one.name == machine and one.since > began), None)


def _copy(progress: Progress) -> tuple[RenderableType, ...]:
    rate = f"{progress.rate / 1024:.0f} MiB/s" if progress.rate else "- MiB/s"
    eta = f"ETA {span(progress.eta)}" if progress.eta is not None else "ETA ?"
    return ProgressBar(100, progress.percent, BAR), f"{progress.percent:.0f} %, {size_words(progress.left)} left, {rate}, {eta}"


def _nodes(picture: Picture, now: float) -> Iterator[RenderableType]:
    for node in picture.facts.nodes:
        yield _node(picture, node, now)
        if node.reachable:
            yield _indented((_layers(picture, node),))


def _node(picture: Picture, node: NodeFacts, now: float) -> Text:
    line = Text.assemble((node.name, "bold"), "  ", _state(picture.state(node.name) or node.state, _since(picture, node.name, now)))
    if node.name in picture.facts.off:
        line.append("  known to be off", "yellow")
    if not node.reachable:
        return line.append(f"  {node.why}", "yellow")
    load = next((load for load in picture.loads if load.node == node.name), None)
    if load is not None:
        line.append(f"  load {load.averages[0]:.2f} on {load.cores}")
        line.append("" if load.sessions is None else f"  {load.sessions} sessions")
    mark = dict(picture.marks).get(node.name, "")
    if mark or node.name in picture.maintenance:
        line.append(f"  maintenance{': ' + mark if mark else ''}", "bold yellow")
    if dict(picture.leases).get(node.name):
        line.append("  a run is at work", "bold yellow")
    if node.name not in picture.followed:
        line.append("  events do not come: as last looked at", "yellow")
    return line


def _layers(picture: Picture, node: NodeFacts) -> Text:
    """Every layer, lowest first; one that is not Up with what it is."""
    line = Text()
    for name in _layer_names(picture, node.name):
        state = picture.state(f"{name} on {node.name}") or node.layer(name).state
        words = name.replace(" ", "\N{NO-BREAK SPACE}") + ("" if state is Layer.UP else f"={state.value}")
        line.append("  " if line else "").append(words, style_of(state))
    return line


def _layer_names(picture: Picture, node: str) -> tuple[str, ...]:
    below = [name for wanted in picture.goal.resources if node in wanted.nodes for name in wanted.layers]
    stack = picture.goal.stack
    above = [placed.name for placed in stack.layers if node in placed.nodes] if stack is not None else []
    return tuple(dict.fromkeys([*(name for name in below if name not in above), *above]))


# -- what is wrong -------------------------------------------------------------------------------------------------------

def _wrong(picture: Picture) -> Iterator[Text]:
    """Alarms, the worst first, and what is wrong with a resource that has none."""
    for alarm in sorted(picture.alarms, key=lambda one: list(WEIGHT).index(one.severity)):
        evidence = f": {alarm.evidence}" if alarm.evidence else ""
        yield Text(f"{alarm.severity.value}: {alarm.what}{evidence}", WEIGHT[alarm.severity])
        if alarm.remedy:
            yield Text(f"    {alarm.remedy}")
    alarmed = {alarm.about for alarm in picture.alarms}
    for wanted in picture.goal.resources:
        found = diagnose(Pair.of(picture.facts, wanted, Ledger()), picture.facts)
        if found.kind is Cause.HEALTHY or wanted.name in alarmed:
            continue
        yield Text(f"{wanted.name}: {found.kind.value}: {found.summary}", "yellow" if found.kind in CALM else "bold red")
        if found.type_next:
            yield Text(f"    type next: {found.type_next}")


# -- what moved ----------------------------------------------------------------------------------------------------------

def move_line(move: Move) -> Text:
    """One move: when, what, from where to where, and by which row of its table."""
    line = Text(f"{clock(move.at)} {move.machine}: ", no_wrap=True, overflow="ellipsis")
    if move.before is not None:
        line.append(f"{move.before.value} -> ")
    line.append(move.after.value, style_of(move.after))
    line.append(f" ({move.event})" if move.event is not None else " (unexpected)", "" if move.event is not None else "bold yellow")
    return line.append(f"  {move.evidence}" if move.evidence else "")


def clock(at: float) -> str:
    """A moment for people, UTC."""
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%H:%M:%S")


def span(seconds: float) -> str:
    """A time in its largest unit: people compare, they do not count."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
