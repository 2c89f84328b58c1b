"""Trees of boxes, and the join over them beside all tuples of rows."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.search.join import ENERGY, LATENCY, Boxes, branch_and_bound, grow


def rows_below(boxes: Boxes, box: int) -> list[int]:
    """The rows of a box, by walking down."""
    if boxes.first[box] < 0:
        return [int(boxes.last[box])]
    children = range(boxes.first[box], boxes.last[box])
    return [row for child in children for row in rows_below(boxes, child)]


def all_boxes(boxes: Boxes, box: int) -> list[int]:
    """A box and all below it."""
    if boxes.first[box] < 0:
        return [box]
    children = range(boxes.first[box], boxes.last[box])
    return [box, *(b for child in children for b in all_boxes(boxes, child))]


@given(
    many=st.lists(st.integers(1, 90), min_size=1, max_size=3),
    width=st.integers(2, 5),
    spread=st.sampled_from((1, 3, 1000)),
    split=st.sampled_from((0, 1, 2)),
    seed=st.integers(0, 1 << 30),
)
def test_a_tree_has_each_row_once_and_bounds_what_is_below(
    many: list[int], width: int, spread: int, split: int, seed: int
) -> None:
    """Parts that are kept apart have one value of their column each."""
    draw = np.random.default_rng(seed)
    tables = [draw.integers(0, spread, (n, width)).astype(float) for n in many]
    sign = np.where(draw.random(width) < 0.3, -1.0, 1.0)
    apart = [[[0] if split else [], [1] if split == 2 else []] for _ in many]
    boxes, parts = grow(tables, [sign] * len(many), apart)
    for table, root, part in zip(tables, boxes.root, parts, strict=True):
        assert sorted(rows_below(boxes, root)) == list(range(len(table)))
        for box in all_boxes(boxes, root):
            below = table[rows_below(boxes, box)]
            least = np.where(sign > 0, below.min(axis=0), below.max(axis=0))
            np.testing.assert_array_equal(boxes.low[box, :width], least)
        assert split or not part
        for value, box in part.items():
            expected = np.flatnonzero(table[:, 0] == value).tolist()
            assert sorted(rows_below(boxes, box)) == expected


@pytest.mark.parametrize("order", [(ENERGY, LATENCY), (LATENCY, ENERGY)])
@given(seed=st.integers(0, 1 << 30))
def test_the_join_finds_the_least_of_all_tuples(order: tuple[int, int], seed: int) -> None:
    """Two tables, a cost of three products, two channels and a constraint, all counted out."""
    draw = np.random.default_rng(seed)
    tables = [draw.integers(1, 40, (int(n), 3)).astype(float) for n in draw.integers(1, 40, 2)]
    boxes, _ = grow(tables, [np.ones(3)] * 2, [[[], []]] * 2)
    energy, time = draw.integers(0, 5, 3).astype(float), draw.integers(0, 5, (2, 3)).astype(float)
    room = draw.integers(0, 3, (1, 3)).astype(float)
    limit = float(draw.integers(1, 2000))
    best, found = np.full(4, np.inf), np.full(3, -1, np.int64)
    fixed, reads = np.zeros(1), np.tile(np.arange(3), (1, 2, 1))
    _, bound = branch_and_bound(
        *(boxes.low, boxes.first, boxes.last, boxes.rows, boxes.root[None, :], reads),
        *(energy, fixed, time, np.zeros((1, 2)), room, np.array([[limit]]), 0.0),
        *(np.array(order), best, found, 1 << 40),
    )
    costs = []
    for a, b in product(*tables):
        p = a * b
        if float(room[0] @ p) <= limit:
            pair = (float(energy @ p), float((time @ p).max()))
            costs.append((pair[order[0]], pair[order[1]]))
    assert np.isinf(bound)
    if not costs:
        assert found[0] == -1
        return
    assert (best[0], best[1]) == min(costs)
    p = tables[0][found[1]] * tables[1][found[2]]
    assert (float(energy @ p), float((time @ p).max())) == (best[2], best[3])
