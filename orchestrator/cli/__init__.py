"""The command line. Sub-commands are imported when they are asked for: `status` must not wait for what `lab` needs."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from pathlib import Path
from typing import Any

import click

from orchestrator.errors import OrchestrateError, RefusedError

COMMANDS = {
    # command        module                       what it is for (shown by --help)
    "check":   ("orchestrator.cli.check",   "Hazards, drift and half-truths, each with a remedy. Changes nothing."),
    "plan":    ("orchestrator.cli.plan",    "What `up` would do now, step by step, and why. Changes nothing."),
    "up":      ("orchestrator.cli.run",     "Bring the whole stack up on both nodes, in order; resumable."),
    "down":    ("orchestrator.cli.run",     "Take it down, in order."),
    "restart": ("orchestrator.cli.run",     "One node after the other down and up again, while the other serves."),
    "fence":   ("orchestrator.cli.fence",   "Switch a node off, so that the other can go on."),
    "fence-ack": ("orchestrator.cli.fence", "Say that a node is off, where no agent can."),
    "recover-splitbrain": ("orchestrator.cli.recover", "End a split brain: evidence, consent, an archive, and the pair whole again."),
    "verify":  ("orchestrator.cli.verify",  "Compare every block of both sides, while they serve. Repairs nothing."),
    "supervise": ("orchestrator.cli.supervise", "Watch clusters and repair what loses nothing, for as long as it runs."),
    "maintenance": ("orchestrator.cli.maintenance", "Have the supervisor leave a node alone."),
    "status":  ("orchestrator.cli.status",  "What is seen on both nodes. Changes nothing."),
    "watch":   ("orchestrator.cli.watch",   "The whole cluster on one screen, as it moves. Changes nothing."),
    "splitbrain": ("orchestrator.cli.splitbrain", "What was saved before a split brain was resolved: look at it, bring it back."),
    "journal": ("orchestrator.cli.journal", "What was intended and what came of it."),
    "explain": ("orchestrator.cli.explain", "What a rule, an alarm or a word in a message means, and what to do."),
    "graph":   ("orchestrator.cli.graph",   "The state machines, drawn from their tables."),
    "lab":     ("fixtures.lab.commands",    "A real two-node cluster on this machine."),
    "demo":    ("orchestrator.cli.demo",    "The lab, and `up` on it."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is run or asked for help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See click.Group."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See click.Group."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)  # noqa: S101 - a wrong line in COMMANDS
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-c", "--config", type=click.Path(path_type=Path), envvar="ORCHESTRATE_CONFIG", default=Path("cluster.toml"),
              show_default=True, help="The cluster's description.")
@click.option("--log", type=click.Path(path_type=Path), envvar="ORCHESTRATE_LOG", default=None, help="Also write JSON lines here.")
@click.version_option(package_name="orchestrate")
@click.pass_context
def cli(ctx: click.Context, config: Path, log: Path | None) -> None:
    """Bring up, keep up and repair DRBD-replicated file-server pairs, over SSH.

    Exit codes: 0 goal reached, 1 bug, 2 usage or configuration, 3 refused by a safety rule, 4 a step failed on a node,
    5 a deadline passed, 6 a node is unreachable, 10 (plan) there is something to do, 74 stdout cannot be written,
    75 another orchestrator is at work.
    """
    ctx.obj = {"config": config, "log": log}


def main(argv: list[str] | None = None) -> None:
    """Run, and turn every error into one line and its exit code. A bug's traceback goes to a file, not to the screen."""
    try:
        code: Any = cli.main(args=argv, standalone_mode=False)
        sys.stdout.flush()
    except OrchestrateError as error:
        _say(str(error))
        if isinstance(error, RefusedError) and sys.stderr.isatty():
            _say(f"what this rule is about: orchestrate explain {error.refused.rule}")
        sys.exit(error.code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        _say("stopped by hand; what was done is in the journal, `orchestrate up` goes on from what it sees")
        sys.exit(130)
    except BrokenPipeError:
        _give_up_stdout()
        sys.exit(141)
    except Exception as error:  # noqa: BLE001 - the last line of defence: said, written down, and exit 1
        if isinstance(error, OSError) and _stdout_is_full(error):
            _give_up_stdout()
            _say(f"stdout cannot be written: {error.strerror}; only what should have been printed is lost: make room, then run again")
            sys.exit(74)
        from orchestrator.logs import write_crash

        _say(f"a bug: {type(error).__name__}: {error}; the traceback is in {write_crash(error)}: please report it")
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _stdout_is_full(error: OSError) -> bool:
    """It was stdout that could not be written, and no other file: one more line meets the same end."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        return False
    try:
        print(flush=True)
    except OSError as again:
        return again.errno == error.errno
    return False


def _give_up_stdout() -> None:
    """What is still to be written goes nowhere: Python would try again on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str) -> None:
    click.echo(f"orchestrate: {text}", err=True)
