"""The metrics: what the pictures say and nothing else; as promtool wants it; drbd-reactor's names with its labels."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.supervisor.metrics import COUNTERS, GAUGES, Board, Metrics
from states.picture import Load, MachineSeen, Picture
from states.progress import Progress
from states.verify import Verification
from states.vocabulary import ConnectionState, DiskState, Layer, Node, ReplicationState, Role
from tests.telling.pictures import AWAY, SPLIT, START, cluster, picture
from tests.unit.stack_cluster import ONE, OTHER, away, facts_of, with_layer, with_side

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
SYNCING = Progress(4096, 1024, ((10.0, 2048), (20.0, 1024)), 15.0)
FULL: dict[str, Any] = {
    "loads": (Load(ONE, (0.5, 0.25, 0.125), 4, 7), Load(OTHER)), "progress": (("r0", SYNCING),), "alarms": (SPLIT, AWAY),
    "maintenance": frozenset({OTHER}), "doing": "up", "counts": dict.fromkeys(COUNTERS, 3),
    "verified": (Verification("r0", START, ONE, 3),),
}
REACTOR = {
    # of drbd-reactor 1.11, src/plugin/prometheus.rs: name and labels
    "drbd_version": {"kmod"}, "drbd_resource_resources": set(), "drbd_resource_role": {"name", "drbd_resource_role"},
    "drbd_resource_suspended": {"name"},
    "drbd_connection_state": {"name", "conn_name", "peer_node_id", "drbd_connection_state"},
    "drbd_peerdevice_outofsync_bytes": {"name", "conn_name", "peer_node_id", "volume"},
    "drbd_device_state": {"name", "volume", "minor", "drbd_device_state"},
    "drbd_device_unintentionaldiskless": {"name", "volume", "minor"}, "drbd_device_size_bytes": {"name", "volume", "minor"},
}


def samples(*pictures: Picture, folder: Path) -> Samples:
    """Every sample of what is exported, read as Prometheus reads it."""
    board = Board()
    for one in pictures:
        Metrics(board, cluster(folder)).picture(one)
    families = text_string_to_metric_families(board.text().decode())
    return {(sample.name, frozenset(sample.labels.items())): sample.value for family in families for sample in family.samples}


def of(found: Samples, metric: str, /, **labels: str) -> float:
    """The one sample with these labels (and cluster NASCluster)."""
    wanted = {("cluster", "NASCluster"), *labels.items()}
    (value,) = [value for (known, has), value in found.items() if known == metric and wanted <= has]
    return value


def test_a_healthy_cluster(tmp_path: Path) -> None:
    found = samples(picture(cluster(tmp_path)), folder=tmp_path)
    assert of(found, "orchestrate_resource_state", name="r0", state="DualPrimary") == 1
    assert not any(name == "orchestrate_resource_state" and ("state", "SplitBrain") in labels for name, labels in found)
    assert of(found, "orchestrate_resource_state_since_timestamp_seconds", name="r0") == START - 60
    assert of(found, "orchestrate_layer_state", node=ONE, layer="mount opt", state="Up") == 1
    assert of(found, "orchestrate_node_state", node=OTHER, state="Reachable") == 1
    assert of(found, "drbd_resource_role", node=ONE, name="r0", drbd_resource_role="Primary") == 1
    assert of(found, "drbd_resource_role", node=ONE, name="r0", drbd_resource_role="Secondary") == 0
    assert of(found, "drbd_device_size_bytes", node=ONE, name="r0", volume="0", minor="1") == 524236 * 1024
    assert of(found, "drbd_connection_state", node=ONE, conn_name=OTHER, peer_node_id="1", drbd_connection_state="Connected") == 1
    assert of(found, "orchestrate_alarms", severity="critical") == 0
    assert of(found, "orchestrate_working") == 0
    assert any(name == "process_resident_memory_bytes" for name, _ in found)


def test_everything_there_is_to_say(tmp_path: Path) -> None:
    found = samples(picture(cluster(tmp_path), **FULL), folder=tmp_path)
    assert {name for name, _ in found} >= set(GAUGES) | {f"orchestrate_{name}_total" for name in COUNTERS}
    assert of(found, "orchestrate_node_load1", node=ONE) == 0.5
    assert of(found, "orchestrate_node_smb_sessions", node=ONE) == 7
    assert of(found, "orchestrate_node_maintenance", node=OTHER) == 1
    assert of(found, "orchestrate_resync_left_bytes", name="r0") == 1024 * 1024
    assert of(found, "orchestrate_resync_done_ratio", name="r0") == 0.75
    assert of(found, "orchestrate_resync_rate_bytes_per_second", name="r0") == 1024 * 1024 / 10
    assert of(found, "orchestrate_resync_eta_seconds", name="r0") == 10
    assert of(found, "orchestrate_resync_still_seconds", name="r0") == 5
    assert of(found, "orchestrate_alarm", alarm="split-brain", about="r0", severity="critical") == 1
    assert of(found, "orchestrate_alarms", severity="warning") == 1
    assert of(found, "orchestrate_surprises_total") == 3
    assert of(found, "orchestrate_verify_different_blocks", name="r0") == 3
    assert of(found, "orchestrate_verify_timestamp_seconds", name="r0") == START


def test_what_is_not_known_has_no_sample(tmp_path: Path) -> None:
    """A node that is not seen says nothing of DRBD, and least of all what it said before; its peer goes on."""
    config = cluster(tmp_path)
    gone = picture(config, with_side(away(facts_of(config)), ONE, out_of_sync=None))
    found = samples(picture(config), gone, folder=tmp_path)
    assert of(found, "orchestrate_node_state", node=OTHER, state="Unreachable") == 1
    about_drbd = {dict(labels)["node"] for name, labels in found if name.startswith("drbd_")}
    assert about_drbd == {ONE}
    assert not any(name == "drbd_peerdevice_outofsync_bytes" for name, _ in found)
    assert not any(name == "orchestrate_node_smb_sessions" for name, _ in found)


def test_a_bad_day(tmp_path: Path) -> None:
    config = cluster(tmp_path)
    facts = with_side(facts_of(config), ONE, role=Role.SECONDARY, disk=DiskState.DISKLESS, connection=ConnectionState.STAND_ALONE,
                      replication=ReplicationState.OFF, suspended=True, out_of_sync=12)
    facts = with_side(with_layer(facts, "mount opt", Layer.HUNG), OTHER, connection=ConnectionState.MISSING)
    bad = picture(config, facts)
    bad = evolve(bad, machines=(*[one for one in bad.machines if one.name != OTHER], MachineSeen(OTHER, Node.FENCED, START)))
    found = samples(bad, folder=tmp_path)
    assert of(found, "drbd_resource_suspended", node=ONE, name="r0") == 1
    assert of(found, "drbd_device_unintentionaldiskless", node=ONE, name="r0") == 1
    assert of(found, "drbd_connection_state", node=ONE, name="r0", drbd_connection_state="StandAlone") == 1
    assert of(found, "drbd_peerdevice_outofsync_bytes", node=ONE, name="r0") == 12 * 1024
    assert of(found, "orchestrate_layer_state", node=ONE, layer="mount opt", state="Hung") == 1
    assert of(found, "orchestrate_node_state", node=OTHER, state="Fenced") == 1
    assert not any(name == "drbd_connection_state" and ("node", OTHER) in labels for name, labels in found), "there is none"


def test_names_and_labels_are_drbd_reactors_where_the_meaning_is() -> None:
    ours = {name: set(labels) - {"cluster", "node"} for name, (_, labels) in GAUGES.items() if name.startswith("drbd_")}
    assert ours == REACTOR


def test_several_clusters_share_a_board_and_leave_it(tmp_path: Path) -> None:
    one = cluster(tmp_path)
    other = evolve(one, cluster=evolve(one.cluster, name="other"))
    board = Board()
    listeners = [Metrics(board, config) for config in (one, other)]
    for listener, config in zip(listeners, (one, other), strict=True):
        listener.picture(picture(config))

    async def leave() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await listeners[0].run()

    told = board.text().decode()
    assert told.count("# TYPE orchestrate_resource_state gauge") == 1, "a family is in one place"
    assert all(f'orchestrate_resource_state{{cluster="{name}"' in told for name in ("NASCluster", "other"))
    anyio.run(leave)
    assert "NASCluster" not in board.text().decode()


def test_promtool_finds_nothing_to_object_to(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not here (Debian: prometheus)")
    board = Board()
    Metrics(board, cluster(tmp_path)).picture(picture(cluster(tmp_path), **FULL))
    done = subprocess.run(("promtool", "check", "metrics"), input=board.text(), capture_output=True, timeout=60)
    objections = [line for line in (done.stdout + done.stderr).decode().splitlines() if " " in line and not line.startswith("drbd_")]
    assert objections == []
