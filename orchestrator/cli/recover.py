"""`orchestrate recover-splitbrain`: evidence, consent, save, discard, restore."""

from __future__ import annotations

import getpass
import json
import sys
from pathlib import Path
from typing import Any

import anyio
import click
from attrs import evolve

from orchestrator.cli.common import journal_path, known_node, known_resource, look_once, new_run, reaching, read_config, wall_clock
from orchestrator.cli.run import Outcome, opened, tell
from orchestrator.config import Config
from orchestrator.engine import Engine
from orchestrator.errors import ConfigError, RefusedError
from orchestrator.journal import Journal, newest, read
from orchestrator.recovery.account import Ended, write_account
from orchestrator.recovery.assessed import as_document, draw_assessment
from orchestrator.recovery.consents import Said, ascertain, consents_for
from orchestrator.recovery.file_report import approximate
from orchestrator.recovery.file_table import draw_files
from orchestrator.recovery.files import FileReport
from orchestrator.recovery.power import Power, hanging
from orchestrator.recovery.run import Saving, Sides
from orchestrator.render import Screen
from states.assessment import Assessment, assess
from states.consent import Consent
from states.facts import ClusterFacts
from states.goal import Direction, Goal, Ledger


@click.command(name="recover-splitbrain")
@click.argument("resource", required=False)
@click.option("--all", "every", is_flag=True, help="Every resource that is split.")
@click.option("--plan", "only_plan", is_flag=True, help="Show the evidence, and what each choice would lose and do. Changes nothing.")
@click.option("--victim", metavar="NODE", help="The node whose changes are saved and then discarded.")
@click.option("--shown", metavar="TOKEN", help="The token that --plan printed: consent is for what was shown and nothing else.")
@click.option("--archive", type=click.Path(path_type=Path, file_okay=False), help="Where archives go (default: beside the journal).")
@click.option("--no-save", metavar="REASON", default="", help="Discard without an archive, and say why.")
@click.option("--json", "as_json", is_flag=True, help="Print the assessment, or the outcome, as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.pass_obj
def recover_splitbrain(
    obj: dict[str, Path | None], resource: str | None, every: bool, only_plan: bool, victim: str | None, shown: str | None,
    archive: Path | None, no_save: str, as_json: bool, quiet: bool,
) -> int:
    """End a split brain of RESOURCE: the victim's changes are saved and verified, then its disk follows the survivor's, which
    serves all the while. Run again after a break, it goes on. A side that changed nothing needs no --victim."""
    config = read_config(obj)
    names = _chosen(config, resource, every, victim)
    goal = config.goal(Direction.UP)
    facts = anyio.run(look_once, config)
    found = tuple(assess(goal, facts, name, config.agents) for name in names)
    if only_plan:
        return _show(config, goal, facts, found, anyio.run(_files, config, found), as_json=as_json)
    with opened(obj, config, quiet=quiet) as (journal, screen):
        told = {record["resource"]: record["token"] for record in journal.past if record["kind"] == "assessed"}
        said = Said(f"{getpass.getuser()} at this machine", victim, shown, told)
        consents = consents_for(goal, facts, found, said, one=not every)
        if not consents:
            screen.note("no resource is split: nothing to recover")
            return 0
        _write_consents(journal, found, consents)
        folder = (archive or journal_path(config).parent / "archives").absolute()
        outcome = anyio.run(_recover, config, evolve(goal, consents=consents), journal, screen, folder, no_save)
    for consent in consents:
        screen.note(f"{consent.resource}: what was done and why: {_report(consent, found, goal, outcome[1], journal.path, folder)}")
    tell(config, *outcome, as_json=as_json, quiet=quiet)
    return 0


def _report(consent: Consent, found: tuple[Assessment, ...], goal: Goal, facts: ClusterFacts, journal: Path, folder: Path) -> Path:
    """Beside the archive, for people and for scripts."""
    before = next(one for one in found if one.resource == consent.resource)
    place = before.agreed.saved if before.agreed is not None else ""
    return write_account(Ended(consent, before, assess(goal, facts, consent.resource), tuple(read(journal)), place), folder)


def _chosen(config: Config, resource: str | None, every: bool, victim: str | None) -> tuple[str, ...]:
    if (resource is None) != every:
        raise ConfigError("name one resource, or --all")
    if victim is not None:
        known_node(config, victim)
    return tuple(config.resource) if resource is None else (known_resource(config, resource),)


async def _files(config: Config, found: tuple[Assessment, ...]) -> dict[str, FileReport]:
    """Which files differ, as far as that can be seen while both go on. The second node is looked at as the victim: for a list of
    both sides' changes it does not matter."""
    reports = {}
    async with reaching(config, compare=False) as remote:
        for one in found:
            if one.split and one.agreed is None and all(side.changed != 0 for side in one.sides):
                reports[one.resource] = await approximate(remote, Sides(one.resource, one.sides[1].node, one.sides[0].node))
    return reports


def _show(
    config: Config, goal: Goal, facts: ClusterFacts, found: tuple[Assessment, ...], files: dict[str, FileReport], *, as_json: bool,
) -> int:
    """Print, and remember what was shown: a consent is about that. Exit 10 if there is something to recover. Raises RefusedError if
    a node that is not seen leaves that open."""
    with Journal(journal_path(config), wall_clock) as journal:
        for one in found:
            journal.write({"kind": "assessed", "resource": one.resource, "token": one.token, "split": one.split})
    if as_json:
        lists = {name: report.document() for name, report in files.items()}
        click.echo(json.dumps([{**as_document(one), "files": lists.get(one.resource)} for one in found], indent=2))
    else:
        for one in found:
            draw_assessment(one, sys.stdout)
            if one.resource in files:
                draw_files(files[one.resource], sys.stdout)
    if any(one.split for one in found):
        return 10
    for one in found:
        ascertain(goal, facts, one)
    return 0


# -- the run -------------------------------------------------------------------------------------------------------------

def _write_consents(journal: Journal, found: tuple[Assessment, ...], consents: tuple[Consent, ...]) -> None:
    """Who agreed to what, and on what evidence: on disk before anything is done."""
    for consent in consents:
        seen = next(one for one in found if one.resource == consent.resource)
        record: dict[str, Any] = {"kind": "consent", "resource": consent.resource, "victim": consent.victim, "by": consent.by}
        journal.write({**record, "token": consent.token, "seen": as_document(seen)})


async def _recover(config: Config, goal: Goal, journal: Journal, screen: Screen, folder: Path, no_save: str) -> Outcome:
    name, run_id = new_run()
    with screen:
        async with reaching(config) as remote:
            saving = Saving(config, remote, folder, goal.consents, screen, no_save)

            def engine() -> Engine:
                return Engine(remote, journal, goal, name, run_id, screen, Ledger(newest=newest(journal.past)), saver=saving)

            run = engine()
            try:
                reached = await run.run()
            except RefusedError:
                ill = hanging(goal, run.facts)
                if ill is None or not config.has_agent(ill.victim):
                    raise
                await Power(remote, journal, goal, name, f"{run_id}p", screen).cycle(ill)
                run_id = f"{run_id}r"  # operation ids of another run
                run = engine()
                reached = await run.run()
            return reached, run.facts, len(run.ledger.sent)
