"""How long the engine waits before it looks again by itself. Pure; seconds.

Where events are pushed (events2: DRBD 8.4.6 and later) only counters have to be fetched. 8.3 pushes nothing that can be followed over
SSH for long, so all is asked for: often while something moves, seldom while it does not. One probe at a time for each node: who asks
waits for the answer, and the next interval begins then.
"""

from __future__ import annotations

from states.facts import ClusterFacts, Generation, NodeFacts
from states.goal import Waiting

RELOOK = 1.0
"""Between looks while waiting for something no event announces."""
COUNTERS = (0.4, 5.0)
"""Bounds while blocks are copied: 8.4 pushes no progress through events2."""
COUNTERS_83 = (0.2, 10.0)
"""The same where nothing is pushed: the end of a short copy must not be missed by seconds, a long one need not be watched closely."""
SHARE = 6
"""A copy is looked at this often in what is left of it."""


def is_silent(node: NodeFacts) -> bool:
    """Its DRBD pushes nothing."""
    return node.generation is Generation.V83


def interval(waiting: Waiting, eta: float | None, facts: ClusterFacts) -> float:
    """Until the next look. `eta`: of the copy that is waited for, None while nobody can say."""
    silent = any(map(is_silent, facts.nodes))
    if waiting.event.startswith("synced"):
        least, most = COUNTERS_83 if silent else COUNTERS
        return min(max((eta or 0) / SHARE, least), most)
    if silent or waiting.layer or waiting.event in ("settled", "claim_ends"):
        return RELOOK
    return RELOOK * 3


def counted(waiting: Waiting, facts: ClusterFacts) -> tuple[str, ...]:
    """Nodes whose counters are read while blocks are copied: both sides count the same, and one of two tells by events how it ended."""
    return waiting.nodes if any(is_silent(facts.node(name)) for name in waiting.nodes) else waiting.nodes[:1]
