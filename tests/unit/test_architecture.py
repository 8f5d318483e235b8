"""Imports point one way, and files stay readable."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]
FOLDERS = ("states", "orchestrator", "fixtures", "tests")
FILES = sorted(path for folder in FOLDERS for path in (HERE / folder).rglob("*.py"))
STATES = [path for path in FILES if path.relative_to(HERE).parts[0] == "states"]
ORCHESTRATOR = [path for path in FILES if path.relative_to(HERE).parts[0] == "orchestrator"]

LONG: dict[str, str] = {}
"""Files over 400 lines, and functions (file:name) over 50, each with the reason."""

IMPURE = frozenset({"time", "random", "os", "sys", "io", "asyncio", "threading", "subprocess", "socket", "logging", "datetime",
                    "pathlib", "tempfile", "secrets", "uuid", "signal", "shutil", "anyio", "asyncssh", "structlog"})

RANK = {
    # lower may not import higher
    "cli": 6, "__main__": 7, "supervisor": 5, "engine": 4, "executor": 3, "streams": 3, "remote": 2, "journal": 1, "drbd": 1, "probes": 1,
    "names": 1, "lease": 1, "transport": 0, "commands": 0, "errors": 0,
}


def imports(path: Path, *, run: bool = True) -> Iterator[str]:
    """Full names of the modules a file imports; with `run`, not those under TYPE_CHECKING."""
    tree = ast.parse(path.read_text())
    skipped = {id(inner) for node in ast.walk(tree) if run and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
               for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(HERE)) for path in paths]


@pytest.mark.parametrize("path", STATES, ids=names(STATES))
def test_states_are_pure(path: Path) -> None:
    allowed = {"states", "attrs", *sys.stdlib_module_names} - IMPURE
    tops = {name.split(".")[0] for name in imports(path)}
    assert tops <= allowed | ({"transitions"} if path.name == "machines.py" else set())
    tree = ast.parse(path.read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Await | ast.AsyncFunctionDef)]
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"open", "print", "input", "exec", "eval"}


@pytest.mark.parametrize("path", ORCHESTRATOR, ids=names(ORCHESTRATOR))
def test_only_ssh_knows_asyncio(path: Path) -> None:
    if path.relative_to(HERE).parts[1] != "ssh":
        assert not {name.split(".")[0] for name in imports(path)} & {"asyncio", "asyncssh"}


SIMULATED = [path for path in FILES if path.relative_to(HERE).parts[:2] == ("fixtures", "sim")]


@pytest.mark.parametrize("path", SIMULATED, ids=names(SIMULATED))
def test_the_simulator_runs_on_any_clock(path: Path) -> None:
    """Only the simulated nodes' sshd knows asyncio, and the event loop that is the virtual clock: all else runs on any."""
    if path.name not in ("sshd.py", "sessions.py", "wire.py", "loop.py"):
        assert not {name.split(".")[0] for name in imports(path)} & {"asyncio", "asyncssh"}


@pytest.mark.parametrize("path", ORCHESTRATOR, ids=names(ORCHESTRATOR))
def test_imports_point_one_way(path: Path) -> None:
    here = path.relative_to(HERE).with_suffix("").parts[1]
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "orchestrator" and len(parts) > 1 and parts[1] != here and here in RANK:
            assert RANK.get(parts[1], 0) <= RANK[here], f"{here} imports {name}"
        if here != "cli":
            assert parts[0] not in ("tests", "fixtures"), f"{here} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_files_and_functions_stay_short(path: Path) -> None:
    name = str(path.relative_to(HERE))
    text = path.read_text()
    assert len(text.splitlines()) <= 400 or name in LONG, f"{name} has {len(text.splitlines())} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 50 or f"{name}:{node.name}" in LONG, f"{name}:{node.name} has {length} lines"


def test_what_is_excused_exists() -> None:
    assert {name.split(":")[0] for name in LONG} <= set(names(FILES))
