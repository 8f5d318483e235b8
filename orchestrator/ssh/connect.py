"""How a connection is made: socket, key exchange with the host key checked, login."""

from __future__ import annotations

import anyio
import asyncssh

from orchestrator.ssh.dial import Dialled, Proxy
from orchestrator.ssh.hostkeys import KnownHosts, Offered
from orchestrator.ssh.keys import NoKey, keyring, read_key
from orchestrator.ssh.link import Link
from orchestrator.ssh.translate import FAILURES, hung_up_early, not_connected
from orchestrator.ssh.values import Identity, Target, Timing
from orchestrator.transport import NotSent, Why

# SHA-1 is offered only to a node that is said to be legacy (S15); asyncssh's own defaults would offer it to all.
# Host keys: the types that known_hosts records come first; the others follow so that a changed key is shown, and named.
MODERN = {
    "kex_algs": "-*-sha1",
    "mac_algs": "-*sha1*",
    "encryption_algs": "^aes256-gcm@openssh.com,aes128-gcm@openssh.com",  # half of chacha20's processor time here (measured)
    "server_host_key_algs": "+ssh-ed25519,ecdsa-sha2-nistp*,rsa-sha2-*",
}
LEGACY = {
    "kex_algs": "+diffie-hellman-group14-sha1,diffie-hellman-group-exchange-sha1,diffie-hellman-group1-sha1",
    "encryption_algs": "+aes256-cbc,aes128-cbc,3des-cbc",
    "mac_algs": "+hmac-sha1",
    "server_host_key_algs": MODERN["server_host_key_algs"] + ",ssh-rsa",
}


class _Owner(asyncssh.SSHClient):
    """Remembers the host key that was refused, and ends the proxy command with the connection."""

    def __init__(self, proxy: Proxy | None) -> None:
        self.offered: Offered | None = None
        self.has_socket = False
        self.logged_in = False
        self._proxy = proxy

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Asked only about a key that known_hosts does not have: the answer is always no."""
        self.offered = Offered(key, addr)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._proxy is not None and self.logged_in:  # until then `Connector.link` first asks what it died of
            self._proxy.hang_up()


class Connector:
    """Makes links. The private key is read once; known_hosts for every connection."""

    def __init__(self, identity: Identity, timing: Timing) -> None:
        self._identity = identity
        self._timing = timing
        self._key: asyncssh.SSHKey | None = None
        self._shell_refused: set[str] = set()

    @staticmethod
    def unreachable(target: Target, error: OSError) -> NotSent:
        """Why no socket could be opened."""
        return not_connected(target, error)

    async def link(self, target: Target, dialled: Dialled) -> Link | NotSent | Exception:
        """A link over an open socket, or why not; an Exception is one that a second attempt may not meet.
        Takes the socket and the proxy over, whatever happens."""
        sock, proxy = dialled
        owner = _Owner(proxy)
        done = False
        try:
            connection = await self._handshake(target, dialled, owner)
            if isinstance(connection, asyncssh.SSHClientConnection):
                done = owner.logged_in = True
                return Link(target, self._timing, connection, proxy, self._shell_refused)
            if proxy is not None and (isinstance(connection, Exception) or connection.why is Why.UNREACHABLE):
                return NotSent(Why.UNREACHABLE, f"{target.name}: {await proxy.story()} ({_words(connection)})")
            return connection
        finally:
            if not done:
                if not owner.has_socket:
                    sock.close()
                if proxy is not None:
                    proxy.hang_up()
                    with anyio.CancelScope(shield=True):
                        await proxy.ended(self._timing.stop)

    async def _handshake(
        self, target: Target, dialled: Dialled, owner: _Owner
    ) -> asyncssh.SSHClientConnection | NotSent | Exception:
        path = self._identity.known_hosts
        known = None
        try:
            known = KnownHosts.read(path)
            entries = known.entries()
        except OSError as error:
            return NotSent(Why.HOST_KEY, f"{target.name}: known_hosts file {path}: {error.strerror or error}")
        except ValueError as error:
            return NotSent(Why.HOST_KEY, f"{target.name}: known_hosts file: {error}")
        try:
            self._key = self._key or read_key(self._identity)
            async with keyring(self._identity, self._key) as keys:
                return await self._login(target, dialled, owner, known_hosts=entries, client_keys=keys)
        except NoKey as error:
            return NotSent(Why.AUTHENTICATION, f"{target.name}: {error}")
        except asyncssh.HostKeyNotVerifiable:
            return NotSent(Why.HOST_KEY, known.explain(target, owner.offered))
        except asyncssh.KeyExchangeFailed as error:
            if "host key" in error.reason and known.where(target):
                return NotSent(Why.HOST_KEY, known.explain(target, None))
            return not_connected(target, error)
        except FAILURES as error:
            return error if hung_up_early(error) else not_connected(target, error)

    async def _login(
        self, target: Target, dialled: Dialled, owner: _Owner, **trust: object
    ) -> asyncssh.SSHClientConnection:
        timing = self._timing
        options: dict[str, object] = {**(LEGACY if target.legacy else MODERN), **trust}
        owner.has_socket = True  # from here on asyncssh closes it; twice could hit another socket of the same number
        with anyio.fail_after(timing.login + 1):
            return await asyncssh.connect(
                target.address, target.port, sock=dialled[0], config=None, client_factory=lambda: owner,
                username=target.user, agent_path=None, gss_host=None, compression_algs=None,
                password_auth=False, kbdint_auth=False, host_based_auth=False, x509_trusted_certs=None,
                login_timeout=timing.login, keepalive_interval=timing.keepalive,
                keepalive_count_max=timing.keepalive_count, **options,
            )


def _words(failure: NotSent | Exception) -> str:
    return failure.detail if isinstance(failure, NotSent) else str(failure)
