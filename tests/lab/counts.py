"""`make lab-counts`: `up` of the whole stack killed 20 times, and the replication network cut 20 times while both nodes write.

    python -m tests.lab.counts --kills 20 --cuts 20
    python -m tests.lab.counts --state counts.jsonl --minutes 10     (again and again: it goes on where it was)
    python -m tests.lab.counts --kills 0 --cuts 4 --token 3000 --ping-timeout 20

Whatever fails is told, and the next one begins with new disks. Exit 1 if anything failed.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import click
from attrs import asdict, frozen

from tests.lab.cluster import N1, N2, booted
from tests.lab.killed import killed_and_again
from tests.lab.stack_cluster import SPEC, StackCluster
from tests.lab.survivor import Cut, cut_cable


@frozen
class Done:
    """One kill or cut; `failed`: what was seen instead, "" if all was well. `log`: the survivor's kernel since the cut."""

    kind: str
    number: int
    seconds: float
    told: str
    failed: str
    log: str = ""
    off: float = 0.0
    gap: float = 0.0
    again: float = 0.0
    parts: tuple[tuple[str, float], ...] = ()
    survivor: str = ""


def load(state: Path) -> list[Done]:
    """What earlier runs did."""
    return [Done(**json.loads(line)) for line in state.read_text().splitlines()] if state.exists() else []


def one(nodes: StackCluster, kind: str, number: int, changes: dict[str, str]) -> Done:
    """Do it once, whatever comes."""
    began = time.monotonic()
    cut: Cut | None = None
    told = failed = ""
    try:
        if kind == "kill":
            told = killed_and_again(nodes, number)
        else:
            nodes.changes = dict(changes)
            nodes.lab.heal()
            nodes.power_on()
            nodes.up("-q")
            cut = cut_cable(nodes, (N2, N1)[number % 2])
            told = cut.line()
    except AssertionError as error:
        failed = str(error)[-2000:] or repr(error)
    seconds = time.monotonic() - began
    if cut is None:
        return Done(kind, number, seconds, told, failed)
    return Done(kind, number, seconds, told, failed, cut.log, cut.off, cut.gap, cut.again, cut.parts, cut.survivor)


def table(done: list[Done], kills: int, cuts: int) -> str:
    """The counts, and the times of the cuts."""
    lines = []
    for kind, wanted, what in (("kill", kills, "`up` killed at a random moment, and run again"), ("cut", cuts, "cable cut, both write")):
        of_kind = [one for one in done if one.kind == kind]
        well = sum(not one.failed for one in of_kind)
        lines.append(f"{what + ':':48} {well} of {len(of_kind)} well ({wanted} wanted)")
    cut = [one for one in done if one.kind == "cut" and not one.failed]
    if cut:
        lines.append(f"{'seconds':28} {'least':>7} {'median':>7} {'most':>7}")
        rows = {"victim without power": [one.off for one in cut], "survivor writes again": [one.again for one in cut],
                "survivor's silence": [one.gap for one in cut]}
        for name in dict.fromkeys(name for one in cut for name, _ in one.parts):
            rows[f"  until: {name}"] = [at for one in cut for part, at in one.parts if part == name]
        lines += [f"{name:28} {min(of):7.1f} {statistics.median(of):7.1f} {max(of):7.1f}" for name, of in rows.items()]
        lines.append("survivors: " + ", ".join(f"{node} {sum(one.survivor == node for one in cut)} times" for node in (N1, N2)))
    return "\n".join(lines)


def settings(token: int | None, ping_timeout: int | None) -> dict[str, str]:
    """Other times than the lab's patient ones."""
    found = {}
    if token is not None:
        found["token = 5000"] = f"token = {token}"
    if ping_timeout is not None:
        found["ping_timeout = 30 "] = f"ping_timeout = {ping_timeout} "
    return found


@click.command()
@click.option("--kills", type=int, default=20, show_default=True)
@click.option("--cuts", type=int, default=20, show_default=True)
@click.option("--minutes", type=float, default=0, help="Begin nothing new after so many minutes.")
@click.option("--state", type=click.Path(path_type=Path), default=None, help="Kept after each; found, it is gone on from.")
@click.option("--token", type=int, default=None, help="corosync's, milliseconds; else the lab's.")
@click.option("--ping-timeout", type=int, default=None, help="DRBD's, tenths of a second; else the lab's.")
def main(kills: int, cuts: int, minutes: float, state: Path | None, token: int | None, ping_timeout: int | None) -> None:
    """Count."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="counts-") as scratch:
        kept = state or Path(scratch) / "counts.jsonl"
        done = load(kept)
        known = {(one.kind, one.number) for one in done}
        counts = {"kill": kills, "cut": cuts}  # in turn: each ends with everything up, where the next may begin
        wanted = [(kind, number) for number in range(max(counts.values())) for kind in counts if number < counts[kind]]
        left = [(kind, number) for kind, number in wanted if (kind, number) not in known]
        if left:
            with booted(Path(scratch) / "lab", SPEC) as lab:
                nodes = StackCluster(lab, Path(scratch))
                for kind, number in left:
                    if minutes and time.monotonic() - began > minutes * 60:
                        break
                    done.append(one(nodes, kind, number, settings(token, ping_timeout)))
                    with kept.open("a") as file:
                        file.write(json.dumps(asdict(done[-1])) + "\n")
                    click.echo(f"{kind} {number}, {done[-1].seconds:.0f} s: {done[-1].failed or 'well'}; {done[-1].told}", err=True)
                    if done[-1].failed:
                        nodes.renew()
    click.echo(table(done, kills, cuts))
    sys.exit(any(one.failed for one in done))


if __name__ == "__main__":
    main()
