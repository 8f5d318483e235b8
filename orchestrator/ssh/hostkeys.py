"""known_hosts: what it says of a node, and what exactly is wrong when a key does not match.

Whether a key is trusted is decided by asyncssh alone; this module gives it the file's entries and afterwards explains.
asyncssh says the same of an unknown and of a changed key (S11), so we look ourselves, line by line, with its matcher.
"""

from __future__ import annotations

from pathlib import Path

import asyncssh
from attrs import frozen

from orchestrator.ssh.values import Target


@frozen
class Offered:
    """The key a node showed, and the IP address it showed it from ("" through a proxy)."""

    key: asyncssh.SSHKey
    address: str


@frozen
class KnownHosts:
    """One known_hosts file as it was when read."""

    path: Path
    lines: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> KnownHosts:
        """Raises OSError. Read anew for every connection: a mended file counts at once."""
        return cls(path, tuple(path.read_text(errors="replace").splitlines()))

    def entries(self) -> asyncssh.SSHKnownHosts:
        """For asyncssh. A line it cannot read is skipped: it can only make fewer keys trusted, except for a @revoked
        line, which is why such a line is an error. Raises ValueError."""
        known = asyncssh.SSHKnownHosts()
        for number, line in enumerate(self.lines, 1):
            try:
                known.load(line)
            except ValueError as error:
                if line.lstrip().startswith("@revoked"):
                    raise ValueError(f"{self.path} line {number}: {error}") from error
        return known

    def where(self, target: Target, address: str = "") -> list[int]:
        """The numbers of the lines that speak of `target`, counted from 1."""
        port = None if target.port == 22 else target.port
        return [number for number, line in enumerate(self.lines, 1) if _speaks_of(line, target.address, address, port)]

    def explain(self, target: Target, offered: Offered | None) -> str:
        """Why `target` was not trusted: unknown, changed or revoked; where to look; what to type."""
        lines = self.where(target, offered.address if offered else "")
        shown = f"shows {_name(offered.key)}" if offered else "shows no key of a type recorded there"
        if not lines:
            return (
                f"host key of {target.name} unknown: {self.path} has no entry for {target.known_as}, and the node "
                f"{shown}; compare that on the node's console, then: {self._accept(target)}"
            )
        places = f"{self.path} line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}"
        return (
            f"host key of {target.name} CHANGED or revoked: {target.known_as} {shown}, which is not what {places} "
            f"records; a reinstalled node, or somebody in between. If it was reinstalled: "
            f"ssh-keygen -f {self.path} -R '{target.known_as}', then: {self._accept(target)}"
        )

    def _accept(self, target: Target) -> str:
        through = f" -o ProxyCommand='{target.proxy_command}'" if target.proxy_command else ""
        return f"ssh -o UserKnownHostsFile={self.path}{through} -p {target.port} {target.user}@{target.address} true"


def _speaks_of(line: str, host: str, address: str, port: int | None) -> bool:
    try:
        return any(asyncssh.SSHKnownHosts(line).match(host, address, port))
    except ValueError:
        return False  # unreadable: speaks of nobody


def _name(key: asyncssh.SSHKey) -> str:
    return f"{key.get_algorithm()} {key.get_fingerprint()}"
