"""Real sshd processes. `sshd` is one server for the folder's quick tests; `new_sshd` starts one of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fixtures.sshd import Sshd, available


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True, scope="session")
def _sshd_installed() -> None:
    if not available():
        if os.environ.get("CI"):  # a run that tested nothing must not look like one that did
            pytest.fail("no /usr/sbin/sshd on this machine: apt install openssh-server")
        pytest.skip("no /usr/sbin/sshd on this machine: apt install openssh-server")


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A running server. Do not stop, signal or reconfigure it: that is what `new_sshd` is for."""
    with Sshd.start(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def new_sshd(tmp_path: Path) -> Iterator[Callable[..., Sshd]]:
    """Starts servers that end with the test; takes sshd_config lines."""
    with ExitStack() as servers:
        count = iter(range(100))

        def start(*options: str, **how: str) -> Sshd:
            return servers.enter_context(Sshd.start(tmp_path / f"sshd{next(count)}", *options, **how))  # type: ignore[arg-type]

        yield start
