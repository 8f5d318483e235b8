"""Stack profiles as data: the layers of a node, in the order they start, and what each of them needs.

Adding a layer is adding a line here, a probe that says its state, and the commands that start and stop it (docs/layers.md
shows it with NFS). DRBD's own roles are no layer: they are the pair's machine (`resource`), and lines here name them with
`data`: the node's own side must be Primary and UpToDate.
"""

from __future__ import annotations

from functools import cache

from attrs import evolve, field, frozen


@frozen
class LayerSpec:
    """One layer. `needs`: layers of the same node that must be Up before it is started.

    `stop`: what stopping it does; "" where it stays when the stack goes down (files, created things). `volume`: there is one
    for each file system. `data`: needs the node's own side of DRBD Primary and UpToDate. `once`: made by one node for all,
    never twice and never unmade. `copied`: made by the first node, the others get a copy. `joint`: done by one
    node for all, once all are ready; doing it again is no harm. `grows`: only where cluster.toml has a size in bytes. `votes`: a node without storage has it, too.
    `holds_role`: no Primary without it, so it is stopped after the last demotion. `file`: its Failed means "differs from cluster.toml", which `--apply-config` may replace. `renews`: its Failed means "runs with older files", and starting it anew cures that. `together`: started on all nodes at once or on none, for who starts alone harms the others. `deadline`: seconds.
    """

    name: str
    needs: tuple[str, ...]
    start: str      # what starting it does, for the plan
    because: str
    stop: str = ""
    volume: bool = False
    data: bool = False
    once: bool = False
    holds_role: bool = False
    file: bool = False
    copied: bool = False
    joint: bool = False
    votes: bool = False
    grows: bool = False
    renews: bool = False
    together: bool = False
    deadline: float = 60.0


DRBD: tuple[LayerSpec, ...] = (
    #         layer     needs  starting it                                       why
    LayerSpec("config", (),    "write the resource file",                        "DRBD reads its resource from a file", file=True),
    LayerSpec("module", (),    "load the kernel module",                         "nothing works without it", file=True),
    LayerSpec("boot",   (),    "take DRBD's own units out of the boot",          "a boot-time `drbdadm up` can discard data before anyone looked", file=True),
    LayerSpec("port",   (),    "open the replication port for the peer",         "a firewall is active and does not let the peer in", file=True),
)

MODERN: tuple[LayerSpec, ...] = (
    LayerSpec("packages", (), "", "the programs of the stack have to be there", votes=True),
    LayerSpec("files", ("packages",), "write the cluster's files", "corosync, dlm, LVM and Samba read what they do from files", file=True, votes=True),
    LayerSpec("authkey", ("packages",), "write the cluster's key", "only who has the key may be a member", file=True, copied=True,
              votes=True),
    LayerSpec("corosync", ("files", "authkey"), "start corosync and wait for quorum", "membership: without quorum nobody may lock",
              "stop corosync", renews=True, holds_role=True, votes=True),
    LayerSpec("dlm", ("corosync",), "start the lock manager", "GFS2 and LVM lock through it", "stop the lock manager", holds_role=True),
    LayerSpec("lvmlockd", ("dlm",), "start LVM's lock daemon", "a shared volume group is locked through it", "stop LVM's lock daemon"),
    LayerSpec("vg", ("lvmlockd",), "create the shared volume group", "blank: it becomes the file system's home", volume=True, data=True, once=True),
    LayerSpec("lockspace", ("lvmlockd", "vg"), "start the volume group's locks", "the group is shared", "stop the volume group's locks",
              volume=True, data=True),
    LayerSpec("lv", ("lockspace",), "create the logical volume", "the group has none of that name", volume=True, data=True, once=True),
    LayerSpec("active", ("lockspace", "lv"), "activate the logical volume, shared", "both nodes use it", "deactivate the logical volume", volume=True, data=True),
    LayerSpec("gfs2", ("active",), "make the GFS2 file system", "the volume is blank", volume=True, data=True, once=True, deadline=300.0),
    LayerSpec("mount", ("active", "gfs2"), "mount the file system", "it is to be served", "unmount the file system", volume=True, data=True,
              deadline=240.0),
    LayerSpec("extended", ("active",), "make the logical volume larger, on this node too", "cluster.toml wants it larger", volume=True, data=True,
              copied=True, grows=True),
    LayerSpec("grown", ("mount", "extended"), "grow the file system", "its volume has room that it does not use", volume=True, data=True,
              joint=True, grows=True, deadline=300.0),
)
"""What carries the shares. What serves them follows: one of SERVERS, all needing the mounts."""

SERVERS: dict[str, tuple[LayerSpec, ...]] = {
    "none": (),
    "plain": (
        LayerSpec("samba", ("mount",), "start smbd", "the shares are served", "stop smbd"),
    ),
    "ctdb": (
        LayerSpec("ctdb", ("mount",), "start ctdb and wait until it is healthy", "the nodes' smbd share their locks through it", "stop ctdb",
                  deadline=120.0),
        LayerSpec("samba", ("ctdb",), "start smbd", "the shares are served", "stop smbd"),
    ),
}
NFS = LayerSpec("nfs", ("mount",), "start the NFS server", "the exports are served", "stop the NFS server")

RHCS: tuple[LayerSpec, ...] = (
    LayerSpec("packages", (), "", "the programs of the stack have to be there"),
    LayerSpec("hosts", (), "", "cman finds its addresses by the nodes' names"),
    LayerSpec("files", ("packages",), "write the cluster's files", "cman, clvmd and Samba read what they do from files", file=True),
    LayerSpec("lvmconf", ("packages",), "have LVM lock through the cluster, and hide DRBD's disks from it",
              "one LVM that locks by itself, or sees the disk below DRBD, spoils what both share", file=True),
    LayerSpec("cman", ("hosts", "files"), "start cman and wait for quorum", "membership: both at once, for one that starts alone fences the other",
              "stop cman", holds_role=True, together=True, deadline=180.0),
    LayerSpec("version", ("cman",), "tell the running cluster of its new cluster.conf", "it goes on with the older one until it is told", together=True),
    LayerSpec("fenced", ("cman",), "join the fence domain", "nobody goes on until who was lost is fenced", "leave the fence domain",
              holds_role=True, deadline=120.0),
    LayerSpec("clvmd", ("fenced", "lvmconf"), "start clvmd", "both nodes' LVM lock through it", "stop clvmd"),
    LayerSpec("vg", ("clvmd",), "create the shared volume group", "blank: it becomes the file system's home", volume=True, data=True, once=True),
    LayerSpec("lv", ("clvmd", "vg"), "create the logical volume", "the group has none of that name", volume=True, data=True, once=True),
    LayerSpec("active", ("clvmd", "lv"), "activate the logical volume, shared", "both nodes use it", "deactivate the logical volume",
              volume=True, data=True),
    LayerSpec("gfs2", ("active",), "make the GFS2 file system", "the volume is blank", volume=True, data=True, once=True, deadline=300.0),
    LayerSpec("mount", ("active", "gfs2"), "mount the file system", "it is to be served", "unmount the file system", volume=True, data=True,
              deadline=240.0),
    LayerSpec("rgmanager", ("mount",), "start rgmanager", "it looks after the cluster's services", "stop rgmanager"),
)
"""Fedora 14 and RHEL 6: cman carries corosync, fenced and dlm_controld; clvmd locks for LVM. A volume group's locks are clvmd's, so
there is no lockspace to start for each."""

STACKS: dict[str, tuple[LayerSpec, ...]] = {"modern": MODERN, "rhcs": RHCS}
"""What `profile` in cluster.toml chooses from."""
PROFILES: dict[str, tuple[LayerSpec, ...]] = {"drbd": DRBD, "modern": (*MODERN, *SERVERS["ctdb"], NFS), "rhcs": (*RHCS, *SERVERS["plain"])}
MEMBERSHIPS = ("corosync", "cman")
"""The layer that knows who is a member and whether they may go on: a stack has one of them."""
LOCKS = {"modern": ("corosync", "dlm"), "rhcs": ("cman", "fenced")}
"""What has to be Up before anybody becomes Primary."""


@cache
def spec(name: str) -> LayerSpec:
    """The layer of that name; `mount opt` is the layer `mount` of file system opt. Raises KeyError for a layer no profile has."""
    kind = name.partition(" ")[0]
    for profile in PROFILES.values():
        for layer in profile:
            if layer.name == kind:
                return layer
    raise KeyError(name)


@frozen
class Placed:
    """One layer as it stands in one cluster: `needs` name other placed layers; `nodes` are those that have it.

    `resource` is the DRBD resource below a file system's layers, "" for the cluster's own.
    """

    name: str
    spec: LayerSpec
    needs: tuple[str, ...]
    nodes: tuple[str, ...]
    resource: str = ""


@frozen
class Volume:
    """A file system to be: its name, the DRBD resource it lives on, and the nodes that have a copy of that.

    `sized`: cluster.toml says how large it is to be, so it may have to grow.
    """

    name: str
    resource: str
    nodes: tuple[str, ...]
    sized: bool = False


@frozen(cache_hash=True)  # what is worked out for a stack is kept by it
class Stack:
    """Every layer above (and beside) DRBD in one cluster, lowest first. `fencing`: agent, manual or none.

    `voters`: those of the nodes that have no storage: they count for the quorum, and never lock, mount or write. `profile`: which of
    STACKS it is made of.
    """

    layers: tuple[Placed, ...] = ()
    nodes: tuple[str, ...] = ()
    fencing: str = "none"
    accept_no_fencing: bool = False
    voters: tuple[str, ...] = ()
    profile: str = "modern"
    _by_name: dict[str, Placed] = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {placed.name: placed for placed in self.layers})

    def placed(self, name: str) -> Placed:
        """The layer of that name. Raises KeyError."""
        return self._by_name[name]

    def below(self, name: str) -> tuple[Placed, ...]:
        """Every layer this one needs, directly or not, lowest first."""
        names = set(self.placed(name).needs)
        for placed in reversed(self.layers):
            if placed.name in names:
                names.update(placed.needs)
        return tuple(placed for placed in self.layers if placed.name in names)

    def above(self, name: str) -> tuple[Placed, ...]:
        """Every layer that needs this one, directly or not."""
        found: list[Placed] = []
        names = {name}
        for placed in self.layers:  # lowest first: whoever needs it comes later
            if names & set(placed.needs):
                names.add(placed.name)
                found.append(placed)
        return tuple(found)


def build(
    specs: tuple[LayerSpec, ...], volumes: tuple[Volume, ...], nodes: tuple[str, ...], voters: tuple[str, ...] = ()
) -> tuple[Placed, ...]:
    """The profile's layers for these file systems: a layer with `volume` once for each; the others once for the cluster.

    A cluster's layer that needs a volume's layer needs all of them, and is on the nodes that have one. Of `voters`, who are none
    of `nodes`, it is on all or on none, as it says itself.
    """
    placed: list[Placed] = []
    for layer in specs:
        if layer.volume:
            placed += [_for_volume(layer, volume, specs) for volume in volumes if volume.sized or not layer.grows]
        else:
            needs = tuple(name for need in layer.needs for name in _instances(need, volumes, specs))
            home = tuple(node for node in nodes if not _on_volumes(layer, specs) or any(node in volume.nodes for volume in volumes))
            placed.append(Placed(layer.name, layer, needs, (*home, *(voters if layer.votes else ()))))
    return tuple(placed)


def _is_volume(name: str, specs: tuple[LayerSpec, ...]) -> bool:
    return next(layer.volume for layer in specs if layer.name == name)


def _on_volumes(layer: LayerSpec, specs: tuple[LayerSpec, ...]) -> bool:
    """It needs a file system, directly or not."""
    return any(_is_volume(need, specs) or _on_volumes(next(one for one in specs if one.name == need), specs) for need in layer.needs)


def _instances(need: str, volumes: tuple[Volume, ...], specs: tuple[LayerSpec, ...]) -> tuple[str, ...]:
    return tuple(f"{need} {volume.name}" for volume in volumes) if _is_volume(need, specs) else (need,)


def _for_volume(layer: LayerSpec, volume: Volume, specs: tuple[LayerSpec, ...]) -> Placed:
    needs = tuple(f"{need} {volume.name}" if _is_volume(need, specs) else need for need in layer.needs)
    return Placed(f"{layer.name} {volume.name}", layer, needs, volume.nodes, volume.resource)


def without(specs: tuple[LayerSpec, ...], name: str) -> tuple[LayerSpec, ...]:
    """The profile without one layer; who needed it needs what it needed."""
    gone = next(layer for layer in specs if layer.name == name)
    return tuple(
        evolve(layer, needs=tuple(dict.fromkeys(one for need in layer.needs for one in (gone.needs if need == name else (need,)))))
        for layer in specs if layer.name != name
    )


def plain_samba(stack: Stack | None) -> str:
    """What is wrong with two smbd that know nothing of each other; "" where there are not two."""
    names = {placed.name: placed for placed in stack.layers} if stack is not None else {}
    if "samba" not in names or "ctdb" in names or len(names["samba"].nodes) < 2:
        return ""
    return "two plain smbd serve one file system: they share no locks, so two people can open one file for writing and one's work is lost"
