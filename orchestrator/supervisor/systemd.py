"""What systemd is told (sd_notify(3)): ready, alive, reloading, stopping. Without systemd it is told to nobody."""

from __future__ import annotations

import os
import socket
import time

import anyio


def notify(*lines: str) -> bool:
    """Send `NAME=VALUE` lines to the service manager. False where there is none, or it does not take them: that is no trouble of ours."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as out:
            out.sendto("\n".join(lines).encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
    except OSError:
        return False
    return True


def reloading() -> None:
    """Before the configuration is read again; `ready` follows. systemd wants to know since when (Type=notify-reload)."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def ready(status: str) -> None:
    """It works; `status` is one line for `systemctl status`."""
    notify("READY=1", f"STATUS={status}")


async def watchdog() -> None:
    """Say that the loop turns, twice as often as systemd asks for (WatchdogSec=)."""
    every = os.environ.get("WATCHDOG_USEC", "")
    if not every.isdecimal() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return
    while True:
        notify("WATCHDOG=1")
        await anyio.sleep(int(every) / 2_000_000)
