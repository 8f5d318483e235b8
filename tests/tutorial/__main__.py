"""`python -m tests.tutorial`: execute docs/tutorial/index.md and write what was really printed into it. READ the diff."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import click

from tests.tutorial.page import BLOCK, PAGE, blocks, same, written
from tests.tutorial.session import session


async def executed(folder: Path, page: str) -> str:
    """The page with the output of now; what differs in times and identifiers only stays."""
    texts: list[str] = []
    async with session(folder) as reader:
        for block in blocks(page):
            texts.append("")
            for typed in block.commands:
                out = await reader.type(typed)
                shown = "".join(f"{line}\n" for line in typed.shown)
                texts[-1] += written(typed, shown if same(out) == same(shown) else out)
                click.echo(written(typed, out), nl=False)
    made: Iterator[str] = iter(texts)
    return BLOCK.sub(lambda _: next(made), page)


def main() -> None:
    """Execute, and write."""
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(anyio.run(executed, Path(folder), PAGE.read_text()))


if __name__ == "__main__":
    main()
