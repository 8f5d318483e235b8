"""`orchestrate explain`: whatever a message points to is found in the pages that are installed with the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli import COMMANDS, cli
from orchestrator.errors import ConfigError
from orchestrator.manual import find, pages, titles
from states.invariants import RULES

HERE = Path(__file__).parents[2]
POINTS = sorted({
    (page, anchor)
    for folder in ("states", "orchestrator") for path in (HERE / folder).rglob("*.py")
    for page, anchor in re.findall(r"docs/([a-z-]+)\.md(?:, `([^`]+)`)?", path.read_text())
})


def test_the_pages_are_the_folder_docs() -> None:
    assert pages() == {str(path.relative_to(HERE / "docs").with_suffix("")): path.read_text() for path in (HERE / "docs").rglob("*.md")}


@pytest.mark.parametrize(("page", "anchor"), POINTS)
def test_where_a_message_points_there_is_something(page: str, anchor: str) -> None:
    assert find(f"docs/{page}.md", pages())[0].text
    if anchor:
        assert page in {found.page for found in find(anchor, pages())}


NAMED = {name for folder in ("states", "orchestrator") for path in (HERE / folder).rglob("*.py")
         for name in re.findall(r'Refused\(\s*"([a-z0-9-]+)"', path.read_text())}


@pytest.mark.parametrize("rule", sorted({*RULES, *NAMED}))
def test_every_rule_is_explained(rule: str) -> None:
    found = next(one for one in find(rule, pages()) if one.page == "safety")
    assert f"`{rule}`" in found.text.splitlines()[0]
    assert found.text.count("**: ") >= 3


PAGE = """# A page
## First
text
```
# no heading
```
### Below it
more
## Second
| word | what |
|---|---|
| `a`, `b` | one \\| other |
"""


@pytest.mark.parametrize(("topic", "text"), [
    ("first", "## First\ntext\n```\n# no heading\n```\n### Below it\nmore"),
    ("below IT", "### Below it\nmore"),
    ("b", "**word**: `a`, `b`\n\n**what**: one \\| other"),
    ("`A`", "**word**: `a`, `b`\n\n**what**: one \\| other"),
])
def test_a_section_and_a_row(topic: str, text: str) -> None:
    assert [found.text for found in find(topic, {"page": PAGE})] == [text]


def test_what_nobody_wrote_about() -> None:
    assert find("no heading", {"page": PAGE}) == ()
    result = CliRunner().invoke(cli, ["explain", "no-createmd"])
    assert isinstance(result.exception, ConfigError)
    assert "did you mean no-create-md" in str(result.exception)


def test_without_a_topic_the_pages_are_listed() -> None:
    result = CliRunner().invoke(cli, ["explain"], standalone_mode=False)
    assert result.return_value == 0
    assert result.output.count("\n") == len(titles(pages())) == len(pages())
    assert "explain" in COMMANDS
