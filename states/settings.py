"""Connection settings of DRBD that both sides must agree on, and which of their values are dangerous.

Names and defaults: drbd.conf(5) (8.4 and 9), `drbdsetup show --show-defaults`; that each of these is compared in the
handshake was seen on a real kernel (captures `wrong_*`).
"""

from __future__ import annotations

from collections.abc import Iterator

from states.facts import Settings

AGREED: dict[str, str] = {
    # setting                default
    "protocol":              "C",
    "allow-two-primaries":   "no",
    "after-sb-0pri":         "disconnect",
    "after-sb-1pri":         "disconnect",
    "after-sb-2pri":         "disconnect",
    "always-asbp":           "no",
    "rr-conflict":           "disconnect",
    "shared-secret":         "",
    "cram-hmac-alg":         "",
    "verify-alg":            "",
    "csums-alg":             "",
    "data-integrity-alg":    "",
}
"""Settings that both sides must have alike, with the kernel's default."""

SAFE_POLICIES = frozenset({"disconnect"})
POLICIES = ("after-sb-0pri", "after-sb-1pri", "after-sb-2pri")


def differing(wanted: Settings, running: Settings) -> Iterator[tuple[str, str, str]]:
    """Settings that a running side has otherwise than wanted: name, wanted, running. Nothing runs: nothing differs."""
    if not running:
        return
    want, run = dict(wanted), dict(running)
    for name, default in AGREED.items():
        ours, theirs = want.get(name, default), run.get(name, default)
        if ours != theirs:
            yield (name, *_hidden(ours, theirs)) if name == "shared-secret" else (name, ours, theirs)


def _hidden(ours: str, theirs: str) -> tuple[str, str]:
    """Two secrets that differ, without showing them."""
    return ("one secret", "another secret") if ours and theirs else ("set" if ours else "none", "set" if theirs else "none")


def discarding_policies(settings: Settings) -> set[tuple[str, str]]:
    """After-split-brain policies that may throw data away without being asked."""
    return {(name, value) for name, value in settings if name in POLICIES and value not in SAFE_POLICIES}


def auto_discard(*settings: Settings, accepted: bool) -> tuple[str, str] | None:
    """The policies that discard data by themselves, unless the user has accepted that: what was seen, and what to do."""
    policies = sorted(set().union(*map(discarding_policies, settings)))
    if not policies or accepted:
        return None
    shown = ", ".join(f"{name} {value}" for name, value in policies)
    return f"the after-split-brain policy discards data by itself: {shown}", 'set it to "disconnect", or write accept_auto_discard = true'
