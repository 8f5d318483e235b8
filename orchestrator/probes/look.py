"""From the bytes of one look to facts. Pure: the far-side script is `look.sh` beside this file.

A section that is missing, cut off or unreadable leaves its facts UNKNOWN; nothing in here raises for what a node prints.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from typing import Any

from attrs import frozen

from orchestrator.probes.events2 import absent, may_have_rotated, read_dump
from orchestrator.probes.firewall import Port, read_port
from orchestrator.probes.kernel_log import trouble
from orchestrator.probes.link_log import link_log
from orchestrator.probes.proc_drbd import read_proc
from orchestrator.probes.sections import Sections, seconds
from orchestrator.probes.stack import ExpectedStack, read_stack
from states.consent import Record
from states.evolve import evolve
from states.facts import ClaimFact, FencingFact, Generation, LayerFact, NodeFacts, Settings, Side
from states.identifiers import Identifiers
from states.settings import AGREED
from states.vocabulary import Contents, Layer, Metadata, Node

SCRIPT = resources.files(__package__).joinpath("look.sh").read_text()


@frozen
class Expected:
    """What the look is compared with, per resource: the file we would write for a generation of DRBD (None: do not
    compare), where the peer listens, our disk. `zeros`: read a whole blank disk."""

    resource: str
    minor: int
    disk: str
    file: Callable[[Generation], str] | None
    peer: str
    port: int
    zeros: bool = False
    layers: tuple[str, ...] = ()


def read_look(name: str, text: str, expected: tuple[Expected, ...], seen_at: float, stack: ExpectedStack | None = None) -> NodeFacts:
    """Facts of one node. A look that was cut off is no look: the node is then UNREACHABLE, with that as the reason."""
    return read_sections(name, Sections.cut(text), expected, seen_at, stack)


def read_sections(
    name: str, sections: Sections, expected: tuple[Expected, ...], seen_at: float, stack: ExpectedStack | None = None
) -> NodeFacts:
    """As `read_look`, where the text has been cut already."""
    head = dict(line.partition(" ")[::2] for line in (sections.get("node") or "").splitlines())
    if not sections.whole or "boot_id" not in head:
        return NodeFacts(name, Node.UNREACHABLE, seen_at, "its answer was cut off")
    version = _version(sections.get("proc-drbd") or "")
    drbd = _layers(sections, expected, _generation(version)) if expected else ()  # a node without storage has none of it
    layers = drbd + (read_stack(sections, stack) if stack is not None else ())
    return NodeFacts(
        name, Node.REACHABLE, seen_at, "", head["boot_id"], head.get("hostname", ""), seconds(head.get("uptime", "")),
        sections.ended, _generation(version), version, layers,
        tuple((one.resource, _side(name, sections, one)) for one in expected), _claims(sections.get("claims") or ""),
        off=tuple((sections.get("off") or "").split()), **_recoveries(sections.get("recovery") or ""),
        fencing=fencing(sections.get("fencing") or ""),
        maintenance=(sections.get("maintenance") or "").strip(),
        leased=_leased(sections.get("lease") or "", head["boot_id"], seconds(head.get("uptime", ""))),
    )


def _leased(text: str, boot_id: str, uptime: float) -> str:
    """Who holds the lease, from its file `EPOCH HOLDER BOOT UNTIL`; one of an earlier boot is nobody's."""
    words = text.split()
    if len(words) != 4 or words[1] == "-" or words[2] != boot_id or not words[3].isdecimal():
        return ""
    return words[1] if int(words[3]) > uptime else ""


def _version(text: str) -> str:
    match = re.search(r"^(?:version: |absent )(\d\S*)", text, re.MULTILINE)
    return match[1] if match else ""


def _generation(version: str) -> Generation:
    """8.0 to 8.2 are not understood: they spell roles otherwise, and the far side's own re-checks would not see them."""
    numbers = version.split(".")
    if numbers[0] == "9":
        return Generation.V9
    return {"8.3": Generation.V83, "8.4": Generation.V84}.get(".".join(numbers[:2]), Generation.UNKNOWN)


def _claims(text: str) -> tuple[ClaimFact, ...]:
    found: list[ClaimFact] = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["claim"] and len(words) >= 4:
            found.append(ClaimFact(words[1], words[2], words[3], None, running=False))
        elif words[:1] == ["outcome"] and found and words[-1].isdecimal():
            found[-1] = evolve(found[-1], code=int(words[-1]))
        elif words == ["running"] and found:
            found[-1] = evolve(found[-1], running=True)
    return tuple(found)


def _recoveries(text: str) -> dict[str, Any]:
    """What the node has on disk of recoveries, and the resources whose record is there and cannot be read: unread is not "none"."""
    found, unread = [], []
    for line in text.splitlines():
        resource, _, words = line.partition(" ")
        try:
            found.append(Record.parse(resource, words))
        except ValueError:
            unread.append(resource)
    return {"recoveries": tuple(found), "unread": tuple(unread)}


def fencing(text: str) -> tuple[FencingFact, ...]:
    """Lines `VICTIM HUNDREDTHS [WORDS]`, as orchestrate-fence keeps them."""
    words = (line.split(maxsplit=2) for line in text.splitlines())
    return tuple(FencingFact(one[0], int(one[1]) / 100, one[2] if len(one) > 2 else "")
                 for one in words if len(one) > 1 and one[1].isdecimal())


# -- layers ------------------------------------------------------------------------------------------------------------

def _layers(sections: Sections, expected: tuple[Expected, ...], generation: Generation) -> tuple[LayerFact, ...]:
    """One fact per layer; a layer shared by several resources is as bad as its worst."""
    loaded = (sections.get("proc-drbd") or "").startswith("version")
    said = (sections.get("proc-drbd") or "").partition("\n")[0]
    facts = {"module": LayerFact("module", Layer.UP if loaded else Layer.DOWN, said)}
    boot = sections.get("boot")
    facts["boot"] = _boot(boot)
    for one in expected:
        for fact in (_config(sections, one, generation), _port(sections, one)):
            worst = facts.get(fact.name)
            facts[fact.name] = fact if worst is None or worst.state is Layer.UP else worst
    return tuple(facts.values())


def _boot(text: str | None) -> LayerFact:
    if text is None:
        return LayerFact("boot", Layer.UNKNOWN, "not seen")
    units = text.split()
    return LayerFact("boot", Layer.DOWN, " ".join(units)) if units else LayerFact("boot", Layer.UP, "nothing of DRBD starts at boot")


def _config(sections: Sections, one: Expected, generation: Generation) -> LayerFact:
    text = sections.get(f"file {one.resource}")
    if text is None:
        return LayerFact("config", Layer.DOWN, "no resource file")
    if one.file is None:
        return LayerFact("config", Layer.UP, "present, not compared")
    wanted = one.file(generation)
    if tokens(text) == tokens(wanted):
        return LayerFact("config", Layer.UP, "as cluster.toml says")
    return LayerFact("config", Layer.FAILED, difference(text, wanted))


def _port(sections: Sections, one: Expected) -> LayerFact:
    port = port_of(sections, one)
    return LayerFact("port", port.state, port.detail)


def port_of(sections: Sections, one: Expected) -> Port:
    """The port layer with the commands that would open it."""
    text = sections.get("firewall")
    return Port(Layer.UNKNOWN, "not seen") if text is None else read_port(text, one.peer, one.port)


@lru_cache(64)
def tokens(text: str) -> tuple[str, ...]:
    """A .res file's meaning: its words without comments and white space. Kept: a node's file is the same in every look."""
    bare = re.sub(r"#[^\n]*", "", text)
    return tuple(re.findall(r'"[^"]*"|[{};]|[^\s{};"]+', bare))


def difference(found: str, wanted: str) -> str:
    """What a node's file says and ours would say, statement by statement; secrets are not shown."""
    have, want = _statements(found), _statements(wanted)
    lines = []
    for name in sorted(have.keys() | want.keys()):
        if have.get(name) != want.get(name):
            secret = name.endswith("shared-secret")
            shown = [("(set)" if secret else value) if value is not None else "(absent)" for value in (have.get(name), want.get(name))]
            lines.append(f"{name}: the node has {shown[0]}, cluster.toml wants {shown[1]}")
    return "; ".join(lines) or "same statements in another order"


def _statements(text: str) -> dict[str, str]:
    """`section/option` -> value, from the token stream."""
    path: list[str] = []
    words: list[str] = []
    found: dict[str, str] = {}
    for word in tokens(text):
        if word == "{":
            path.append(" ".join(words))
            words = []
        elif word == "}":
            path, words = path[:-1], []
        elif word == ";":
            if words:
                found["/".join((*path[1:], words[0]))] = " ".join(words[1:]) or "yes"
            words = []
        else:
            words.append(word)
    return found


# -- one side ----------------------------------------------------------------------------------------------------------

def _side(node: str, sections: Sections, one: Expected) -> Side:
    side = Side(node)
    if sections.get(f"resource {one.resource}") is None:
        return side
    side = _kernel_view(side, sections, one)
    if side.configured is None:
        return side
    kernel = sections.get(f"kernel {one.resource}")
    return evolve(
        side, running=read_show(sections.get(f"show {one.resource}") or ""),
        trouble=trouble(kernel) if kernel and not side.connected else None,
        link=link_log(kernel) if kernel and not side.connected else None,
        filed=read_filed(sections.get(f"file {one.resource}") or ""), **_disk(sections.get(f"disk {one.resource}") or ""),
    )


def _kernel_view(side: Side, sections: Sections, one: Expected) -> Side:
    """What the kernel knows: from /proc/drbd (8.x), from events2 (9), or nothing, the module not being there."""
    proc = sections.get("proc-drbd")
    if proc is None:
        return side
    if not proc.startswith("version"):
        return absent(side)
    if proc.startswith("version: 8"):
        sectors = (sections.get(f"size {one.resource}") or "").strip()
        return evolve(read_proc(proc, one.minor, side), size=int(sectors) // 2 if sectors.isdecimal() else None)
    events = sections.get(f"events {one.resource}")
    return side if events is None or "failed " in events else read_dump(events, side, one.resource)


def read_glance(node: NodeFacts, text: str, expected: tuple[Expected, ...], seen_at: float) -> NodeFacts:
    """The node's facts with the counters of a glance folded in; unchanged if it was cut off."""
    sections = Sections.cut(text)
    if not sections.whole:
        return node
    for one in expected:
        before = node.side(one.resource)
        after = _kernel_view(before, sections, one)
        if after.configured is not None:
            kept = before.identifiers if not may_have_rotated(before, after) else None
            node = evolve(node.with_side(one.resource, evolve(after, identifiers=kept, size=before.size)), seen_at=seen_at)
    return node


@lru_cache(256)  # an idle disk reads the same in every look
def _disk(text: str) -> dict[str, Any]:
    """Fields of a side that its disk section tells."""
    holders = tuple(line.split(" ", 1)[1] for line in text.splitlines() if line.startswith("holder "))
    sectors = re.search(r"^sectors (\d+)", text, re.MULTILINE)
    users = tuple(line.split(" ", 1)[1] for line in text.splitlines() if line.startswith("user "))
    found: dict[str, Any] = {
        "holders": holders, "users": users, "touched": "\ntouched" in text, "mounted_behind": "\nmounted behind" in text,
        "backing_size": int(sectors[1]) // 2 if sectors else None,
    }
    if "\nnodevice" in text:
        return {**found, "signature": "there is no such device"}
    for line in text.splitlines():
        try:
            identifiers = Identifiers.parse(line.removeprefix("gi "))
        except ValueError:
            continue
        found |= {"identifiers": identifiers, "metadata": Metadata.VALID}
        return found | _contents(text) if identifiers.just_created else found
    if "\nmetadata missing" not in text:
        return found
    return {**found, "metadata": Metadata.MISSING, **_contents(text)}


def _contents(text: str) -> dict[str, Any]:
    kind = re.search(r"\b(?:TYPE|PTTYPE)=(\S+)", text)
    if kind is not None:
        return {"contents": Contents.DATA, "signature": f"it carries a signature of type {kind[1]}"}
    if "\nzeros all" in text:
        return {"contents": Contents.ZEROS}
    zeros = re.search(r"^zeros (.*)$", text, re.MULTILINE)
    if zeros is None:
        return {}
    if zeros[1] in ("sampled", "not readable"):
        return {"contents": Contents.BLANK if zeros[1] == "sampled" else Contents.UNKNOWN}
    where = zeros[1].removeprefix("not").strip() or "somewhere"
    return {"contents": Contents.DATA, "signature": f"it does not read as zeros ({where})"}


SWITCHES = ("allow-two-primaries", "always-asbp")
SWITCHED_OFF = dict.fromkeys(SWITCHES, "no")


@lru_cache(64)
def read_show(text: str) -> Settings:
    """The agreed settings of a live connection, from `drbdsetup show --show-defaults`; empty where there is none."""
    found = {}
    for name, value in re.findall(r"^[ \t]*([a-z0-9-]+)[ \t]+([^;\n]+);", text, re.MULTILINE):
        if name in AGREED and name not in found:
            found[name] = value.strip().removesuffix(" _is_default").strip('"')
    if re.search(r"^_this_host \{", text, re.MULTILINE) and "_remote_host {" in text:  # 8.3: what is a switch is there, or not
        found |= {name: "yes" for name in SWITCHES if re.search(rf"^\t{name} *;", text, re.MULTILINE)}
        return tuple(sorted((SWITCHED_OFF | found).items())) if "protocol" in found else ()
    return tuple(sorted(found.items())) if "protocol" in found else ()


@lru_cache(64)
def read_filed(text: str) -> Settings:
    """The agreed settings a resource file has for the connection. What it includes, or takes from `common`, is not seen."""
    said = {name.rpartition("/")[2]: value.strip('"') for name, value in _statements(text).items()
            if name.startswith(("net/", "syncer/")) or name == "protocol"}  # 8.3 has some of them elsewhere
    return tuple(sorted((name, value) for name, value in said.items() if name in AGREED))
