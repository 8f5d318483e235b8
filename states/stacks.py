"""Stack profiles as data: which layers a node has below and above DRBD, and what each of them needs on its own node.

Adding a layer is adding a line here, a probe that says its state, and the commands that start it.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class LayerSpec:
    """One layer. `needs`: layers of the same node that must be Up before it is started."""

    name: str
    needs: tuple[str, ...]
    start: str      # what starting it does, for the plan
    because: str


DRBD: tuple[LayerSpec, ...] = (
    #         layer     needs  starting it                                       why
    LayerSpec("config", (),    "write the resource file",                        "DRBD reads its resource from a file"),
    LayerSpec("module", (),    "load the kernel module",                         "nothing works without it"),
    LayerSpec("boot",   (),    "take DRBD's own units out of the boot",          "a boot-time `drbdadm up` can discard data before anyone looked"),
    LayerSpec("port",   (),    "open the replication port for the peer",         "a firewall is active and does not let the peer in"),
)

PROFILES: dict[str, tuple[LayerSpec, ...]] = {"drbd": DRBD}


def spec(name: str) -> LayerSpec:
    """The layer of that name. Raises KeyError for a layer no profile has."""
    for profile in PROFILES.values():
        for layer in profile:
            if layer.name == name:
                return layer
    raise KeyError(name)
