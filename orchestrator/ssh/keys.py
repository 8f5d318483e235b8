"""Our own private keys: a file, read once, or an agent."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncssh

from orchestrator.ssh.values import Identity


class NoKey(Exception):  # noqa: N818  # reads as what it is
    """There is no key to log in with; the message says which file, why, and what to do."""


def read_key(identity: Identity) -> asyncssh.SSHKey | None:
    """The key of `identity.key`, loaded once per process: an RSA-4096 key costs 0.25 s to load with OpenSSL's
    validation (S12), which we skip because the file is the user's own. Raises NoKey."""
    if identity.key is None:
        return None
    try:
        return asyncssh.import_private_key(identity.key.read_bytes(), unsafe_skip_rsa_key_validation=True)
    except OSError as error:
        raise NoKey(f"private key {identity.key}: {error.strerror or error}") from error
    except asyncssh.KeyEncryptionError as error:
        raise NoKey(_locked(identity)) from error
    except asyncssh.KeyImportError as error:
        if "passphrase" in str(error).lower():
            raise NoKey(_locked(identity)) from error
        raise NoKey(f"private key {identity.key}: {error}") from error


def _locked(identity: Identity) -> str:
    return f"private key {identity.key} has a passphrase: ssh-add {identity.key}, and use the agent"


@asynccontextmanager
async def keyring(identity: Identity, key: asyncssh.SSHKey | None) -> AsyncIterator[Sequence[object]]:
    """What to offer a node, in this order: `key`, then the agent's keys. Only while inside. Raises NoKey."""
    keys: list[object] = [] if key is None else [key]
    if not identity.agent:
        if not keys:
            raise NoKey("no private key: neither a key file nor an agent is configured")
        yield keys
        return
    path = os.environ.get("SSH_AUTH_SOCK", "")
    try:
        agent = await asyncssh.connect_agent(path)
    except OSError as error:
        if not keys:
            raise NoKey(f"ssh-agent at SSH_AUTH_SOCK={path!r}: {error}") from error
        yield keys
        return
    try:
        try:
            keys.extend(await agent.get_keys())
        except ValueError as error:
            raise NoKey(f"ssh-agent at {path}: {error}") from error
        if not keys:
            raise NoKey(f"ssh-agent at {path} holds no key: ssh-add")
        yield keys
    finally:
        agent.close()
