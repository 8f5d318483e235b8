"""`orchestrate graph`."""

from __future__ import annotations

import click

from orchestrator.graph import MACHINES, as_dot, as_mermaid


@click.command()
@click.argument("machine", type=click.Choice(sorted(MACHINES)), default="resource")
@click.option("--dot", is_flag=True, help="Graphviz instead of Mermaid.")
@click.option("--feared", is_flag=True, help="Draw also what is lawful and never planned on.")
def graph(machine: str, dot: bool, feared: bool) -> int:
    """A state machine, drawn from its table: solid, what we do; dashed, what we wait for."""
    click.echo((as_dot if dot else as_mermaid)(MACHINES[machine], feared=feared), nl=False)
    return 0
