"""A simulated machine: its processes, locks, power, and the project's own scripts on it, killed and cut at every point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

import orchestrator
from fixtures.sim.machine import Call, Finished, Machine, MachineOff, Module, Pace, Process

ROOT = Path(orchestrator.__file__).parent
SCRIPT = (ROOT / "probes/look.sh").read_text() + (ROOT / "drbd/act.sh").read_text() + "which_generation\n"


@pytest.fixture
def machine() -> Machine:
    return Machine("nas01")


def run(machine: Machine, *argv: str) -> Finished:
    """Run one command to its end."""
    async def once() -> Finished:
        return await machine.run(argv)

    return anyio.run(once, backend="trio")


# -- processes, locks, time --------------------------------------------------------------------------------------------

def test_locks(machine: Machine) -> None:
    async def scene() -> list[str]:
        said: list[str] = []
        clock = 0.0

        async def pace(amount: float) -> None:
            nonlocal clock
            clock += amount
            await anyio.lowlevel.checkpoint()

        machine.clock = lambda: clock
        machine.files.write("/lock", "")
        first, second = machine.begin(pace), machine.begin(pace)

        async def take(process: Process, *options: str) -> int:
            return await machine.execute(Call(process, ["flock", *options, "8"], "", said.append, said.append, {8: "/lock"}))

        assert await take(first) == 0
        assert await take(second, "-n") == 1
        assert await take(second, "-w", "0.5") == 1
        assert clock >= 0.5
        async with anyio.create_task_group() as group:
            group.start_soon(take, second)
            await anyio.lowlevel.checkpoint()
            assert machine.locks == {"/lock": first.pid}
            first.kill()
        assert machine.locks == {"/lock": second.pid}
        assert await take(second, "-u") == 0
        assert machine.locks == {}
        return said

    assert anyio.run(scene, backend="trio") == []


def test_a_waiting_flock_needs_a_clock(machine: Machine) -> None:
    machine.files.write("/lock", "")
    first, second = machine.begin(), machine.begin()
    assert first.lock("/lock")

    async def wait() -> int:
        return await machine.execute(Call(second, ["flock", "8"], "", print, print, {8: "/lock"}))

    with pytest.raises(RuntimeError, match="stands still"):
        anyio.run(wait, backend="trio")


def test_a_killed_command_says_137(machine: Machine) -> None:
    async def pace(amount: float) -> None:
        machine.processes[max(machine.processes)].kill()

    async def once() -> Finished:
        return await machine.run(("mkdir", "/etc/new"), pace=pace)

    assert anyio.run(once, backend="trio").code == 137
    assert not machine.files.exists("/etc/new")
    assert machine.processes == {}


def test_power(machine: Machine) -> None:
    clock = 100.0
    machine.clock = lambda: clock
    boot = machine.files.read("/proc/sys/kernel/random/boot_id")
    process = machine.begin()
    assert machine.files.read(f"/proc/{process.pid}/stat").split()[21] == str(process.started) == "10000"
    machine.log("hello")
    machine.modules["drbd"] = Module("8.4.11", loaded=True)
    machine.files.write("/etc/unsynced", "")
    hooks: list[str] = []
    machine.on_halt.append(lambda: hooks.append("halt"))
    machine.on_boot.append(lambda: hooks.append(machine.boot_id))
    machine.power_off()
    assert process.over
    clock = 200.5
    machine.power_on()
    clock = 201.999
    assert hooks == ["halt", machine.boot_id]
    assert machine.files.read("/proc/sys/kernel/random/boot_id") not in (boot, "")
    assert machine.files.read("/proc/uptime").split()[0] == "1.49"
    assert machine.files.names("/etc/systemd/system") == ["multi-user.target.wants"]
    assert not machine.files.exists("/etc/unsynced")
    assert machine.files.is_dir("/run/systemd/system")
    assert not machine.modules["drbd"].loaded
    assert not machine.kernel_log
    assert machine.begin().pid == process.pid


def test_a_machine_without_power_runs_nothing(machine: Machine) -> None:
    machine.power_off()
    with pytest.raises(MachineOff):
        run(machine, "true")


def test_nothing_happens_after_a_tool_that_brings_the_machine_down(machine: Machine) -> None:
    def panic(call: Call) -> int:
        call.machine.power_off()
        return 0

    machine.install("panic", panic)
    machine.files.makedirs("/gone")
    assert run(machine, "sh", "-c", "exec 8>/gone/lock && flock 8 && panic; printf x >/etc/after", "sh").code == 137
    assert not machine.files.exists("/etc/after")
    assert not machine.files.exists("/gone")
    assert machine.locks == {}


# -- the project's scripts ---------------------------------------------------------------------------------------------

def script(machine: Machine, tail: str) -> Finished:
    """The far-side scripts, and what they are to do."""
    return run(machine, "sh", "-c", SCRIPT + tail, "sh")


def test_a_shell_and_its_arguments(machine: Machine) -> None:
    assert run(machine, "sh", "-c", 'printf "%s|" "$@"; sh -c "exit 3"', "sh", "a", "b c") == Finished(3, "a|b c|", "")


def test_the_look(machine: Machine) -> None:
    machine.clock = lambda: 12.349
    machine.modules["drbd"] = Module("9.2.18")
    said = script(machine, "look")
    assert said.stderr == ""
    assert said.code == 0
    assert said.stdout.split() == [
        "==node", "uptime", "12.34", "boot_id", machine.boot_id, "hostname", "nas01", "==proc-drbd", "absent", "9.2.18", "==boot",
        "==firewall", "==claims", "==recovery", "==lease", "==maintenance", "==end", "12.34",
    ]
    assert machine.unknown == []


def stop_at(machine: Machine, step: int, stop: Callable[[Process], None]) -> Pace:
    """A pace that calls `stop` at the step counted from 1."""
    count = 0

    async def pace(seconds: float) -> None:
        nonlocal count
        count += 1
        if count == step:
            stop(next(iter(machine.processes.values())))

    return pace


DESTRUCTIVE = 'lease_take me 600 -; act key me "$epoch" once op1 step r0 effect'
POWER_CUT_BEFORE = {"sh": [2], "modinfo": [2], "flock": [2], "mv": [2], "flock -n": [2], "mkdir": [2], "sync": [2],
                    "effect": [], "sync outcome": [1]}
"""In which boots the effect happened, when the step is sent again after the cut: once, or not at all when nobody can know."""


def effects_after(machine: Machine, step: int, stop: Callable[[Process], None]) -> list[int]:
    """The destructive step, stopped at a command, then sent twice more on a machine that is on. In which boots it had its effect."""
    machine.files.makedirs("/var/lib/orchestrate/claims")
    machine.files.sync_all()
    effects: list[int] = []

    def effect(call: Call) -> int:
        effects.append(machine.boots)
        return 0

    machine.install("effect", effect)

    async def once() -> Finished:
        return await machine.run(("sh", "-c", SCRIPT + DESTRUCTIVE), pace=stop_at(machine, step, stop))

    assert anyio.run(once, backend="trio").code == 137
    assert machine.locks == {}
    assert machine.processes == {}
    machine.power_on()
    assert script(machine, DESTRUCTIVE).code in (0, 75)
    assert script(machine, DESTRUCTIVE).code == 75
    assert machine.unknown == []
    return effects


@pytest.mark.parametrize(("step", "boots"), list(enumerate(POWER_CUT_BEFORE.values(), 1)), ids=POWER_CUT_BEFORE)
def test_at_most_once_whatever_the_power_does(machine: Machine, step: int, boots: list[int]) -> None:
    assert effects_after(machine, step, lambda process: machine.power_off()) == boots


@pytest.mark.parametrize("step", range(1, len(POWER_CUT_BEFORE) + 1))
def test_at_most_once_whatever_is_killed(machine: Machine, step: int) -> None:
    """Without a power cut the claim is seen as soon as it is made: what was killed after `mkdir` is never run again."""
    claimed = list(POWER_CUT_BEFORE)[step - 1] in ("sync", "effect")
    assert effects_after(machine, step, Process.kill) == ([] if claimed else [1])
