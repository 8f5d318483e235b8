"""Facts for hypothesis: anything a look could say, and pairs that are close to healthy, where the interesting things are."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import Phase, note, settings
from hypothesis import strategies as st

from fixtures.situations import ATTACHED, BLANK, DOWN, HEALTHY, NAMES, NET, WANTED, node
from fixtures.situations.write import facts_text
from states.facts import ClaimFact, ClusterFacts, Generation, LayerFact, NodeFacts, Side, Trouble
from states.goal import Direction, Goal, Ledger, Wanted
from states.identifiers import FLAGS_84, JUST_CREATED, Identifiers
from states.vocabulary import ConnectionState, Contents, DiskState, Layer, Metadata, Node, ReplicationState, Role

STEADY = settings(max_examples=150, derandomize=True, deadline=None, database=None, phases=(Phase.explicit, Phase.generate))
"""The same examples in every run; not shrunk (it takes minutes): `shown` says what is not as in a healthy pair."""

NUMBERS = (0, JUST_CREATED, 0xA0, 0xA1, 0xB0, 0xC0, 0xD0)
numbers = st.sampled_from(NUMBERS)
identifiers = st.builds(
    Identifiers, numbers, numbers, st.tuples(numbers, numbers), st.frozensets(st.sampled_from(FLAGS_84), max_size=4),
)
SETTINGS = ((), NET, tuple(sorted({**dict(NET), "allow-two-primaries": "no"}.items())),
            tuple(sorted({**dict(NET), "after-sb-0pri": "discard-zero-changes"}.items())))
troubles = st.none() | st.builds(
    Trouble, st.just("incompatible protocol settings"), st.just("protocol"), st.sampled_from((0.0, 50.0, 500.0)),
)

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "configured": st.sampled_from((None, False, True)),
    "role": st.sampled_from(Role),
    "disk": st.sampled_from(DiskState),
    "connection": st.sampled_from(ConnectionState),
    "replication": st.sampled_from(ReplicationState),
    "peer_role": st.sampled_from(Role),
    "peer_disk": st.sampled_from(DiskState),
    "suspended": st.booleans(),
    "out_of_sync": st.sampled_from((None, 0, 40)),
    "metadata": st.sampled_from(Metadata),
    "contents": st.sampled_from(Contents),
    "identifiers": st.none() | identifiers,
    "holders": st.sampled_from(((), ("dm-0",))),
    "running": st.sampled_from(SETTINGS),
    "trouble": troubles,
}
CHANGES = st.fixed_dictionaries({}, optional=FIELDS)
any_side = st.fixed_dictionaries(FIELDS).map(lambda fields: Side("", **fields))


@st.composite
def near_side(draw: st.DrawFn) -> Side:
    """A side that is like one of the usual ones but for at most three values."""
    base = draw(st.sampled_from((HEALTHY, ATTACHED, DOWN, BLANK, evolve(HEALTHY, role=Role.SECONDARY))))
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=3, unique=True))
    return evolve(base, **{name: draw(FIELDS[name]) for name in names})


layers = st.sampled_from((Layer.UP, Layer.UP, Layer.UP, *Layer))
claims = st.sampled_from(((), (), (), (ClaimFact("op", "create-metadata", "r0", None, running=True),),
                          (ClaimFact("op", "create-metadata", "r0", 0, running=False),)))


@st.composite
def nodes(draw: st.DrawFn, name: str) -> NodeFacts:
    """One node, reachable or not."""
    if draw(st.integers(0, 9)) == 9:
        return NodeFacts(name, draw(st.sampled_from([state for state in Node if state is not Node.REACHABLE])), 1.0, "no answer")
    side = draw(near_side() | any_side)
    found = node(name).with_side("r0", evolve(side, node=name))
    for layer in WANTED.layers:
        found = found.with_layer(LayerFact(layer, draw(layers)))
    return evolve(found, claims=draw(claims), fresh=draw(st.booleans()), generation=draw(st.sampled_from((Generation.V84, *Generation))))


def shown(seen: ClusterFacts) -> ClusterFacts:
    """Printed when a test fails, in the words of a situation's facts.toml."""
    note(facts_text(seen))
    return seen


facts = st.tuples(*(nodes(name) for name in NAMES)).map(ClusterFacts).map(shown)
wanted = st.builds(
    lambda primaries, skip, net, **flags: evolve(WANTED, primaries=primaries, skip_initial_sync=skip, net=net, **flags),
    st.sampled_from((0, 1, 2)), st.booleans(), st.sampled_from(SETTINGS[1:]), accept_no_fencing=st.booleans(),
    accept_auto_discard=st.booleans(), layers=st.sampled_from((WANTED.layers, WANTED.layers[:3])),
)
goals = st.builds(lambda way, one, apply: Goal(way, (one,), apply), st.sampled_from(Direction), wanted, st.booleans())
KEYS = tuple(f"{do}:r0:{name}" for do in ("create-metadata", "attach", "connect", "force-primary", "promote", "demote", "take-down")
             for name in NAMES)
ledgers = st.builds(
    Ledger, sent=st.lists(st.tuples(st.sampled_from(KEYS), st.just(100.0)), max_size=2).map(tuple),
    in_flight=st.frozensets(st.sampled_from(KEYS), max_size=1), stalled=st.sampled_from((frozenset(), frozenset({"r0"}))),
    chosen=st.sampled_from(((), (("r0", NAMES[1]),), (("r0", "gone"),))),
)


def goal_of(one: Wanted, way: Direction = Direction.UP) -> Goal:
    """A run for one resource."""
    return Goal(way, (one,))
