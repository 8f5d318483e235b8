"""`clustat`: what rgmanager knows of members and of its services. Its exit code says nothing that its text does not.

Facts: outputs of RHEL 6 (fixtures/captures/rhcs). Member names are cut off at the width of the terminal, so nobody is found by them.
"""

from __future__ import annotations

import re

from attrs import frozen


@frozen
class ClusterMember:
    """A line of the upper table. `flags`: Online or Offline, Local, rgmanager, Estranged, ..."""

    name: str
    number: int
    flags: frozenset[str]


@frozen
class Service:
    """A line of the lower table. `owner`: the last one, where it does not run now. `state`: started, stopped, failed, disabled, ..."""

    name: str
    owner: str
    state: str


@frozen
class Clustat:
    """All of it. `quorate` as clustat has it."""

    quorate: bool
    members: tuple[ClusterMember, ...]
    services: tuple[Service, ...]

    @property
    def managed(self) -> bool:
        """rgmanager runs here, and has joined: only then does a state of a service mean anything."""
        return any({"Local", "rgmanager"} <= one.flags for one in self.members)


MEMBER = re.compile(r" ?(\S+) +([0-9]{1,9}) ((?:Online|Offline)(?:, [\w ]+)*)")
SERVICE = re.compile(r" ?((?:service|vm):\S+) +(\S+|\([^()\n]*\)) +([a-z]+(?: \([a-z]+\))?)")


def read_clustat(text: str) -> Clustat | None:
    """None for what is not a whole `clustat`: where cman does not run it says so in a sentence."""
    said = re.search(r"^Member Status: (Quorate|Inquorate)\b", text, re.MULTILINE)
    if said is None:
        return None
    lines = [line.rstrip() for line in text.splitlines()]
    members = [row for row in map(MEMBER.fullmatch, lines) if row is not None]
    services = [row for row in map(SERVICE.fullmatch, lines) if row is not None]
    return Clustat(
        said[1] == "Quorate", tuple(ClusterMember(row[1], int(row[2]), frozenset(row[3].split(", "))) for row in members),
        tuple(Service(row[1], row[2].strip("()"), row[3]) for row in services),
    )
