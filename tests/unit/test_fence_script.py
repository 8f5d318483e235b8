"""orchestrate-fence itself, in /bin/sh: one shot for two who ask, the favourite's delay once, and what each caller is told.

Agents are small scripts. What takes time is held back with a pipe and let go by the test; nothing is slept for but the delay
under test.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from orchestrator.stack.files import FENCE_SCRIPT
from tests.unit.captures import captured

VICTIM, FAVOURITE = "nas02", "nas01"
RECORDS = """#!/bin/sh
cat >"$0.stdin.$$"
echo "$$" >>"$0.calls"
"""
GOOD, BAD = RECORDS + "exit 0\n", RECORDS + "echo 'Unable to connect'; python3 -c 'import warnings; warnings.warn(\"old\")'; exit 1\n"
HELD = """#!/bin/sh
cat >/dev/null
echo x >>"$0.calls"
read -r _ <"$0.gate"
"""


class Fence:
    """The script with its folders in a temporary place, and the agents it calls."""

    def __init__(self, root: Path) -> None:
        self.root, self.home, self.run = root, root / "fence", root / "run"
        self._bin = root / "bin"
        for folder in (self.home, self._bin):
            folder.mkdir()
        text = FENCE_SCRIPT
        for old, new in (("/etc/orchestrate/fence RUN=/run/orchestrate", f"{self.home} RUN={self.run}"), (">/dev/kmsg", f">>{root}/kmsg")):
            assert old in text
            text = text.replace(old, new)
        self.script = root / "orchestrate-fence"
        self.script.write_text(text)
        self._started: list[subprocess.Popen[str]] = []

    def nodes(self, *lines: str) -> None:
        (self.home / "nodes").write_text("".join(f"{line}\n" for line in lines))

    def program(self, name: str, text: str) -> Path:
        path = self._bin / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def agent(self, text: str, *, delay: str = "0", method: str = "agent", limit: str = "20") -> Path:
        """The victim's agent, and the table that names it."""
        path = self.program("fence_test", text)
        self.nodes(f"1 {FAVOURITE} agent fence_test off {limit} 5", f"2 {VICTIM} {method} fence_test off {limit} {delay}")
        (self.home / VICTIM).write_text("ip=192.0.2.1\npassword=hush\n")
        return path

    def start(self, *arguments: str, stdin: str = "", **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["/bin/sh", str(self.script), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={"PATH": f"{self._bin}:/usr/sbin:/usr/bin:/sbin:/bin", **environment}, start_new_session=True,
        )
        self._started.append(process)
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # who was given a name ends without reading, sooner or later than this
            process.stdin.write(stdin)
            process.stdin.close()
        return process

    def end(self) -> None:
        """Those that a test left behind."""
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, 9)
                process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def third(self) -> None:
        """A third node votes."""
        with (self.home / "nodes").open("a") as table:
            table.write("3 nas03 manual - off 20 0 votes\n")

    def dlm(self, node: int = 2) -> subprocess.Popen[str]:
        """As dlm_controld calls it."""
        return self.start(stdin=f"fail_time=1795428160\nnode={node}\n")

    def drbd(self) -> subprocess.Popen[str]:
        """As the kernel calls it."""
        return self.start("--drbd", DRBD_PEER=VICTIM, DRBD_RESOURCE="r0")

    def told(self) -> str:
        return (self.root / "kmsg").read_text() if (self.root / "kmsg").exists() else ""

    def calls(self) -> int:
        path = self._bin / "fence_test.calls"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def off_at(self) -> int:
        return int((self.run / f"off.{VICTIM}").read_text())


def uptime() -> int:
    """Hundredths of a second, the script's clock."""
    return int(Path("/proc/uptime").read_text().split()[0].replace(".", ""))


def until(holds: object, *arguments: object) -> None:
    """Wait for something that is seen. Fails after 20 s."""
    assert callable(holds)
    end = time.monotonic() + 20
    while not holds(*arguments):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def fence(tmp_path: Path) -> Iterator[Fence]:
    found = Fence(tmp_path)
    yield found
    found.end()


def test_dlm_is_told_that_the_node_is_off(fence: Fence) -> None:
    agent = fence.agent(GOOD)
    before = uptime()
    assert fence.dlm().wait(20) == 0
    assert before <= fence.off_at() <= uptime()
    (words,) = agent.parent.glob("fence_test.stdin.*")
    assert words.read_text() == "ip=192.0.2.1\npassword=hush\naction=off\n"
    assert f"dlm asks to fence {VICTIM}" in fence.told()
    assert f"{VICTIM} is off (fence_test off)" in fence.told()
    assert "hush" not in fence.told()


def test_drbd_is_told_7(fence: Fence) -> None:
    fence.agent(GOOD)
    assert fence.drbd().wait(20) == 7
    assert "DRBD r0 asks to fence" in fence.told()


def test_drbd_9_names_its_peers_in_another_word(fence: Fence) -> None:
    fence.agent(GOOD)
    assert fence.start("--drbd", DRBD_PEERS=f"{VICTIM} other", DRBD_RESOURCE="r0").wait(20) == 7


def test_an_agent_that_fails_is_a_failure_and_says_its_last_words(fence: Fence) -> None:
    fence.agent(BAD)
    assert fence.dlm().wait(20) == 1
    assert f"{VICTIM}: fence_test off failed: Unable to connect" in fence.told()
    assert not (fence.run / f"off.{VICTIM}").exists()
    assert fence.dlm().wait(20) == 1
    assert fence.calls() == 2, "dlm asks again, and so does the script"


def test_who_waits_since_when_and_why_is_kept_until_it_is_off(fence: Fence) -> None:
    """What `orchestrate status` shows."""
    agent = fence.agent(RECORDS + '[ -e "$0.mended" ] || { echo Unable to connect; exit 1; }\n')
    before = uptime()
    assert fence.dlm().wait(20) == fence.dlm().wait(20) == 1
    first = (fence.run / f"asked.{VICTIM}").read_text().split()
    assert before <= int(first[0]) <= uptime()
    assert first[1:] == ["dlm"]
    assert fence.told().count("dlm asks to fence") == 1
    assert (fence.run / f"failed.{VICTIM}").read_text() == "fence_test off failed: Unable to connect\n"
    drbd = fence.drbd()
    until(lambda: "DRBD r0" in (fence.run / f"asked.{VICTIM}").read_text())
    assert (fence.run / f"asked.{VICTIM}").read_text().split()[0] == first[0]
    Path(f"{agent}.mended").touch()
    assert drbd.wait(20) == 7
    assert not [path.name for path in fence.run.iterdir() if path.name.startswith(("asked", "failed"))]


def test_a_human_who_says_it_is_off_need_not_wait_for_an_agent_that_gets_no_answer(fence: Fence) -> None:
    agent = fence.agent(HELD)
    os.mkfifo(f"{agent}.gate")
    drbd = fence.drbd()
    until(lambda: fence.calls() == 1)
    assert fence.start("--ack", VICTIM).wait(20) == 0
    assert drbd.wait(20) == 7, "the agent was never let go"
    assert fence.calls() == 1


@pytest.mark.parametrize("how", ["--ack", "--node"])
def test_what_is_said_before_the_lock_manager_has_lost_the_node_counts_afterwards_too(fence: Fence, how: str) -> None:
    """Else it asks once more for what somebody has just said or done."""
    fence.agent(GOOD)
    sees(fence, "WFConnection", "up")
    said = fence.start(how, VICTIM)
    until((fence.run / f"off.{VICTIM}").exists)
    until(lambda first: uptime() > first, first := fence.off_at())  # the two stamps can be told apart
    sees(fence, "WFConnection", "fencing")
    assert said.wait(20) == 0
    assert fence.off_at() > first


def test_an_agent_that_hangs_is_ended(fence: Fence) -> None:
    fence.agent(RECORDS + "exec tail -f /dev/null\n", limit="0.2")
    assert fence.dlm().wait(20) == 1
    assert not (fence.run / f"off.{VICTIM}").exists()


def test_two_who_ask_at_once_share_one_shot(fence: Fence) -> None:
    agent = fence.agent(HELD)
    os.mkfifo(f"{agent}.gate")
    dlm = fence.dlm()
    until(lambda: fence.calls() == 1)
    drbd = fence.drbd()
    until(lambda: "DRBD r0 asks" in fence.told())
    until(lambda: waits_for_lock(fence, drbd))
    Path(f"{agent}.gate").write_text("go\n")
    assert (dlm.wait(20), drbd.wait(20)) == (0, 7)
    assert fence.calls() == 1


def joined(fence: Fence, seconds: int, state: str = "X") -> None:
    """The lock manager says when the victim became a member, in seconds since boot."""
    times = "rem 0 fail 0 fence 0 at 0 0"
    (fence.root / "members").write_text(f"cluster nodeid 1 quorate 1\nnode 1 M add 1 {times}\nnode 2 {state} add {seconds} {times}\n")
    fence.program("dlm_tool", f"#!/bin/sh\ncat {fence.root}/members\n")


def test_whom_drbd_had_shot_dlm_need_not_shoot_again(fence: Fence) -> None:
    """DRBD notices first. The node was a member until then, and nobody has joined since."""
    fence.agent(GOOD)
    joined(fence, uptime() // 100 - 60)
    assert fence.drbd().wait(20) == 7
    off = fence.off_at()
    until(lambda: uptime() > off)
    assert fence.dlm().wait(20) == 0
    assert fence.calls() == 1
    assert "has been off since it was a member" in fence.told()


@pytest.mark.parametrize("later", [0, 1, 60])
def test_who_was_shot_and_joined_again_is_shot_again(fence: Fence, later: int) -> None:
    fence.agent(GOOD)
    joined(fence, uptime() // 100 - 60)
    assert fence.drbd().wait(20) == 7
    joined(fence, fence.off_at() // 100 + later)
    assert fence.dlm().wait(20) == 0
    assert fence.calls() == 2


def waits_for_lock(fence: Fence, process: subprocess.Popen[str]) -> bool:
    """A process of its session is flock, waiting."""
    found = subprocess.run(["ps", "-o", "comm=", "-s", str(process.pid)], capture_output=True, text=True, check=False)
    return "flock" in found.stdout.split()


def test_who_asks_later_shoots_again(fence: Fence) -> None:
    """The node may have come back meanwhile: only what was seen after one was asked counts."""
    fence.agent(GOOD)
    assert fence.dlm().wait(20) == 0
    first = fence.off_at()
    until(lambda: uptime() > first)
    assert fence.dlm().wait(20) == 0
    assert fence.calls() == 2
    assert fence.off_at() > first


def test_who_is_second_shoots_himself_if_the_first_failed(fence: Fence) -> None:
    agent = fence.agent(HELD + 'exit 1\n')
    os.mkfifo(f"{agent}.gate")
    first = fence.dlm()
    until(lambda: fence.calls() == 1)
    second = fence.dlm()
    until(lambda: waits_for_lock(fence, second))
    Path(f"{agent}.gate").write_text("go\n")
    assert first.wait(20) == 1
    until(lambda: fence.calls() == 2)
    Path(f"{agent}.gate").write_text("go\n")
    assert second.wait(20) == 1


@pytest.mark.parametrize("caller", ["dlm", "drbd"])
def test_the_favourite_is_shot_later_and_the_delay_is_waited_once(fence: Fence, caller: str) -> None:
    fence.agent(GOOD, delay="0.7")
    naps = fence.root / "naps"
    fence.program("sleep", f'#!/bin/sh\necho "$1" >>{naps}\nexec /bin/sleep "$1"\n')
    before = uptime()
    process = fence.dlm() if caller == "dlm" else fence.drbd()
    assert process.wait(20) == (0 if caller == "dlm" else 7)
    assert fence.off_at() - before >= 70
    assert naps.read_text().split().count("0.7") == 1


def test_drbd_whose_agent_fails_waits_anew_once_the_switch_answers(fence: Fence) -> None:
    fence.agent(RECORDS + 'until [ -e "$0.mended" ]; do exit 1; done\nexit 0\n', delay="0.7")
    naps = fence.root / "naps"
    fence.program("sleep", f'#!/bin/sh\necho "$1" >>{naps}\n')
    drbd = fence.drbd()
    until(lambda: fence.calls() >= 2)
    (fence.root / "bin/fence_test.mended").touch()
    assert drbd.wait(20) == 7
    assert naps.read_text().split().count("0.7") == 2  # both nodes may have their switches back at one moment: the delay counts from there


def sees(fence: Fence, cstate: str, case: str) -> None:
    """What DRBD says of the connection, and what node 1's lock manager was captured saying."""
    fence.program("drbdadm", f"#!/bin/sh\necho {cstate}\n")
    words = captured(f"stack/{case}/linux-nas01-dlm_status.txt")
    (fence.root / "dlm_status").write_text(words.split("\n", 1)[1])
    fence.program("dlm_tool", f"#!/bin/sh\ncat {fence.root}/dlm_status\n")


def test_drbd_that_has_its_peer_again_shoots_nobody(fence: Fence) -> None:
    """A moment without the link, which the cluster never noticed."""
    fence.agent(GOOD)
    sees(fence, "Connected", "up")
    assert fence.drbd().wait(20) == 1
    assert fence.calls() == 0
    assert "nobody is shot" in fence.told()


@pytest.mark.parametrize(("cstate", "case"), [
    ("WFConnection", "up"), ("WFConnection", "fencing"), ("", "up"), ("Connected", "healed-unfenced"),
])
def test_a_peer_that_is_still_away_or_whose_locks_wait_is_shot(fence: Fence, cstate: str, case: str) -> None:
    """The link may be back and the locks not: then one of the two has to go, and nothing moves before."""
    fence.agent(GOOD)
    sees(fence, cstate, case)
    assert fence.drbd().wait(20) == 7
    assert fence.calls() == 1


def test_by_hand_there_is_no_delay_and_the_agents_words_are_shown(fence: Fence) -> None:
    fence.agent(BAD, delay="3600")
    process = fence.start("--node", VICTIM)
    assert process.wait(20) == 1
    assert process.stdout is not None
    assert "Unable to connect" in process.stdout.read()
    fence.agent(GOOD, delay="3600")
    assert fence.start("--node", VICTIM).wait(20) == 0


def test_a_human_who_has_to_do_it_is_waited_for(fence: Fence) -> None:
    """dlm is told no (dlm_tool fence_ack tells it itself); DRBD's handler waits until the human has said so."""
    fence.agent(GOOD, method="manual", delay="3600")
    assert fence.dlm().wait(20) == 1
    assert fence.start("--node", VICTIM).wait(20) == 1
    fence.program("sleep", f"#!/bin/sh\necho x >>{fence.root}/naps\nexec /bin/sleep 0.02\n")
    before = uptime()
    fence.run.mkdir(exist_ok=True)
    (fence.run / f"off.{VICTIM}").write_text(f"{before - 100}\n")  # of an earlier time
    drbd = fence.drbd()
    until(lambda: (fence.root / "naps").exists() and len((fence.root / "naps").read_text()) > 4)
    assert drbd.poll() is None
    (fence.run / "new").write_text(f"{uptime() + 1}\n")
    (fence.run / "new").replace(fence.run / f"off.{VICTIM}")
    assert drbd.wait(20) == 7
    assert fence.calls() == 0


def test_a_human_s_word_is_kept_and_lets_the_lock_manager_go_on(fence: Fence) -> None:
    fence.agent(BAD, method="manual")
    fence.program("dlm_tool", f'#!/bin/sh\necho "$*" >>{fence.root}/dlm\n[ "$1" = status ] && echo "node 2 X add 1"\nexit 0\n')
    before = uptime()
    assert fence.start("--ack", VICTIM).wait(20) == 0
    assert fence.off_at() >= before
    assert (fence.root / "dlm").read_text() == "status\nstatus\nfence_ack 2\n"
    assert fence.calls() == 0


@pytest.mark.parametrize(("says", "code"), [
    ("echo 'Status: ON'; exit 0", 0), ("echo 'Status: OFF'; exit 2", 0), ("echo 'Connection timed out'; exit 1", 1), ("exit 2", 1),
])
def test_whether_the_agent_reaches_the_power_switch(fence: Fence, says: str, code: int) -> None:
    """fence_ipmilan exits 2 where the node is off. Nothing is remembered of it."""
    agent = fence.agent(RECORDS + says + "\n", delay="3600")
    assert fence.start("--status", VICTIM).wait(20) == code
    (words,) = agent.parent.glob("fence_test.stdin.*")
    assert words.read_text().endswith("action=status\n")
    assert not (fence.run / f"off.{VICTIM}").exists()


def test_the_lock_manager_is_told_only_what_it_waits_for(fence: Fence) -> None:
    fence.agent(GOOD)
    fence.program("dlm_tool", f'#!/bin/sh\necho "$*" >>{fence.root}/dlm\n[ "$1" = status ] && echo "node 1 M add 1"\n')
    assert fence.start("--node", VICTIM).wait(20) == 0
    assert set((fence.root / "dlm").read_text().split("\n")) == {"status", ""}


@pytest.mark.parametrize("arguments", [("--node", "nobody"), ("--ack", "nobody"), ()])
def test_a_node_that_is_not_in_the_table_is_nobody(fence: Fence, arguments: tuple[str, ...]) -> None:
    fence.agent(GOOD)
    process = fence.start(*arguments, stdin="" if arguments else "node=9\n")  # it does not read what it does not need
    assert process.wait(20) == 1
    assert process.stdout is not None
    assert re.search(r"no node (nobody|9) in ", process.stdout.read())
    assert fence.calls() == 0
