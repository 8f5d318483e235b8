"""Lines of followers mutated at random: never a crash, and never a healthy pair that the lines do not say.

Each example begins with a healthy pair that was looked at, and goes through lines of real kernels, some of them spoilt. What may
be shown as healthy is decided by a reader of its own (`Bystander`): the last whole word of each kind that each side was given.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import anyio
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fixtures.situations import NAMES, WANTED, node
from orchestrator.streams import EventLine
from orchestrator.supervisor.pushed import Pushed
from orchestrator.supervisor.said import DrbdSeen, read_line
from states.facts import ClusterFacts
from states.goal import Ledger
from states.pair import Pair
from states.resource import HEALTHY, classify
from states.vocabulary import Layer
from tests.unit.captures import captured

STREAMS = ("drbd-8.4.11/E01-timeline-events2-node1.txt", "drbd-8.4.11/E02-timeline-events2-node2.txt",
           "drbd-9.3.3/events2-full.node1.txt", "drbd-9.2.18/events2-full.node2.txt")
PROC = tuple(
    f"==drbd 1: cs:{state} ro:{roles} ds:{disks} C r----- oos:{dirty}"
    for state, roles, disks, dirty in (
        ("Connected", "Primary/Primary", "UpToDate/UpToDate", 0), ("WFConnection", "Primary/Unknown", "UpToDate/DUnknown", 4),
        ("StandAlone", "Secondary/Unknown", "UpToDate/DUnknown", 0), ("SyncTarget", "Secondary/Primary", "Inconsistent/UpToDate", 99),
        ("Connected", "Secondary/Secondary", "Diskless/UpToDate", 0),
    )
)
LINES = tuple(line for name in STREAMS for line in captured(name).splitlines() if line and not line.startswith("#")) + PROC
OTHERS = ("==beat 1 2 3 4 5", "==lease me 1", "==lease - 1", "==units smbd=1", "==following 1.5 boot 2", "==maintenance x",
          "[ 12.5] block drbd1: Split-Brain detected but unresolved, dropping connection!", "exists -", "==", "[", "=")

KINDS = {"resource": {"role"}, "device": {"disk"}, "connection": {"connection", "role"}, "peer-device": {"replication", "peer-disk"}}
GOOD = {"disk": ("UpToDate",), "connection": ("Connected",), "replication": ("Established", "VerifyS", "VerifyT")}
EVENT = re.compile(r"(?:\d\S*T\S*\s+)?(exists|create|change|destroy)\s+(resource|device|connection|peer-device)\s+(.*)", re.DOTALL)


class Bystander:
    """Reads the same lines in the simplest way there is."""

    def __init__(self) -> None:
        self.words = {name: {"disk": "UpToDate", "connection": "Connected", "replication": "Established"} for name in NAMES}
        self.speaking: set[str] = set()

    def hear(self, name: str, line: str) -> None:
        """One line."""
        match = EVENT.fullmatch(line.strip())
        if match is not None:
            self.speaking.add(name)
            said = dict(word.split(":", 1) for word in match[3].split() if ":" in word)
            if said.get("name") == "r0":
                self._event(self.words[name], match[1], match[2], said)
        elif line.startswith(("exists", "create", "change", "destroy", "call", "response", "rename")) or re.match(r"\d\S*T", line):
            self.speaking.add(name)  # perhaps: then /proc/drbd says less than we take from it, which is the safe side
        elif line.startswith("==drbd 1: cs:") and name not in self.speaking:
            self._proc(self.words[name], line)

    @staticmethod
    def _event(words: dict[str, str], action: str, kind: str, said: dict[str, str]) -> None:
        if action == "destroy":
            lost = {"resource": ("disk", "connection", "replication"), "connection": ("connection", "replication"), "device": ("disk",)}
            words.update(dict.fromkeys(lost.get(kind, ()), ""))
            return
        words.update({key: value for key, value in said.items() if key in KINDS[kind] and key in words})

    @staticmethod
    def _proc(words: dict[str, str], line: str) -> None:
        match = re.match(r"==drbd 1: cs:(\S+) .*\b(?:ro|st):\w+/\w+ ds:(\w+)/\w+ +\S? +[rs]", line)
        if match is not None:
            met = match[1] in ("Connected", "VerifyS", "VerifyT")
            words.update(disk=match[2], connection="Connected" if met else "", replication="Established" if met else "")

    @property
    def healthy(self) -> bool:
        """Both sides were last said to be so."""
        return all(words[key] in good for words in self.words.values() for key, good in GOOD.items())


def spoilt(dice: random.Random, line: str) -> str:
    """A line with something done to it."""
    at, char = dice.randint(0, len(line)), dice.choice("aZ0 :=/-\t\0\u00e9\n[]")
    words = line.split() or [""]
    one, other = dice.randrange(len(words)), dice.randrange(len(words))
    swapped = [words[other] if n == one else words[one] if n == other else word for n, word in enumerate(words)]
    ways: tuple[Callable[[], str], ...] = (
        lambda: line[:at], lambda: line[at:], lambda: line[:at] + char + line[at:], lambda: line[:at] + char + line[at + 1:],
        lambda: line[:at] + line[at + 1:], lambda: line + dice.choice(LINES), lambda: " ".join(swapped),
        lambda: "".join(chr(dice.randrange(1, 1200)) for _ in range(dice.randrange(40))),
        lambda: line.replace("UpToDate", dice.choice(("UpToDat", "uptodate", "UpToDate2", ""))),
        lambda: line.replace("Connected", dice.choice(("Connecte", "connected", "Connected!", ""))),
    )
    return dice.choice(ways)()


def said_lines(seed: int) -> list[tuple[str, str]]:
    """Who says what. All of an example comes from one number: drawn one by one, the choices would cost more than what is tested."""
    dice = random.Random(seed)
    found = []
    for _ in range(dice.randint(1, 12)):
        line = dice.choice(LINES if dice.randrange(10) else OTHERS)
        found.append((dice.choice(NAMES), spoilt(dice, line) if dice.randrange(2) else line))
    return found


def check(lines: list[tuple[str, str]]) -> None:
    """One example."""
    pushed = Pushed({1: "r0"})
    pushed.sight.facts = ClusterFacts(tuple(node(name) for name in NAMES))
    layers = [one.layers for one in pushed.sight.facts.nodes]
    bystander = Bystander()
    for name, line in lines:
        said = read_line(name, line)
        if isinstance(said, EventLine | DrbdSeen):
            pushed.take(said)
        bystander.hear(name, line)
        state = classify(Pair.of(pushed.sight.facts, WANTED, Ledger()))
        assert bystander.healthy or state not in HEALTHY, (state, bystander.words)
    assert [one.layers for one in pushed.sight.facts.nodes] == layers, "no layer moves by what is pushed"
    assert all(fact.state is Layer.UP for one in layers for fact in one)


def fuzz(examples: int) -> None:
    """Many of them, in one event loop."""
    run = settings(max_examples=examples, derandomize=True, deadline=None, database=None, phases=(Phase.explicit, Phase.generate))(
        given(st.integers(0, 2**64 - 1).map(said_lines))(check))

    async def main() -> None:
        run()

    anyio.run(main)


def test_no_line_makes_a_pair_look_healthy() -> None:
    fuzz(2_000)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_no_line_of_very_many_does() -> None:
    fuzz(100_000)


def test_the_bystander_sees_a_healthy_pair_in_what_real_kernels_say() -> None:
    """Else nothing above could fail."""
    bystander = Bystander()
    assert bystander.healthy
    for line in captured(STREAMS[0]).splitlines():
        bystander.hear(NAMES[0], line)
    assert bystander.healthy
    bystander.hear(NAMES[0], "change device name:r0 volume:0 minor:1 disk:Failed")
    assert not bystander.healthy
