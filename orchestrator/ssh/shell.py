"""A warm shell: one sshd session that runs many commands, one after the other.

A session of its own costs a command sshd's fork and a login shell's start: 0.2 s and more on a small node. Here sshd's
child is a /bin/sh that reads what to do from its stdin. For every command:

    we      begin: say BEGIN on both streams        what comes before BEGIN is an earlier command's orphan: dropped
    shell   BEGIN on stdout, BEGIN on stderr        it lives, and the connection does: until now nothing was sent
    we      the command, and the word END           once; whatever happens now, it may have run
    shell   its output, then END CODE FROM TO on both streams: both are complete; FROM, TO: the node's uptime around it

BEGIN and END are 128 random bits each, and are in nobody's argv or environment: no output can contain them by accident.
All we write are `{ ... }` blocks: of a block that was cut short by the end of its stream, a shell runs nothing.

The limit of this: a process that a command leaves behind with its output still open (daemons redirect it) and that
speaks while a later command runs here is heard as that command. When it speaks between commands, it is noticed and this
shell is given up. And what it says after its own command's end, which a session of its own waits for, is not heard.
"""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable

import anyio

from orchestrator.commands import Command, Effect
from orchestrator.ssh.session import Session
from orchestrator.ssh.values import Timing
from orchestrator.transport import Exited, Outcome, Signalled, Unknown, Why

START = "exec /bin/sh"  # understood by every login shell that lets us at all

# What the shell is told first. READs must end with their connection (as `link.TIED` has it), without a fork for each: the
# shell is fed by a `cat`, which sees the end of our stream when the shell, waiting for a command, would not; the shell is
# then told by USR1, and passes it on to a READ's `timeout` as ALRM, which is "time is up" to it. (Not by HUP: where whoever
# started us ignores that, as nohup does, no shell can trap it. Not as TERM: the shell has a trap for TERM, and what it has
# just forked would lose it in there.) TERM to the shell is what sshd sends where it passes signals on; it ends any command.
# The pipe from `cat`: dash and busybox have here-documents in pipes, bash has coprocesses; where there is neither, there is
# no warm shell.
PRELUDE = b"""{ exec 3<&0
_w_over= _w_busy= _w_tied= _w_again=
_w_end() {
_w_over=1 _w_again=1
[ "$_w_busy" ] || exit
[ -z "$1$_w_tied" ] || kill -s ALRM "$!"
}
_w_say() { printf '%%s\\n' "$1"; printf '%%s\\n' "$1" >&2; }
_w_run() {
_w_word=$1 _w_tied=$2 _w_busy=1 _w_again=1 _w_from=; shift 2
{ read -r _w_from _ </proc/uptime; } 2>/dev/null
"$@" </dev/null &
_w_pid=$!
[ -z "$_w_over" ] || [ -z "$_w_tied" ] || kill -s ALRM "$_w_pid"
while [ "$_w_again" ]; do _w_again=; wait "$_w_pid" 2>/dev/null; _w_code=$?; done
_w_busy= _w_to=
{ read -r _w_to _ </proc/uptime; } 2>/dev/null
_w_say "$_w_word $_w_code $_w_from $_w_to"
[ -z "$_w_over" ] || exit
}
trap '_w_end ""' HUP USR1
trap '_w_end 1' TERM
if [ "$BASH_VERSION" ]; then
eval 'coproc { cat <&3; kill -s USR1 $$; } 2>/dev/null; exec <&"${COPROC[0]}" 3<&-'
else
exec 4<<_
_
[ -p /proc/self/fd/4 ] || exit 9
exec 5>/proc/self/fd/4
{ cat; kill -s USR1 $$; } <&3 >&5 2>/dev/null 3<&- 4<&- 5>&- &
exec <&4 3<&- 4<&- 5>&-
fi
_w_say %s
}
"""
GREETING = b"{ _w_say %s\n}\n"


def fits(command: Command) -> bool:
    """Whether a warm shell can run it: it has no stdin of its own, and its words are text that a shell can read."""
    if command.stdin is not None or any("\0" in word for word in command.argv):
        return False
    try:
        command.line().encode()
    except UnicodeEncodeError:
        return False
    return True


def order(command: Command, end: bytes) -> bytes:
    """What makes the shell run the command, and then say END and its code on both streams."""
    tied = b"1" if command.effect is Effect.READ else b"''"
    return b"{ _w_run %s %s %s\n}\n" % (end, tied, command.line().encode())


class Stream:
    """One of the two streams, from before BEGIN to END. Pure."""

    def __init__(self, begin: bytes, end: bytes) -> None:
        self.begun = False
        self.code: int | None = None
        self.span: tuple[float, float] | None = None
        self.rest = b""  # what came after END
        self._begin = begin + b"\n"
        self._end = end + b" "
        self._data = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> None:
        if self.code is not None:
            self.rest += data[:1]
            return
        self._data += data
        if not self.begun:
            at = self._data.find(self._begin)
            if at < 0:
                del self._data[: -len(self._begin)]
                return
            self.begun = True
            del self._data[: at + len(self._begin)]
        at = self._data.find(self._end, self._searched)
        self._searched = at if at >= 0 else max(0, len(self._data) - len(self._end))
        if at < 0:
            return
        words = bytes(self._data[at + len(self._end) :])
        if b"\n" in words:
            line, self.rest = words.split(b"\n", 1)
            code, *span = line.split()
            self.code = int(code)
            self.span = (float(span[0]), float(span[1])) if len(span) == 2 else None
            del self._data[at:]

    @property
    def output(self) -> bytes:
        """What the command said so far."""
        return bytes(self._data) if self.begun else b""

    def __len__(self) -> int:
        return len(self._data)


class Shell(Session):
    """The callbacks asyncssh makes for the shell's channel, and one command at a time on it."""

    def __init__(self, timing: Timing, on_open: Callable[[], None]) -> None:
        super().__init__(on_open, tied=True)
        self.sent = False      # the command under way may have reached the node
        self.too_long = False
        self.spoken = False    # something came while no command was under way
        self._timing = timing
        self._changing = False
        self._words = (b"", b"")
        self._streams: tuple[Stream, Stream] | None = None

    @property
    def over(self) -> bool:
        """It ended, or nothing can be sent to it any more."""
        ended = self.closed.is_set() or self.code is not None or self.signal is not None
        return ended or self.channel is None or self.channel.is_closing()

    @property
    def fresh(self) -> bool:
        """Whether the next command may be given to it."""
        return not self.over and not self.spoken and self._streams is None

    def take(self, data: bytes, *, error: bool) -> None:
        if self._streams is None:
            self.spoken = True
            return
        self._streams[error].feed(data)
        if sum(map(len, self._streams)) > self._timing.most_output:
            self.too_long = self.discarding = True
        self.settled.set()

    async def greet(self, words: bytes = GREETING) -> bool:
        """Make sure it listens: True when it answered, False when it is over. At once if it just did."""
        if self._streams is None:
            begin, end = self._words = (secrets.token_hex(16).encode(), secrets.token_hex(16).encode())
            self._streams = (Stream(begin, end), Stream(begin, end))
            self._write(words % begin)
        streams = self._streams
        await self._until(lambda: streams[0].begun and streams[1].begun)
        return not self.over

    def give(self, command: Command) -> None:
        """Send the command. Only after `greet`."""
        self.sent = True
        self._changing = command.effect is not Effect.READ
        self._write(order(command, self._words[1]))

    async def finished(self) -> None:
        """Until the command's end is known, or the shell's, or too much was said."""
        await self._until(lambda: self.too_long or self._complete)
        if self.over and not self._complete:  # the last words may come after the news of the end
            with anyio.move_on_after(self._timing.linger):
                await self.closed.wait()

    def outcome(self) -> Outcome:
        """What became of the command, after `finished` or when time is up. If it is complete, the shell is fresh."""
        out, err = self._streams or (Stream(b"", b""), Stream(b"", b""))
        if self.too_long:
            most = self._timing.most_output
            return Unknown(Why.TOO_LONG, f"more than {most} bytes of output; the command was ended", out.output[:most])
        if out.code is not None and err.code is not None:
            self.spoken = bool(out.rest or err.rest)
            self._streams, self.sent = None, False
            return _ended(out, err, changing=self._changing)
        if self.lost is not None:
            return Unknown(Why.LOST, str(self.lost) or type(self.lost).__name__, out.output)
        if self.over:
            fate = f"signal {self.signal}" if self.signal else f"exit {self.code}"
            return Unknown(Why.LOST, f"the shell that ran the command ended before it ({fate})", out.output)
        return Unknown(Why.TIMEOUT, "no news of the command within its limit and ours", out.output)

    async def stop(self, grace: float) -> bool:
        self.tied = not (self.sent and self._changing)
        return await super().stop(grace)

    @property
    def _complete(self) -> bool:
        return self._streams is not None and all(stream.code is not None for stream in self._streams)

    def _write(self, data: bytes) -> None:
        if self.channel is not None and not self.over:
            self.channel.write(data)

    async def _until(self, done: Callable[[], bool]) -> None:
        while not self.over and not done():
            self.settled = anyio.Event()
            await self.settled.wait()


def _ended(out: Stream, err: Stream, *, changing: bool) -> Outcome:
    """A shell says 128+n for signal n. Of READs that is passed on, as by `link.TIED`; of the others a session of their
    own would have said which signal, and so do we (a command that itself exits with such a code is told as signalled)."""
    code = out.code or 0
    if changing and code > 128 and code - 128 in signal.valid_signals():
        return Signalled(_signal_name(code - 128), out.output, err.output)
    return Exited(code, out.output, err.output, out.span)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:  # a real-time signal
        return str(number)
