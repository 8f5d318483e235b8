"""What the simulated DRBD prints, against captures of real kernels; exit codes and messages against the tables of the lab."""

from __future__ import annotations

import re

import anyio
import pytest
from attrs import evolve

from fixtures.sim.drbd import kernel, text, text_show
from fixtures.sim.drbd.text import Names
from fixtures.sim.drbd.values import Half, Meta
from orchestrator.probes.events2 import parse_line
from orchestrator.probes.handshake_log import Outcome, handshakes
from orchestrator.probes.kernel_log import trouble
from orchestrator.probes.sections import Sections
from states.facts import Generation
from states.identifiers import Identifiers
from states.vocabulary import ConnectionState, DiskState, ReplicationState, Role
from tests.sim.drbd_stage import BOTH, Stage, run
from tests.unit.captures import captured

V84, V9 = BOTH
C, D, R = ConnectionState, DiskState, ReplicationState
LOST = Sections.cut(captured("drbd-8.4.11/look-peer-lost.txt"))
OPTIONS = (("c-plan-ahead", "0"), ("resync-rate", "400M"), ("c-max-rate", "700M"), ("c-min-rate", "10M"), ("c-fill-target", "1M"))
NAMES = Names(
    "r0", 1, V84, "linux-nas01", 1, "/dev/ubdb", 65536, 524288, "10.98.0.12:7789", "10.98.0.11:7789",
    (("max-buffers", "8000"), ("ping-timeout", "5")), OPTIONS,
)
ALONE = Half(
    (0,) * 8, Meta(), loaded=True, configured=True, role=Role.PRIMARY, disk=D.UP_TO_DATE, link=C.CONNECTING,
    settings=(("allow-two-primaries", "yes"),),
)


def section(name: str) -> str:
    """A section of the captured look."""
    found = LOST.get(name)
    assert found is not None
    return found


# -- literal texts -----------------------------------------------------------------------------------------------------

def proc(half: Half) -> str:
    """/proc/drbd with the counters of traffic taken out."""
    return without_traffic(text.proc_drbd(V84, [(1, text.proc_lines(half, NAMES))]))


def without_traffic(lines: str) -> str:
    return re.sub(r"\b(ns|nr|dw|dr):\d+", r"\1:0", lines)


def test_proc_drbd_as_captured() -> None:
    assert proc(ALONE) == without_traffic(section("proc-drbd")) + "\n"


@pytest.mark.parametrize(("half", "line"), [
    (evolve(ALONE, link=C.STAND_ALONE), " 1: cs:StandAlone ro:Primary/Unknown ds:UpToDate/DUnknown   r-----"),
    (evolve(ALONE, link=C.MISSING), " 1: cs:StandAlone ro:Primary/Unknown ds:UpToDate/DUnknown   r-----"),
    (evolve(ALONE, role=Role.SECONDARY, dirty=255), " 1: cs:WFConnection ro:Secondary/Unknown ds:UpToDate/DUnknown C r----s"),
    (evolve(ALONE, role=Role.SECONDARY, disk=D.DISKLESS, link=C.MISSING), " 1: cs:Unconfigured"),
    (evolve(ALONE, role=Role.SECONDARY, disk=D.DISKLESS, link=C.CONNECTED, replication=R.ESTABLISHED, peer_role=Role.PRIMARY,
            peer_disk=D.UP_TO_DATE), " 1: cs:Connected ro:Secondary/Primary ds:Diskless/UpToDate C r-----"),
    (evolve(ALONE, role=Role.SECONDARY, link=C.CONNECTED, replication=R.SYNC_SOURCE, peer_role=Role.SECONDARY,
            peer_disk=D.INCONSISTENT), " 1: cs:SyncSource ro:Secondary/Secondary ds:UpToDate/Inconsistent C r-----"),
])
def test_proc_lines_as_captured(half: Half, line: str) -> None:
    assert text.proc_lines(half, NAMES).splitlines()[0] == line


def test_everything_dirty_is_the_usable_size_as_captured() -> None:
    assert "oos:524236\n" in text.proc_lines(evolve(ALONE, dirty=255), NAMES)
    assert section("size r0") == str(text.sectors(ALONE, NAMES)) == "1048472"
    assert [text.usable(kib) for kib in (262144, 204800)] == [262100, 204756]


def test_progress_has_the_kernels_form() -> None:
    half = evolve(ALONE, link=C.CONNECTED, replication=R.SYNC_TARGET, disk=D.INCONSISTENT, dirty=0b11100000)
    progress = text.proc_lines(half, NAMES, total_kib=524236, seconds=3).splitlines()[2:]
    assert progress == [
        "\t[===========>........] sync'ed: 63.3% (196556/524236)K",
        "\tfinish: 0:00:01 speed: 109,226 (109,226) want: 409,600 K/sec",
    ]


def test_show_as_captured() -> None:
    assert text_show.show(ALONE, NAMES) == section("show r0") + "\n"
    assert "net {" not in text_show.show(evolve(ALONE, link=C.STAND_ALONE), NAMES)


@pytest.mark.parametrize(("generation", "line"), [
    (V84, "CC89554B1A75A985:5737BB8D272FC9A9:856982CE98BDC64A:0000000000000004:1:1:1:0:0:0:0"),
    (V9, "66345FDCFDC77C51:BBAD8DD2ED1ED238:0000000000000000:0000000000000000:1:1:1:1:0:0:0:0:0:0:0:1"),
    (V9, "0000000000000004:0000000000000000:0000000000000000:0000000000000000:0:0:0:0:1:0:0:0:0:0:0:0"),
])
def test_get_gi_as_captured(generation: Generation, line: str) -> None:
    ids = Identifiers.parse(line)
    meta = Meta(ids.current, ids.bitmap, ids.history[0], ids.history[1], ids.flags)
    assert text.get_gi(meta, generation) == line + "\n"


@pytest.mark.parametrize("old", [True, False])
def test_a_dump_without_statistics_as_captured(old: bool) -> None:
    captures = {
        True: captured("drbd-8.4.11/wrong_unrelated.txt").partition("\n\n")[2].partition("# rc")[0],
        False: captured("drbd-9.2.18/22e-events2-now.txt").partition("\n")[2].partition("\n\n")[0] + "\n",
    }

    async def work() -> None:
        stage = Stage(V84 if old else V9)
        await stage.split()
        if old:
            await stage.must(0, "drbdadm secondary r0")
        seen = await stage.do(0, "drbdsetup", "events2", "--now", "r0")
        assert seen.stdout == captures[old].replace("/dev/ubdb", "/dev/vdb")

    run(work)


# -- streams and logs through a split brain ----------------------------------------------------------------------------

WORTH = {"connection", "role", "replication", "peer-disk", "disk", "helper", "established", "status"}


def shape(lines: list[str]) -> list[str]:
    """Events without their counters; a line that is nothing but counters is left out."""
    found = []
    for event in map(parse_line, lines):
        if event is not None and event.action != "exists":
            words = " ".join(f"{key}:{value}" for key, value in event.words if key in WORTH)
            if words or event.action == "destroy":
                found.append(f"{event.action} {event.kind} {words}")
    return found


async def through_a_split(stage: Stage, index: int) -> tuple[list[str], list[str]]:
    """What the stream and the kernel log of one node say from the cut of the link to the recovered pair; node 1 is the victim."""
    lines: list[str] = []
    async with anyio.create_task_group() as group:
        async def read() -> None:
            async for line in stage.drbd.follow(index):
                lines.append(line)

        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        log = stage.machines[index].kernel_log
        log.clear()
        stage.wires(works=False)
        stage.world()
        for at in (0, 1):
            stage.change(lambda pair, at=at: kernel.write(pair, at, at, 7 + at)[0])  # type: ignore[misc]
        stage.wires(works=True)
        stage.world()
        await stage.must(1, "drbdadm secondary r0")
        await stage.must(1, "drbdadm connect --discard-my-data r0")
        await stage.must(0, "drbdadm connect r0")
        stage.world()
        await stage.must(1, "drbdadm primary r0")
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    return shape(lines), [line.partition("] ")[2] for line in log]


def test_up_and_down_are_told_as_captured() -> None:
    """9.2.18, one node alone: the first lines of the captured session, literally but for times; then the end of `down` (capture 70)."""
    lines = captured("drbd-9.2.18/events2-full.node1.txt").splitlines()
    began = next(at for at, line in enumerate(lines) if " create resource " in line)
    wanted = [line.partition(" ")[2] for line in lines[began:began + 9]]

    async def work() -> None:
        stage = Stage(V9)
        await stage.must(0, "drbdadm create-md --force r0")
        told: list[str] = []
        async with anyio.create_task_group() as group:
            async def read() -> None:
                async for line in stage.drbd.follow(0):
                    told.append(line.partition(" ")[2])

            group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            await stage.must(0, "drbdadm up r0")
            await anyio.wait_all_tasks_blocked()
            assert shape(told) == shape(wanted)
            assert told[1] == wanted[0]
            assert told[3:6] == wanted[2:5]
            told.clear()
            await stage.must(0, "drbdadm down r0")
            await anyio.wait_all_tasks_blocked()
            assert [" ".join(line.split()[:2]) for line in told[-4:]] == [
                "destroy path", "destroy connection", "destroy device", "destroy resource"]
            group.cancel_scope.cancel()

    run(work)


STATES = re.compile(r"(role|peer|conn|disk|pdsk)\( ")


@pytest.mark.parametrize("index", [0, 1])
def test_the_recovery_of_a_split_brain_reads_as_captured(index: int) -> None:
    """8.4: every event but for counters, and every state change in the log, literally. Node 2 saw its peer go before it had decided."""
    run_of = "E01", "E02"
    stream = shape(captured(f"drbd-8.4.11/{run_of[index]}-timeline-events2-node{index + 1}.txt").splitlines())
    log = [line.partition("] ")[2] for line in captured(f"drbd-8.4.11/{run_of[index]}-timeline-dmesg-node{index + 1}.txt").splitlines()]

    async def work() -> None:
        stage = Stage(V84)
        await stage.synced()
        await stage.must(1, "drbdadm primary r0")
        events, logged = await through_a_split(stage, index)
        first = stream.index("change connection connection:NetworkFailure role:Unknown")
        told = stream[first:]
        states = [line for line in log if STATES.search(line)]
        began = next(at for at, line in enumerate(states) if "Connected -> NetworkFailure" in line)
        if index == 1:  # there the peer was quicker, and the handler was still running
            told.remove("change connection connection:NetworkFailure")
            states = [line for line in states if "WFReportParams -> NetworkFailure" not in line]
            states = [line.replace("NetworkFailure -> Disconnecting", "WFReportParams -> Disconnecting") for line in states]
        assert events == told
        assert [line.strip() for line in logged if STATES.search(line)] == [line.strip() for line in states[began:]]

    run(work)


@pytest.mark.parametrize("generation", BOTH)
def test_the_real_log_readers_read_the_log(generation: Generation) -> None:
    async def work() -> None:
        stage = Stage(generation)
        await stage.split()
        log = "\n".join(stage.machines[0].kernel_log)
        found = trouble(log)
        assert found is not None
        assert found.text == "Split-Brain detected but unresolved, dropping connection!"
        met = handshakes(log.encode())
        assert [seen.outcomes for seen in met if seen.outcomes] == [(Outcome.UNRESOLVED,)]
        assert met[-1].generation == generation.value
        await stage.must(1, "drbdadm secondary r0")
        for at, flag in ((1, " --discard-my-data"), (0, "")):
            await stage.must(at, f"drbdadm connect{flag} r0")
        stage.world()
        log = "\n".join(stage.machines[0].kernel_log)
        assert trouble(log) is None
        assert handshakes(log.encode())[-1].becomes == "source"
        assert handshakes("\n".join(stage.machines[1].kernel_log).encode())[-1].becomes == "target"

    run(work)
