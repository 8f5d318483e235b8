"""What Prometheus is told: the newest picture of every cluster as metric families.

Names, labels and units are drbd-reactor's prometheus plugin's where the meaning is the same (its doc/prometheus.md, 1.11),
with `cluster` and `node` added, for it runs on every node and we do not. Ours begin with `orchestrate_`. What is not known
has no sample: a node that cannot be seen has no DRBD metrics, rather than old ones. Of drbd-reactor's states every one has
a sample, 1 or 0, as there; of ours only the present one has, or 500 clusters would be a page of 18 MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from importlib.metadata import version

import anyio
from attrs import define, field, frozen
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from orchestrator.config import Config
from states.alarm import Severity
from states.facts import NodeFacts, Side
from states.picture import MachineSeen, Picture
from states.progress import Progress
from states.vocabulary import ConnectionState, DiskState, Layer, Node, Resource

KIB = 1024
PAIR = ("cluster", "name")
ON = ("cluster", "node")
DEVICE = (*ON, "name", "volume", "minor")
LINK = (*ON, "name", "conn_name", "peer_node_id")

GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    # name                              what it says                                                           labels
    "drbd_version": ("Version of the loaded DRBD kernel module", (*ON, "kmod")),
    "drbd_resource_resources": ("Number of resources", ON),
    "drbd_resource_role": ("DRBD role of the resource", (*ON, "name", "drbd_resource_role")),
    "drbd_resource_suspended": ("Boolean whether the resource is suspended", (*ON, "name")),
    "drbd_connection_state": ("DRBD connection state", (*LINK, "drbd_connection_state")),
    "drbd_peerdevice_outofsync_bytes": ("Number of bytes out of sync with this peer, as this side counts them", (*LINK, "volume")),
    "drbd_device_state": ("DRBD device state", (*DEVICE, "drbd_device_state")),
    "drbd_device_unintentionaldiskless": ("Boolean whether the device has lost its disk", DEVICE),
    "drbd_device_size_bytes": ("Device size in bytes", DEVICE),
    "orchestrate_build_info": ("Version of the supervisor", ("version",)),
    "orchestrate_picture_timestamp_seconds": ("When the newest picture of the cluster was made", ("cluster",)),
    "orchestrate_working": ("1 while the supervisor repairs something or leaves the cluster to a command", ("cluster",)),
    "orchestrate_node_state": ("1, for the state the node is in", (*ON, "state")),
    "orchestrate_node_maintenance": ("Boolean whether the node is in maintenance", ON),
    "orchestrate_node_load1": ("Load average over one minute", ON),
    "orchestrate_node_load5": ("Load average over five minutes", ON),
    "orchestrate_node_load15": ("Load average over fifteen minutes", ON),
    "orchestrate_node_cores": ("Processor cores", ON),
    "orchestrate_node_smb_sessions": ("Open SMB sessions", ON),
    "orchestrate_resource_state": ("1, for the state the pair is in", (*PAIR, "state")),
    "orchestrate_resource_state_since_timestamp_seconds": ("Since when the pair is in its state", PAIR),
    "orchestrate_layer_state": ("1, for the state the layer is in", (*ON, "layer", "state")),
    "orchestrate_layer_state_since_timestamp_seconds": ("Since when the layer is in its state", (*ON, "layer")),
    "orchestrate_resync_left_bytes": ("Bytes a resync has still to copy", PAIR),
    "orchestrate_resync_done_ratio": ("How much of what was out of sync has been copied, 0 to 1", PAIR),
    "orchestrate_resync_rate_bytes_per_second": ("How fast a resync copies", PAIR),
    "orchestrate_resync_eta_seconds": ("Seconds until a resync has ended, at its present rate", PAIR),
    "orchestrate_resync_still_seconds": ("Seconds since a resync's counters last moved", PAIR),
    "orchestrate_verify_timestamp_seconds": ("When the last verify that came to its end was over", PAIR),
    "orchestrate_verify_different_blocks": ("Blocks of 4 KiB that differ, as the last verify found", PAIR),
    "orchestrate_alarms": ("Number of alarms that stand", ("cluster", "severity")),
    "orchestrate_alarm": ("1 for each alarm that stands", ("cluster", "alarm", "about", "severity")),
}
COUNTERS: dict[str, str] = {
    # `Picture.counts` by name; each is exported as orchestrate_NAME_total{cluster}. A name not listed has only its name for a help text.
    "lines": "Lines said by the followers of all nodes",
    "events": "Events pushed by DRBD",
    "logged": "Lines of kernel log and journal that mean something",
    "gaps": "Event streams that broke",
    "overflows": "Event streams given up because more came than could be taken in",
    "looks": "Full looks at a node",
    "glances": "Times that counters were read where nothing pushes them",
    "moves": "Moves of machines",
    "surprises": "Moves that no table has",
    "alerts_delivered": "Messages with alerts that were taken",
    "alerts_failures": "Attempts to deliver alerts that failed",
    "alerts_dropped": "Alerts that were dropped, for too many waited",
    "names_updates": "Updates of the published names",
    "names_failures": "Updates of the published names that failed",
}


class Families:
    """Metric families as they fill up: every family in one place, as the text format wants it."""

    def __init__(self) -> None:
        self._gauges = {name: GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in GAUGES.items()}
        self._counters: dict[str, CounterMetricFamily] = {}

    def set(self, name: str, value: float, *labels: str) -> None:
        """One sample of a gauge. KeyError for one that is not in GAUGES."""
        self._gauges[name].add_metric(labels, value)

    def states(self, name: str, now: Enum, *labels: str) -> None:
        """One sample for every state there is in DRBD's words: 1 for the present one. MISSING is none of them."""
        for one in type(now):
            if one is not ConnectionState.MISSING:
                self.set(name, one is now, *labels, one.value)

    def count(self, name: str, value: float, cluster: str) -> None:
        """One sample of a total."""
        text = COUNTERS.get(name, name.replace("_", " "))
        known = self._counters.setdefault(name, CounterMetricFamily(f"orchestrate_{name}", text, labels=("cluster",)))
        known.add_metric((cluster,), value)

    def __iter__(self) -> Iterator[Metric]:
        """Those that have samples."""
        return (one for one in (*self._gauges.values(), *self._counters.values()) if one.samples)


@frozen
class Shown:
    """A picture, and what of the configuration it needs: DRBD's minors by resource, and how old it may get, in seconds."""

    picture: Picture
    minors: dict[str, int]
    patience: float


@define(eq=False)  # a registry keeps it by identity
class Board(Collector):
    """The newest picture of every cluster of this process. One for the process; a `Metrics` for each cluster writes on it."""

    shown: dict[str, Shown | None] = field(factory=dict)
    _registry: CollectorRegistry = field(factory=lambda: CollectorRegistry(auto_describe=False))

    def __attrs_post_init__(self) -> None:
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def collect(self) -> Iterable[Metric]:
        """For prometheus_client."""
        families = Families()
        families.set("orchestrate_build_info", 1, version("orchestrate"))
        for shown in tuple(self.shown.values()):
            if shown is not None:
                fill(families, shown)
        return families

    def text(self) -> bytes:
        """All of it in Prometheus's text format. Takes a while with hundreds of clusters: call it in a thread."""
        return generate_latest(self._registry)

    def stuck(self, now: float) -> list[str]:
        """Clusters of which no new picture comes, in words. `now`: seconds since the epoch."""
        return [f"{name}: no new picture for {now - shown.picture.at:.0f} s" for name, shown in sorted(self.shown.items())
                if shown is not None and now - shown.picture.at > shown.patience]

    def unready(self) -> list[str]:
        """Nodes that are neither seen nor known to be off nor in maintenance, in words."""
        found = []
        for name, shown in sorted(self.shown.items()):
            if shown is None:
                found.append(f"{name}: no picture yet")
                continue
            facts, maintenance = shown.picture.facts, shown.picture.maintenance
            found += [f"{name}: {node.name} is not seen: {node.why or 'no look yet'}" for node in facts.nodes
                      if not node.reachable and node.name not in facts.off | maintenance]
        return found


class Metrics:
    """A Listener: puts one cluster's pictures on the board, and takes them off when its time is over."""

    def __init__(self, board: Board, config: Config) -> None:
        self._board = board
        self._cluster = config.cluster.name
        self._minors = {name: section.minor for name, section in config.resource.items()}
        self._patience = 2 * config.supervise.look_every + 60.0
        board.shown.setdefault(self._cluster, None)

    def picture(self, picture: Picture) -> None:
        """See Listener."""
        self._board.shown[self._cluster] = Shown(picture, self._minors, self._patience)

    async def run(self) -> None:
        """See Listener."""
        try:
            await anyio.sleep_forever()
        finally:
            self._board.shown.pop(self._cluster, None)


# -- a picture as samples ----------------------------------------------------------------------------------------------

def fill(families: Families, shown: Shown) -> None:
    """Everything one picture has to say."""
    picture = shown.picture
    families.set("orchestrate_picture_timestamp_seconds", picture.at, picture.cluster)
    families.set("orchestrate_working", bool(picture.doing), picture.cluster)
    for node in picture.facts.nodes:
        _node(families, picture, node)
        if node.reachable:
            _drbd(families, shown, node)
    for machine in picture.machines:
        _machine(families, picture, machine)
    for load in picture.loads:
        on = (picture.cluster, load.node)
        for name, value in zip(("load1", "load5", "load15"), load.averages, strict=True):
            families.set(f"orchestrate_node_{name}", value, *on)
        families.set("orchestrate_node_cores", load.cores, *on)
        if load.sessions is not None:
            families.set("orchestrate_node_smb_sessions", load.sessions, *on)
    for resource, progress in picture.progress:
        _resync(families, progress, picture.cluster, resource)
    for found in picture.verified:
        families.set("orchestrate_verify_timestamp_seconds", found.at, picture.cluster, found.resource)
        families.set("orchestrate_verify_different_blocks", found.blocks, picture.cluster, found.resource)
    for severity in Severity:
        families.set("orchestrate_alarms", sum(one.severity is severity for one in picture.alarms), picture.cluster, severity.value)
    for alarm in {one.key: one for one in picture.alarms}.values():
        families.set("orchestrate_alarm", 1, picture.cluster, alarm.name, alarm.about, alarm.severity.value)
    for name, total in picture.counts.items():
        families.count(name, total, picture.cluster)


def _node(families: Families, picture: Picture, node: NodeFacts) -> None:
    state = picture.state(node.name)
    seen = state if isinstance(state, Node) else node.state
    families.set("orchestrate_node_state", 1, picture.cluster, node.name, seen.value)
    families.set("orchestrate_node_maintenance", node.name in picture.maintenance, picture.cluster, node.name)


def _machine(families: Families, picture: Picture, machine: MachineSeen) -> None:
    if isinstance(machine.state, Resource):
        families.set("orchestrate_resource_state", 1, picture.cluster, machine.name, machine.state.value)
        families.set("orchestrate_resource_state_since_timestamp_seconds", machine.since, picture.cluster, machine.name)
    elif isinstance(machine.state, Layer):
        layer, _, node = machine.name.rpartition(" on ")
        families.set("orchestrate_layer_state", 1, picture.cluster, node, layer, machine.state.value)
        families.set("orchestrate_layer_state_since_timestamp_seconds", machine.since, picture.cluster, node, layer)


def _resync(families: Families, progress: Progress, *labels: str) -> None:
    families.set("orchestrate_resync_left_bytes", progress.left * KIB, *labels)
    families.set("orchestrate_resync_done_ratio", progress.percent / 100, *labels)
    if progress.rate is not None:
        families.set("orchestrate_resync_rate_bytes_per_second", progress.rate * KIB, *labels)
    if progress.eta is not None:
        families.set("orchestrate_resync_eta_seconds", progress.eta, *labels)
    if progress.samples:
        families.set("orchestrate_resync_still_seconds", progress.still_for(progress.samples[-1][0]), *labels)


def _drbd(families: Families, shown: Shown, node: NodeFacts) -> None:
    on = (shown.picture.cluster, node.name)
    if node.version:
        families.set("drbd_version", 1, *on, node.version)
    configured = [(name, side) for name, side in node.sides if side.configured]
    families.set("drbd_resource_resources", len(configured), *on)
    for name, side in configured:
        _side(families, shown, side, (*on, name))


def _side(families: Families, shown: Shown, side: Side, on: tuple[str, ...]) -> None:
    _, node, name = on
    families.states("drbd_resource_role", side.role, *on)
    families.set("drbd_resource_suspended", side.suspended, *on)
    device = (*on, "0", str(shown.minors.get(name, 0)))
    families.states("drbd_device_state", side.disk, *device)
    families.set("drbd_device_unintentionaldiskless", side.disk is DiskState.DISKLESS, *device)
    if side.size is not None:
        families.set("drbd_device_size_bytes", side.size * KIB, *device)
    wanted = next((one for one in shown.picture.goal.resources if one.name == name), None)
    if wanted is None or side.connection is ConnectionState.MISSING:
        return
    peer = wanted.nodes[1 - wanted.nodes.index(node)]
    link = (*on, peer, str(wanted.nodes.index(peer)))
    families.states("drbd_connection_state", side.connection, *link)
    if side.out_of_sync is not None:
        families.set("drbd_peerdevice_outofsync_bytes", side.out_of_sync * KIB, *link, "0")
