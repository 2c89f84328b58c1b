"""Dominance against its definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dataflow.tiling.pareto import clean, empty_front, hopeless, insert, pareto_rows, room

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
def test_rows_put_in_one_by_one_give_the_same_front(table: np.ndarray) -> None:
    rows, names, recent = empty_front(4)
    size = 0
    for n, row in enumerate(table):
        rows, names, recent, size = room(rows, names, recent, size, 3)
        assert not hopeless(rows, recent, size, row, 3) or tuple(row[:3]) not in undominated(
            table[:, :3]
        )
        size = insert(rows, names, recent, size, np.ascontiguousarray(row), (9, n), 3)
    size = clean(rows, names, recent, size, 3)
    kept = pareto_rows(table[:, :3], table[:, 3:])
    assert sorted(map(tuple, rows[:size])) == sorted(map(tuple, table[kept]))
    for row, (owner, n, _) in zip(rows[:size], names[:size], strict=True):
        assert owner == 9
        assert (table[n] == row).all()


def test_a_full_front_is_cleaned_and_then_grows() -> None:
    rows, names, recent = empty_front(2)
    capacity = len(rows)
    size = 0
    for n in range(3 * capacity):
        rows, names, recent, size = room(rows, names, recent, size, 2)
        row = np.array([n, -n], dtype=np.int64)  # none beats another
        size = insert(rows, names, recent, size, row, (0, n), 2)
    assert size == 3 * capacity
    assert names[:size, 1].tolist() == list(range(3 * capacity))
    for n in range(size):  # each beats all that stand above it
        rows, names, recent, size = room(rows, names, recent, size, 2)
        size = insert(rows, names, recent, size, np.array([-n - 1, -4096 - n]), (1, n), 2)
    assert clean(rows, names, recent, size, 2) == 1
