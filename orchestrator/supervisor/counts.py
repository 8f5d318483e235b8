"""Names of the totals in `Picture.counts`: what has come in since the start, and what it took."""

from __future__ import annotations

LINES = "lines"            # said by the followers of all nodes
EVENTS = "events"          # of them, pushed by DRBD
LOGGED = "logged"          # ... lines of kernel and journal that mean something
GAPS = "gaps"              # streams that broke
OVERFLOWS = "overflows"    # ... because more came than could be taken in
LOOKS = "looks"
GLANCES = "glances"        # counters read, where nothing pushes them
MOVES = "moves"
SURPRISES = "surprises"    # moves that no table has

ALL = (LINES, EVENTS, LOGGED, GAPS, OVERFLOWS, LOOKS, GLANCES, MOVES, SURPRISES)
