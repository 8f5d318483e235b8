"""The tutorial is what happens: every command block of it is typed, from the first to the last, and what comes out is what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tutorial.page import PAGE, blocks, commands, same, written
from tests.tutorial.session import SEED, session


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.timeout(1200)
async def test_what_is_typed_prints_what_is_shown(tmp_path: Path) -> None:
    wrong: list[str] = []
    async with session(tmp_path) as reader:
        for block in blocks(PAGE.read_text()):
            for typed in block.commands:
                out = await reader.type(typed)
                shown = "".join(f"{line}\n" for line in typed.shown)
                if same(out) != same(shown):
                    wrong.append(f"in the block at line {block.at}:\n{written(typed, out)}the page shows:\n{shown}")
    assert not wrong, "\n".join([*wrong, "if that is as it should be: python -m tests.tutorial, and read the difference"])


def test_its_cluster_toml_is_the_seed() -> None:
    assert f"```toml\n{SEED.read_text()}```\n" in PAGE.read_text()


def test_a_block_is_read_as_it_is_written() -> None:
    text = "$ cat <<E\n> one\n> E\none\n\n> two\nlinux-nas02# true\n"
    cat, true = commands(text)
    assert (cat.prompt, cat.text, cat.shown) == ("$", "cat <<E\none\nE", ["one", "", "> two"])
    assert (true.prompt, true.text, true.shown) == ("linux-nas02#", "true", [])
    assert written(cat, "one\n\n> two\n") + written(true, "") == text


def test_only_times_and_identifiers_may_differ() -> None:
    assert same("at 12:04:11, for 3.5 s, 6E789E6AA1B965F5 ") == same("at 12:04:12, for 4 s, 06C45D188009454E")
    for other in ("resource r1", "exit 4", "9 MiB"):
        assert same("resource r0, exit 3, 8 MiB") != same(other)
