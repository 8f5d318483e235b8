"""What a connection is made from, as values."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen
from attrs.validators import ge, gt

MEBIBYTE = 1024 * 1024


@frozen
class Target:
    """A node as SSH reaches it.

    `name` is what a Command's `host` says; `address` is the DNS name or IP address, and also what is looked up in
    known_hosts, through a proxy too. `proxy_command` is as in ssh_config(5): a shell command whose stdin and stdout
    reach the node's sshd, with %h, %p, %r and %% for address, port, user and a percent sign. `legacy` also offers
    the SHA-1 and CBC algorithms that the sshd of RHEL 5 and 6 needs.
    """

    name: str
    address: str
    port: int = 22
    user: str = "root"
    proxy_command: str | None = None
    legacy: bool = False

    @property
    def known_as(self) -> str:
        """The name under which known_hosts lists this node."""
        return self.address if self.port == 22 else f"[{self.address}]:{self.port}"


@frozen
class Identity:
    """Who we are, and which file says who the nodes are. There is no way to say "do not check host keys".

    `agent` asks the ssh-agent at $SSH_AUTH_SOCK, after `key`.
    """

    known_hosts: Path
    key: Path | None = None
    agent: bool = False


@frozen
class Timing:
    """Every wait of the SSH layer, in seconds, and its sizes. Nothing in this package waits without one of these."""

    connect: float = field(default=10.0, validator=gt(0))
    """TCP handshake, or start of the proxy command, name lookup included."""
    login: float = field(default=15.0, validator=gt(0))
    """Key exchange and authentication."""
    session: float = field(default=10.0, validator=gt(0))
    """From asking for a channel to having it; the command has not been sent yet."""
    keepalive: float = field(default=5.0, validator=gt(0))
    keepalive_count: int = field(default=3, validator=ge(1))
    """A connection without any answer for `keepalive` x (`keepalive_count` + 1) is dead."""
    answer: float = field(default=5.0, validator=gt(0))
    """How long after the far side's own limit (and its 5 s to KILL) we still wait for the news of it."""
    stop: float = field(default=2.0, validator=gt(0))
    """For a command that we end: from TERM to leaving its channel behind and replacing the connection."""
    linger: float = field(default=1.0, validator=gt(0))
    """After a command's exit, the silence after which a daemon it left behind is taken to hold its output open."""
    retries: int = field(default=2, validator=ge(0))
    """More attempts when sshd hung up before authentication (MaxStartups does that at random)."""
    retry_wait: float = field(default=0.1, validator=gt(0))
    """Before the first such attempt; doubled each time, and the jitter is added."""
    most_output: int = field(default=8 * MEBIBYTE, validator=gt(0))
    """Bytes of stdout and stderr together that a command may say."""
