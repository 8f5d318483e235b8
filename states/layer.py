"""The machine of one layer of the stack on one node. Which layers there are, and what they need, is `stacks`' data."""

from __future__ import annotations

from states.goal import Direction, Do
from states.stacks import LayerSpec
from states.table import On, Row
from states.vocabulary import By, Layer

L = Layer
US, AWAITED, FEARED = By.US, By.AWAITED, By.FEARED
UP, DOWN = Direction.UP, Direction.DOWN
LOWER, TOP = ("layer-needs-lower", "no-discarding-config"), ("stop-from-top",)


def _file(spec: LayerSpec) -> bool:
    """Failed means that a file differs, and that can be written anew. Anything else that failed has a cause to be mended."""
    return spec.file


def _renews(spec: LayerSpec) -> bool:
    """It runs with older files than there are: started anew, it reads them."""
    return spec.renews


def _grows(spec: LayerSpec) -> bool:
    """Failed means that there is a size, and no way from it to the one that is wanted: the rule says why."""
    return spec.grows


TABLE: tuple[Row, ...] = (
    #   event         from        to          by       step            on       when   rules   layers  s  why  way
    Row("start",      L.DOWN,     L.UP,       US,      Do.START_LAYER, On.EACH, None,  LOWER, way=UP),
    Row("replace",    L.FAILED,   L.UP,       US,      Do.START_LAYER, On.EACH, _file, ("config-drift", "no-discarding-config"), way=UP),
    Row("renew",      L.FAILED,   L.UP,       US,      Do.START_LAYER, On.EACH, _renews, LOWER, way=UP),
    Row("resize",     L.FAILED,   L.UP,       US,      Do.START_LAYER, On.EACH, _grows, LOWER, way=UP),
    Row("started",    L.STARTING, L.UP,       AWAITED, deadline=60, way=UP),
    Row("answers",    L.HUNG,     L.UP,       AWAITED, deadline=60, way=UP),
    Row("stopped",    L.STOPPING, L.DOWN,     AWAITED, deadline=60),
    Row("stop",       L.UP,       L.DOWN,     US,      Do.STOP_LAYER,  On.EACH, None,  TOP, way=DOWN),
    Row("stop_half",  L.STARTING, L.DOWN,     US,      Do.STOP_LAYER,  On.EACH, None,  TOP, way=DOWN),
    Row("clear_away", L.FAILED,   L.DOWN,     US,      Do.STOP_LAYER,  On.EACH, None,  TOP, way=DOWN),
    Row("starts",     L.DOWN,     L.STARTING, FEARED),
    Row("breaks",     L.STARTING, L.FAILED,   FEARED),
    Row("wedges",     L.STARTING, L.HUNG,     FEARED),
    Row("released",   L.HUNG,     L.DOWN,     FEARED),
    Row("broke",      L.HUNG,     L.FAILED,   FEARED),
    Row("stops",      L.UP,       L.STOPPING, FEARED),
    Row("falters",    L.UP,       L.STARTING, FEARED),
    Row("hangs_at_once", L.DOWN,  L.HUNG,     FEARED),
    Row("went_down",  L.UP,       L.DOWN,     FEARED),
    Row("differs",    L.UP,       L.FAILED,   FEARED),
    Row("hangs",      L.UP,       L.HUNG,     FEARED),
    Row("spoiled",    L.DOWN,     L.FAILED,   FEARED),
    Row("removed",    L.FAILED,   L.DOWN,     FEARED),
    Row("lost_sight", L.UP,       L.UNKNOWN,  FEARED),
    Row("hidden",     L.DOWN,     L.UNKNOWN,  FEARED),
    Row("covered",    L.FAILED,   L.UNKNOWN,  FEARED),
    Row("gave_up",    L.STARTING, L.DOWN,     FEARED),
    Row("recovers",   L.HUNG,     L.STARTING, FEARED),
    Row("starts_unseen", L.STARTING, L.UNKNOWN, FEARED),
    Row("hangs_unseen", L.HUNG,   L.UNKNOWN,  FEARED),
    Row("seen_starting", L.UNKNOWN, L.STARTING, FEARED),
    Row("seen_hung",  L.UNKNOWN,  L.HUNG,     FEARED),
    Row("seen_up",    L.UNKNOWN,  L.UP,       FEARED),
    Row("seen_down",  L.UNKNOWN,  L.DOWN,     FEARED),
    Row("seen_failed", L.UNKNOWN, L.FAILED,   FEARED),
)
