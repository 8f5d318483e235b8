"""What people look at: plans, status tables, journals, and a run's progress. Colour and bars only on a terminal."""

from __future__ import annotations

import datetime as dt
import sys
from enum import Enum
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from orchestrator.config import Config
from orchestrator.journal import Intent, Record
from states.diagnosis import Cause, Diagnosis, diagnose
from states.facts import ClusterFacts, FencingFact, NodeFacts
from states.finding import Finding, Weight
from states.goal import Ledger, Step
from states.pair import Pair
from states.plan import Plan, describe
from states.progress import Progress
from states.resource import classify
from states.stack import layer_state
from states.stacks import Stack
from states.unasked import maintained
from states.vocabulary import Layer, Node, Resource

GOOD: frozenset[Enum] = frozenset({Resource.DUAL_PRIMARY, Resource.PRIMARY, Resource.SECONDARY, Layer.UP, Node.REACHABLE})
BAD: frozenset[Enum] = frozenset({
    Layer.FAILED, Layer.HUNG, Node.UNREACHABLE,
    Resource.SPLIT_BRAIN, Resource.DIVERGED, Resource.UNRELATED, Resource.SUSPECT, Resource.FROZEN, Resource.UNKNOWN,
})

CALM = frozenset({
    Cause.RESYNCING, Cause.DOWN, Cause.PEER_DOWN, Cause.NO_METADATA, Cause.NEVER_SYNCED, Cause.NOT_CONNECTED, Cause.BEHIND, Cause.BY_HAND,
})
"""Diagnoses of a pair that is only not up."""


def console(stream: TextIO) -> Console:
    """A console that wraps nothing away when it is not a terminal."""
    return Console(file=stream, width=None if stream.isatty() else 200, highlight=False, markup=False, soft_wrap=not stream.isatty())


def style_of(state: Enum) -> str:
    """The colour of a state: well, bad, or in between."""
    return "green" if state in GOOD else "bold red" if state in BAD else "yellow"


def size_words(kib: float | None) -> str:
    """KiB for people."""
    if kib is None:
        return "?"
    for unit, step in (("KiB", 1), ("MiB", 1024), ("GiB", 1024**2), ("TiB", 1024**3)):
        if kib < step * 1024 or unit == "TiB":
            return f"{kib / step:.0f} {unit}" if step == 1 else f"{kib / step:.1f} {unit}"
    raise AssertionError


# -- status ------------------------------------------------------------------------------------------------------------

def draw_status(config: Config, facts: ClusterFacts, stream: TextIO, *, why: bool = False) -> None:
    """A table per cluster: each resource's state, then both sides. `why`: and what each diagnosis rests on."""
    out = console(stream)
    table = Table(title=f"cluster {config.cluster.name}", title_justify="left", title_style="bold")
    for heading in ("resource", "state", "node", "role", "disk", "connection", "out of sync"):
        table.add_column(heading)
    for name in config.resource:
        pair = Pair.of(facts, config.wanted(name), Ledger())
        state = classify(pair)
        for number, side in enumerate(pair.sides):
            link = side.replication.value if side.connected and side.replication.value != "Established" else side.connection.value
            table.add_row(
                name if number == 0 else "", Text(state.value, style_of(state)) if number == 0 else "", side.node,
                side.role.value, side.disk.value, link, size_words(side.out_of_sync),
            )
    out.print(table)
    for name in config.resource:
        _draw_diagnosis(name, diagnose(Pair.of(facts, config.wanted(name), Ledger()), facts), out, why=why)
    stack = config.stack()
    if stack is not None:
        _draw_stack(stack, facts, out)
        out.print(_fencing_words(config, facts))
        for node in facts.nodes:
            for fencing in node.fencing:
                out.print(_waits_for_fencing(node, fencing), style="bold red")
    for node in facts.nodes:
        _draw_node(node, out)


def _draw_diagnosis(name: str, found: Diagnosis, out: Console, *, why: bool) -> None:
    """What is wrong in one sentence, and what to type; nothing where nothing is wrong."""
    if found.kind is not Cause.HEALTHY:
        out.print(f"{name}: {found.kind.value}: {found.summary}", style="yellow" if found.kind in CALM else "bold red")
        out.print(f"    type next: {found.type_next}")
    if why:
        for line in found.evidence:
            out.print(f"    {line}")


def _draw_stack(stack: Stack, facts: ClusterFacts, out: Console) -> None:
    """Layers x nodes, lowest first."""
    table = Table()
    table.add_column("layer")
    for node in stack.nodes:
        table.add_column(node)
    for placed in stack.layers:
        cells = []
        for node in stack.nodes:
            fact = layer_state(stack, facts, placed, node)
            unseen = node not in placed.nodes or not facts.node(node).reachable
            cells.append(Text("-" if node not in placed.nodes else "not seen") if unseen else Text(fact.state.value, style_of(fact.state)))
        table.add_row(placed.name, *cells)
    out.print(table)


def _fencing_words(config: Config, facts: ClusterFacts) -> Text:
    """How lost nodes are dealt with: said every time, for nobody may believe more than there is."""
    words = {
        "agent": "fencing: by agent", "none": "NO FENCING: nodes that lose each other both go on writing",
        "manual": "fencing by hand: nodes that lose each other both stop until you type `orchestrate fence-ack NODE`",
    }[config.fencing]
    if facts.off:
        words += f"; known to be off: {', '.join(sorted(facts.off))}"
    return Text(words, "" if config.fencing == "agent" else "bold yellow")


def _waits_for_fencing(node: NodeFacts, fencing: FencingFact) -> str:
    why = fencing.said or "switch it off"
    return (f"{node.name} waits until {fencing.victim} is off, {_since(node, fencing.since)}: {why}; "
            f"you have seen that it has no power? `orchestrate fence-ack {fencing.victim}`")


def _since(node: NodeFacts, uptime: float) -> str:
    """A moment of a node's own clock, as people here count."""
    seconds = max(0.0, node.ended - uptime)
    return f"since {dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds):%H:%M:%S} UTC ({seconds:.0f} s)"


def _draw_node(node: NodeFacts, out: Console) -> None:
    if not node.reachable:
        out.print(f"{node.name}: not seen: {node.why}", style="bold red")
        return
    kept = maintained(ClusterFacts((node,)), (node.name,))
    if kept is not None:
        out.print(f"{kept[0]}: a supervisor leaves it alone; `{kept[1]}` ends that", style="yellow")
    for fact in node.layers:
        if fact.state is not Layer.UP:
            when = "" if fact.since is None else f" {_since(node, fact.since)}"
            out.print(f"{node.name}: {fact.name} is {fact.state.value}{when}: {fact.detail}", style="yellow")
    for claim in node.claims:
        if claim.code is None:
            what = "is still running" if claim.running else "has no outcome"
            out.print(f"{node.name}: {claim.step} of {claim.resource} ({claim.op_id}) {what}", style="yellow")


# -- check -------------------------------------------------------------------------------------------------------------

WEIGHTS = {Weight.DANGER: "bold red", Weight.PROBLEM: "yellow", Weight.NOTE: ""}


def draw_findings(found: tuple[Finding, ...], stream: TextIO) -> None:
    """Three lines each: what, what was seen, what to do."""
    out = console(stream)
    if not found:
        out.print("nothing found", style="green")
    for one in found:
        out.print(f"{one.weight.value}: {one.where}: {one.what}", style=WEIGHTS[one.weight])
        out.print(f"    seen: {one.evidence}")
        out.print(f"    do:   {one.remedy}")


# -- plan --------------------------------------------------------------------------------------------------------------

def draw_plan(plan: Plan, stream: TextIO) -> None:
    """The items in order, each with the numbers of those it needs and the reason for it."""
    out = console(stream)
    number = {item.key: place for place, item in enumerate(plan.items, 1)}
    if not plan.items and plan.refused is None:
        out.print("nothing to do")
    if plan.items:
        table = Table(box=None, pad_edge=False)
        for heading in ("#", "after", "node", "what", "because"):
            table.add_column(heading, justify="right" if heading == "#" else "left")
        for item in plan.items:
            after = ",".join(str(number[key]) for key in item.needs)
            danger = bool(item.step and item.step.destructive)
            words = f"{item.resource}: {item.what}" + (" (at most once)" if danger else "")
            table.add_row(str(number[item.key]), after, item.node or "both", Text(words, "bold" if danger else ""), item.because)
        out.print(table)
    for warning in plan.warnings:
        out.print(f"warning: {warning}", style="yellow")


# -- journal -----------------------------------------------------------------------------------------------------------

def draw_journal(records: tuple[Record, ...], unfinished: tuple[Intent, ...], stream: TextIO) -> None:
    """One line a record; intents without an outcome again at the end."""
    out = console(stream)
    for record in records:
        at = dt.datetime.fromtimestamp(record["at"], dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
        out.print(f"{at}  {_words(record)}")
    for intent in unfinished:
        out.print(f"intent without outcome: {intent.key} ({intent.op}) on {intent.node}", style="bold yellow")


def _words(record: Record) -> str:
    match record["kind"]:
        case "run":
            return f"run {record['run']}: {record['goal']}"
        case "intent":
            return f"  intent   {record['key']} ({record['effect']}): {record['because']}"
        case "outcome" if record["said"] == "exited":
            told = f": {record['text']}" if record.get("text") else ""
            return f"  outcome  {record['key']}: exit {record['code']} after {record['ended'] - record['began']:.2f} s on the node{told}"
        case "outcome":
            return f"  outcome  {record['key']}: {record['said']}: {record.get('why') or record.get('text', '')}"
        case "moved":
            mark = " (no row of the table: a surprise)" if record["surprise"] else f" ({record['event']})"
            return f"  moved    {record['resource']}: {record['from'] or '-'} -> {record['to']}{mark}"
        case "looked":
            return f"  looked   {record['node']}: {record['state']}{': ' + record['why'] if record['why'] else ''}"
        case "known":
            return f"  known    {record['resource']} on {record['node']}: {record['identifiers']}"
        case "awaits":
            return f"  awaits   {record['event']} {record['resource']}"
        case "came":
            return f"  came     {record['event']} {record['resource']} after {record['waited']:.2f} s"
        case "end":
            return f"end {record['run']}: {record['said']}"
        case _:
            return _words_of_a_command(record)


def _words_of_a_command(record: Record) -> str:
    """What single commands write down beside a run; of a kind that is not known here, all of it."""
    match record["kind"]:
        case "assessed":
            return f"shown {record['resource']}: {'split brain' if record['split'] else 'no split brain'}, token {record['token']}"
        case "consent":
            return f"agreed {record['resource']}: {record['victim']} loses its changes (token {record['token']}), says {record['by']}"
        case "verified":
            ended = f"{record['blocks']} blocks differ" if record["finished"] else "broken off"
            return f"  verified {record['resource']} on {record['node']}: {ended}"
        case "kept":
            return f"  kept     {record['resource']}: blocks of {record['node']} in {record['place']}"
        case kind:
            return f"  {kind} " + " ".join(f"{key}={value}" for key, value in record.items() if key not in ("at", "kind", "run"))


# -- a run -------------------------------------------------------------------------------------------------------------

class Screen:
    """A `Watch` that writes to stderr: a line per event, and a bar while blocks are copied (on a terminal)."""

    def __init__(self, *, quiet: bool, log: Any) -> None:
        self._out = console(sys.stderr)
        self._quiet = quiet
        self._log = log
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._told: dict[str, int] = {}

    def __enter__(self) -> Self:
        if self._out.is_terminal and not self._quiet:
            self._bars = Bars(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"), console=self._out,
                              transient=True)
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars is not None:
            self._bars.stop()

    def _say(self, text: str, style: str = "") -> None:
        if not self._quiet:
            self._out.print(text, style=style)

    def step(self, step: Step) -> None:
        """See Watch."""
        self._log.info("step", key=step.key, because=step.because)
        self._say(f"  {step.node}: {step.resource or step.layer}: {describe(step)}: {step.because}")

    def done(self, key: str, code: int, seconds: float) -> None:
        """See Watch."""
        self._log.info("done", key=key, code=code, seconds=round(seconds, 2))
        if code:
            self._say(f"  {key}: exit {code}", "yellow")

    def moved(self, machine: str, before: Enum | None, after: Enum, *, surprise: bool) -> None:
        """See Watch."""
        self._log.info("moved", resource=machine, before=before.value if before else None, after=after.value, surprise=surprise)
        words = f"{machine}: {before.value + ' -> ' if before else ''}{after.value}"
        if before is not None or isinstance(after, Resource):  # every layer's first state is the table's to show, not a line each
            self._say(words + (" (unexpected)" if surprise else ""), style_of(after))
        if after is not Resource.SYNCING and machine in self._tasks and self._bars is not None:
            self._bars.remove_task(self._tasks.pop(machine))

    def progress(self, resource: str, progress: Progress) -> None:
        """See Watch."""
        rate = f"{progress.rate / 1024:.0f} MiB/s" if progress.rate else "- MiB/s"
        eta = f"ETA {progress.eta:.0f} s" if progress.eta is not None else "ETA ?"
        words = f"{progress.percent:.0f} %, {size_words(progress.left)} left, {rate}, {eta}"
        what = resource if ": " in resource else f"{resource}: copying"  # "r0: saving" says itself what is going on
        if self._bars is not None:
            if resource not in self._tasks:
                self._tasks[resource] = self._bars.add_task(what, total=100, words="")
            self._bars.update(self._tasks[resource], completed=progress.percent, words=words)
            if what == resource and not progress.left:
                self._bars.remove_task(self._tasks.pop(resource))
        elif int(progress.percent) // 10 != self._told.get(resource, -1):
            self._told[resource] = int(progress.percent) // 10
            self._say(f"{what}: {words}")

    def note(self, text: str) -> None:
        """See Watch."""
        self._log.info("note", text=text)
        self._say(text, "yellow")
