"""What a follower's lines mean, and what /proc/drbd says where nothing else does."""

from __future__ import annotations

import pytest

from fixtures.situations import HEALTHY
from orchestrator.probes.events2 import apply
from orchestrator.probes.kernel_events import Announced, read_log_line
from orchestrator.probes.proc_events import counter_event, state_events
from orchestrator.supervisor.said import Beat, DrbdSeen, Following, Leased, Logged, Marked, Said, Stirred, WatchedBy, read_line
from states.evolve import evolve
from states.facts import Side
from states.vocabulary import ConnectionState, DiskState, ReplicationState, Role


@pytest.mark.parametrize(("line", "said"), [
    ("==following 5123.07 3b1c-44 4", Following("n", 5123.07, "3b1c-44", 4)),
    ("==following 5123.07 3b1c-44 0", Following("n", 5123.07, "3b1c-44", 1)),
    ("==beat 5123.07 0.10 0.20 0.30 7", Beat("n", 5123.07, (0.1, 0.2, 0.3), 7)),
    ("==beat 5123.07 0.10 0.20 0.30 -", Beat("n", 5123.07, (0.1, 0.2, 0.3), None)),
    ("==lease me:1:2 7", Leased("n", "me:1:2", 7)),
    ("==lease - 7", Leased("n", "", 7)),
    ("==maintenance ", Marked("n", "")),
    ("==maintenance since noon", Marked("n", "since noon")),
    ("==drbd absent", DrbdSeen("n", None, "absent")),
    ("==drbd version 8.4.11 1 2", DrbdSeen("n", None, "version 8.4.11 1 2")),
    ("==drbd 1: cs:Connected oos:0", DrbdSeen("n", 1, "1: cs:Connected oos:0")),
    ("==units  smbd=12 corosync=-", Stirred("n", "units", "smbd=12 corosync=-")),
    ("==watching-held other:1:2", WatchedBy("n", "other:1:2")),
    ("==something new", Stirred("n", "unreadable", "==something new")),
    ("sh: 3: not found", Stirred("n", "unreadable", "sh: 3: not found")),
    ("2026-11-23T02:01:19.145407+00:00 exists -", None),
    ("", None),
    ("[   12.300000] eth0: link becomes ready", None),
])
def test_a_line(line: str, said: Said | None) -> None:
    assert read_line("n", line) == said


@pytest.mark.parametrize(("line", "kind"), [
    ("[ 1515.390000] block drbd1: Split-Brain detected but unresolved, dropping connection!", Announced.SPLIT_BRAIN),
    ("[ 1515.39] gfs2: fsid=NASCluster:opt.0: about to withdraw this file system", Announced.WITHDRAW),
    ("[ 1515.39] INFO: task smbd:812 blocked for more than 120 seconds.", Announced.HUNG_TASK),
    ("[ 1515.39] blk_update_request: I/O error, dev vdb, sector 2048 op 0x1:(WRITE) flags 0x800", Announced.IO_ERROR),
    ("[ 1515.39] block drbd1: Local IO failed in drbd_endio_write_sec_final. Detaching...", Announced.IO_ERROR),
    ("[ 1515.39] dlm: dlm user daemon left 3 lockspaces", Announced.LOCKS),
    ("[  612.014105] linux-nas02 dlm_controld[1721]: 611 fence request 1 pid 1954 nodedown time 1795428161 ipmi1", Announced.LOCKS),
    ("[  438.023007] linux-nas02 corosync[941]:   [KNET  ] host: host: 1 has no active links", Announced.MEMBERSHIP),
    ("[  878.617934] linux-nas01 corosync[1879]:   [QUORUM] Sync members[1]: 1", Announced.MEMBERSHIP),
    ("[  900.1] linux-nas01 systemd[1]: smbd.service: Main process exited, code=killed, status=9/KILL", Announced.UNIT),
    ("[  900.1] linux-nas01 systemd[1]: Stopped Samba SMB Daemon.", Announced.UNIT),
])
def test_a_log_line(line: str, kind: Announced) -> None:
    trouble = read_log_line(line)
    assert trouble is not None
    assert trouble.kind is kind
    assert read_line("n", line) == Logged("n", trouble)


def test_configuring_a_link_is_no_news() -> None:
    assert read_log_line("[   16.912275] linux-nas01 corosync[750]:   [TOTEM ] Configuring link 0") is None


def folded(text: str, side: Side) -> Side:
    for event in state_events("r0", 1, text):
        side = apply(event, side)
    return side


def test_where_there_is_no_events2_proc_drbd_says_it_all() -> None:
    lost = folded("1: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C r----- oos:40", HEALTHY)
    assert (lost.connection, lost.replication) == (ConnectionState.CONNECTING, ReplicationState.OFF)
    assert (lost.role, lost.peer_role, lost.disk, lost.peer_disk) == (Role.PRIMARY, Role.UNKNOWN, DiskState.UP_TO_DATE, DiskState.UNKNOWN)
    assert (lost.out_of_sync, lost.identifiers) == (40, None)
    copying = folded("1: cs:SyncSource ro:Primary/Secondary ds:UpToDate/Inconsistent C r----- oos:20", lost)
    assert (copying.connected, copying.replication, copying.peer_disk) == (True, ReplicationState.SYNC_SOURCE, DiskState.INCONSISTENT)
    alone = folded("1: cs:StandAlone ro:Primary/Unknown ds:UpToDate/DUnknown   r----- oos:40", copying)
    assert alone.connection is ConnectionState.MISSING
    frozen = folded("1: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C s----- oos:40", HEALTHY)
    assert frozen.suspended
    assert folded("1: cs:Connected ro:Primary/Primary ds:UpToDate/UpToDate C r----- oos:0", HEALTHY) == HEALTHY


@pytest.mark.parametrize("text", ["1: cs:Connected", "1: nonsense", "", "1: cs:Connected ro:Primary ds:UpToDate oos:0"])
def test_half_a_line_of_proc_drbd_says_nothing(text: str) -> None:
    assert state_events("r0", 1, text) == ()


def test_with_events2_it_only_counts() -> None:
    event = counter_event("r0", "1: cs:StandAlone ro:Primary/Unknown ds:Diskless/DUnknown C r----- oos:12")
    assert event is not None
    assert apply(event, HEALTHY) == evolve(HEALTHY, out_of_sync=12)
    assert counter_event("r0", "1: cs:Connected ro:Primary/Primary") is None
