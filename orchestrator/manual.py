"""The documentation as it is installed, found by what a message names: a rule, an alarm, a page, a heading. Pure.

`orchestrator/docs` is the folder `docs`: the pages are in every installation, also where nothing else can be reached.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import resources

from attrs import frozen

HEADING = re.compile(r"^(#+) +(.+)$")
LINK = re.compile(r"\[([^\]]+)\]\(([^)]*)\)")


@frozen
class Found:
    """One place that says it. `text`: Markdown."""

    page: str
    heading: str
    text: str


def pages() -> dict[str, str]:
    """Every page's text by its name: "safety", "split-brain", "tutorial/index"."""
    root = resources.files("orchestrator").joinpath("docs")
    found = {one.name.removesuffix(".md"): one.read_text() for one in root.iterdir() if one.name.endswith(".md")}
    return {**found, "tutorial/index": root.joinpath("tutorial", "index.md").read_text()}


def find(topic: str, known: Mapping[str, str]) -> tuple[Found, ...]:
    """A whole page; else the rows of tables and the sections that are about the topic, those named so before those that mention it."""
    topic = topic.strip().strip("`").removeprefix("docs/").lower()
    name = topic.removesuffix(".md")
    name = "tutorial/index" if name == "tutorial" else name
    if name in known:
        return (Found(name, "", known[name]),)
    return tuple(found for page in sorted(known) for found in _in_page(page, known[page], topic))


def titles(known: Mapping[str, str]) -> dict[str, str]:
    """Each page's first heading."""
    return {page: text.lstrip().splitlines()[0].lstrip("# ") for page, text in sorted(known.items())}


def _in_page(page: str, text: str, topic: str) -> Iterator[Found]:
    lines = text.splitlines()
    code, heading = False, ""
    for number, line in enumerate(lines):
        if line.startswith("```"):
            code = not code
        if code:
            continue
        title = HEADING.match(line)
        if title is not None:
            heading = title[2]
            if _plain(heading) == topic:
                yield Found(page, heading, "\n".join(_section(lines, number, len(title[1]))))
        elif line.startswith("|") and topic in re.findall(r"`([^`]+)`", line.split("|")[1].lower()):
            yield Found(page, heading, _row(lines, number))


def _plain(heading: str) -> str:
    return LINK.sub(r"\1", heading).replace("`", "").lower()


def _section(lines: list[str], start: int, depth: int) -> Iterator[str]:
    """Up to the next heading that is as high; a # in an example is none."""
    code = False
    yield lines[start]
    for line in lines[start + 1:]:
        code ^= line.startswith("```")
        title = HEADING.match(line)
        if title is not None and not code and len(title[1]) <= depth:
            return
        yield line


def _row(lines: list[str], number: int) -> str:
    """A row of a table: each cell below its column's name."""
    top = number
    while lines[top - 1].startswith("|"):
        top -= 1
    names, cells = _cells(lines[top]), _cells(lines[number])
    return "\n\n".join(f"**{name}**: {cell}" if name else cell for name, cell in zip(names, cells, strict=False) if cell)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
