"""Errors that end a command, each with the exit code it means.

    OrchestrateError
      ConfigError           2   file, key, what was expected
      RefusedError          3   a named safety rule (4, 5, 6 where the refusal says so)
      StepFailedError       4   what a node said to a single command
      LeaseHeldError       75   another orchestrator is at work on this cluster
      NotAgreedError      130   a human was asked, and said no

A bug is any other exception: exit 1, the traceback goes to the log and not to the screen.
"""

from __future__ import annotations

from states.goal import Refused


class OrchestrateError(Exception):
    """Something that is said in one line; `code` is the process's exit code."""

    code = 1


class ConfigError(OrchestrateError):
    """cluster.toml does not say what it must. One line: file, key, what was expected."""

    code = 2


class RefusedError(OrchestrateError):
    """No step may be taken. Carries the refusal."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(str(refused))
        self.refused = refused
        self.code = refused.kind.value


class StepFailedError(OrchestrateError):
    """A command of its own, outside any plan, failed on a node."""

    code = 4


class LeaseHeldError(OrchestrateError):
    """Another orchestrator holds this cluster's lease."""

    code = 75


class NotAgreedError(OrchestrateError):
    """A human was asked before something was done, and said no: nothing was."""

    code = 130


class YieldedError(LeaseHeldError):
    """A command asked for the lease of a run that nobody asked for: the command goes first."""
