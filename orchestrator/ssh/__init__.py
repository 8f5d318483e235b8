"""Commands over SSH: the only place in the program that imports asyncssh or asyncio.

Importing this package is cheap; asyncssh itself (some 0.2 s of CPU) is imported when the first connection is made,
after that connection's TCP handshake, so that the node's sshd starts up meanwhile.

    values      what a node, an identity and the timeouts are
    transport   `SshTransport`: one connection per node, opened on first use, kept, shared, replaced when spoiled
    connect     how a connection is made
    link        one connection: its slots, one command on it, its end
    warm        which commands go through the link's warm shell, and what becomes of it
    shell       the warm shell: one session for many commands, for nodes where a session is slow
    session     one command's channel: what came back, and how it is stopped
    dial        the socket under a connection: TCP, or a proxy command
    hostkeys    known_hosts, and what exactly is wrong when a key does not match
    keys        the user's own private key or agent
    translate   every exception of asyncssh and the OS, as an Outcome's reason
    library     asyncssh, imported without what we never use
    lines       bytes to lines, bounded

Rules S1 to S17 named in the comments are measured facts about asyncssh 2.24 and OpenSSH 9.2 (research, anchors B.4).
"""

from orchestrator.ssh.transport import SshTransport
from orchestrator.ssh.values import Identity, Target, Timing

__all__ = ["Identity", "SshTransport", "Target", "Timing"]
