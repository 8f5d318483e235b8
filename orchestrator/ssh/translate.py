"""Every exception of asyncssh and the operating system, as the reason of an Outcome. One place (S14).

asyncssh's own errors derive from asyncssh.Error, but connecting and writing also raise OSError, and a malformed key or
option ValueError; nothing else comes out of the calls we make.
"""

from __future__ import annotations

import os
import socket

import asyncssh

from orchestrator.ssh.values import Target
from orchestrator.transport import NotSent, Why

FAILURES = (asyncssh.Error, OSError, ValueError)


def place(target: Target) -> str:
    """How a message names a node's address."""
    return f"{target.user}@{target.address}:{target.port}"


def not_connected(target: Target, error: Exception) -> NotSent:
    """Why there is no connection. Host keys are explained elsewhere (`hostkeys`), where the file is at hand."""
    where = f"{target.name} ({place(target)})"
    if isinstance(error, asyncssh.PermissionDenied):
        return NotSent(Why.AUTHENTICATION, f"{where} refused our key: {error.reason}")
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return NotSent(Why.HOST_KEY, f"{where}: {error.reason}")
    if isinstance(error, asyncssh.KeyExchangeFailed):
        hint = "" if target.legacy else "; an old sshd may need legacy = true"
        return NotSent(Why.UNREACHABLE, f"{where}: {error.reason}{hint}")
    if isinstance(error, asyncssh.DisconnectError):
        return NotSent(Why.UNREACHABLE, f"{where} hung up: {error.reason}")
    if isinstance(error, socket.gaierror):
        return NotSent(Why.UNREACHABLE, f"{where}: no such name: {error.strerror}")
    if isinstance(error, TimeoutError):
        return NotSent(Why.UNREACHABLE, f"{where}: no answer in time")
    if isinstance(error, OSError):
        return NotSent(Why.UNREACHABLE, f"{where}: {os.strerror(error.errno) if error.errno else error}")
    return NotSent(Why.UNREACHABLE, f"{where}: {error}")


def hung_up_early(error: Exception) -> bool:
    """Whether sshd dropped us before authentication, which MaxStartups does at random to the innocent (S9)."""
    early = isinstance(error, asyncssh.ConnectionLost) and "timeout" not in error.reason.lower()
    return early or isinstance(error, ConnectionResetError | BrokenPipeError)
