"""The state machines as diagrams, drawn from the tables and from nothing else; docs/machines.md is made of these."""

from __future__ import annotations

from states import layer, node, recovery, repair, resource
from states.goal import Do
from states.table import On, Row
from states.vocabulary import By, Resource

ALONE = tuple(Row(f"alone_{do.name.lower()}", source, target, By.US, do, On.ONE) for source, target, do in (
    (Resource.DOWN, Resource.ATTACHED, Do.ATTACH), (Resource.ATTACHED, Resource.DEGRADED, Do.PROMOTE_ALONE),
    (Resource.DEGRADED, Resource.ATTACHED, Do.DEMOTE), (Resource.ATTACHED, Resource.DOWN, Do.TAKE_DOWN),
))
"""The way of one side whose peer stays away (`states.alone`), in the pair's words: it is no table there, but a sequence."""
MACHINES: dict[str, tuple[Row, ...]] = {
    "resource": (*resource.TABLE, repair.RELEASE, repair.DISTRUST), "alone": ALONE,
    "recovery": recovery.TABLE, "layer": layer.TABLE, "node": node.TABLE,
}


def _rows(table: tuple[Row, ...], feared: bool) -> list[Row]:
    return [row for row in table if feared or row.by is not By.FEARED]


def as_mermaid(table: tuple[Row, ...], *, feared: bool = False) -> str:
    """A Mermaid state diagram; GitHub draws it in Markdown. Waited-for moves are marked with (…)."""
    lines = ["stateDiagram-v2"]
    for row in _rows(table, feared):
        label = row.event if row.by is By.US else f"({row.event})" if row.by is By.AWAITED else f"!{row.event}"
        lines.append(f"    {row.source.value} --> {row.target.value}: {label}")
    return "\n".join(lines) + "\n"


def as_dot(table: tuple[Row, ...], *, feared: bool = False) -> str:
    """A Graphviz digraph."""
    style = {By.US: "solid", By.AWAITED: "dashed", By.FEARED: "dotted"}
    lines = ["digraph machine {", "  rankdir=LR; node [shape=box, style=rounded, fontname=sans]; edge [fontname=sans, fontsize=10];"]
    for row in _rows(table, feared):
        lines.append(f'  {row.source.value} -> {row.target.value} [label="{row.event}", style={style[row.by]}];')
    return "\n".join([*lines, "}"]) + "\n"


def as_markdown() -> str:
    """docs/machines.md: what we plan on, then everything that is lawful."""
    parts = ["# State machines\n\nMade from the tables by `python -m orchestrator.graph > docs/machines.md`. `event`: we do it; "
             "`(event)`: we wait for it; `!event`: lawful, never planned on.\n"]
    for name, table in MACHINES.items():
        for title, feared in ((f"{name}: what is planned on", False), (f"{name}: all that is lawful", True)):
            parts.append(f"\n## {title}\n\n```mermaid\n{as_mermaid(table, feared=feared)}```\n")
    return "".join(parts)


if __name__ == "__main__":
    print(as_markdown(), end="")
