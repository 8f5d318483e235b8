"""One recovery from split brain, from what was agreed to the pair serving again: the engine does the steps, this saves.

The archive is made on this machine, below the folder that was named, under a name that is the same each time: a run that was
killed goes on with what is there.
"""

from __future__ import annotations

import socket
from pathlib import Path

import anyio
from attrs import evolve, frozen

from orchestrator.config import Config
from orchestrator.errors import OrchestrateError
from orchestrator.executor import Leases
from orchestrator.recovery.account import name_of
from orchestrator.recovery.archive import Archive
from orchestrator.recovery.file_report import clear_views, report
from orchestrator.recovery.manifest import Manifest
from orchestrator.recovery.request import SaveRequest
from orchestrator.recovery.save import save
from orchestrator.recovery.saved_files import LIST, save_files
from orchestrator.remote import Remote
from orchestrator.watch import Watch
from states.consent import NOT_SAVED, Consent
from states.facts import ClusterFacts
from states.goal import Step
from states.identifiers import Identifiers
from states.vocabulary import Layer


@frozen
class Sides:
    """A resource, and which node is looked at as which."""

    resource: str
    victim: str
    survivor: str


@frozen
class Saving:
    """Saves what a victim alone has, when the engine asks for it. `folder`: where archives go. `waived`: the reason not to."""

    config: Config
    remote: Remote
    folder: Path
    consents: tuple[Consent, ...]
    watch: Watch
    waived: str = ""

    async def __call__(self, step: Step, facts: ClusterFacts, leases: Leases = ()) -> str:
        """The place of the verified archive. Raises RefusedError and SaveFailedError: nothing may be discarded then."""
        consent = next(one for one in self.consents if one.resource == step.resource)
        await clear_views(self.remote, Sides(step.resource, *_victim_first(consent)))  # what a killed run has left
        if self.waived:
            return f"{NOT_SAVED}{self.waived}"
        into = self.folder / name_of(consent)
        await anyio.Path(self.folder).mkdir(parents=True, exist_ok=True)
        request = evolve(request_of(self.config, facts, consent), leases=leases)
        made = await save(self.remote, request, into, self.watch)
        try:
            await self._files(request, made, into)
        except OrchestrateError as error:  # the blocks are what counts: every byte of these files is in them
            self.watch.note(f"{request.resource}: its files are not saved by name: {error}; their blocks are saved, and verified")
        await clear_views(self.remote, request)  # nothing of ours may stand on the disk when DRBD takes it
        await save(self.remote, request, into, self.watch)  # that took its time: it is compared with the disk once more
        return f"{socket.gethostname()}:{into}"

    async def _files(self, request: SaveRequest, made: Manifest, into: Path) -> None:
        """The changed files by name, beside the blocks. Where a file system cannot be looked into, the blocks have to do: that is said."""
        if (into / LIST).exists():
            return
        found = await report(self.remote, request, made.victim.extents, made.survivor.extents)
        for why in found.unmapped:
            self.watch.note(f"{request.resource}: not looked into: {why}")
        if not found.to_save():
            self.watch.note(f"{request.resource}: no file of {request.victim} has to be saved by name")
            return
        saved = await save_files(self.remote, request, found, into)
        named = {"list": LIST, "tar": saved.tar.name, "count": len(saved.names)}
        await anyio.to_thread.run_sync(Archive.open(into).with_files, named)
        self.watch.note(f"{request.resource}: {len(saved.names)} files of {request.victim} saved by name: orchestrate splitbrain extract")


def _victim_first(consent: Consent) -> tuple[str, str]:
    survivor = next(node for node, _ in consent.shown if node != consent.victim)
    return consent.victim, survivor


def request_of(config: Config, facts: ClusterFacts, consent: Consent) -> SaveRequest:
    """What is to be saved, from where. Raises KeyError for a resource the configuration does not have."""
    _, survivor = _victim_first(consent)
    return SaveRequest(
        consent.resource, config.resource[consent.resource].minor, consent.victim, survivor,
        config.disk_of(consent.resource, consent.victim), config.disk_of(consent.resource, survivor),
        _numbers(facts, consent.victim, consent.resource), _numbers(facts, survivor, consent.resource),
        _mount(config, facts, survivor, consent.resource),
    )


def _numbers(facts: ClusterFacts, node: str, resource: str) -> str:
    """As the node has them now, the Primary bit included: it is asked whether it still has just these."""
    found = facts.node(node).side(resource).identifiers or Identifiers(0, 0, (0, 0), frozenset())
    return str(found)


def _mount(config: Config, facts: ClusterFacts, node: str, resource: str) -> str:
    """Where the node has the resource's file system mounted; "" if nowhere."""
    for name, section in config.filesystem.items():
        if section.resource == resource and facts.node(node).layer(f"mount {name}").state is Layer.UP:
            return section.mount
    return ""
