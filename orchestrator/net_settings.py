"""DRBD's connection settings, in its own spelling."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.config import ResourceSection


def net_settings(section: ResourceSection) -> tuple[tuple[str, str], ...]:
    """The connection settings the section asks for, in DRBD's spelling."""
    pairs = {
        "protocol": section.protocol,
        "allow-two-primaries": "yes" if section.primaries == 2 else "no",
        "after-sb-0pri": section.after_sb_0pri,
        "after-sb-1pri": section.after_sb_1pri,
        "after-sb-2pri": section.after_sb_2pri,
    }
    if section.shared_secret:
        pairs |= {"shared-secret": section.shared_secret, "cram-hmac-alg": "sha1"}
    if section.verify_alg:
        pairs["verify-alg"] = section.verify_alg
    return tuple(sorted(pairs.items()))
