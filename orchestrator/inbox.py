"""What comes into an engine's queue: looks, answers, pushed lines, and what went wrong on the way."""

from __future__ import annotations

from anyio.streams.memory import MemoryObjectSendStream
from attrs import frozen

from orchestrator.errors import OrchestrateError
from orchestrator.executor import Sent
from orchestrator.remote import Answer
from orchestrator.streams import EventLine
from states.goal import Step


@frozen
class Looked:
    """A look came back."""

    answer: Answer
    asked_at: float


@frozen
class Answered:
    """Steps came back."""

    sent: Sent
    asked_at: float


@frozen
class Saved:
    """The victim's changes are in an archive."""

    step: Step
    place: str


@frozen
class Broke:
    """Steps could not be sent: a rule, or the journal."""

    error: OrchestrateError


Message = Looked | Answered | Saved | EventLine | Broke
Inbox = MemoryObjectSendStream[Message]
