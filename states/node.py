"""The machine of one node, as far as an orchestrator that comes by SSH can know it.

Unreachable says nothing about what the node does: it counts as Primary and mounted until it is fenced and that is
confirmed (rule unknown-is-not-down). Fencing steps come with the fencing layer; the states are here so that nothing
has to be re-thought then.
"""

from __future__ import annotations

from states.table import Row
from states.vocabulary import By, Node

N = Node

TABLE: tuple[Row, ...] = (
    #   event        from           to             by
    Row("lost",      N.REACHABLE,   N.UNREACHABLE, By.FEARED),
    Row("answers",   N.UNREACHABLE, N.REACHABLE,   By.AWAITED, deadline=60, because="the node may be booting"),
    Row("shot",      N.UNREACHABLE, N.FENCING,     By.FEARED),
    Row("confirmed", N.FENCING,     N.FENCED,      By.AWAITED, deadline=60, because="the power device confirms"),
    Row("missed",    N.FENCING,     N.UNREACHABLE, By.FEARED),
    Row("back",      N.FENCED,      N.REACHABLE,   By.AWAITED, deadline=300, because="the node boots"),
)
