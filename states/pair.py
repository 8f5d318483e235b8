"""Both sides of one resource at once, and what is asked about them. The tables' `when` columns are written in these words."""

from __future__ import annotations

from attrs import frozen

from states import handshake
from states.facts import ClusterFacts, Generation, Settings, Side
from states.goal import Ledger, Wanted
from states.handshake import Prediction, Terms, Verdict
from states.identifiers import same
from states.vocabulary import AfterSplit, DiskState, Metadata, ReplicationState, Role

AT_REST = frozenset({ReplicationState.ESTABLISHED, ReplicationState.VERIFY_S, ReplicationState.VERIFY_T})
SPLIT = frozenset({Verdict.SPLIT_BRAIN, Verdict.SPLIT_AUTO})


@frozen
class Pair:
    """Two sides, what is wanted of them, what this run has done, and what DRBD would decide if they met."""

    sides: tuple[Side, Side]
    wanted: Wanted
    ledger: Ledger
    prediction: Prediction

    @classmethod
    def of(cls, facts: ClusterFacts, wanted: Wanted, ledger: Ledger) -> Pair:
        """Read a resource out of the facts of its two nodes."""
        known = _last.get(wanted.name)
        if known is None or known.facts is not facts or known.wanted is not wanted:
            one, other = facts.sides(wanted.name, wanted.nodes)
            generations = {facts.node(name).generation for name in wanted.nodes}
            known = _last[wanted.name] = _Met(facts, wanted, (one, other), meet(one, other, wanted, generations))
        return cls(known.sides, wanted, ledger, known.prediction)

    @property
    def primaries(self) -> tuple[Side, ...]:
        """Sides that are Primary."""
        return tuple(side for side in self.sides if side.role is Role.PRIMARY)

    @property
    def unseen(self) -> bool:
        """A side could not be seen."""
        return any(side.configured is None for side in self.sides)

    @property
    def met(self) -> bool:
        """Both sides say they are connected."""
        return all(side.connected for side in self.sides)

    @property
    def at_rest(self) -> bool:
        """Connected, UpToDate on both, and nothing is being copied."""
        return self.met and all(
            side.disk is DiskState.UP_TO_DATE and side.replication in AT_REST for side in self.sides
        )


@frozen
class _Met:
    """What the last pair of a resource was made of. One turn asks many times about the same facts: for speed, and nothing else."""

    facts: ClusterFacts
    wanted: Wanted
    sides: tuple[Side, Side]
    prediction: Prediction


_last: dict[str, _Met] = {}


def meet(one: Side, other: Side, wanted: Wanted, generations: set[Generation]) -> Prediction:
    """What DRBD would decide if these two sides connected now, under the configured terms. Unread is UNKNOWN."""
    first, second = contender(one), contender(other)
    if first is None or second is None:
        return _unknown("identifiers were not read on " + " and ".join(s.node for s in (one, other) if s.identifiers is None))
    if len(generations) != 1 or Generation.UNKNOWN in generations:
        return _unknown("the nodes' versions of DRBD differ, or could not be read")
    return handshake.predict(first, second, terms(wanted, generations.pop()))


def _unknown(why: str) -> Prediction:
    return Prediction(Verdict.UNKNOWN, ("", ""), why, discards=None)


def terms(wanted: Wanted, generation: Generation) -> Terms:
    """The configured terms of a handshake."""
    return terms_of(wanted.net, generation)


def terms_of(settings: Settings, generation: Generation) -> Terms:
    """The terms of a handshake that these settings are. Raises ValueError for a generation that is not known."""
    said = dict(settings)
    zero, one, two = (AfterSplit.read(said.get(f"after-sb-{n}pri", "disconnect")) for n in range(3))
    return Terms(
        handshake.Generation(generation.value), zero, one, two,
        allow_two_primaries=said.get("allow-two-primaries") == "yes", protocol=said.get("protocol", "C"),
        data_integrity_alg=said.get("data-integrity-alg", ""),
    )


def contender(side: Side) -> handshake.Side | None:
    """A side as the handshake will see it; None if its identifiers are unread."""
    if side.identifiers is None:
        return None
    if not side.attached:
        return handshake.Side.detached(side.identifiers, None, name=side.node)
    return handshake.Side(side.identifiers, side.role, side.disk, side.out_of_sync, name=side.node)


def side_missing_metadata(side: Side) -> bool:
    """No metadata on the device, and DRBD does not use it either."""
    return side.metadata is Metadata.MISSING and not side.attached


def blank_pair(pair: Pair) -> bool:
    """Neither side's data has ever been declared good."""
    return all(side.identifiers is not None and side.identifiers.just_created for side in pair.sides)


def identifiers_read(pair: Pair) -> bool:
    """Both sides' identifiers are known and nothing has happened since."""
    return all(side.identifiers is not None for side in pair.sides)


def identifiers_differ(pair: Pair) -> bool:
    """Both are known and name different data."""
    one, other = (side.identifiers for side in pair.sides)
    return one is not None and other is not None and not same(one.current, other.current)
