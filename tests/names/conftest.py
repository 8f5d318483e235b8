"""A real DNS server of each test's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fixtures.knot import Knot, available


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def new_knot(tmp_path: Path) -> Iterator[Callable[..., Knot]]:
    """Starts servers that end with the test; takes more lines of the zone."""
    if not available():
        if os.environ.get("CI"):  # a run that tested nothing must not look like one that did
            pytest.fail("no knotd on this machine: apt install knot")
        pytest.skip("no knotd on this machine: apt install knot")
    with ExitStack() as servers:
        count = iter(range(100))

        def start(*records: str) -> Knot:
            return servers.enter_context(Knot.start(tmp_path / f"knot{next(count)}", *records))

        yield start


@pytest.fixture
def knot(new_knot: Callable[..., Knot]) -> Knot:
    """A server with an empty zone."""
    return new_knot()
