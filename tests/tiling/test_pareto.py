"""Dominance against its definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dataflow.tiling.pareto import (
    START,
    clean,
    empty_front,
    hopeless,
    insert,
    pareto_rows,
    room,
)

TABLES = arrays.arrays(
    np.int64, st.tuples(st.integers(1, 40), st.just(4)), elements=st.integers(0, 4)
)


def undominated(costs: np.ndarray) -> set[tuple[int, ...]]:
    rows = {tuple(int(v) for v in row) for row in costs}
    return {
        row
        for row in rows
        if not any(
            other != row and all(a <= b for a, b in zip(other, row, strict=True)) for other in rows
        )
    }


@given(TABLES)
def test_kept_rows_are_the_undominated_ones_once_each(table: np.ndarray) -> None:
    costs, ties = table[:, :3], table[:, 3:]
    kept = pareto_rows(costs, ties)
    rows = [tuple(int(v) for v in costs[i]) for i in kept]
    assert set(rows) == undominated(costs)
    assert len(rows) == len(set(rows))
    for i, row in zip(kept, rows, strict=True):
        same = [int(ties[j, 0]) for j in range(len(costs)) if tuple(costs[j]) == row]
        assert int(ties[i, 0]) == min(same)


@given(TABLES)
def test_rows_added_one_by_one_give_the_same_front(table: np.ndarray) -> None:
    rows, names, recent = empty_front(4)
    size = 0
    for at, row in enumerate(table):
        rows, names, recent, size = room(rows, names, recent, size, 3)
        size = insert(rows, names, recent, size, row, (7, at), 3)
    size = clean(rows, names, recent, size, 3)
    costs = [tuple(int(v) for v in row[:3]) for row in rows[:size]]
    assert len(costs) == len(set(costs))
    assert set(costs) == undominated(table[:, :3])
    for row, (seven, at, _) in zip(rows[:size], names[:size], strict=True):
        assert seven == 7
        assert (table[at] == row).all()
        same = table[(table[:, :3] == row[:3]).all(axis=1)]
        assert row[3] == same[:, 3].min()
        # Of equal rows the first stays.
        assert at == next(i for i, other in enumerate(table) if (other == row).all())


@given(TABLES, arrays.arrays(np.int64, 4, elements=st.integers(0, 4)))
def test_hopeless_is_what_a_row_beats(table: np.ndarray, least: np.ndarray) -> None:
    front = np.ascontiguousarray(table)
    recent = np.arange(len(table), dtype=np.int64)
    beaten = any((row[:3] <= least[:3]).all() and (row[:3] < least[:3]).any() for row in table)
    assert hopeless(front, recent, len(table), least, 3) == beaten


def test_a_front_grows() -> None:
    rows, names, recent = empty_front(2)
    size, count = 0, 5 * START // 2
    for at in range(count):
        rows, names, recent, size = room(rows, names, recent, size, 2)
        row = np.array([at, count - at], dtype=np.int64)
        size = insert(rows, names, recent, size, row, (0, at), 2)
    assert rows[:size, 0].tolist() == list(range(count))
