"""Ways through the layers of a network against all residencies of all its tensors, one by one."""

from __future__ import annotations

from itertools import product

import pytest

from dataflow.mapper import ways
from dataflow.mapper.modes import LayerMode
from dataflow.mapper.tensors import Access, TensorPlan
from dataflow.mapper.ways import State, Ways
from dataflow.tiling.columns import Mode

LINE = 16
LAYERS = 4
MODE = Mode("resident", "none", True, False)


def plan(root: str, writers: tuple[int, ...], readers: tuple[int, ...], size: int) -> TensorPlan:
    """A tensor that layers make, or that lies in DRAM, and that layers read."""
    reads = tuple(Access(layer, "source") for layer in readers)
    return TensorPlan(root, (root,), size, LINE, LINE, not writers, False, writers, reads)


PLANS = {
    "x": plan("x", (), (0, 2), 32),
    "a": plan("a", (0,), (1, 3), 64),
    "b": plan("b", (1,), (2,), 16),
    "c": plan("c", (2,), (3,), 48),
}
MODES = (
    (LayerMode(MODE, ()),),
    (LayerMode(MODE, (("a", 0, True),)), LayerMode(MODE, (("a", 0, False), ("b", 0, True)))),
    (LayerMode(MODE, (("x", 1, True),)), LayerMode(MODE, (("b", 0, False),))),
    (LayerMode(MODE, (("a", 1, True), ("c", 0, True))), LayerMode(MODE, ())),
)

Step = tuple[State, int, State, int]


def walked(found: Ways) -> list[set[Step]]:
    """Every step of each layer, from the states that the layers before lead to."""
    states: list[State] = [()]
    steps: list[set[Step]] = []
    for layer, modes in enumerate(MODES):
        own = {(s, *way) for s in states for way in found.through(layer, modes, s)}
        assert own == {(s, *way) for s in states for way in found.through(layer, modes, s)}
        steps.append(own)
        states = sorted({step[2] for step in own})
    return steps


def listed(capacity: int) -> list[set[Step]]:
    """The same from every number of resident reads of every tensor."""
    last = {root: p.readers[-1].layer for root, p in PLANS.items()}
    first = {root: p.readers[0].layer if p.external else p.writers[0] for root, p in PLANS.items()}
    steps: list[set[Step]] = [set() for _ in range(LAYERS)]

    def state(counts: dict[str, int], behind: int) -> State:
        return tuple(
            sorted((r, n) for r, n in counts.items() if first[r] <= behind and last[r] > behind)
        )

    def used(counts: dict[str, int], layer: int) -> int:
        """Bytes of what is kept for a read at or behind the layer, and is there already."""
        total = 0
        for root, p in PLANS.items():
            ahead = [n for n, read in enumerate(p.readers) if read.layer >= layer]
            if first[root] <= layer and ahead and counts[root] > ahead[0]:
                total += p.bytes
        return total

    def goes(mode: LayerMode, counts: dict[str, int]) -> bool:
        return all((counts[root] > number) == value for root, number, value in mode.needs)

    for numbers in product(*(range(len(p.readers) + 1) for p in PLANS.values())):
        counts = dict(zip(PLANS, numbers, strict=True))
        for chosen in product(*(range(len(m)) for m in MODES)):
            for layer, position in enumerate(chosen):
                if not goes(MODES[layer][position], counts) or used(counts, layer) > capacity:
                    break
                after = state(counts, layer)
                steps[layer].add((state(counts, layer - 1), position, after, used(counts, layer)))
    return steps


@pytest.mark.parametrize("kept", [0, ways.KEPT])
@pytest.mark.parametrize("capacity", [1000, 112, 96])
def test_every_residency_is_a_way(
    kept: int, capacity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "KEPT", kept)
    found = walked(Ways(PLANS, LINE, capacity))
    assert found == listed(capacity)
    assert sum(map(len, found)) > 20
