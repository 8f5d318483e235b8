"""`orchestrate status`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import anyio
import click

from orchestrator.cli.common import journal_path, look_at_all, reaching, read_config
from orchestrator.config import Config
from orchestrator.verified import Verifications
from states.diagnosis import diagnose
from states.facts import ClusterFacts, NodeFacts
from states.goal import Ledger
from states.pair import Pair
from states.resource import classify
from states.verify import Verification
from states.vocabulary import Layer


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print facts, states and diagnoses as JSON.")
@click.option("--why", is_flag=True, help="Also print what each diagnosis rests on.")
@click.pass_obj
def status(obj: dict[str, Path | None], as_json: bool, why: bool) -> int:
    """What is seen on both nodes, in one round trip each. Changes nothing. Exit 6 if a node could not be seen."""
    config = read_config(obj)
    facts = anyio.run(_look, config)
    verifications = Verifications(journal_path(config))
    verifications.read()
    if as_json:
        click.echo(json.dumps(as_document(config, facts, verifications.last), indent=2))
    else:
        from orchestrator.render import draw_status

        draw_status(config, facts, sys.stdout, why=why)
        for name in config.resource:
            if name in verifications.last:
                click.echo(in_words(verifications.last[name]))
    return 0 if all(node.reachable for node in facts.nodes) else 6


async def _look(config: Config) -> ClusterFacts:
    async with reaching(config, compare=False) as remote:
        return await look_at_all(remote)


def _age(node: NodeFacts, since: float | None) -> float | None:
    return None if since is None else round(max(0.0, node.ended - since), 1)


def in_words(found: Verification) -> str:
    """What the last verify found, on one line."""
    when = datetime.fromtimestamp(found.at).astimezone().isoformat(" ", "seconds")
    wrong = f"{found.blocks} blocks differ: orchestrate verify {found.resource} --repair NODE, where NODE is the wrong side"
    return f"{found.resource}: last verified {when}: {wrong if found.blocks else 'both sides are the same'}"


def as_document(config: Config, facts: ClusterFacts, verified: Mapping[str, Verification]) -> dict[str, object]:
    """The same for scripts. Sizes and out-of-sync in KiB, `seconds` since something began to hang or to wait; None: not known."""
    nodes = {
        node.name: {"state": node.state.value, "why": node.why or None, "maintenance": node.maintenance or None,
                    "drbd": node.version or None, "boot_id": node.boot_id,
                    "layers": {fact.name: fact.state.value for fact in node.layers},
                    "not_up": {fact.name: fact.detail for fact in node.layers if fact.state is not Layer.UP},
                    "hung": {fact.name: {"why": fact.detail, "seconds": _age(node, fact.since)}
                             for fact in node.layers if fact.state is Layer.HUNG},
                    "fencing": [{"node": one.victim, "seconds": _age(node, one.since), "said": one.said} for one in node.fencing]}
        for node in facts.nodes
    }
    resources: dict[str, object] = {}
    for name in config.resource:
        wanted = config.wanted(name)
        pair = Pair.of(facts, wanted, Ledger())
        found = diagnose(pair, facts)
        last = verified.get(name)
        resources[name] = {
            "verified": {"at": last.at, "node": last.node, "blocks": last.blocks} if last is not None else None,
            "state": classify(pair).value,
            "handshake": pair.prediction.verdict.value,
            "diagnosis": {"kind": found.kind.value, "summary": found.summary, "type_next": found.type_next or None,
                          "evidence": list(found.evidence)},
            "sides": {
                side.node: {
                    "role": side.role.value, "disk": side.disk.value, "connection": side.connection.value,
                    "replication": side.replication.value, "out_of_sync": side.out_of_sync, "size": side.size,
                    "identifiers": str(side.identifiers) if side.identifiers else None,
                    "trouble": side.trouble.text if side.trouble else None,
                }
                for side in pair.sides
            },
        }
    return {"cluster": config.cluster.name, "nodes": nodes, "resources": resources}
