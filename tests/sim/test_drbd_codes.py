"""Exit codes and messages of the simulated DRBD's tools: the tables of the lab (8.4.11 and 9.2.18 with drbd-utils 9.22)."""

from __future__ import annotations

from pathlib import Path

import pytest
from anyio.lowlevel import checkpoint
from attrs import evolve

import orchestrator
from fixtures.sim.drbd.disks import EXT4, LVM
from fixtures.sim.drbd.values import Meta
from states.facts import Generation
from states.identifiers import Flag
from states.vocabulary import ConnectionState, DiskState, Role
from tests.sim.drbd_stage import BOTH, Stage, run

V84, V9 = BOTH
ROOT = Path(orchestrator.__file__).parent
ACT = (ROOT / "probes/look.sh").read_text() + (ROOT / "drbd/act.sh").read_text()
KERNEL = "additional info from kernel:\n"
CONNECT = "drbdsetup-84 connect r0 ipv4:10.98.0.11:7789 ipv4:10.98.0.12:7789 --protocol=C --allow-two-primaries=yes"
TWICE = "Device '1' is configured!\nCommand 'drbdmeta 1 v08 /dev/vdb internal apply-al' terminated with exit code 20\n"
TABLE = (
    # generation, state, command on node 1, code, what it says on stderr ("" nothing; None: not looked at)
    (V84, "connected", "primary", 17, "1: State change failed: (-2) Need access to UpToDate data\n"
                                      "Command 'drbdsetup-84 primary 1' terminated with exit code 17\n"),
    (V9, "connected", "primary", 17, "r0: State change failed: (-2) Need access to UpToDate data\n"
                                     "Command 'drbdsetup primary r0' terminated with exit code 17\n"),
    (V84, "connected", "connect", 10, None),
    (V9, "connected", "connect", 10, "r0: Failure: (125) Device has a net-config (use disconnect first)\n"
                                     "Command 'drbdsetup connect r0 1' terminated with exit code 10\n"),
    (V84, "split", "disconnect", 10, f"??: Failure: (162) Invalid configuration request\n{KERNEL}unknown connection\nCommand 'drbdsetup-84 "
                                     "disconnect ipv4:10.98.0.11:7789 ipv4:10.98.0.12:7789' terminated with exit code 10\n"),
    (V9, "split", "disconnect", 0, ""),
    (V84, "split", "wait-connect", 0, ""),
    (V84, "split", "up", 1, TWICE),
    (V84, "split", "attach", 20, TWICE),
    (V9, "split", "attach", 20, TWICE.replace("v08", "v09")),
    (V9, "split", "up", 1, None),
    (V84, "split", "primary", 0, ""),
    (V84, "split", "adjust", 0, ""),
    (V84, "split", "detach", 17, "1: State change failed: (-2) Need access to UpToDate data\n"
                                 "Command 'drbdsetup-84 detach 1' terminated with exit code 17\n"),
    (V84, "split", "connect --discard-my-data", 10, None),
    (V9, "split", "connect --discard-my-data", 10, "r0: Failure: (123) --discard-my-data not allowed when primary.\n"
                                                   "Command 'drbdsetup connect r0 1 --discard-my-data' terminated with exit code 10\n"),
    (V84, "split", "dump-md", 20, "open(/dev/vdb) failed: Device or resource busy\n\nExclusive open failed. Do it anyways?\n"
     "stdin not a TTY, not waiting for confirmation\nCommand 'drbdmeta 1 v08 /dev/vdb internal dump-md' terminated with exit code 20\n"),
    (V84, "synced", "verify", 11, "1: State change failed: (-14) Need a verify algorithm to start online verify\n"
                                  "Command 'drbdsetup-84 verify 1' terminated with exit code 11\n"),
    (V84, "down", "up", 1, "No valid meta data found\n"),
    (V9, "down", "down", 0, ""),
    (V84, "down", "down", 0, ""),
    (V9, "down", "cstate", 10, "r0: No such connection\nCommand 'drbdsetup cstate r0 1' terminated with exit code 10\n"),
    (V9, "down", "secondary", 10, f"r0: Failure: (158) Unknown resource\n{KERNEL}unknown resource\n"
                                  "Command 'drbdsetup secondary r0' terminated with exit code 10\n"),
    (V9, "down", "connect", 10, f"r0: Failure: (158) Unknown resource\n{KERNEL}unknown resource\n"
                                "Command 'drbdsetup connect r0 1' terminated with exit code 10\n"),
    (V9, "synced", "create-md --force", 20, None),
)


async def reach(stage: Stage, state: str) -> None:
    """Bring the stage there."""
    if state != "down":
        await {"connected": stage.connected, "synced": stage.synced, "split": stage.split}[state]()


@pytest.mark.parametrize(("generation", "state", "command", "code", "words"), TABLE)
def test_codes_and_messages(generation: Generation, state: str, command: str, code: int, words: str | None) -> None:
    async def work() -> None:
        stage = Stage(generation)
        await reach(stage, state)
        seen = await stage.do(0, "drbdadm", *command.split(), "r0")
        assert seen.code == code, seen
        assert words is None or seen.stderr == words

    run(work)


def test_connecting_twice_names_the_whole_command() -> None:
    async def work() -> None:
        stage = Stage(V84)
        await stage.connected()
        seen = await stage.do(0, "drbdadm", "connect", "r0")
        said = f"r0: Failure: (102) Local address(port) already in use.\nCommand '{CONNECT} --after-sb-0pri=disconnect"
        assert seen.stderr.startswith(said)

    run(work)


@pytest.mark.parametrize(("generation", "who"), [(V84, "1"), (V9, "r0")])
def test_two_primaries_have_to_be_configured(generation: Generation, who: str) -> None:
    async def work() -> None:
        stage = Stage(generation, two="no")
        await stage.synced()
        for force in ("", " --force"):
            seen = await stage.do(1, *f"drbdadm primary{force} r0".split())
            assert seen.code == 11
            assert seen.stderr.startswith(f"{who}: State change failed: (-1) Multiple primaries not allowed by config\n")
            assert f"primary {who}{force}' terminated with exit code 11" in seen.stderr

    run(work)


def test_a_device_that_is_open_is_not_demoted() -> None:
    async def work() -> None:
        for generation in BOTH:
            stage = Stage(generation)
            await stage.synced()
            stage.change(lambda pair: pair.change(0, opened="bash"))
            for command in ("secondary", "down"):
                seen = await stage.do(0, "drbdadm", command, "r0")
                assert seen.code == 11
                assert "(-12) Device is held open by someone\n" in seen.stderr
            assert stage.half(0).primary
            assert ("failed to demote" if generation is V84 else "drbd1 opened by bash (pid") in seen.stderr

    run(work)


@pytest.mark.parametrize("generation", BOTH)
@pytest.mark.parametrize("read_for", [1.0, 60.0])
def test_our_own_demote_outlasts_who_only_reads_the_device(generation: Generation, read_for: float) -> None:
    """A look of another layer's lane had the device open when the lab's `down` demoted: -12, and `down` ended with 4."""
    async def work() -> None:
        stage = Stage(generation)
        await stage.synced()
        stage.change(lambda pair: pair.change(0, opened="dd"))
        start = stage.now

        async def pace(seconds: float) -> None:
            stage.now += seconds
            if stage.now > start + read_for and stage.half(0).opened:
                stage.change(lambda pair: pair.change(0, opened=""))
            await checkpoint()

        seen = await stage.machines[0].run(("sh", "-c", f"{ACT}which_generation\ndemote r0"), pace=pace)
        if read_for < 2:
            assert (seen.code, stage.half(0).primary) == (0, False), seen
        else:
            assert (seen.code, stage.half(0).primary) == (11, True), seen
            assert seen.stdout.count("(-12) Device is held open by someone\n") == 1
            assert stage.now - start < 5

    run(work)


@pytest.mark.parametrize(("holder", "mounted"), [("dm-0", False), ("mount:/opt", True)])
def test_a_disk_somebody_else_has_is_busy(holder: str, mounted: bool) -> None:
    async def work() -> None:
        stage = Stage(V84)
        await stage.must(0, "drbdadm create-md --force r0")
        stage.change(lambda pair: pair.change(0, holder=holder))
        assert stage.machines[0].files.names("/sys/class/block/vdb/holders") == ([] if mounted else [holder])
        seen = await stage.do(0, "drbdadm", "up", "r0")
        assert (seen.code, seen.stdout) == (1, "Operation canceled.\n")
        assert seen.stderr == ("open(/dev/vdb) failed: Device or resource busy\n"
                               "Command 'drbdmeta 1 v08 /dev/vdb internal apply-al' terminated with exit code 20\n")
        assert stage.half(0).configured  # it is left half done
        assert " 1: cs:Unconfigured\n" in (stage.drbd.proc(0) or "")
        assert (await stage.do(0, "drbdmeta", "-", "v08", "/dev/vdb", "internal", "get-gi")).code == 20
        assert "Exclusive open failed. Do it anyways?" in (await stage.do(0, "drbdadm", "get-gi", "r0")).stderr

    run(work)


def test_metadata_is_read_without_the_module() -> None:
    async def work() -> None:
        stage = Stage(V84)
        machine = stage.machines[0]
        seen = await stage.do(0, "drbdmeta", "-", "v08", "/dev/vdb", "internal", "get-gi")
        assert (seen.code, seen.stderr) == (1, "No valid meta data found\n")
        assert not machine.modules["drbd"].loaded
        await stage.must(0, "drbdadm create-md --force r0")
        assert machine.modules["drbd"].loaded
        machine.power_off()
        machine.power_on()
        seen = await stage.do(0, "drbdmeta", "-", "v08", "/dev/vdb", "internal", "get-gi")
        assert seen.stdout == "0000000000000004:0000000000000000:0000000000000000:0000000000000000:0:0:0:0:0:0:0\n"
        assert not machine.modules["drbd"].loaded
        assert stage.drbd.proc(0) is None

    run(work)


@pytest.mark.parametrize("token", [EXT4, LVM])
def test_metadata_is_never_made_over_a_file_system(token: int) -> None:
    async def work() -> None:
        stage = Stage(V84)
        stage.change(lambda pair: pair.put(0, evolve(pair.halves[0], cells=(token, *pair.halves[0].cells[1:]))))
        for force in ((), ("--force",)):
            seen = await stage.do(0, "drbdadm", "create-md", *force, "r0")
            assert seen.code == 40
            assert "Operation refused." in seen.stderr
        assert stage.half(0).meta is None

    run(work)


def test_files_that_drbdadm_does_not_like() -> None:
    async def work() -> None:
        stage = Stage(V84)
        files = stage.machines[0].files
        seen = await stage.do(0, "drbdadm", "up", "r1")
        assert (seen.code, seen.stderr) == (3, "'r1' not defined in your config (for this host).\n")
        good = files.read("/etc/drbd.d/r0.res")
        files.write("/etc/drbd.d/r0.res", good.replace("on linux-nas01", "on elsewhere"))
        assert (await stage.do(0, "drbdadm", "up", "r0")).code == 3
        files.write("/etc/drbd.d/r0.res", good[:-3])
        seen = await stage.do(0, "drbdadm", "up", "r0")
        assert seen.code == 10
        assert "Parse error" in seen.stderr
        files.write("/etc/drbd.d/r0.res", good.replace("protocol C", "protocol A"))
        await stage.must(0, "drbdadm create-md --force r0")
        seen = await stage.do(0, "drbdadm", "up", "r0")
        assert seen.code == 1
        assert "r0: Failure: (139) Protocol C required\n" in seen.stderr
        assert stage.half(0).disk is DiskState.INCONSISTENT
        assert stage.half(0).link is ConnectionState.MISSING

    run(work)


def test_a_crashed_primarys_log_is_applied() -> None:
    async def work() -> None:
        stage = Stage(V84)
        flags = frozenset({Flag.PRIMARY, Flag.CONSISTENT, Flag.WAS_UP_TO_DATE})
        stage.change(lambda pair: pair.change(0, meta=Meta(0x11, flags=flags, hot=0b11)))
        assert (await stage.do(0, "drbdadm", "dump-md", "r0")).stderr == 'Found meta data is "unclean", please apply-al first\n'
        seen = await stage.do(0, "drbdadm", "apply-al", "r0")
        assert (seen.code, seen.stderr) == (0, "Marked additional 8192 KB as out-of-sync based on AL.\n")
        meta = stage.half(0).meta
        assert meta is not None
        assert (meta.dirty, meta.hot) == (0b11, 0)

    run(work)


@pytest.mark.parametrize("generation", BOTH)
def test_a_tool_that_is_killed_leaves_half_of_it(generation: Generation) -> None:
    """At some moment `up` has attached and not connected; whenever it is killed, nothing more happens."""
    async def work() -> None:
        seen = set()
        for most in range(1, 40):
            stage = Stage(generation)
            await stage.must(0, "drbdadm create-md --force r0")
            machine, steps = stage.machines[0], 0

            async def pace(_: float, stage: Stage = stage, most: int = most) -> None:
                nonlocal steps
                steps += 1
                if steps == most:
                    for process in list(stage.machines[0].processes.values()):
                        process.kill()

            finished = await machine.run(("drbdadm", "up", "r0"), pace=pace)
            half = stage.half(0)
            seen.add((half.configured, half.attached, half.link is ConnectionState.CONNECTING))
            if steps < most:
                assert finished.code == 0
                break
            assert finished.code == 137
        assert seen == {(False, False, False), (True, False, False), (True, True, False), (True, True, True)}

    run(work)


def test_every_change_has_its_cause() -> None:
    async def work() -> None:
        stage = Stage(V84)
        await stage.synced()
        assert stage.changes[0] == "tool:linux-nas01:modprobe drbd"
        assert "tool:linux-nas01:drbdadm primary --force r0" in stage.changes
        assert stage.changes[-1] == "world:copy"
        assert stage.half(1).role is Role.SECONDARY
        assert not stage.machines[0].processes

    run(work)
