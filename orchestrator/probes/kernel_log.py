"""Why DRBD gave up on a connection, in the kernel's own words, as the last of its lines say it.

The texts are those of Linux 6.1's DRBD 8.4.11 and of DRBD 9.2/9.3, from captures `wrong_*` and the split-brain runs.
"""

from __future__ import annotations

import re

from states.facts import Trouble

STAMP = re.compile(r"^(?:<\d+>)?\[ *(\d+\.\d+)\] ?(.*)$")

REASONS: tuple[tuple[re.Pattern[str], str], ...] = tuple((re.compile(pattern), setting) for pattern, setting in (
    # the kernel's line                                                           setting ("\1": named by the line)
    (r"incompatible ([a-z0-9-]+) settings",                                       r"\1"),
    (r"Different ([a-z-]+) settings\. me=\"(.*)\" peer=\"(.*)\"",                 r"\1"),
    (r"expected AuthChallenge packet, received: .*",                              "shared-secret"),
    (r"Authentication of peer failed.*",                                          "shared-secret"),
    (r"peer did not ask for authentication|expect(?:ed)? AuthResponse packet.*",  "shared-secret"),
    (r"Unrelated data, aborting!",                                                ""),
    (r"Split-Brain detected but unresolved, dropping connection!",                ""),
    (r"I shall become SyncTarget, but I am primary!",                             ""),
    (r"I shall become SyncSource, but I am inconsistent!",                        ""),
    (r"To resolve this both sides have to support at least protocol \d+",         "protocol version"),
    (r"The peer's disk size is too small!.*",                                     "disk size"),
    (r"incompatible DRBD dialects.*",                                             "protocol version"),
    (r"Considerable difference in lower level device sizes.*",                    "disk size"),
))
MARK = "orchestrate: drbd "
"""What our own connect writes into the kernel log first: only what comes after it is about that attempt."""
SETTLED = re.compile(r"(?:conn|connection|repl)\( ?\w+ ?-> ?(?:Connected|Established|SyncSource|SyncTarget|WFBitMapS|WFBitMapT) ?\)")


def trouble(text: str) -> Trouble | None:
    """The newest reason in these kernel lines, or None if a connection was made after it, or there is none."""
    found: Trouble | None = None
    for line in text.splitlines():
        stamp = STAMP.match(line)
        if stamp is None:
            continue
        uptime, words = float(stamp[1]), stamp[2]
        if SETTLED.search(words) or words.startswith(MARK):
            found = None
        for pattern, setting in REASONS:
            match = pattern.search(words)
            if match is not None and not (found and found.setting == "shared-secret" and setting == "shared-secret"):
                found = Trouble(match[0], match.expand(setting), uptime)
                break
    return found
