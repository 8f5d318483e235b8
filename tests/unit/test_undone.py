"""What a run that was cut short says it has left undone."""

from __future__ import annotations

from pathlib import Path

from states.undone import undone
from states.vocabulary import Layer
from tests.unit.stack_cluster import ONE, OTHER, away, facts_of, goal_of, loaded, with_layer


def test_nothing_is_left_where_everything_is_up(tmp_path: Path) -> None:
    config = loaded(tmp_path)
    assert undone(goal_of(config), facts_of(config)) == ()


def test_layers_that_are_not_up_are_named_on_each_node_and_who_cannot_be_seen(tmp_path: Path) -> None:
    config = loaded(tmp_path)
    seen = with_layer(facts_of(config), "samba", Layer.DOWN)
    seen = with_layer(seen, "mount opt", Layer.HUNG, nodes=(ONE,))
    assert undone(goal_of(config), seen) == (f"not up on {ONE}: mount opt, samba", f"not up on {OTHER}: samba")
    state, *rest = undone(goal_of(config), away(seen))
    assert state.startswith("r0 is ")
    assert rest == [f"not up on {ONE}: mount opt, samba", f"{OTHER} cannot be seen"]
