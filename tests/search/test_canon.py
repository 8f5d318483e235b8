"""States that differ only in names are one state, and what was seen keeps its relation to the world."""

from __future__ import annotations

from attrs import evolve

from fixtures.search.canon import GONE, canonical, name
from fixtures.search.names import settle_names
from fixtures.search.starts import healthy, skipped
from fixtures.search.state import World, good, tidy
from fixtures.search.truth import Truth
from fixtures.search.view import look, with_defaults
from fixtures.sim.drbd import kernel, verbs
from fixtures.sim.drbd.kernel import STEP
from fixtures.sim.drbd.settle import rotated
from fixtures.sim.drbd.values import Meta, Pair, identifier
from states.facts import Generation
from states.identifiers import JUST_CREATED

NET = with_defaults((("allow-two-primaries", "yes"), ("protocol", "C")))


def named(pair: Pair, *counts: int) -> Pair:
    """Both halves' metadata made of these identifiers: current, bitmap of the first; current of the second."""
    one, bitmap, other = (identifier(count) for count in counts)
    return pair.change(0, meta=Meta(one, bitmap)).change(1, meta=Meta(other))


def test_names_are_by_first_occurrence() -> None:
    pair = healthy(Generation.V84, NET, 0)
    first, _ = canonical(named(pair, 70, 80, 80), -1)
    second, _ = canonical(named(pair, 5, 6, 6), -1)
    third, _ = canonical(named(pair, 5, 6, 5), -1)
    assert first == second
    assert first != third


def test_the_step_of_a_source_is_kept() -> None:
    pair = named(healthy(Generation.V84, NET, 0), 7, 8, 8)
    meta = pair.halves[0].meta
    assert meta is not None
    stepped = pair.change(0, meta=evolve(meta, bitmap=(meta.bitmap + STEP) % 2**64))
    one, _ = canonical(pair, -1)
    other, _ = canonical(stepped, -1)
    assert one != other


def test_facts_follow_a_renaming_and_what_is_gone_stays_known() -> None:
    world, _ = tidy(World(healthy(Generation.V84, NET, 1), Truth.equal(healthy(Generation.V84, NET, 1))), -1)
    seen = look(world, 0)
    new = rotated(world.pair, 0).halves[0].meta
    assert new is not None
    alone = evolve(new, bitmap=0, newer=0, older=0)  # the old names are nowhere any more
    renewed = world.pair.change(0, meta=alone).change(1, meta=alone)
    now, renaming = tidy(evolve(world, pair=renewed), world.pair.born)
    assert renaming is not None
    (fresh, _), _ = settle_names(renaming, (seen, None), ())
    assert fresh is not None
    old, present = fresh.side("r0").identifiers, look(now, 0).side("r0").identifiers
    assert old is not None
    assert present is not None
    assert old.current & ~1 == name(GONE)
    assert present.current & ~1 == name(1)


def test_what_a_kernel_takes_its_peer_for_is_renamed_with_the_rest() -> None:
    pair = skipped(Generation.V84, NET)
    one, _ = canonical(pair, -1)
    again, _ = canonical(rotated(rotated(pair, 0), 1), -1)
    for now in (one, again):
        heard = {number for half in now.halves for number in half.heard or ()}
        assert heard
        assert heard <= {0, JUST_CREATED, *(name(count) for count in range(1, now.born + 1))}


def test_a_copy_after_a_skipped_first_one_leaves_no_healthy_pair() -> None:
    """Seen on real kernels (scenario skip_new_and_up_to_date): connected, UpToDate, and one side calls itself just created."""
    pair = verbs.invalidate(skipped(Generation.V84, NET), 0)
    while kernel.happenings(pair):
        pair = kernel.happen(pair, kernel.happenings(pair)[0])
    world = World(pair, Truth.equal(pair))
    meta = pair.halves[0].meta
    assert good(world)
    assert meta is not None
    assert meta.current & ~1 == JUST_CREATED
    assert not world.healthy(2)
