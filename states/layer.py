"""The machine of one layer of the stack on one node. Which layers there are, and what they need, is `stacks`' data."""

from __future__ import annotations

from states.goal import Do
from states.table import On, Row
from states.vocabulary import By, Layer

L = Layer
US, AWAITED, FEARED = By.US, By.AWAITED, By.FEARED

TABLE: tuple[Row, ...] = (
    #   event         from        to          by       step            on       rules
    Row("start",      L.DOWN,     L.UP,       US,      Do.START_LAYER, On.EACH, None, ("layer-needs-lower", "no-discarding-config")),
    Row("replace",    L.FAILED,   L.UP,       US,      Do.START_LAYER, On.EACH, None, ("config-drift", "no-discarding-config")),
    Row("started",    L.STARTING, L.UP,       AWAITED, deadline=60),
    Row("stopped",    L.STOPPING, L.DOWN,     AWAITED, deadline=60),
    Row("answers",    L.HUNG,     L.UP,       AWAITED, deadline=60),
    Row("starts",     L.DOWN,     L.STARTING, FEARED),
    Row("stops",      L.UP,       L.STOPPING, FEARED),
    Row("went_down",  L.UP,       L.DOWN,     FEARED),
    Row("differs",    L.UP,       L.FAILED,   FEARED),
    Row("hangs",      L.UP,       L.HUNG,     FEARED),
    Row("lost_sight", L.UP,       L.UNKNOWN,  FEARED),
    Row("seen_up",    L.UNKNOWN,  L.UP,       FEARED),
    Row("seen_down",  L.UNKNOWN,  L.DOWN,     FEARED),
    Row("seen_failed", L.UNKNOWN, L.FAILED,   FEARED),
)
