"""`orchestrate supervise`."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import anyio
import click

from orchestrator.cli.common import journal_path, look_at_all, make_transport, reaching, wall_clock
from orchestrator.config import Config
from orchestrator.lease import holder
from orchestrator.logs import Form, Told
from orchestrator.supervisor.service import Service, read_all
from states.alarm import Alarm
from states.flap import History
from states.goal import Direction, Ledger
from states.supervise import Policies, Verdict, judge


@click.command()
@click.option("-c", "--config", "configs", multiple=True, type=click.Path(path_type=Path),
              help="A cluster.toml, or a folder of them; may be given more than once.")
@click.option("--check", "only_check", is_flag=True, help="Say what it would alarm about and repair now, and end. Changes nothing.")
@click.option("--log-format", type=click.Choice([form.value for form in Form]), default=None,
              help="How the log on stderr is written. If nothing is said: for people on a terminal, else JSON lines.")
@click.pass_obj
def supervise(obj: dict[str, Path | None], configs: tuple[Path, ...], only_check: bool, log_format: str | None) -> int:
    """Watch clusters, repair what loses nothing, and say what is wrong, until SIGTERM. SIGHUP reads cluster.toml again. A command
    (`up`, `down`, ...) always goes first. Exit 75: another supervisor watches already."""
    paths = configs or (obj["config"] or Path("cluster.toml"),)
    if only_check:
        return max(_check(config) for config in read_all(paths).values())
    form = Form(log_format) if log_format else Form.CONSOLE if sys.stderr.isatty() else Form.JSON
    try:
        with Told(sys.stderr, form) as told:
            anyio.run(Service(paths, make_transport, journal_path, holder(), wall_clock, told.log).run)
    finally:
        gc.freeze()  # else Python looks through all objects once more before it ends: 0.15 s of CPU, on a busy machine seconds
    return 0


def _check(config: Config) -> int:
    """One look, and one verdict on it. 0: nothing is wrong, 10: it would repair something, 3: there is an alarm it cannot end."""
    verdict = anyio.run(_judge, config)
    click.echo(f"cluster {config.cluster.name}")
    for alarm in verdict.alarms:
        click.echo(words(alarm))
    if verdict.repair is not None:
        click.echo(f"would repair: {verdict.repair.why}")
        return 10
    click.echo(f"would repair nothing{': ' + verdict.why if verdict.why else ''}")
    return 3 if verdict.alarms else 0


async def _judge(config: Config) -> Verdict:
    async with reaching(config) as remote:
        facts = await look_at_all(remote)
    section = config.supervise
    policies = Policies(section.policy, section.resources, section.layers)
    leased = next((node.leased for node in facts.nodes if node.leased), "")
    return judge(policies, config.goal(Direction.UP), facts, Ledger(), History(section.flaps, section.flap_window), wall_clock(), leased)


def words(alarm: Alarm) -> str:
    """An alarm on one line."""
    evidence = f": {alarm.evidence}" if alarm.evidence else ""
    return f"{alarm.severity.value}: {alarm.what} ({alarm.name}){evidence}; {alarm.remedy}"
