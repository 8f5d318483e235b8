"""The pages say what the program knows: keys, rules, commands, exit codes, and every place an error message points to.

`python -m tests.unit.test_docs` draws the README's picture again (part of `make docs`).
"""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from attrs import fields

from orchestrator import config, stack_config, supervise_config
from orchestrator.cli import COMMANDS, cli
from orchestrator.graph import as_mermaid
from states.goal import Direction, Kind
from states.invariants import RULES
from states.resource import TABLE
from states.stack import WAY_OUT as LAYER_WAY_OUT
from states.stack_rules import LAYER_RULES
from states.stacks import MODERN, NFS, RHCS, SERVERS, LayerSpec
from states.stuck import WAY_OUT

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = (README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")))
SECTIONS = {
    config.ClusterSection: "[cluster]", config.SshSection: "[ssh]", config.NodeSection: "[node.NAME]",
    config.ResourceSection: "[resource.NAME]", config.ResyncSection: "[resource.NAME.resync]",
    supervise_config.AlertsSection: "[supervise.alerts]",
    stack_config.FenceSection: "[node.NAME.fence]", stack_config.CorosyncSection: "[corosync]",
    supervise_config.NamesSection: "[supervise.names]",
    stack_config.FilesystemSection: "[filesystem.NAME]", stack_config.ShareSection: "[share.NAME]", stack_config.SambaSection: "[samba]",
}
SOURCES = [path for room in ("states", "orchestrator", "fixtures/lab") for path in sorted((ROOT / room).rglob("*.py"))]
TABLE_OF_LAYERS = re.compile(r"(?<=^<!-- layers -->\n).*?(?=^<!-- end -->$)", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"(?<=^```mermaid\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)


def slug(heading: str) -> str:
    """The anchor a heading gets on a forge."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def section(page: str, heading: str) -> str:
    """The text below one heading."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#|\Z)", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None, f"{page} has no heading {heading!r}"
    return found[2]


def default_words(value: object) -> str:
    """A default as the tables write it."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


@pytest.mark.parametrize("kind", SECTIONS, ids=lambda kind: kind.__name__)
def test_every_key_is_described_with_its_default(kind: type) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section("configuration.md", SECTIONS[kind]), re.MULTILINE))
    known = [one for one in fields(kind) if one.name not in ("resync", "fence")]  # sections of their own
    assert list(rows) == [one.name for one in known]
    for one in known:
        simple = one.default is None or isinstance(one.default, str | int | float)
        if simple:
            assert rows[one.name].strip() == default_words(one.default), one.name


def test_the_examples_are_good_configurations(tmp_path: Path) -> None:
    for page in (README, DOCS / "configuration.md"):
        for number, text in enumerate(re.findall(r"^```toml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)):
            path = tmp_path / f"{page.stem}{number}.toml"
            path.write_text(text)
            assert config.load(path).names == ("linux-nas01", "linux-nas02")


def names_of_refusals() -> set[str]:
    """Every name that can stand behind `(rule ...)`."""
    literal = re.compile(r"Refused\(\s*\"([a-z-]+)\"")
    found = {name for path in SOURCES for name in literal.findall(path.read_text())}
    found |= {name for path in SOURCES for name in re.findall(r"LayerViolation\(\s*\"([a-z-]+)\"", path.read_text())}
    return found | set(RULES) | {rule.name for rule in LAYER_RULES} | {rule for way in (WAY_OUT, LAYER_WAY_OUT) for rule, _ in way.values()}


def test_every_rule_is_described() -> None:
    described = re.findall(r"^\| `([a-z-]+)` \|", (DOCS / "safety.md").read_text(), re.MULTILINE)
    assert sorted(described) == sorted({*names_of_refusals(), "no-row"})


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_place_a_message_points_to_is_there(path: Path) -> None:
    for page, heading in re.findall(r"(docs/[\w-]+\.md)(?:, `([\w ]+)`)?", path.read_text()):
        if page == "docs/machines.md":
            continue  # drawn by `make docs`, with a test of its own
        assert (ROOT / page).exists(), page
        if heading:
            assert slug(heading) in anchors(ROOT / page), heading


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        file, _, anchor = target.partition("#")
        if file.startswith(("http:", "https:")):
            continue
        there = (page.parent / file).resolve() if file else page
        if there.name == "machines.md":
            continue
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_every_command_and_option_is_described() -> None:
    assert set(re.findall(r"^## ([a-z-]+)$", (DOCS / "commands.md").read_text(), re.MULTILINE)) == set(COMMANDS)
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        text = section("commands.md", name) + (DOCS / "lab.md").read_text()
        for option in (one for one in command.params if isinstance(one, click.Option)):
            assert any(f"`{word}" in text or f"[{word}]" in text for word in option.opts), (name, option.opts)


def test_every_exit_code_is_described() -> None:
    codes = {"0", "1", "2", "10", "75", *(str(kind.value) for kind in Kind)}
    for text in (section("commands.md", "Exit codes"), README.read_text()):
        assert codes <= set(re.findall(r"^\| (\d+) \|", text, re.MULTILINE))


PAGES_OF_LAYERS = {"layers.md": (*MODERN, *SERVERS["ctdb"], NFS), "rhcs.md": (*RHCS, *SERVERS["plain"])}


def layer_table(specs: tuple[LayerSpec, ...]) -> str:
    """Every layer above DRBD, from the data."""
    rows = ["\n| layer | needs | to start it | to stop it | |\n|---|---|---|---|---|\n"]
    for one in specs:
        about = [("each file system", one.volume), ("made once", one.once), ("data", one.data), ("file", one.file),
                 ("copied", one.copied), ("joint", one.joint), ("sized", one.grows), ("all at once", one.together),
                 ("no Primary without it", one.holds_role)]
        cells = [f"`{one.name}`", ", ".join(one.needs) or "-", one.start or "-", one.stop or "stays",
                 ", ".join(text for text, holds in about if holds)]
        rows.append(f"| {' | '.join(cells)} |\n")
    return "".join(rows) + "\n"


@pytest.mark.parametrize(("page", "specs"), PAGES_OF_LAYERS.items(), ids=list(PAGES_OF_LAYERS))
def test_the_table_of_layers_is_the_data(page: str, specs: tuple[LayerSpec, ...]) -> None:
    assert TABLE_OF_LAYERS.findall((DOCS / page).read_text()) == [layer_table(specs)], f"the table in docs/{page} is old: make docs"


@pytest.mark.parametrize("name", ["plan", "move"])
def test_what_is_planned_for_the_seed_on_the_page_is_what_is_planned(name: str) -> None:
    (shown,) = re.findall(rf"^<!-- {name} -->\n+```\n(.*?)^```$", (DOCS / "rhcs.md").read_text(), re.MULTILINE | re.DOTALL)
    assert shown == (ROOT / f"fixtures/seed/{name}.txt").read_text()


def test_the_snippets_of_the_walk_through_are_the_code() -> None:
    page = (DOCS / "layers.md").read_text()
    code = "".join((ROOT / path).read_text() for path in ("states/stacks.py", "orchestrator/stack/act.sh"))
    for line in ('NFS = LayerSpec(', "start_nfs()", "stop_nfs()"):
        (said,) = re.findall(rf"^{re.escape(line)}.*$", page, re.MULTILINE)
        assert said in code
    assert all(part in (ROOT / "orchestrator/probes/stack.py").read_text() for part in ('"nfs": "nfs-server"', '"nfs": _service("nfs")'))


def picture() -> str:
    """The way up, from the table."""
    return as_mermaid(tuple(row for row in TABLE if row.way is not Direction.DOWN))


def test_the_picture_is_the_table() -> None:
    assert PICTURE.findall(README.read_text()) == [picture()], "the README's picture is old: make docs"


if __name__ == "__main__":
    README.write_text(PICTURE.sub(lambda _: picture(), README.read_text()))
    for name, specs in PAGES_OF_LAYERS.items():
        page = DOCS / name
        page.write_text(TABLE_OF_LAYERS.sub(layer_table(specs).replace("\\", r"\\"), page.read_text()))
