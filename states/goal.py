"""What is wanted, what the run has already tried, and one step of the way: the values `decide` works on."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

from attrs import evolve, field, frozen

from states.consent import Consent
from states.facts import ClusterFacts, Settings
from states.identifiers import Identifiers
from states.stacks import Stack, spec


class Direction(Enum):
    """Which way the stack is to move."""

    __hash__ = object.__hash__  # as in `Word`

    UP = "up"
    DOWN = "down"


class Do(Enum):
    """Kinds of steps. How each is said to a node is `orchestrator/drbd`'s knowledge, not ours."""

    __hash__ = object.__hash__

    START_LAYER = "start-layer"
    STOP_LAYER = "stop-layer"
    CREATE_METADATA = "create-metadata"
    ATTACH = "attach"
    CONNECT = "connect"
    FORCE_PRIMARY = "force-primary"
    CLEAR_BITMAP = "clear-bitmap"
    PROMOTE = "promote"
    DEMOTE = "demote"
    TAKE_DOWN = "take-down"
    PROMOTE_ALONE = "promote-alone"
    RELEASE = "release-backing"
    DISTRUST = "distrust"
    RECORD_CONSENT = "record-consent"
    SAVE = "save-changes"
    RECORD_ARCHIVE = "record-archive"
    DISCARD = "discard-changes"
    FORGET = "forget-recovery"
    VERIFY = "verify"
    POWER_CYCLE = "power-cycle"


DESTRUCTIVE = frozenset({Do.CREATE_METADATA, Do.FORCE_PRIMARY, Do.CLEAR_BITMAP, Do.DISTRUST, Do.DISCARD})
"""Steps that end something for ever if they are wrong: claimed on the node, at most once per operation id."""


@frozen
class Wanted:
    """One DRBD resource as the configuration wants it. `nodes` are exactly two; the first is promoted first.

    `net`: connection settings both sides must run. Deadlines and the stall limit are seconds.
    """

    name: str
    nodes: tuple[str, str]
    primaries: int = 2
    skip_initial_sync: bool = False
    net: Settings = ()
    fencing: str = "dont-care"
    accept_no_fencing: bool = False
    accept_auto_discard: bool = False
    connect_deadline: float = 60.0
    stall_after: float = 60.0
    layers: tuple[str, ...] = ()
    repairs: bool = False  # a backing disk that was in use behind DRBD's back is mended where nothing is lost by it

    def setting(self, name: str, default: str = "") -> str:
        """One connection setting as wanted."""
        return dict(self.net).get(name, default)


@frozen
class Goal:
    """What one run is to reach.

    `stack`: the layers above DRBD, None where DRBD is all there is. `only`: nodes that take part, all if empty. `degraded`:
    nodes that were confirmed to be off need not be seen, and their peers may serve alone. `consents`: whose changes may go.
    `unasked`: no human asked for this run (rule nobody-asked). `leave`: machines that are left as they are, by their names:
    a resource, or "LAYER on NODE".
    """

    direction: Direction
    resources: tuple[Wanted, ...]
    apply_config: bool = False
    stack: Stack | None = None
    only: frozenset[str] = field(default=frozenset())
    degraded: bool = False
    consents: tuple[Consent, ...] = ()
    unasked: bool = False
    leave: frozenset[str] = field(default=frozenset())

    def for_victim(self, node: str) -> Goal:
        """What is wanted of a node whose changes are to be saved and discarded: that it stands still, by itself."""
        return evolve(self, direction=Direction.DOWN, only=frozenset({node}))

    def at(self, step: Step) -> Goal:
        """The goal this step serves: a split brain's victim is taken down on the way up."""
        victims = {one.victim for one in self.consents}
        stops = step.do in (Do.DEMOTE, Do.TAKE_DOWN, Do.STOP_LAYER)
        return self.for_victim(step.node) if stops and step.node in victims and self.direction is Direction.UP else self

    def acting(self, nodes: tuple[str, ...], facts: ClusterFacts) -> tuple[str, ...]:
        """Those of these nodes that this run moves."""
        gone = self.gone(facts)
        return tuple(node for node in nodes if node not in gone and (not self.only or node in self.only))

    def gone(self, facts: ClusterFacts) -> frozenset[str]:
        """Nodes this run does without: confirmed to be off, and that was allowed."""
        return facts.off if self.degraded else frozenset()


@frozen
class Step:
    """One thing for one node to do."""

    do: Do
    node: str
    resource: str
    layer: str = ""
    because: str = ""
    expect: str = ""  # identifiers this side must still have when the step runs; "" where the step brings its own proof
    event: str = ""   # the table row this step is
    replaces: bool = False  # the kernel knows the resource already: only what is missing is added
    says: str = ""    # what is written down on the node, or names the consent this step stands on

    @property
    def key(self) -> str:
        """Names the step within one plan: the same facts give the same key."""
        return _key(self.do, self.layer, self.resource, self.node)

    @property
    def claims(self) -> str:
        """What a claim of this step on a node is about: the resource, or the layer."""
        return self.resource or self.layer.replace(" ", "-")

    @property
    def lane(self) -> str:
        """Steps of one lane of one node are carried out one after the other; lanes run at the same time."""
        return self.resource or self.layer.partition(" ")[2] or "stack"

    @property
    def destructive(self) -> bool:
        """Claimed on the node before it runs."""
        return self.do in DESTRUCTIVE or (self.resource == "" and spec(self.layer).once and self.do is Do.START_LAYER)


@lru_cache(1024)
def _key(do: Do, layer: str, resource: str, node: str) -> str:
    return ":".join(part.replace(" ", "-") for part in (do.value, layer, resource, node) if part)


def ends_for_ever(key: str) -> bool:
    """A step's key names a DESTRUCTIVE one."""
    do, _, rest = key.partition(":")
    made_once = do == Do.START_LAYER.value and rest.count(":") == 1 and spec(rest.partition(":")[0].replace("-", " ", 1)).once
    return made_once or any(do == one.value for one in DESTRUCTIVE)


@frozen
class Ledger:
    """What the journal remembers that no look can show.

    `sent`: keys of steps sent in this run, with the node's uptime (s) when they began. `in_flight`: keys not yet
    answered. `failed`: key and what was seen. `chosen`: per resource, the node picked where one had to be.
    """

    sent: tuple[tuple[str, float], ...] = ()
    in_flight: frozenset[str] = field(default=frozenset())
    failed: tuple[tuple[str, str], ...] = ()
    chosen: tuple[tuple[str, str], ...] = ()
    newest: tuple[tuple[str, str, Identifiers], ...] = ()  # resource, node, identifiers: the last that any run saw there
    stalled: frozenset[str] = field(default=frozenset())
    archives: tuple[tuple[str, str], ...] = ()  # resource, and where this run has saved and verified its victim's changes

    def archived(self, steps: tuple[Step, ...]) -> tuple[tuple[str, str], ...]:
        """The archives that these steps leave valid: a side that has to be demoted was writing again since it was saved."""
        written = {step.resource for step in steps if step.do is Do.DEMOTE}
        return tuple((resource, place) for resource, place in self.archives if resource not in written)

    def began(self, key: str) -> float | None:
        """The node's uptime when that step was last sent, seconds."""
        return dict(self.sent).get(key)


@frozen
class Reached:
    """The goal is what is seen. `warnings` are for people."""

    warnings: tuple[str, ...] = ()


@frozen
class Steps:
    """Steps that may be sent now, all at once."""

    steps: tuple[Step, ...]


@frozen
class Waiting:
    """The world has to move. `deadline`: seconds this may take; None where progress is the measure."""

    event: str
    why: str
    deadline: float | None
    resource: str = ""
    nodes: tuple[str, ...] = ()
    layer: str = ""   # of the stack, where that is what has to move


@frozen
class Look:
    """Something has to be looked at (again) before anything may be decided."""

    nodes: tuple[str, ...]
    why: str


class Kind(Enum):
    """Whose fault a refusal is; the command line's exit code follows from it."""

    RULE = 3
    FAILED = 4
    DEADLINE = 5
    UNREACHABLE = 6


@frozen
class Refused:
    """No step may be taken. What was seen, which rule, what to type next."""

    rule: str
    what: str
    evidence: str
    remedy: str
    kind: Kind = Kind.RULE

    def __str__(self) -> str:
        return f"refused: {self.what}: {self.evidence} (rule {self.rule}); {self.remedy}"


Decision = Reached | Steps | Waiting | Look | Refused
