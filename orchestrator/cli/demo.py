"""`orchestrate demo`: the lab, and `up` on it, as one would type it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.plan import plan
from orchestrator.cli.run import up
from orchestrator.cli.status import status
from orchestrator.errors import OrchestrateError

if TYPE_CHECKING:
    from fixtures.lab import Lab

DISK = 256
"""MiB of each new node's data disk: large enough to see the first copy, small enough to wait for it."""


class NoLabError(OrchestrateError):
    """The lab cannot run here, in the lab's own words."""

    code = 4


@click.command()
@click.option("--dir", "folder", envvar="ORCHESTRATE_LAB", default="lab", show_default=True, type=click.Path(path_type=Path),
              help="The lab's folder, made if it is not there.")
@click.option("--keep/--down", default=True, show_default=True, help="Whether the lab stays, to be played with.")
@click.pass_context
def demo(ctx: click.Context, folder: Path, keep: bool) -> int:
    """Two real kernels on this machine, and `up` on them: blank disks to Primary/Primary. Run again, it goes on from what
    it sees."""
    from fixtures.lab import Lab, LabError, LabSpec

    lab = Lab(folder)
    try:
        try:
            _say("a lab of two nodes, each a Linux kernel of its own with a blank disk")
            lab.up(None if lab.layout.state.exists() else LabSpec(disk=DISK))
            ctx.obj = {**ctx.obj, "config": lab.config_path}
            _play(ctx)
        finally:
            if not keep:
                lab.down()
    except LabError as error:
        raise NoLabError(f"no demo: {error}; the demo needs the lab, simulated nodes are not part of this version") from error
    except OrchestrateError:
        if keep:
            _say(f"to start from blank disks again: `{_lab(folder)} down`, then the demo")
        raise
    if keep:
        _what_next(lab, folder)
    return 0


def _play(ctx: click.Context) -> None:
    """The same commands that one would type, one after the other."""
    _say("what `orchestrate plan` says")
    if ctx.invoke(plan) == 0:
        ctx.invoke(status)
        return
    _say("`orchestrate up`")
    ctx.invoke(up)


def _what_next(lab: Lab, folder: Path) -> None:
    config = f"orchestrate -c {shlex.quote(str(folder / lab.config_path.name))}"
    first, second = lab.names()[:2]
    steps = (
        (f"{config} up", "already there: sends nothing that changes anything"),
        (f"{config} journal", "what was done, and why"),
        (f"{_lab(folder)} ssh {first} drbdadm status", "see for yourself"),
        (f"{_lab(folder)} power-off {second}", f"then `status`, `power-on {second}`, `up`"),
        (f"{_lab(folder)} cut {second}", f"a cable pulled; `{_lab(folder)} heal`, and `up` names the split brain and refuses"),
        (f"{_lab(folder)} down", "end it, disks and all"),
    )
    _say("try next (commands are in .venv/bin, if you came by `make demo`)")
    for command, what in steps:
        click.echo(f"  {command:<48}  {what}", err=True)


def _lab(folder: Path) -> str:
    return "orchestrate lab" + ("" if folder == Path("lab") else f" --dir {shlex.quote(str(folder))}")


def _say(text: str) -> None:
    click.echo(f"demo: {text}", err=True)
