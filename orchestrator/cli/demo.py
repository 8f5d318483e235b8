"""`orchestrate demo`: the lab, or simulated nodes where there can be none, and `up` on it, as one would type it."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.plan import plan
from orchestrator.cli.run import up
from orchestrator.cli.status import status
from orchestrator.config import load
from orchestrator.errors import OrchestrateError, StepFailedError

if TYPE_CHECKING:
    from fixtures.lab import Lab

DISK, MEMORY = 256, 400
"""MiB of each new node's data disk: large enough to see the first copy, small enough to wait for it; and of its memory."""
PUT = "head -c 1000000 /dev/urandom >/tmp/demo && smbclient -N //localhost/{share} -c 'put /tmp/demo demo' >&2 && sha256sum </tmp/demo"
GET = "smbclient -N //localhost/{share} -c 'get demo /tmp/demo' >&2 && sha256sum </tmp/demo"

SIMULATED = "simulated"
"""The folder of simulated nodes, in the lab's."""


class NoLabError(OrchestrateError):
    """The lab, or the simulated nodes, cannot run here, in their own words."""

    code = 4


@click.command()
@click.option("--dir", "folder", envvar="ORCHESTRATE_LAB", default="lab", show_default=True, type=click.Path(path_type=Path),
              help="The lab's folder, made if it is not there.")
@click.option("--keep/--down", default=None,
              help="Whether the nodes stay, to be played with: a lab does if nothing is said; simulated nodes end, or stay until Ctrl-C.")
@click.option("--simulated/--lab", default=None, help="Which nodes. If nothing is said: a lab, or simulated ones where none can be made.")
@click.pass_context
def demo(ctx: click.Context, folder: Path, keep: bool | None, simulated: bool | None) -> int:
    """Two real kernels on this machine, and `up` on them: blank disks to a file that is put through SMB on one node and read
    on the other. Run again, it goes on from what it sees. Where no lab can be made, or with --simulated: DRBD only, on
    simulated nodes behind real SSH."""
    if not simulated:
        why = _in_lab(ctx, folder, keep is not False, insist=simulated is False)
        if why is None:
            return 0
        _say(f"no lab can be made here: {why}")
    _simulated(ctx, folder / SIMULATED, keep is True)
    return 0


def _in_lab(ctx: click.Context, folder: Path, keep: bool, *, insist: bool) -> str | None:
    """The demo on the lab's real kernels. Why there is no lab, if none could be made: said only where that is no error."""
    from fixtures.lab import Lab, LabError, LabSpec

    lab = Lab(folder)
    try:
        try:
            _say("a lab of two nodes, each a Linux kernel of its own with a blank disk")
            lab.up(None if lab.layout.state.exists() else LabSpec(disk=DISK, memory=MEMORY, flavour="full"))
        except LabError as error:
            made = lab.layout.state.exists()
            if made and not keep:
                lab.down()
            if insist or made:
                raise
            return str(error)
        try:
            _play(ctx, lab.config_path)
            _through_smb(lab)
        except OrchestrateError:
            if keep:
                _say(f"to start from blank disks again: `{_lab(folder)} down`, then the demo")
            raise
        finally:
            if not keep:
                lab.down()
    except LabError as error:
        raise NoLabError(f"no demo: {error}; `orchestrate demo --simulated` does without a lab") from error
    if keep:
        _what_next(lab, folder)
    return None


def _simulated(ctx: click.Context, folder: Path, keep: bool) -> None:
    """The demo on simulated nodes, which are another process and end with this one."""
    from fixtures.sim.stage import DEMO, staged

    _say("THE NODES ARE SIMULATED: a model of two machines with DRBD in another process of this machine, no kernel is involved")
    _say("DRBD only, blank disks to Primary/Primary: cluster, GFS2 and Samba are in the lab")
    _say("the SSH to them is real, and so is all that comes through it: the same commands, scripts, rules and journal as for real nodes")
    try:
        with staged(folder.absolute(), DEMO) as (config,):
            _play(ctx, config)
            _say("seen on simulated nodes; real kernels are in the lab: docs/lab.md")
            if keep:
                _stay(folder / config.name)
    except OSError as error:
        raise NoLabError(f"no demo: {error}") from error
    _say(f"the nodes are gone; what was done, and why: `orchestrate -c {shlex.quote(str(folder / config.name))} journal`")


def _stay(config: Path) -> None:
    """Until Ctrl-C."""
    words = f"orchestrate -c {shlex.quote(str(config))}"
    _say(f"the nodes stay until you press Ctrl-C; meanwhile, elsewhere: `{words} status`, `{words} up`, `{words} down`")
    try:
        while True:
            signal.pause()
    except KeyboardInterrupt:
        return


def _play(ctx: click.Context, config: Path) -> None:
    """The same commands that one would type, one after the other."""
    ctx.obj = {**ctx.obj, "config": config}
    _say("what `orchestrate plan` says")
    if ctx.invoke(plan) != 0:
        _say("`orchestrate up`")
        ctx.invoke(up)
    _say("`orchestrate status`")
    ctx.invoke(status)


def _through_smb(lab: Lab) -> None:
    """A file goes in on one node and comes out on the other. Raises StepFailedError if it does not, or comes out changed."""
    share = next(iter(load(lab.config_path).share), None)
    if share is None:
        _say("the nodes of this lab have DRBD only: nothing is served; a lab made by the demo serves a share")
        return
    first, second = lab.names()[:2]
    sums = []
    for node, script, what in ((first, PUT, "put through"), (second, GET, "read through")):
        done = lab.run(node, script.format(share=share))
        if done.returncode:
            raise StepFailedError(f"{node}: smbclient ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        sums.append(done.stdout.split()[0])
        _say(f"a file of 1000000 bytes, {what} SMB on {node}: sha256 {sums[-1]}")
    if sums[0] != sums[1]:
        raise StepFailedError(f"{second} reads something else than {first} was given")


def _what_next(lab: Lab, folder: Path) -> None:
    config = f"orchestrate -c {shlex.quote(str(folder / lab.config_path.name))}"
    first, second = lab.names()[:2]
    steps = (
        (f"{config} up", "already there: sends nothing that changes anything"),
        (f"{config} journal", "what was done, and why"),
        (f"{_lab(folder)} ssh {first} ls -l /srv/share0", "see for yourself; or drbdadm status, dlm_tool ls, vgs"),
        (f"{_lab(folder)} power-off {second}", f"then `status`, `power-on {second}`, `up`"),
        (f"{_lab(folder)} cut {second}", f"a cable pulled: one node is fenced, the other serves on; `heal`, `power-on {second}`, `up`"),
        (f"{_lab(folder)} down", "end it, disks and all"),
    )
    _say("try next (commands are in .venv/bin, if you came by `make demo`)")
    for command, what in steps:
        click.echo(f"  {command:<48}  {what}", err=True)


def _lab(folder: Path) -> str:
    return "orchestrate lab" + ("" if folder == Path("lab") else f" --dir {shlex.quote(str(folder))}")


def _say(text: str) -> None:
    click.echo(f"demo: {text}", err=True)
