"""orchestrate-fence --cycle: a node that hangs is switched off, seen to be off, and switched on again."""

from __future__ import annotations

from tests.unit.test_fence_script import BAD, GOOD, VICTIM, Fence, fence

__all__ = ["fence"]


def test_off_and_on_again(fence: Fence) -> None:
    """For a node that hangs: seen to be off before it is switched on, and then it counts as off no more."""
    agent = fence.agent(GOOD)
    assert fence.start("--cycle", VICTIM).wait(30) == 0
    heard = sorted(agent.parent.glob("fence_test.stdin.*"), key=lambda path: path.stat().st_mtime_ns)
    words = [path.read_text().splitlines()[-1] for path in heard]
    assert words == ["action=off", "action=on"]
    assert not (fence.run / f"off.{VICTIM}").exists()
    assert f"{VICTIM} is on again" in fence.told()


def test_who_could_not_be_switched_off_is_not_switched_on(fence: Fence) -> None:
    fence.agent(BAD)
    process = fence.start("--cycle", VICTIM)
    assert process.wait(30) == 1
    assert process.stdout is not None
    assert "Unable to connect" in process.stdout.read()
    assert fence.calls() == 1


def test_who_does_not_come_on_is_off_and_that_is_said(fence: Fence) -> None:
    fence.agent("#!/bin/sh\nif grep -q action=on; then echo 'no power'; exit 1; fi\n")
    process = fence.start("--cycle", VICTIM)
    assert process.wait(30) == 1
    assert process.stdout is not None
    assert "no power" in process.stdout.read()
