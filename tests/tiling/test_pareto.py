"""Dominance against its definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dataflow.tiling.pareto import Front, pareto_rows

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


@given(TABLES, st.integers(1, 7))
def test_portions_give_the_front_of_the_whole(table: np.ndarray, portion: int) -> None:
    front = Front(3)
    front._PENDING = 5  # reduce often
    for start in range(0, len(table), portion):
        part = table[start : start + portion]
        front.add(part, np.arange(start, start + len(part), dtype=np.int64), 9)
    costs, owners = front.rows()
    assert {tuple(int(v) for v in row[:3]) for row in costs} == undominated(table[:, :3])
    for row, (owner, index) in zip(costs, owners, strict=True):
        assert owner == 9
        assert (table[index] == row).all()
