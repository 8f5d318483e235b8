"""A real DNS server of each test's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fixtures.bind import Bind, available


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def new_bind(tmp_path: Path) -> Iterator[Callable[..., Bind]]:
    """Starts servers that end with the test; takes more lines of the zone."""
    if not available():
        if os.environ.get("CI"):  # a run that tested nothing must not look like one that did
            pytest.fail("no named on this machine: apt install bind9")
        pytest.skip("no named on this machine: apt install bind9")
    with ExitStack() as servers:
        count = iter(range(100))

        def start(*records: str) -> Bind:
            return servers.enter_context(Bind.start(tmp_path / f"bind{next(count)}", *records))

        yield start


@pytest.fixture
def bind(new_bind: Callable[..., Bind]) -> Bind:
    """A server with an empty zone."""
    return new_bind()
