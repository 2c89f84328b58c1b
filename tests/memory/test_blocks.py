"""Blocks: what is free behind them, and which states have the same future."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.memory.offsets.arrays import Ints
from dataflow.memory.offsets.blocks import holes, shape

Row = list[tuple[int, int]]
"""(bytes, last section) by offset; a last section of 0: free."""


def _laid(row: Row) -> tuple[int, Ints, Ints, Ints, Ints, Ints, int]:
    """(alive, ids, lows, highs, last, height, capacity), each in a block of its own."""
    sizes = np.array([size for size, _ in row], dtype=np.int64)
    last = np.array([end for _, end in row], dtype=np.int64)
    ids = np.flatnonzero(last > 0)
    ends = np.cumsum(sizes)
    return len(ids), ids, (ends - sizes)[ids], ends[ids], last, sizes, int(ends[-1])


def _shape(row: Row) -> int:
    n, ids, lows, highs, last, height, capacity = _laid(row)
    work = [np.zeros(2 * len(row) + 4, dtype=np.int64) for _ in range(3)]
    return shape(n, ids, lows, highs, last, height, 0, capacity, *work)


rows = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9)), min_size=1, max_size=8)


@given(rows)
def test_mirror_images_have_one_future(row: Row) -> None:
    assert _shape(row) == _shape(row[::-1])


@given(rows, rows)
def test_beside_what_outlives_them_parts_change_places_and_turn(one: Row, other: Row) -> None:
    wall = (7, 10)
    expected = _shape([*one, wall, *other])
    assert expected == _shape([*other, wall, *one])
    assert expected == _shape([*one[::-1], wall, *other])


def test_neighbours_that_end_together_are_one() -> None:
    assert _shape([(5, 3), (2, 3), (4, 1)]) == _shape([(7, 3), (4, 1)])


@pytest.mark.parametrize(
    "other",
    [
        [(5, 2), (4, 3), (4, 9), (3, 3), (6, 1)],  # 5 and 4 will be free together, not 5 and 6
        [(5, 2), (6, 1), (4, 9), (3, 3), (4, 4)],
        [(5, 2), (6, 1), (3, 9), (4, 3), (4, 3)],
    ],
)
def test_what_will_be_free_together_tells_futures_apart(other: Row) -> None:
    assert _shape([(5, 2), (6, 1), (4, 9), (3, 3), (4, 3)]) != _shape(other)


@pytest.mark.parametrize("back", [False, True])
def test_what_stays_of_a_block_leans_away_from_what_is_free(back: bool) -> None:
    # A block of 3 (stays) and 5 (ends) beside one of 6 that ends: 11 bytes are free together.
    ids = np.array([0, 1, 2, 3])
    lows, highs = np.array([0, 4, 4, 12]), np.array([4, 12, 12, 18])
    last, height = np.array([9, 9, 1, 1]), np.array([4, 3, 5, 6])
    sizes = np.zeros(8, dtype=np.int64)
    count = holes(4, ids, lows, highs, last, height, 1, 18, back, sizes)
    assert sizes[:count].tolist() == [11]
