"""Look before you connect: what DRBD will decide when two sides meet, from what each brings.

Pure, and never a guess.
"""

from __future__ import annotations

from states.handshake.predict import predict
from states.handshake.terms import (
    CONNECTING,
    Generation,
    Prediction,
    Refusal,
    RrConflict,
    Side,
    Terms,
    Verdict,
    discards_nothing,
    incompatible,
)

__all__ = [
    "CONNECTING",
    "Generation",
    "Prediction",
    "Refusal",
    "RrConflict",
    "Side",
    "Terms",
    "Verdict",
    "discards_nothing",
    "incompatible",
    "predict",
]
