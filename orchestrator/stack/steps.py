"""Starting and stopping each layer above DRBD as a call into the far-side script `act.sh`, and what a look at them asks for."""

from __future__ import annotations

import shlex
from importlib import resources
from typing import TYPE_CHECKING

from orchestrator.config import Config
from orchestrator.probes.rhcs import layers as rhcs_layers
from orchestrator.probes.stack import SERVICES, ExpectedFile, ExpectedStack
from orchestrator.probes.volumes import ExpectedVolume
from orchestrator.stack.files import files_of, programs, recovery_lock
from orchestrator.stack.rhcs import steps as rhcs
from orchestrator.stack_config import in_bytes
from states.goal import Do, Step
from states.stacks import Stack

if TYPE_CHECKING:
    from orchestrator.drbd.steps import Sender

SCRIPT = resources.files(__package__).joinpath("act.sh").read_text()


LEAST_ADDED = 32
"""MiB: gfs2_jadd says "bad journal size" for less, while mkfs.gfs2 takes 8."""


def expected_stack(config: Config, node: str) -> ExpectedStack | None:
    """What a look at one node is compared with; None in a cluster without a stack."""
    stack = config.stack()
    if stack is None:
        return None
    volumes = tuple(_volume(config, name, node) for name in config.filesystem if _has(stack, name, node))
    if stack.profile == "rhcs":
        return rhcs.expected(config, node, stack, volumes)
    layers = tuple(placed.name for placed in stack.layers if node in placed.nodes)
    return ExpectedStack(
        layers, tuple(SERVICES[name] for name in layers if name in SERVICES), programs(config, node),
        tuple(ExpectedFile(file.path, file.text, file.secret, file.ours) for file in files_of(config, node)), volumes, config.cluster.name,
    )


def _has(stack: Stack, filesystem: str, node: str) -> bool:
    return node in stack.placed(f"mount {filesystem}").nodes


def _volume(config: Config, name: str, node: str) -> ExpectedVolume:
    section = config.filesystem[name]
    vg, lv = config.volume_of(name)
    minor = config.resource[section.resource].minor
    return ExpectedVolume(name, vg, lv, section.mount, minor, config.disk_of(section.resource, node), f"{config.cluster.name}:{name}",
                          in_bytes(section.size) or 0)


def look_calls(expected: ExpectedStack | None) -> str:
    """The far-side words that teach a look to see what is above DRBD, and what must not start at boot; "" without a stack."""
    if expected is None:
        return ""
    if expected.readers is rhcs_layers.READERS:
        return rhcs.look_calls(expected)
    calls = [("look_stack", " ".join(expected.programs), " ".join(expected.services)),
             ("look_files", *(file.path for file in expected.files)),
             *(("look_volume", one.name, one.vg, one.lv, one.mount, str(one.minor), one.disk, str(one.size)) for one in expected.volumes)]
    above = " ".join(f"{shlex.join(call)};" for call in calls)
    return f"above() {{ {above} }}; more_units='{_at_boot(expected)}'; "


def _at_boot(expected: ExpectedStack) -> str:
    """Patterns for the far side's shell."""
    units = (*expected.services, "lvmlocks", "nmbd", "winbind", "samba-ad-dc")
    return " ".join(f"/etc/systemd/system/*.wants/{unit}.service" for unit in units)


def words(step: Step, sender: Sender) -> list[str]:
    """The far-side function of one step and its arguments. Raises KeyError for a layer nobody taught us."""
    kind, _, name = step.layer.partition(" ")
    other = rhcs.words(step, sender) if sender.config.cluster.profile == "rhcs" else None
    if other is not None:
        return other
    if name:
        return _of_volume(step.do, kind, name, sender.config)
    if step.do is Do.START_LAYER and kind == "files":
        return ["write_files", *(word for file in files_of(sender.config, step.node) for word in (file.path, file.mode, file.text))]
    if step.do is Do.START_LAYER and kind == "authkey":
        return ["write_authkey", sender.authkey]
    if step.do is Do.START_LAYER and kind == "samba":
        return ["start_samba", sender.config.samba.smb_conf]
    if step.do is Do.START_LAYER and kind == "ctdb":
        return ["start_ctdb", recovery_lock(sender.config)]
    if step.do is Do.START_LAYER and kind in ("corosync", "dlm"):
        absent = {*sender.facts.off, *(sender.config.voters if kind == "dlm" else ())}  # who only votes has no lock manager, ever
        gone = [str(number) for number, node in enumerate(sender.config.names, 1) if node in absent]
        return [f"start_{kind}", *gone]
    if kind not in SERVICES:
        raise KeyError(step.layer)
    return [f"{'start' if step.do is Do.START_LAYER else 'stop'}_{kind}"]


def _of_volume(do: Do, kind: str, name: str, config: Config) -> list[str]:
    section = config.filesystem[name]
    vg, lv = config.volume_of(name)
    minor, journals = str(config.resource[section.resource].minor), str(len(config.wanted(section.resource).nodes))
    calls: dict[tuple[Do, str], list[str]] = {
        (Do.START_LAYER, "vg"): ["create_vg", vg, minor],
        (Do.START_LAYER, "lockspace"): ["start_lockspace", vg, minor],
        (Do.START_LAYER, "lv"): ["create_lv", vg, lv, section.size, minor],
        (Do.START_LAYER, "active"): ["start_active", vg, lv, minor],
        (Do.START_LAYER, "gfs2"): ["make_gfs2", vg, lv, f"{config.cluster.name}:{name}", journals, str(section.journal), minor],
        (Do.START_LAYER, "mount"): ["start_mount", vg, lv, section.mount, section.options or "defaults", minor, journals,
                                    str(max(section.journal, LEAST_ADDED))],
        (Do.START_LAYER, "extended"): ["start_extended", vg, lv, section.size, str(in_bytes(section.size) or 0), minor],
        (Do.START_LAYER, "grown"): ["start_grown", section.mount, minor],
        (Do.STOP_LAYER, "mount"): ["stop_mount", section.mount],
        (Do.STOP_LAYER, "active"): ["stop_active", vg, lv],
        (Do.STOP_LAYER, "lockspace"): ["stop_lockspace", vg],
    }
    return calls[(do, kind)]
