"""Names in a hosts file: /etc/hosts, or one of its own that a dnsmasq reads (`addn-hosts`).

Ours is a line with one of our addresses and nothing but the name. A line that gives more names to an address is
somebody else's.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from attrs import frozen

from orchestrator.names import Address, NotPublishedError, Records, in_order
from orchestrator.supervise_config import NamesSection


@frozen
class HostsBackEnd:
    """Rewrites `path` whole, and only when something changes. Its mode and owner stay."""

    names: NamesSection
    path: Path

    async def read(self) -> frozenset[Address] | None:
        """See BackEnd."""
        entries = (_entry(line) for line in self._lines())
        return frozenset(address for address, names in entries if address is not None and self.names.name in names)

    async def write(self, records: Records) -> None:
        """See BackEnd."""
        lines = self._lines()
        ours = records.wanted | records.unwanted
        kept = [line for line in lines if not ((entry := _entry(line))[0] in ours and entry[1] == [records.name])]
        fresh = [*kept, *(f"{address}\t{records.name}" for address in in_order(records.wanted))]
        if fresh == lines:
            return
        try:
            _rewrite(self.path, "".join(line + "\n" for line in fresh))
        except OSError as error:
            raise NotPublishedError(f"{self.path} cannot be written: {error.strerror}", "may the supervisor write there?") from error

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text().splitlines()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise NotPublishedError(f"{self.path} cannot be read: {error}") from error


def _entry(line: str) -> tuple[Address | None, list[str]]:
    """The address and the names of one line; None where it has no address."""
    words = line.partition("#")[0].split()
    try:
        return (ipaddress.ip_address(words[0]), words[1:]) if words else (None, [])
    except ValueError:
        return None, []


def _rewrite(path: Path, text: str) -> None:
    """Whole or not at all: who reads it meanwhile reads the old one. Raises OSError."""
    path = path.resolve()
    fresh = path.with_name(f".{path.name}.orchestrate")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        if path.exists():
            before = path.stat()
            os.fchmod(file.fileno(), before.st_mode & 0o7777)
            os.fchown(file.fileno(), before.st_uid, before.st_gid)
        else:
            os.fchmod(file.fileno(), 0o644)
    fresh.rename(path)
