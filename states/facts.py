"""What was seen: frozen values, each with the node it was seen on and when. What could not be seen is UNKNOWN.

Times are seconds of the orchestrator's own monotonic clock; sizes and out-of-sync are KiB, as DRBD counts them.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from attrs import field, frozen

from states.consent import Record
from states.evolve import evolve
from states.identifiers import Identifiers
from states.vocabulary import ConnectionState, Contents, DiskState, Ending, Layer, Metadata, Node, ReplicationState, Role

Settings = tuple[tuple[str, str], ...]
"""Pairs of option name and value, sorted by name: hashable, comparable, printable."""


class Generation(Enum):
    """Families of DRBD that differ in commands, identifiers and handshake."""

    __hash__ = object.__hash__  # as in `Word`

    V83 = "8.3"
    V84 = "8.4"
    V9 = "9"
    UNKNOWN = "unknown"


@frozen
class Trouble:
    """Why DRBD itself gave up on a connection, read from the kernel log. `setting` is "" where none is to blame."""

    text: str
    setting: str = ""
    uptime: float = 0.0  # seconds since that node's boot, the kernel log's own clock


@frozen
class LinkLog:
    """What a node's kernel log last said of a resource's connection. The log forgets: what is not in it may still have been.

    `answer`, `rule`: of the last handshake, as the kernel writes them (`uuid_compare()=100 by rule 90`). `outcome`: what it
    did about that, in its words. `ended`: how the last connection or attempt ended; `parted_at`: when they were last seen to
    part while connected. `attempts`: handshakes that led to nothing since. Times: seconds since that node's boot, or None.
    """

    answer: str = ""
    rule: str = ""
    handshake_at: float | None = None
    outcome: str = ""
    ended: Ending = Ending.UNKNOWN
    ended_at: float | None = None
    parted_at: float | None = None
    attempts: int = 0


@frozen
class Side:
    """One DRBD resource on one node.

    `configured`: the kernel knows the resource; None if that could not be seen. `running`: options of the live
    connection (`drbdsetup show`), empty where there is none. `identifiers` are None when unread, or when something has
    happened since they were read. `touched`: somebody had the backing device while DRBD had not (kept on the node);
    `mounted_behind`: and mounted what is on it. `users`: what stands on the DRBD device itself, and mounts of that.
    `filed`: connection settings in the node's resource file, which its next `drbdadm connect` or `up` uses.
    """

    node: str
    configured: bool | None = None
    role: Role = Role.UNKNOWN
    disk: DiskState = DiskState.UNKNOWN
    connection: ConnectionState = ConnectionState.UNKNOWN
    replication: ReplicationState = ReplicationState.UNKNOWN
    peer_role: Role = Role.UNKNOWN
    peer_disk: DiskState = DiskState.UNKNOWN
    suspended: bool = False
    size: int | None = None
    out_of_sync: int | None = None
    metadata: Metadata = Metadata.UNKNOWN
    contents: Contents = Contents.UNKNOWN
    signature: str = ""
    identifiers: Identifiers | None = None
    holders: tuple[str, ...] = ()
    touched: bool = False
    mounted_behind: bool = False
    backing_size: int | None = None
    running: Settings = ()
    trouble: Trouble | None = None
    link: LinkLog | None = None
    users: tuple[str, ...] = ()
    filed: Settings = ()

    @property
    def attached(self) -> bool:
        """A backing disk is in use by DRBD, in whatever condition."""
        return self.disk not in (DiskState.DISKLESS, DiskState.UNKNOWN, DiskState.FAILED, DiskState.DETACHING)

    @property
    def connected(self) -> bool:
        """The two sides talk."""
        return self.connection is ConnectionState.CONNECTED

    @property
    def trying(self) -> bool:
        """The kernel will connect by itself as soon as it can. Such a side counts as connected in every safety rule."""
        return self.connection not in (
            ConnectionState.MISSING, ConnectionState.STAND_ALONE, ConnectionState.UNKNOWN, ConnectionState.DISCONNECTING,
        )


@frozen
class LayerFact:
    """One layer of the stack on one node, with what was seen in words (or a diff, for a file that differs).

    `since`: the node's uptime in seconds when it began to hang; None where it does not, or nobody on the node knows.
    """

    name: str
    state: Layer
    detail: str = ""
    since: float | None = None


@frozen
class ClaimFact:
    """A DESTRUCTIVE operation claimed on a node. `running`: its shell is alive in this boot; `code` None: no outcome."""

    op_id: str
    step: str
    resource: str
    code: int | None
    running: bool


@frozen
class FencingFact:
    """A node that has to be off before this one goes on. `since`: this node's uptime when that was first asked for, seconds.

    `said`: why it is not off yet, in the fence agent's words; "" where no agent has failed.
    """

    victim: str
    since: float
    said: str = ""


@frozen
class NodeFacts:
    """Everything one look saw on one node. `boot_id` tells reboots apart; `uptime` and `ended` are the node's own
    clock when the look began and ended, seconds."""

    name: str
    state: Node
    seen_at: float = 0.0
    why: str = ""
    boot_id: str = ""
    hostname: str = ""
    uptime: float = 0.0
    ended: float = 0.0
    generation: Generation = Generation.UNKNOWN
    version: str = ""
    layers: tuple[LayerFact, ...] = ()
    sides: tuple[tuple[str, Side], ...] = ()
    claims: tuple[ClaimFact, ...] = ()
    fresh: bool = True
    off: tuple[str, ...] = ()  # nodes this one knows to be off: its fence agent, or a human, said so, and they were not seen since
    recoveries: tuple[Record, ...] = ()  # what it has on disk of recoveries from split brain
    unread: tuple[str, ...] = ()  # resources of which it has such a record that cannot be read: whom it names is not known
    fencing: tuple[FencingFact, ...] = ()
    maintenance: str = ""  # why nobody is to touch it unasked, as it has that on disk: "down", or a human's words; "" if nothing
    leased: str = ""  # who is at work on it under the lease; "" if nobody is

    @property
    def reachable(self) -> bool:
        """This look reached the node. False says nothing about what the node is doing."""
        return self.state is Node.REACHABLE

    def knows(self, resource: str) -> bool:
        """Whether the look was about this resource."""
        return resource in dict(self.sides)

    def side(self, resource: str) -> Side:
        """This node's side of a resource; all-unknown if it could not be seen."""
        for name, side in self.sides:
            if name == resource:
                return side
        return Side(self.name)

    def layer(self, name: str) -> LayerFact:
        """One layer; UNKNOWN if it could not be seen."""
        for fact in self.layers:
            if fact.name == name:
                return fact
        return LayerFact(name, Layer.UNKNOWN, "not seen")

    def record(self, resource: str) -> Record | None:
        """What this node has on disk of a recovery of that resource."""
        return next((record for record in self.recoveries if record.consent.resource == resource), None)

    def with_side(self, resource: str, side: Side, **more: Any) -> NodeFacts:
        """The same look with one side replaced, and other fields of the node."""
        return evolve(self, sides=tuple([(name, side if name == resource else old) for name, old in self.sides]), **more)

    def with_layer(self, fact: LayerFact) -> NodeFacts:
        """The same look with one layer replaced, or added where it had none."""
        kept = tuple(fact if old.name == fact.name else old for old in self.layers)
        return evolve(self, layers=kept if fact in kept else (*kept, fact))


@frozen
class ClusterFacts:
    """The newest look at each node, in the order of the configuration."""

    nodes: tuple[NodeFacts, ...] = field(default=())

    def node(self, name: str) -> NodeFacts:
        """Facts of one node. Raises KeyError for a name outside the cluster."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    @property
    def off(self) -> frozenset[str]:
        """Nodes that cannot be seen and that a node that can be seen knows to be off."""
        said = {name for node in self.nodes if node.reachable for name in node.off}
        return frozenset(node.name for node in self.nodes if not node.reachable and node.name in said)

    def sides(self, resource: str, nodes: tuple[str, ...]) -> tuple[Side, ...]:
        """Both sides of a resource, in the order of `nodes`."""
        return tuple(self.node(name).side(resource) for name in nodes)

    def replace(self, node: NodeFacts) -> ClusterFacts:
        """The same cluster with a newer look at one node."""
        return ClusterFacts(tuple([node if old.name == node.name else old for old in self.nodes]))
