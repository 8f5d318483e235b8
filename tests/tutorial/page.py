"""The tutorial's page: its ```console blocks, each a list of what is typed and what is then shown.

    $ orchestrate check | grep hosts        where `orchestrate` is at hand
    linux-nas02# hostname                   at that node, as root
    > ...                                   the typed text goes on

Everything else in such a block is what came out. Blocks of another kind are not executed.
"""

from __future__ import annotations

import re
from pathlib import Path

from attrs import define, field, frozen

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "index.md"
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
PROMPT = re.compile(r"(\$|linux-nas0[12]#) ")
SAME = (
    (re.compile(r"\b[0-9A-F]{16}\b"), "an identifier"),  # a data generation's
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "an identifier"),  # a boot's, a file system's
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?"), "a time"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "a time"),
    (re.compile(r"\b\d+(\.\d+)? s\b"), "a time"),  # so long something lasts
    (re.compile(r" +$", re.MULTILINE), ""),
)
"""What may be another one each time the page is executed. All else has to be the same, letter by letter."""


@define
class Typed:
    """One command. `prompt`: where it is typed. `text`: without prompts."""

    prompt: str
    text: str
    shown: list[str] = field(factory=list)


@frozen
class Block:
    """`at`: the line of the page its first line is, from 1."""

    at: int
    commands: tuple[Typed, ...]


def commands(text: str) -> tuple[Typed, ...]:
    """What a block's text says. Raises ValueError if it does not begin with a prompt."""
    found: list[Typed] = []
    for line in text.splitlines():
        prompt = PROMPT.match(line)
        if prompt is not None:
            found.append(Typed(prompt[1], line[prompt.end():]))
        elif not found:
            raise ValueError(f"a block begins with a prompt: {line}")
        elif line.startswith("> ") and not found[-1].shown:
            found[-1].text += "\n" + line[2:]
        else:
            found[-1].shown.append(line)
    return tuple(found)


def blocks(page: str) -> list[Block]:
    """Every block that is executed, in order."""
    return [Block(page.count("\n", 0, found.start()) + 1, commands(found[0])) for found in BLOCK.finditer(page)]


def written(typed: Typed, out: str) -> str:
    """A command and what came out, as the page has it."""
    return f"{typed.prompt} " + typed.text.replace("\n", "\n> ") + "\n" + "".join(f"{line.rstrip()}\n" for line in out.splitlines())


def same(text: str) -> str:
    """The text with times and identifiers taken out, and blanks at the ends of lines."""
    for pattern, instead in SAME:
        text = pattern.sub(instead, text)
    return text
