"""One sentence for a stressed person, and what to type next, for each cause."""

from __future__ import annotations

from collections.abc import Callable

from states.diagnosis.causes import Case, Cause, away, behind_the_back, by_hand, closed, lost, new_over_data, protocols, silent, undecided
from states.diagnosis.signatures import paused
from states.diagnosis.words import ago, both, counted, kib, unlike
from states.facts import Generation, Side
from states.handshake import Verdict
from states.vocabulary import DiskState, Metadata, ReplicationState, Role

PAGE = "docs/split-brain.md"
Said = tuple[str, str]
"""The sentence, and the command."""


def _up(_: Case) -> str:
    return "orchestrate up"


def on(node: str, command: str) -> str:
    """A command to be typed on a node."""
    return f"on {node}: {command}"


def _names(sides: tuple[Side, ...]) -> str:
    return both(side.node for side in sides)


# -- the data parted ----------------------------------------------------------------------------------------------------

def _split(case: Case) -> Said:
    one, other = case.sides
    dirty = (counted(one), counted(other))
    next_step = f"orchestrate recover-splitbrain {case.pair.wanted.name} --plan"
    if dirty == (0, 0):
        meaning = "neither has changed anything since, so nothing can be lost"
    elif 0 in dirty:
        same = one if dirty[0] == 0 else other
        meaning = f"{same.node} has changed nothing since"
    elif None in dirty:
        meaning = "each may hold writes the other never saw"
    else:
        meaning = (f"{one.node} has changed {kib(one.out_of_sync)}, {other.node} {kib(other.out_of_sync)}, "
                   "and when they meet one side's changes have to go")
    return f"{one.node} and {other.node} both went on alone: {meaning}", next_step


def _history(case: Case) -> Said:
    one, other = case.sides
    return (f"{one.node} and {other.node} parted long ago and each went on alone: which blocks differ is no longer recorded, so one "
            "side has to be copied whole"), f"orchestrate recover-splitbrain {case.pair.wanted.name} --plan"


def _diverged(case: Case) -> Said:
    old, name = case.older, case.pair.wanted.name
    if old is None:
        return ("one side is newer, and the older one is Primary, so DRBD does not copy over it; nothing has to be lost",
                f"orchestrate status --why, then {PAGE}, `diverged`")
    new = next(side for side in case.sides if side is not old)
    return (f"{new.node} is newer, and {old.node} is behind but Primary, so DRBD does not copy over it; nothing has to be lost"
            + (f" but what {old.node} wrote since" if old.out_of_sync else ""),
            f"{on(old.node, f'stop what uses it, then drbdadm secondary {name}')}; then: orchestrate up")


def _unrelated(case: Case) -> Said:
    one, other = case.sides
    return (f"the disks of {one.node} and {other.node} never belonged together: mostly a wrong `disk` in cluster.toml, or one was "
            "made anew"), f"orchestrate check; then {PAGE}, `unrelated`"


def _suspect(case: Case) -> Said:
    name, old = case.pair.wanted.name, case.older
    if case.relation.verdict in (Verdict.SPLIT_BRAIN, Verdict.UNRELATED):
        return ("both say UpToDate and hold different data, and each has changes of its own: serve from one side only",
                f"orchestrate recover-splitbrain {name} --plan")
    if old is not None:
        return (f"both say UpToDate, and {old.node} holds older data: serve from the other side only",
                f"{on(old.node, f'stop what uses it, then drbdadm secondary {name} && drbdadm disconnect {name}')}; then: orchestrate plan")
    marked = [side for side in case.sides if side.out_of_sync]
    amount = kib(max((side.out_of_sync or 0 for side in marked), default=0))
    command = f"drbdadm invalidate{' --reset-bitmap=no' if case.generation is Generation.V9 else ''} {name}"
    return (f"both say UpToDate, and {amount} are known to differ: decide which side is good and serve from that one only",
            f"{PAGE}, `suspect`; then on the bad, Secondary node: {command}")


# -- a node, or its disk ------------------------------------------------------------------------------------------------

def _unreachable(case: Case) -> Said:
    gone = case.unseen
    names, off = both(node.name for node in gone), case.facts.off & {node.name for node in gone}
    rest = [side for side in case.sides if side.node not in {node.name for node in gone}]
    if not rest:
        return f"neither node can be reached: {gone[0].why}", f"make {names} reachable, then: orchestrate status"
    side = rest[0]
    frozen = ", and its IO waits" if side.suspended else ""
    how = f"{side.node} is {side.role.value} and {side.disk.value}, its connection is {side.connection.value}{frozen}"
    if away(side):
        how = f"{case.pair.wanted.name} is down on {side.node}"
    if off:
        without = "" if side.role is Role.PRIMARY else "; to serve without it: orchestrate up --degraded"
        return f"{names} is known to be off; {how}", f"switch {names} on, then: orchestrate up{without}"
    if side.connected:
        return (f"{names} cannot be reached over SSH, but DRBD on {side.node} is connected to it",
                f"mend SSH to {names}, then: orchestrate status")
    return (f"{names} cannot be reached ({gone[0].why}), which does not mean that it is off; {how}",
            f"make {names} reachable, then: orchestrate status")


def _frozen(case: Case) -> Said:
    frozen = _names(tuple(side for side in case.sides if side.suspended))
    return (f"IO on {frozen} waits: something suspended it on purpose (fencing, quorum, `suspend-io`), or its last good disk is gone",
            "orchestrate fence NODE, where NODE is the one that does not answer; seen to be without power: orchestrate fence-ack NODE"
            if case.pair.wanted.fencing != "dont-care" else
            f"switch off the node that does not answer; then, on the one that is left: drbdadm resume-io {case.pair.wanted.name}")


def _no_disk(case: Case) -> Said:
    bad = tuple(side for side in case.sides if lost(side))
    return (f"DRBD on {_names(bad)} has lost its backing disk ({both(side.disk.value for side in bad)}); the other side serves for both "
            "while they are connected"), "mend or replace that disk, then: orchestrate up"


def _no_metadata(case: Case) -> Said:
    bare = tuple(side for side in case.sides if side.metadata is Metadata.MISSING and not side.attached)
    return f"there is no DRBD metadata on the disk of {_names(bare)}", "orchestrate plan"


def _new_over_data(case: Case) -> Said:
    bad = tuple(side for side in case.sides if new_over_data(side))
    return (f"the metadata on {_names(bad)} is new, and something lies under it ({both(side.signature for side in bad)}): a first copy "
            "would overwrite it"), "orchestrate plan"


def _backing(case: Case) -> Said:
    bad = tuple(side for side in case.sides if behind_the_back(side))
    held = [f"{side.node}: {', '.join(side.holders)}" for side in bad if side.holders]
    how = f"is in use behind DRBD's back ({'; '.join(held)})" if held else "was in use behind DRBD's back"
    return f"the disk of {_names(bad)} {how}: it is not UpToDate, whatever DRBD says", "orchestrate check"


def _peer_down(case: Case) -> Said:
    gone = tuple(side for side in case.sides if away(side))
    return f"{case.pair.wanted.name} is down on {_names(gone)}", _up(case)


# -- DRBD refused -------------------------------------------------------------------------------------------------------

def _mend(case: Case) -> str:
    """What still runs the wrong setting has to forget it: a side that gave up (StandAlone) has forgotten it already."""
    trying = both(side.node for side in case.sides if side.trying)
    forget = f"{on(trying, f'drbdadm disconnect {case.pair.wanted.name}')}; " if trying else ""
    return f"make cluster.toml say what you want; {forget}then: orchestrate up --apply-config"


def _secret(case: Case) -> Said:
    blamed = next((side for side in case.sides if side.trouble is not None), case.sides[0])
    return (f"the two sides do not have the same shared-secret (or cram-hmac-alg): {blamed.node} turned its peer away",
            _mend(case))


def _settings(case: Case) -> Said:
    blamed = next((side for side in case.sides if side.trouble is not None), case.sides[0])
    trouble, found = blamed.trouble, unlike(*case.sides)
    if trouble is None:
        return f"the two sides do not run the same settings, and DRBD refuses such a connection: {found[0]}", _mend(case)
    setting = trouble.setting
    known = [words for words in found if words.startswith(f"{setting}:")]
    told = known[0] if known else f"{setting} is not the same on both"
    if "me=" in trouble.text:  # the kernel's line has both values
        told = f"{blamed.node} logged: {trouble.text}"
    return f"DRBD refuses to connect over a setting: {told}", _mend(case)


def _protocol(case: Case) -> Said:
    words = []
    for node in case.nodes:
        found = protocols(node)
        spoken = f" (protocols {found[0]} to {found[1]})" if found else ""
        words.append(f"{node.name} runs DRBD {node.version or '?'}{spoken}")
    return (f"the two DRBD versions have no protocol in common: {', '.join(words)}",
            "bring both nodes to the same version, then: orchestrate up")


def _refused(case: Case) -> Said:
    blamed = next((side for side in case.sides if side.trouble is not None), None)
    if blamed is None or blamed.trouble is None:
        return f"DRBD would refuse the connection: {case.relation.why}", "orchestrate plan"
    return f"DRBD on {blamed.node} refused the connection: {blamed.trouble.text}", "mend that, then: orchestrate up"


# -- nothing is lost ----------------------------------------------------------------------------------------------------

def _livelock(case: Case) -> Said:
    tries = max(side.link.attempts for side in case.sides if side.link is not None)
    rehearsal = any(side.link is not None and "dry-run" in side.link.outcome for side in case.sides)
    why = "somebody typed `connect --tentative`, which repeats for ever" if rehearsal else "the handshake is broken off and begun anew"
    name = case.pair.wanted.name
    return (f"they meet again and again and never connect ({tries} times in the log that was kept): {why}",
            f"{on(both(side.node for side in case.sides), f'drbdadm disconnect {name}')}; then: orchestrate plan")


def _by_hand(case: Case) -> Said:
    done = by_hand(case)
    words = [f"on {side.node} {ago(case.facts.node(side.node), side.link.ended_at)}" for side in done if side.link is not None]
    return f"somebody disconnected it {both(words)}; {_would(case)}", _up(case)


def _would(case: Case) -> str:
    relation, old = case.relation, case.older
    if relation.verdict is Verdict.IN_SYNC:
        return "both hold the same data"
    if old is not None and relation.verdict is Verdict.FULL_SYNC:
        return f"connected, {old.node} would be copied whole from the other side"
    if old is not None and relation.verdict is Verdict.BITMAP_SYNC:
        return f"connected, {old.node} would catch up and nothing would be lost"
    if relation.verdict is Verdict.UNKNOWN:
        return f"what would happen when they meet cannot be said: {relation.why}"
    return f"when they meet: {relation.verdict.value}"


def _behind(case: Case) -> Said:
    return f"nothing is wrong but that they are not connected; {_would(case)}", _up(case)


def _not_connected(case: Case) -> Said:
    return f"nobody has told {_names(silent(case))} to connect; both hold the same data", _up(case)


def _marked(case: Case) -> Said:
    amount = kib(max(side.out_of_sync or 0 for side in case.sides))
    name = case.pair.wanted.name
    forgets = ": DRBD 9 forgets that when they connect" if case.generation is Generation.V9 else ""
    return (f"by their identifiers both hold the same data, and yet {amount} are marked as different{forgets}",
            f"{PAGE}, `suspect`; then on the bad, Secondary node: drbdadm invalidate {name}")


def _never_synced(case: Case) -> Said:
    return "both sides are just created: neither has data yet, and the first copy was never made", _up(case)


def _no_good_side(case: Case) -> Said:
    return "neither side has a whole good copy of the data, and they are not new", f"{PAGE}, `both inconsistent`; force nothing"


def _port(case: Case) -> Said:
    shut = closed(case)
    return f"the firewall of {both(node.name for node in shut)} does not let its peer in: {shut[0].layer('port').detail}", _up(case)


def _network(case: Case) -> Said:
    unsure = both(node.name for node in case.nodes if node.layer("port").state.value == "Unknown")
    filters = f"the firewall of {unsure} could not be read" if unsure else "neither node's firewall keeps the other out"
    return (f"both try and do not find each other, and {filters}: look at the replication network between them (cable, switch, address, "
            f"a filter of what is sent); {_would(case)}"), _up(case)


def _target(case: Case) -> Side:
    return next((side for side in case.sides if side.disk is DiskState.INCONSISTENT), case.sides[1])


def _stalled(case: Case) -> Said:
    target, name = _target(case), case.pair.wanted.name
    left = kib(max((side.out_of_sync or 0 for side in case.sides), default=0))
    command = on(target.node, f"drbdadm disconnect {name}")
    if len(case.pair.primaries) == 2:  # to disconnect two Primaries makes two generations of their data
        command = f"orchestrate down --node {target.node}"
    return f"{target.node} is to be copied and nothing moves, {left} left", f"{command}; then: orchestrate up"


def _resyncing(case: Case) -> Said:
    left = kib(max((side.out_of_sync or 0 for side in case.sides), default=0))
    if paused(case.sides):
        return f"the resync is paused, {left} left: by `drbdadm pause-sync`, or until another resource is done", (
            f"drbdadm resume-sync {case.pair.wanted.name}, on the node that paused it")
    word = next((side.replication.value for side in case.sides if side.replication is not ReplicationState.ESTABLISHED), "")
    return f"one side is being copied to the other ({word}), {left} left", "orchestrate status"


def _healthy(case: Case) -> Said:
    roles = both(f"{side.node} {side.role.value}" for side in case.sides if side.role is not Role.SECONDARY)
    return f"both sides are connected and hold the same data{': ' + roles if roles else ''}", ""


def _unknown(case: Case) -> Said:
    return f"it cannot be said: {'; '.join(undecided(case))}", "orchestrate status"


SAYINGS: dict[Cause, Callable[[Case], Said]] = {
    Cause.SPLIT_BRAIN: _split,
    Cause.SPLIT_BRAIN_HISTORY: _history,
    Cause.DIVERGED: _diverged,
    Cause.UNRELATED: _unrelated,
    Cause.SUSPECT: _suspect,
    Cause.UNREACHABLE: _unreachable,
    Cause.FROZEN: _frozen,
    Cause.NO_DISK: _no_disk,
    Cause.WRONG_SECRET: _secret,
    Cause.SETTINGS: _settings,
    Cause.PROTOCOL: _protocol,
    Cause.REFUSED: _refused,
    Cause.BACKING: _backing,
    Cause.NEW_OVER_DATA: _new_over_data,
    Cause.NO_METADATA: _no_metadata,
    Cause.PEER_DOWN: _peer_down,
    Cause.DOWN: lambda case: (f"{case.pair.wanted.name} is down on both nodes", _up(case)),
    Cause.LIVELOCK: _livelock,
    Cause.NEVER_SYNCED: _never_synced,
    Cause.NO_GOOD_SIDE: _no_good_side,
    Cause.BY_HAND: _by_hand,
    Cause.BEHIND: _behind,
    Cause.MARKED: _marked,
    Cause.NOT_CONNECTED: _not_connected,
    Cause.PORT_BLOCKED: _port,
    Cause.NETWORK: _network,
    Cause.STALLED: _stalled,
    Cause.RESYNCING: _resyncing,
    Cause.HEALTHY: _healthy,
    Cause.UNKNOWN: _unknown,
}
