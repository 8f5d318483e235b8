"""The field's own words. Every enum that describes something seen has an explicit UNKNOWN, and UNKNOWN never means "down".

Spelling follows `drbdsetup events2` (drbd-utils 9.22, which speaks DRBD 9's words for 8.4 kernels too).
"""

from __future__ import annotations

from enum import Enum
from typing import Self


class Word(Enum):
    """An enum read from a tool's output: a word we do not know becomes UNKNOWN, never an exception."""

    __hash__ = object.__hash__  # Enum's own is a Python function, and facts are hashed and looked up all the time

    @classmethod
    def read(cls, text: str) -> Self:
        """The member spelt `text`, or UNKNOWN (a newer kernel may say words we have never seen)."""
        known: dict[str, Self] = cls._value2member_map_  # type: ignore[assignment]  # a call of the class is ten times slower
        return known.get(text) or known["Unknown"]


class Role(Word):
    """Who may open the device for writing: `role:` in events2."""

    PRIMARY = "Primary"
    SECONDARY = "Secondary"
    UNKNOWN = "Unknown"


class DiskState(Word):
    """What DRBD thinks of the data on one backing disk: `disk:` and `peer-disk:` in events2."""

    DISKLESS = "Diskless"
    ATTACHING = "Attaching"
    DETACHING = "Detaching"
    FAILED = "Failed"
    NEGOTIATING = "Negotiating"
    INCONSISTENT = "Inconsistent"
    OUTDATED = "Outdated"
    CONSISTENT = "Consistent"
    UP_TO_DATE = "UpToDate"
    UNKNOWN = "Unknown"

    @classmethod
    def read(cls, text: str) -> Self:
        """As `Word.read`; DRBD itself says `DUnknown` for a peer's disk it cannot see."""
        return cls("Unknown") if text == "DUnknown" else super().read(text)


class ConnectionState(Word):
    """The replication link as this side sees it: `connection:` in events2. 8.4's WFConnection is Connecting.

    MISSING is ours: the kernel has no connection object. On 8.4 that is what StandAlone becomes after a clean
    disconnect, and also what a device looks like that was attached and never connected.
    """

    MISSING = "Missing"
    STAND_ALONE = "StandAlone"
    DISCONNECTING = "Disconnecting"
    UNCONNECTED = "Unconnected"
    TIMEOUT = "Timeout"
    BROKEN_PIPE = "BrokenPipe"
    NETWORK_FAILURE = "NetworkFailure"
    PROTOCOL_ERROR = "ProtocolError"
    TEAR_DOWN = "TearDown"
    CONNECTING = "Connecting"
    CONNECTED = "Connected"
    UNKNOWN = "Unknown"


class ReplicationState(Word):
    """What flows over an established connection: `replication:` in events2."""

    OFF = "Off"
    ESTABLISHED = "Established"
    STARTING_SYNC_S = "StartingSyncS"
    STARTING_SYNC_T = "StartingSyncT"
    WF_BITMAP_S = "WFBitMapS"
    WF_BITMAP_T = "WFBitMapT"
    WF_SYNC_UUID = "WFSyncUUID"
    SYNC_SOURCE = "SyncSource"
    SYNC_TARGET = "SyncTarget"
    VERIFY_S = "VerifyS"
    VERIFY_T = "VerifyT"
    PAUSED_SYNC_S = "PausedSyncS"
    PAUSED_SYNC_T = "PausedSyncT"
    AHEAD = "Ahead"
    BEHIND = "Behind"
    UNKNOWN = "Unknown"


class Resource(Enum):
    """States of one DRBD resource, classified from fresh facts of both its sides."""

    __hash__ = object.__hash__

    UNCONFIGURED = "Unconfigured"  # a side has no DRBD metadata
    DOWN = "Down"                  # metadata on both, but a side has no disk attached
    ATTACHED = "Attached"          # disks up, a side is not connecting: identifiers may be compared in peace
    CONNECTING = "Connecting"      # both sides try to reach each other
    INCONSISTENT = "Inconsistent"  # connected, and neither side has ever been written: needs its first sync
    SYNCING = "Syncing"
    SYNC_STALLED = "SyncStalled"
    SECONDARY = "Secondary"        # connected, UpToDate on both, nobody Primary
    PRIMARY = "Primary"            # ... one side Primary
    DUAL_PRIMARY = "DualPrimary"   # ... both Primary
    DEGRADED = "Degraded"          # one side serves, the other is away
    FROZEN = "Frozen"              # IO suspended
    STAND_ALONE = "StandAlone"     # a side gave up on the connection for a reason that is not split brain
    SPLIT_BRAIN = "SplitBrain"
    DIVERGED = "Diverged"          # one side newer, yet both Primary: DRBD refuses without calling it split brain
    UNRELATED = "Unrelated"
    SUSPECT = "Suspect"            # looks healthy, but identifiers differ or blocks are out of sync
    UNKNOWN = "Unknown"


class Recovery(Enum):
    """States of one recovery from split brain, read off fresh facts, the consent, and the records on both nodes."""

    __hash__ = object.__hash__

    SUSPECTED = "Suspected"                # a side's identifiers could not be read
    CONFIRMED = "Confirmed"                # it is a split, and nobody has decided about what is seen now
    ASSESSED = "Assessed"                  # somebody has seen it and decided; the nodes do not know yet
    CONSENTED = "Consented"                # both nodes have it on disk; the victim still serves
    VICTIM_EVACUATED = "VictimEvacuated"   # nothing stands on the victim's side any more
    VICTIM_FENCED = "VictimFenced"         # the victim was switched off, or cannot be seen
    VICTIM_DEMOTED = "VictimDemoted"       # it is Secondary, or down
    SAVED = "Saved"                        # what it alone has is saved, and that was verified
    PREDICTED = "Predicted"                # its disk is up, and DRBD would make it the loser and nobody else
    DISCARDING = "Discarding"              # it tries to connect with the flag
    RESYNCING = "Resyncing"                # the two talk
    VERIFIED = "Verified"                  # connected, UpToDate, same identifiers, nothing out of sync
    RESTORED = "Restored"                  # ... and the records are gone: the rest is `up`
    REFUSED = "Refused"                    # it is no split brain


class Layer(Enum):
    """States of one layer of the stack on one node."""

    __hash__ = object.__hash__

    DOWN = "Down"
    STARTING = "Starting"
    UP = "Up"
    STOPPING = "Stopping"
    FAILED = "Failed"
    HUNG = "Hung"
    UNKNOWN = "Unknown"


class Node(Enum):
    """States of one node as the orchestrator can know them."""

    __hash__ = object.__hash__

    UNREACHABLE = "Unreachable"
    REACHABLE = "Reachable"
    FENCING = "Fencing"
    FENCED = "Fenced"


class Ending(Enum):
    """How a connection, or the last attempt to make one, ended, as one node's kernel log tells it."""

    __hash__ = object.__hash__

    BY_HAND = "disconnected on this node"          # `drbdadm disconnect`, or `down`
    BY_PEER = "disconnected by the other node"     # ... there
    LOST = "the link was lost"
    GAVE_UP = "DRBD here gave up"                  # it refused what the handshake would have led to
    DROPPED = "the other node broke the attempt off"
    UNKNOWN = "not in the kernel log"


class By(Enum):
    """Who makes a transition happen."""

    __hash__ = object.__hash__

    US = "us"            # the row names the step we send
    AWAITED = "awaited"  # the world will; we watch, with a deadline
    FEARED = "feared"    # lawful, never planned on


class Metadata(Enum):
    """What the metadata area of a backing device holds."""

    __hash__ = object.__hash__

    MISSING = "missing"
    VALID = "valid"
    UNKNOWN = "unknown"


class Contents(Enum):
    """What a backing device without DRBD metadata holds."""

    __hash__ = object.__hash__

    BLANK = "blank"    # no signature at head or tail, sampled extents read as zeros
    ZEROS = "zeros"    # every byte was read and is zero
    DATA = "data"
    UNKNOWN = "unknown"


class AfterSplit(Word):
    """Values of after-sb-0pri, after-sb-1pri and after-sb-2pri (drbd.conf(5))."""

    DISCONNECT = "disconnect"
    DISCARD_YOUNGER_PRIMARY = "discard-younger-primary"
    DISCARD_OLDER_PRIMARY = "discard-older-primary"
    DISCARD_ZERO_CHANGES = "discard-zero-changes"
    DISCARD_LEAST_CHANGES = "discard-least-changes"
    DISCARD_LOCAL = "discard-local"
    DISCARD_REMOTE = "discard-remote"
    CONSENSUS = "consensus"
    DISCARD_SECONDARY = "discard-secondary"
    CALL_PRI_LOST = "call-pri-lost-after-sb"
    VIOLENTLY = "violently-as0p"
    UNKNOWN = "Unknown"
