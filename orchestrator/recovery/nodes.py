"""What is asked of the two nodes while blocks are saved: save.sh as commands, and what came back as values or errors."""

from __future__ import annotations

import hashlib
import re
import shlex
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from importlib import resources

from orchestrator.commands import Command, Effect
from orchestrator.drbd import steps as drbd
from orchestrator.drbd.files import replication_address
from orchestrator.errors import RefusedError
from orchestrator.probes import look
from orchestrator.recovery.archive import SaveFailedError
from orchestrator.recovery.dump_md import Dump, DumpError, read_dump
from orchestrator.recovery.extents import SECTOR, Extents, Run
from orchestrator.recovery.manifest import Changed
from orchestrator.recovery.request import SaveRequest
from orchestrator.remote import Remote
from orchestrator.transport import Exited, NotSent, Outcome, Pulled, Unknown
from states.goal import Kind, Refused
from states.identifiers import Identifiers

FUNCTIONS = "\n".join((look.SCRIPT, drbd.SCRIPT, resources.files(__package__).joinpath("save.sh").read_text()))
FLUSH_SECONDS = 20
"""The survivor's file system stands still for no longer, whatever becomes of the flush."""
SLOWEST = 1024 * 1024
"""Bytes a second: a disk or a link that is slower than this is taken to hang."""
MEBIBYTE = 1024 * 1024
MOST_DUMP = 512 * MEBIBYTE

LAUNCHER = """
mkdir -p /run/orchestrate && exec 9>"/run/orchestrate/flush-$4.lock" || exit
flock -w 45 9 || { echo "another flush of $4 is running"; exit 75; }
setsid sh -c "$1
text=\\$1 timer=\\$2
$2" sh "$1" "$3" </dev/null >"/run/orchestrate/flush-$4.said" 2>&1 &
wait $!
code=$?
cat "/run/orchestrate/flush-$4.said"
exit $code
"""
"""Starts the flush in a session of its own, and waits for it: if we or the connection die, it goes on to its end."""

Told = Callable[[int], None]


# -- which blocks --------------------------------------------------------------------------------------------------------

async def own_extents(remote: Remote, request: SaveRequest, node: str) -> Changed:
    """Of a side that is Down. Raises RefusedError, SaveFailedError."""
    words = ["own", *_side(request, node), *_lease(request, node)]
    said = await _run(remote, node, _script(words), Effect.IDEMPOTENT, 300.0, f"reading what {node} changed of {request.resource}")
    return await _changed(remote, request, node, said)


async def flushed_extents(remote: Remote, request: SaveRequest) -> Changed:
    """Of the survivor. Raises RefusedError, SaveFailedError."""
    node = request.survivor
    section = remote.config.resource[request.resource]
    family = "6" if ":" in replication_address(remote.config, node) else "4"
    words = ["flush", *_side(request, node), *_lease(request, node), str(section.port), family, request.mount]
    timer = shlex.join(("release_after", request.resource, str(request.minor), str(FLUSH_SECONDS)))
    argv = ("sh", "-c", LAUNCHER, "sh", FUNCTIONS, f"which_generation\n{shlex.join(words)}", f"which_generation\n{timer}", request.resource)
    doing = f"reading what {node} changed of {request.resource}"
    outcome = await remote.transport.run(Command(node, argv, Effect.IDEMPOTENT, 120.0))
    said = all_of_it(outcome, doing)
    changed = await _changed(remote, request, node, said)
    counted = re.search(r"^flushed (\d+) (\d+)$", said, re.MULTILINE)
    if counted is not None and not int(counted[1]) <= changed.extents.kib <= int(counted[2]):
        raise SaveFailedError(f"{doing}: its kernel counts {counted[1]} to {counted[2]} KiB out of sync, its metadata has "
                              f"{changed.extents.kib} KiB: the bitmap was not written down; nothing may be discarded")
    return changed


async def _changed(remote: Remote, request: SaveRequest, node: str, said: str) -> Changed:
    dump = await _fetch_dump(remote, request, node)
    if _masked(dump.identifiers) != _masked(request.identifiers(node)):
        raise SaveFailedError(f"{node}: its metadata has the identifiers {dump.identifiers}, not {request.identifiers(node)}")
    marked = sum(int(size) * {"KB": 1, "MB": 1024, "GB": 1024**2, "TB": 1024**3}[unit]
                 for size, unit in re.findall(r"^Marked additional (\d+) (\w+) as out-of-sync", said, re.MULTILINE))
    versions = re.search(r"^versions (.*)$", said, re.MULTILINE)
    return Changed(node, dump.identifiers, dump.extents, dump.size, marked, versions[1] if versions else "")


async def _fetch_dump(remote: Remote, request: SaveRequest, node: str) -> Dump:
    doing = f"fetching the metadata of {request.resource} from {node}"
    unpack, text = zlib.decompressobj(wbits=31), bytearray()
    command = Command(node, ("cat", f"/run/orchestrate/dump-{request.resource}.gz"), Effect.READ, 300.0)
    async with remote.transport.pull(command, MOST_DUMP) as pulled:
        async for data in pulled:
            text += unpack.decompress(data)
    all_of_it(pulled.outcome, doing)
    try:
        peer = next(number for number, name in enumerate(remote.config.storage) if name != node)
        return read_dump(text.decode(errors="replace"), peer)
    except DumpError as error:
        raise SaveFailedError(f"{doing}: {error}") from error


def _masked(text: str) -> tuple[int, ...]:
    one = Identifiers.bare(text)
    return tuple(number & ~1 for number in (one.current, one.bitmap, *one.history))


# -- the blocks ----------------------------------------------------------------------------------------------------------

async def keep_list(remote: Remote, resource: str, node: str, extents: Extents) -> str:
    """Bring a list of a resource's blocks to a node; its sha256, by which a view finds it there."""
    text = extents.to_text().encode()
    sum_ = hashlib.sha256(text).hexdigest()
    command = Command(node, ("sh", "-c", _script(["keep_list", resource, sum_])), Effect.IDEMPOTENT, 60.0, stdin=text)
    all_of_it(await remote.transport.run(command), f"sending the list of blocks to {node}")
    return sum_


def read_blocks(
    remote: Remote, request: SaveRequest, sum_: str, size: int, chunk: int, run: Run, length: int
) -> AbstractAsyncContextManager[Pulled]:
    """A run of consecutive chunks of the listed blocks as one stream of `length` bytes."""
    skip, count = run[0] * chunk // MEBIBYTE, run[1] * chunk // MEBIBYTE
    words = ["read_view", *_side(request, request.victim), sum_, str(size // SECTOR), str(skip), str(count)]
    return remote.transport.pull(_read(request.victim, words, length), length)


async def hash_blocks(remote: Remote, request: SaveRequest, node: str, extents: Extents, size: int, told: Told) -> str:
    """sha256 of one side's blocks, read there now. Raises RefusedError, SaveFailedError."""
    if not extents:
        return hashlib.sha256().hexdigest()
    sum_ = await keep_list(remote, request.resource, node, extents)
    doing = f"reading {request.disk(node)} on {node}"
    words = ["hash_view", "view" if node == request.victim else "lent_view", *_side(request, node), sum_, str(size // SECTOR)]
    found = ""
    async with remote.transport.pull(_read(node, words, extents.kib * 1024), MOST_DUMP) as pulled:
        async for line in _lines(pulled):
            word, _, value = line.partition(" ")
            if word == "at":
                told(max(int(value) - MEBIBYTE, 0))
            elif word == "sha256":
                found = value
    all_of_it(pulled.outcome, doing)
    if not re.fullmatch(r"[0-9a-f]{64}", found):
        raise SaveFailedError(f"{doing}: no checksum came back")
    return found


async def still_down(remote: Remote, request: SaveRequest) -> None:
    """The victim is as it was when we began; what we left on the nodes is cleared away. Raises RefusedError, SaveFailedError."""
    tidy = f"tidy {shlex.quote(request.resource)}"
    script = f"{_script(['down_now', *_side(request, request.victim)])} && {tidy}"
    await _run(remote, request.victim, script, Effect.IDEMPOTENT, 60.0, f"looking at {request.resource} on {request.victim} again")
    await _run(remote, request.survivor, f"{FUNCTIONS}\n{tidy}", Effect.IDEMPOTENT, 60.0, f"clearing up on {request.survivor}")


async def _lines(pulled: Pulled) -> AsyncIterator[str]:
    rest = b""
    async for data in pulled:
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")


def _read(node: str, words: list[str], length: int) -> Command:
    return Command(node, ("sh", "-c", _script(words)), Effect.READ, 60.0 + length / SLOWEST)


# -- common --------------------------------------------------------------------------------------------------------------

def _side(request: SaveRequest, node: str) -> list[str]:
    return [request.resource, str(request.minor), request.disk(node), request.identifiers(node)]


def _lease(request: SaveRequest, node: str) -> list[str]:
    holder, epoch = request.lease(node)
    return [holder, str(epoch)]


def _script(words: list[str]) -> str:
    return f"{FUNCTIONS}\nwhich_generation\n{shlex.join(words)}"


async def _run(remote: Remote, node: str, script: str, effect: Effect, limit: float, doing: str) -> str:
    return all_of_it(await remote.transport.run(Command(node, ("sh", "-c", script), effect, limit)), doing)


def all_of_it(outcome: Outcome | None, doing: str) -> str:
    """What a command said, if it ended well. Raises RefusedError where the node is not as the request says or cannot be reached
    (then nothing was done), SaveFailedError for all else."""
    if isinstance(outcome, Exited) and outcome.code == 0:
        return outcome.stdout.decode(errors="replace")
    if isinstance(outcome, NotSent):
        raise RefusedError(Refused("save-before-discard", doing, str(outcome),
                                   "make the node reachable and run the same command again", Kind.UNREACHABLE))
    if outcome is None or isinstance(outcome, Unknown):
        lost = "broken off" if outcome is None else str(outcome)
        raise SaveFailedError(f"{doing}: {lost}; nothing was discarded; run the same command again")
    words = (outcome.stderr + b"\n" + outcome.stdout).decode(errors="replace").split("\n")
    said = " / ".join([line.strip() for line in words if line.strip() and not re.match(r"\d+\+\d+ records|versions ", line)][-6:])
    if isinstance(outcome, Exited) and outcome.code == 76:
        raise RefusedError(Refused("save-before-discard", doing, said, "look again: `orchestrate status`"))
    how = f"exit {outcome.code}" if isinstance(outcome, Exited) else f"signal {outcome.signal}"
    raise SaveFailedError(f"{doing}: {how}: {said}; nothing was discarded")
