"""Pairs put together from what real kernels printed: both sides' /proc or status, identifiers and kernel log."""

from __future__ import annotations

import re

from attrs import evolve

from fixtures.situations import NAMES, SAME, WANTED, node
from orchestrator.probes.events2 import read_dump
from orchestrator.probes.handshake_log import handshakes
from orchestrator.probes.kernel_log import trouble
from orchestrator.probes.link_log import link_log
from orchestrator.probes.proc_drbd import read_proc
from states.facts import ClusterFacts, Generation, NodeFacts, Settings, Side
from states.goal import Ledger
from states.identifiers import Identifiers
from states.pair import Pair
from states.vocabulary import ConnectionState, DiskState, Metadata, ReplicationState, Role
from tests.unit.captures import captured

GOOD = ":1:1:0:0:0:0:0"


def together(sides: tuple[Side, Side], generation: Generation = Generation.V84, filed: Settings = ()) -> tuple[Pair, ClusterFacts]:
    """Both sides on two reachable nodes, ten seconds after the last of their log lines; their resource files say `filed`."""
    found: list[NodeFacts] = []
    for name, side in zip(NAMES, sides, strict=True):
        times = [at for at in (side.trouble and side.trouble.uptime, side.link and side.link.handshake_at) if at]
        about = evolve(node(name), uptime=max(times, default=0.0) + 10.0, generation=generation,
                       version="8.4.11" if generation is Generation.V84 else "9.2.18")
        found.append(about.with_side("r0", evolve(side, node=name, filed=filed, metadata=Metadata.VALID, size=524236)))
    facts = ClusterFacts(tuple(found))
    return Pair.of(facts, WANTED, Ledger()), facts


def logged(side: Side, log: str) -> Side:
    """With what its kernel said, as a look reads it."""
    return evolve(side, trouble=trouble(log), link=link_log(log))


def from_proc(text: str) -> Side:
    """A side of 8.4 whose capture has its line of /proc/drbd and its kernel log; identifiers from there, if it has any."""
    seen = [one.mine for one in handshakes(text.encode()) if one.mine is not None]
    side = logged(read_proc(text, 1, Side("")), text)
    if not seen:
        return evolve(side, identifiers=SAME)
    last = seen[-1]
    numbers = ":".join(f"{each:016X}" for each in (last.current, last.bitmap, *last.history))
    return evolve(side, identifiers=Identifiers.parse(numbers + GOOD))


def mismatch(one: str, other: str) -> tuple[Pair, ClusterFacts]:
    """Two captures `wrong_*` of 8.4, one of each node."""
    return together((from_proc(captured(f"drbd-8.4.11/{one}.txt")), from_proc(captured(f"drbd-8.4.11/{other}.txt"))))


LINE = re.compile(r"^node([12]): gi=(\S+) \|\s+(1: cs:.*)$", re.MULTILINE)


def split84(name: str, part: str = "", filed: Settings = ()) -> tuple[Pair, ClusterFacts]:
    """From a capture of a split brain on 8.4: the last lines of `nodeN: gi=... | 1: cs:...` in this part, and its kernel logs."""
    text = captured(f"drbd-8.4.11/{name}.txt")
    text = text[text.index(part):]
    text = re.split(r"\n#", text)[0]
    sides = {}
    for number, identifiers, proc in LINE.findall(text):
        log = re.search(rf"\[node{number} dmesg\]\n(.*?)(?=^  \[node|^###|\Z)", text, re.MULTILINE | re.DOTALL)
        as_printed = proc.replace(" ns:", "\n ns:").replace("DUnknown r", "DUnknown   r")  # the capture squeezed it into one line
        side = logged(read_proc(as_printed, 1, Side("")), log[1] if log else "")
        sides[number] = evolve(side, identifiers=Identifiers.parse(identifiers))
    return together((sides["1"], sides["2"]), filed=filed)


def split9() -> tuple[Pair, ClusterFacts]:
    """A split brain on 9.2.18, both Primary, both StandAlone."""
    sides = []
    for number in ("1", "2"):
        status = captured(f"drbd-9.2.18/22-split-brain-status.node{number}.txt")
        dirty = re.search(r"^ +received:.* out-of-sync:(\d+)", status, re.MULTILINE)
        assert dirty is not None
        line = re.search(r"^[0-9A-F]{16}:\S+$", captured(f"drbd-9.2.18/22b-split-brain-gi.node{number}.txt"), re.MULTILINE)
        assert line is not None
        dump = captured("drbd-9.2.18/22e-events2-now.txt").partition("\n\n")[2]
        side = read_dump(dump, Side(""), "r0")
        side = evolve(side, out_of_sync=int(dirty[1]), identifiers=Identifiers.parse(line[0]))
        sides.append(logged(side, captured(f"drbd-9.2.18/22c-split-brain-dmesg.node{number}.txt")))
    return together((sides[0], sides[1]), Generation.V9)


def transcript9(name: str, marker: str) -> tuple[Pair, ClusterFacts]:
    """From a transcript on 9.2.18: status, identifiers and kernel log of both nodes after this line."""
    text = captured(f"drbd-9.2.18/{name}.txt")
    part = text[text.index(marker) + len(marker):].partition("\n###")[0]
    _, one, other = re.split(r"^-- node[12]\n", part, flags=re.MULTILINE)[:3]
    return together((_status9(one), _status9(other)), Generation.V9)


def _status9(text: str) -> Side:
    role, disk = re.search(r"^r0 role:(\w+)", text, re.MULTILINE), re.search(r"^  disk:(\w+)", text, re.MULTILINE)
    line = re.search(r"^[0-9A-F]{16}:\S+$", text, re.MULTILINE)
    link = re.search(r"connection:(\w+)", text)
    assert role is not None
    assert disk is not None
    assert line is not None
    connected = link is None  # `drbdadm status` leaves out what is as it should be
    bits = re.findall(r"self \S+ bits:(\d+)", text)
    side = Side(
        "", configured=True, role=Role.read(role[1]), disk=DiskState.read(disk[1]), identifiers=Identifiers.parse(line[0]),
        connection=ConnectionState.CONNECTED if link is None else ConnectionState.read(link[1]),
        replication=ReplicationState.ESTABLISHED if connected else ReplicationState.OFF,
        out_of_sync=4 * int(bits[-1]) if bits else None,
    )
    return side if connected else logged(side, text)
