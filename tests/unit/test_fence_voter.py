"""orchestrate-fence beside a third node that only votes: who is cut off alone shoots nobody."""

from __future__ import annotations

import pytest

from tests.unit.test_fence_script import BAD, GOOD, Fence, fence, until

__all__ = ["fence"]

WITH_US = "cluster nodeid 1 quorate 1 ring seq 12 12\nnode 1 M add 5 rem 0\nnode 2 X add 5 rem 9\n"
ALONE = "cluster nodeid 1 quorate 0 ring seq 12 12\nnode 1 M add 5 rem 0\nnode 2 X add 5 rem 9\n"
NOT_YET = "cluster nodeid 1 quorate 1 ring seq 12 12\nnode 1 M add 5 rem 0\nnode 2 M add 5 rem 0\n"


def status(fence: Fence, text: str) -> None:
    """What dlm_tool says from now on; DRBD has no link."""
    fence.program("drbdadm", "#!/bin/sh\necho Connecting\n")
    (fence.root / "status.new").write_text(text)
    (fence.root / "status.new").rename(fence.root / "status")
    fence.program("dlm_tool", f"#!/bin/sh\necho asked >>{fence.root}/asked\ncat {fence.root}/status\n")


def asked(fence: Fence) -> int:
    """How often dlm_tool was asked."""
    return len((fence.root / "asked").read_text().splitlines()) if (fence.root / "asked").exists() else 0


@pytest.mark.parametrize("first", [ALONE, NOT_YET])
def test_drbd_shoots_only_with_the_majority(fence: Fence, first: str) -> None:
    """Cut off alone it never shoots; before the cluster has noticed, it waits until that says who is with whom."""
    fence.agent(GOOD)
    fence.third()
    status(fence, first)
    process = fence.drbd()
    until(lambda: asked(fence) > 5)
    assert (process.poll(), fence.calls()) == (None, 0)
    status(fence, WITH_US)
    assert process.wait(30) == 7
    assert fence.calls() == 1


def test_who_only_votes_need_not_be_shot(fence: Fence) -> None:
    """The lock manager asks for every node it misses; this one can write to nothing."""
    fence.agent(BAD)
    fence.third()
    assert fence.dlm(3).wait(30) == 0
    assert fence.calls() == 0
