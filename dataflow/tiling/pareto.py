"""Removal of dominated rows: what is nowhere better than another row is in no optimum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dataflow.layers.axis import Ints

if TYPE_CHECKING:
    from collections.abc import Callable

    compiled: Callable[[Callable[..., NDArray[np.int64]]], Callable[..., NDArray[np.int64]]]
else:
    compiled = njit(cache=True)


@compiled
def _undominated(rows: Ints) -> Ints:
    """Positions of the undominated rows; `rows` sorted lexicographically, equal ones once.

    No row is dominated by a later one. The dominator found last is tried first: neighbours in
    the order tend to share it.
    """
    count, criteria = rows.shape
    kept = np.empty(count, dtype=np.int64)
    recent = np.empty(count, dtype=np.int64)
    size = 0
    for i in range(count):
        dominated = False
        for at in range(size):
            other = recent[at]
            worse = True
            for c in range(criteria):
                if rows[other, c] > rows[i, c]:
                    worse = False
                    break
            if worse:
                dominated = True
                for back in range(at, 0, -1):
                    recent[back] = recent[back - 1]
                recent[0] = other
                break
        if not dominated:
            kept[size] = i
            recent[size] = i
            size += 1
    return kept[:size].copy()


@compiled
def _survivors(rows: Ints, front: Ints) -> Ints:
    """Positions of the rows that no row of `front` beats (equal rows survive)."""
    count, criteria = rows.shape
    kept = np.empty(count, dtype=np.int64)
    recent = np.arange(front.shape[0])
    size = 0
    for i in range(count):
        beaten = False
        for at in range(len(recent)):
            other = recent[at]
            worse, equal = True, True
            for c in range(criteria):
                if front[other, c] > rows[i, c]:
                    worse = False
                    break
                if front[other, c] < rows[i, c]:
                    equal = False
            if worse and not equal:
                beaten = True
                for back in range(at, 0, -1):
                    recent[back] = recent[back - 1]
                recent[0] = other
                break
        if not beaten:
            kept[size] = i
            size += 1
    return kept[:size].copy()


def pareto_rows(costs: Ints, ties: Ints) -> Ints:
    """Indices of the rows of `costs` (rows x criteria, less is better) that no other row dominates.

    Of equal rows the one with the least `ties` (rows x any) stays, then the first. The result is
    sorted by the criteria in order, so it does not depend on the order of the input beyond that
    rule.
    """
    order = np.lexsort((*ties.T[::-1], *costs.T[::-1]))
    kept: Ints = order[_undominated(np.ascontiguousarray(costs[order]))]
    return kept


class Front:
    """Collects rows in portions and keeps those that no other one dominates."""

    _PENDING = 8192

    def __init__(self, criteria: int) -> None:
        self._criteria = criteria
        self._costs: list[Ints] = []
        self._owners: list[Ints] = []
        self._pending = 0
        self._front: Ints | None = None

    def add(self, costs: Ints, rows: Ints, owner: int) -> None:
        """Adds rows of costs (criteria first, then ties); `rows` name them."""
        if self._front is not None:
            alive = _survivors(np.ascontiguousarray(costs[:, : self._criteria]), self._front)
            costs, rows = costs[alive], rows[alive]
            if not len(rows):
                return
        self._costs.append(costs)
        self._owners.append(np.stack([np.full(len(rows), owner, dtype=np.int64), rows], axis=1))
        self._pending += len(rows)
        if self._pending > self._PENDING:
            self._reduce()

    def _reduce(self) -> None:
        if not self._costs:
            return
        costs, owners = np.concatenate(self._costs), np.concatenate(self._owners)
        kept = pareto_rows(costs[:, : self._criteria], costs[:, self._criteria :])
        self._costs, self._owners, self._pending = [costs[kept]], [owners[kept]], 0
        self._front = np.ascontiguousarray(costs[kept][:, : self._criteria])

    def rows(self) -> tuple[Ints, Ints]:
        """The front: costs, and (owner, row) of each."""
        self._reduce()
        if not self._costs:
            return np.empty((0, self._criteria + 1), dtype=np.int64), np.empty((0, 2), np.int64)
        return self._costs[0], self._owners[0]
