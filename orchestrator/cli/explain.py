"""`orchestrate explain`: what the documentation says of a rule, an alarm or a word in a message, also without a network."""

from __future__ import annotations

import difflib
import re
import sys

import click
from rich.console import Console
from rich.markdown import Markdown

from orchestrator.errors import ConfigError
from orchestrator.manual import Found, find, pages, titles


@click.command()
@click.argument("topic", nargs=-1)
def explain(topic: tuple[str, ...]) -> int:
    """What TOPIC means and what to do: a rule ("no-create-md"), an alarm ("split-brain"), a page ("hazards"), a heading ("a hung
    layer"). Without one, the pages."""
    known = pages()
    if not topic:
        for name, title in titles(known).items():
            click.echo(f"{name:20} {title}")
        return 0
    wanted = " ".join(topic)
    found = find(wanted, known)
    if not found:
        raise ConfigError(f"no page says what {wanted!r} is{_like(wanted, known)}; `orchestrate explain` lists the pages")
    for one in found:
        _show(one)
    return 0


def _show(found: Found) -> None:
    where = f"docs/{found.page}.md" + (f", {found.heading}" if found.heading else "")
    if not sys.stdout.isatty():
        click.echo(f"{where}\n\n{found.text}\n")
        return
    console = Console()
    console.rule(where, align="left")
    console.print(Markdown(found.text))


def _like(wanted: str, known: dict[str, str]) -> str:
    """Words of the documentation that are much like it."""
    words = {word for text in known.values() for word in re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)} | set(known)
    near = difflib.get_close_matches(wanted, sorted(words), 3)
    return f" (did you mean {', '.join(near)}?)" if near else ""
