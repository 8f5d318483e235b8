"""Bytes to lines, bounded. Pure."""

from __future__ import annotations

LONGEST = 256 * 1024


class Splitter:
    """Collects bytes and gives out whole lines, without their line ends; a line longer than LONGEST bytes is cut there.

    Bytes that are not UTF-8 become U+FFFD: a tool's garbage must not end the watch.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        *whole, rest = (self._rest + data).split(b"\n")
        while len(rest) > LONGEST:
            whole.append(rest[:LONGEST])
            rest = rest[LONGEST:]
        self._rest = rest
        return [line.removesuffix(b"\r").decode(errors="replace") for line in whole]

    def end(self) -> list[str]:
        """What came after the last line end, if anything did."""
        rest, self._rest = self._rest, b""
        return [rest.decode(errors="replace")] if rest else []
