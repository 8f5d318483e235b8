"""What is to be saved, from where, and what has to be true there."""

from __future__ import annotations

from attrs import frozen


@frozen
class SaveRequest:
    """One split brain, as it was assessed.

    `*_disk`: the backing devices. `*_identifiers`: current:bitmap:newer:older as a look had them (`str(side.identifiers)`,
    without the flags); the nodes are refused if they have others now. `mount`: where the survivor has the file system that is
    on the resource, "" if nowhere; it is frozen for the moment of the flush.

    `whole`: save all of the victim's device and not only what differs: a restore then needs no base. `compare`: read the
    survivor's disk as well, outside what is saved: equal checksums prove that nothing else differs (a survivor that goes on
    writing elsewhere meanwhile has another). `leases`: node, holder, epoch: where given, the steps that change something on
    that node ask for it right before.
    """

    resource: str
    minor: int
    victim: str
    survivor: str
    victim_disk: str
    survivor_disk: str
    victim_identifiers: str
    survivor_identifiers: str
    mount: str = ""
    whole: bool = False
    compare: bool = False
    leases: tuple[tuple[str, str, int], ...] = ()

    def disk(self, node: str) -> str:
        """Of one of the two."""
        return self.victim_disk if node == self.victim else self.survivor_disk

    def identifiers(self, node: str) -> str:
        """Of one of the two."""
        return self.victim_identifiers if node == self.victim else self.survivor_identifiers

    def lease(self, node: str) -> tuple[str, int]:
        """Holder and epoch on a node; ("", 0) where none is asked for."""
        return next(((holder, epoch) for name, holder, epoch in self.leases if name == node), ("", 0))
