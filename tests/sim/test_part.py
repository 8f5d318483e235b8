"""Nobody takes the only good data from a Primary by parting: found by seed 496, where a human did, and a copy was never called done."""

from __future__ import annotations

import pytest

from fixtures.search.starts import healthy
from fixtures.search.view import with_defaults
from fixtures.sim.drbd import kernel, verbs
from fixtures.sim.drbd.values import No
from states.facts import Generation
from states.vocabulary import ReplicationState

NET = with_defaults((("allow-two-primaries", "yes"), ("protocol", "C")))


@pytest.mark.parametrize("generation", [Generation.V84, Generation.V9])
def test_a_primary_that_is_copied_to_is_not_parted_from(generation: Generation) -> None:
    pair = kernel.fail_disk(healthy(generation, NET, 1), 0)
    pair, written = kernel.write(pair, 0, 0, 8)
    assert written is kernel.Written.DONE
    pair = verbs.attach(pair, 0)
    assert pair.halves[0].primary
    assert pair.halves[0].replication is ReplicationState.SYNC_TARGET
    for index, number in ((0, -2), (1, -10)):
        with pytest.raises(No) as refused:
            verbs.disconnect(pair, index)
        assert refused.value.number == number
