"""The layers of Fedora 14 and RHEL 6 as calls into the far-side scripts, and what a look at them asks for."""

from __future__ import annotations

import shlex
from importlib import resources
from typing import TYPE_CHECKING

from orchestrator.config import Config
from orchestrator.drbd.files import replication_address
from orchestrator.probes.rhcs.cluster_conf import with_version
from orchestrator.probes.rhcs.layers import BOOT_LINKS, PROCESSES, READERS
from orchestrator.probes.stack import ExpectedFile, ExpectedStack
from orchestrator.probes.volumes import ExpectedVolume
from orchestrator.stack.rhcs.files import CLUSTER_CONF, files_of, lvm_filter, programs
from states.facts import ClusterFacts
from states.goal import Do, Step
from states.stack_rules import conf_version
from states.stacks import Stack
from states.vocabulary import Layer

if TYPE_CHECKING:
    from orchestrator.drbd.steps import Sender

SCRIPT = resources.files(__package__).joinpath("act.sh").read_text()


def expected(config: Config, node: str, stack: Stack, volumes: tuple[ExpectedVolume, ...]) -> ExpectedStack:
    """What a look at one node is compared with."""
    layers = tuple(placed.name for placed in stack.layers if node in placed.nodes)
    return ExpectedStack(
        layers, tuple(dict.fromkeys(PROCESSES[name] for name in layers if name in PROCESSES)), programs(config),
        tuple(ExpectedFile(file.path, file.text, file.secret, file.ours) for file in files_of(config)), volumes, config.cluster.name,
        READERS, tuple((name, replication_address(config, name)) for name in config.storage), lvm_filter(config, node),
    )


def look_calls(expected: ExpectedStack) -> str:
    """As `orchestrator.stack.steps.look_calls`; what must not start at boot are links of run levels."""
    calls = [("look_stack", " ".join(expected.programs), " ".join(expected.services), " ".join(name for name, _ in expected.addresses)),
             ("look_files", *(file.path for file in expected.files)),
             *(("look_volume", one.name, one.vg, one.lv, one.mount, str(one.minor), one.disk, "0") for one in expected.volumes)]
    above = " ".join(f"{shlex.join(call)};" for call in calls)
    links = " ".join(f"/etc/rc[2-5].d/S[0-9][0-9]{name}" for name in BOOT_LINKS)
    return f"above() {{ {above} }}; more_units='{links}'; "


def words(step: Step, sender: Sender) -> list[str] | None:
    """The far-side function of one step and its arguments, where it is another one than today's; else None."""
    config, kind = sender.config, step.layer.partition(" ")[0]
    if step.do is Do.STOP_LAYER:
        return [f"stop_{kind}"] if kind in ("cman", "fenced", "clvmd", "rgmanager") else None
    if kind == "files":
        return ["write_checked", *(word for file in files_of(config) for word in (
            file.path, file.mode, with_version(file.text, next_version(sender.facts)) if file.path == CLUSTER_CONF else file.text))]
    if kind == "lvmconf":
        return ["start_lvmconf", lvm_filter(config, step.node)]
    if kind == "cman":
        return ["start_cman", *(name for name in config.names if name in sender.facts.off)]
    return [f"start_{kind}"] if kind in ("version", "fenced", "clvmd", "rgmanager") else None


def next_version(facts: ClusterFacts) -> int:
    """The config_version of a cluster.conf that is written now: that of a node which has it already, else one more than any node has."""
    seen = [(conf_version(node.layer("files").detail), node.layer("files").state) for node in facts.nodes]
    ready = [version for version, state in seen if version is not None and state is Layer.UP]
    there = [version for version, _ in seen if version is not None]
    running = [version for node in facts.nodes if (version := conf_version(node.layer("cman").detail)) is not None]
    return max(ready) if ready and max(ready) >= max([*there, *running]) else max([0, *there, *running]) + 1
