"""Removal of dominated rows: what is nowhere better than another row is in no optimum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from dataflow.layers.axis import Ints

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Function = TypeVar("Function", bound=Callable[..., Any])

    def compiled(function: Function) -> Function:
        """Compiles a function to machine code at its first call."""
        ...

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
def hopeless(rows: Ints, recent: Ints, size: int, least: Ints, criteria: int) -> bool:
    """Whether a row of the front beats whatever costs at least `least` in every criterion.

    What beat a row last is tried first: neighbours tend to be beaten by the same one.
    """
    for at in range(size):
        other = recent[at]
        worse, equal = True, True
        for c in range(criteria):
            if rows[other, c] > least[c]:
                worse = False
                break
            if rows[other, c] < least[c]:
                equal = False
        if worse and not equal:
            half = at // 2
            recent[at], recent[half] = recent[half], recent[at]
            return True
    return False


@compiled
def insert(
    rows: Ints,
    names: Ints,
    recent: Ints,
    size: int,
    row: Ints,
    name: tuple[int, int],
    criteria: int,
) -> int:
    """Adds a row to the front unless one that is there beats it; the new number of rows.

    Of rows with equal criteria the one with the least columns behind them stays, then the first.
    Rows that later ones beat stay until `clean`.

    Args:
        rows: criteria first, then ties; `names` two integers that say what a row is, and one for
            `clean`; `recent` the order in which rows are compared.
    """
    for at in range(size):
        other = recent[at]
        worse, equal = True, True
        for c in range(criteria):
            if rows[other, c] > row[c]:
                worse = False
                break
            if rows[other, c] < row[c]:
                equal = False
        if worse:
            half = at // 2
            recent[at], recent[half] = recent[half], recent[at]
            if equal:
                for c in range(criteria, len(row)):
                    if row[c] != rows[other, c]:
                        if row[c] < rows[other, c]:
                            rows[other] = row
                            names[other, 0], names[other, 1] = name
                        break
            return size
    rows[size] = row
    names[size, 0], names[size, 1] = name
    recent[size] = size
    return size + 1


@compiled
def clean(rows: Ints, names: Ints, recent: Ints, size: int, criteria: int) -> int:
    """Drops the dominated rows of a front; the number of those kept, in their order."""
    for i in range(size):
        names[i, 2] = 0
        for j in range(size):
            worse, equal = True, True
            for c in range(criteria):
                if rows[j, c] > rows[i, c]:
                    worse = False
                    break
                if rows[j, c] < rows[i, c]:
                    equal = False
            if worse and not equal:
                names[i, 2] = 1
                break
    kept = 0
    for i in range(size):
        if names[i, 2] == 0:
            rows[kept] = rows[i]
            names[kept] = names[i]
            recent[kept] = kept
            kept += 1
    return kept


@compiled
def room(
    rows: Ints, names: Ints, recent: Ints, size: int, criteria: int
) -> tuple[Ints, Ints, Ints, int]:
    """The front with a place for one more row: cleaned, and larger when that does not help."""
    if size < len(rows):
        return rows, names, recent, size
    size = clean(rows, names, recent, size, criteria)
    if 2 * size > len(rows):
        rows = np.concatenate((rows, np.empty_like(rows)))
        names = np.concatenate((names, np.empty_like(names)))
        recent = np.concatenate((recent, np.empty_like(recent)))
    return rows, names, recent, size


START = 128
"""Rows of a front before it grows."""


def empty_front(width: int) -> tuple[Ints, Ints, Ints]:
    """rows, names and recent of an empty front with `width` columns."""
    rows = np.empty((START, width), dtype=np.int64)
    return rows, np.empty((START, 3), dtype=np.int64), np.empty(START, dtype=np.int64)


def pareto_rows(costs: Ints, ties: Ints) -> Ints:
    """Indices of the rows of `costs` (rows x criteria, less is better) that no other row dominates.

    Of equal rows the one with the least `ties` (rows x any) stays, then the first. The result is
    sorted by the criteria in order, so it does not depend on the order of the input beyond that
    rule.
    """
    order = np.lexsort((*ties.T[::-1], *costs.T[::-1]))
    kept: Ints = order[_undominated(np.ascontiguousarray(costs[order]))]
    return kept
