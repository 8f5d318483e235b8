"""Each step of `states.goal.Do` as a call into the far-side script `act.sh`, quoted for its shell.

The script re-checks on the node, in the same shell and right before it acts, what the step stands on.
"""

from __future__ import annotations

import shlex
from importlib import resources

from attrs import field, frozen

from orchestrator.config import Config
from orchestrator.drbd.files import replication_address, resource_file
from orchestrator.probes.firewall import read_port
from orchestrator.stack import steps as stack
from states.facts import ClusterFacts
from states.goal import Do, Step
from states.recovery import unchanged
from states.stacks import spec

SCRIPT = resources.files(__package__).joinpath("act.sh").read_text()

LIMITS: dict[Do, float] = {
    # seconds a step may take on the node before it is ended there
    Do.START_LAYER: 60.0,
    Do.STOP_LAYER: 60.0,
    Do.CREATE_METADATA: 300.0,   # initialises the bitmap of the whole device
    Do.ATTACH: 120.0,            # applies the activity log
    Do.CONNECT: 30.0,
    Do.FORCE_PRIMARY: 60.0,
    Do.CLEAR_BITMAP: 120.0,
    Do.PROMOTE: 60.0,
    Do.RELEASE: 60.0,
    Do.DISTRUST: 300.0,          # writes the bitmap of the whole device
    Do.PROMOTE_ALONE: 120.0,     # DRBD asks the fence-peer handler first
    Do.DEMOTE: 60.0,
    Do.TAKE_DOWN: 120.0,
    Do.RECORD_CONSENT: 30.0,
    Do.RECORD_ARCHIVE: 30.0,
    Do.DISCARD: 30.0,
    Do.FORGET: 30.0,
    Do.VERIFY: 30.0,             # only to start it
    Do.POWER_CYCLE: 120.0,       # two tries of the agent, and the lock manager's own time to notice
}


@frozen
class Sender:
    """What a step needs to know to be written down for a node."""

    config: Config
    facts: ClusterFacts
    firewall: str  # the node's firewall as last looked at
    authkey: str = field(default="", repr=False)  # the cluster's key as some node has it, base64; "" where none does


def limit(step: Step) -> float:
    """Seconds the step may take on the node."""
    return spec(step.layer).deadline if not step.resource else LIMITS[step.do]


def call(step: Step, sender: Sender, op_id: str) -> str:
    """The shell words that carry out one step; DESTRUCTIVE ones are claimed under `op_id` first."""
    words = [*(_function(step, sender) if step.resource else stack.words(step, sender))]
    if step.destructive:
        words = ["once", op_id, step.do.value, step.claims, *words]
    return shlex.join(words)


def _function(step: Step, sender: Sender) -> list[str]:
    section = sender.config.resource[step.resource]
    disk = sender.config.disk_of(step.resource, step.node)
    device = [step.resource, str(section.minor), disk]
    side = sender.facts.node(step.node).side(step.resource)
    if step.do is Do.START_LAYER:
        return _layer(step, sender)
    calls: dict[Do, list[str]] = {
        Do.CREATE_METADATA: ["create_metadata", *device],
        Do.ATTACH: ["attach", *device[:2], _yes(step.replaces), _yes(side.trying)],
        Do.CONNECT: ["connect", *device, step.expect, _yes(not side.out_of_sync)],
        Do.FORCE_PRIMARY: ["force_primary", *device, step.expect, _yes(bool(section.primaries))],
        Do.CLEAR_BITMAP: ["clear_bitmap", *device, step.expect],
        Do.PROMOTE: ["promote", *device[:2]],
        Do.PROMOTE_ALONE: ["promote_alone", *device, step.expect],
        Do.RELEASE: ["release_backing", disk],
        Do.DISTRUST: ["distrust", *device, step.expect],
        Do.DEMOTE: ["demote", step.resource],
        Do.TAKE_DOWN: ["take_down", step.resource],
        Do.RECORD_CONSENT: ["record", step.resource, step.says],
        Do.RECORD_ARCHIVE: ["record", step.resource, step.says],
        Do.DISCARD: ["discard", *device, step.expect, _yes(unchanged(side))],
        Do.FORGET: ["forget", step.resource],
        Do.VERIFY: ["verify", *device[:2]],
        Do.POWER_CYCLE: ["power_cycle", step.says],
    }
    return calls[step.do]


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"


def _layer(step: Step, sender: Sender) -> list[str]:
    node = sender.facts.node(step.node)
    match step.layer:
        case "config":
            return ["write_file", f"/etc/drbd.d/{step.resource}.res", resource_file(sender.config, step.resource, node.generation)]
        case "module":
            return ["modprobe", "drbd"]
        case "boot":
            return ["quiet_boot", *node.layer("boot").detail.split()]
        case "port":
            peer = next(name for name in sender.config.storage if name != step.node)
            port = read_port(sender.firewall, replication_address(sender.config, peer), sender.config.resource[step.resource].port)
            return ["open_port", *port.commands]
    raise KeyError(step.layer)
