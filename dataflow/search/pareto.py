"""Dominance: rows that no other row beats in every column."""

from __future__ import annotations

import numpy as np
from numba import njit

from dataflow.search.chains import Floats, Ints


@njit(cache=True)
def _scan(rows, order):  # type: ignore[no-untyped-def]
    many, width = rows.shape
    keep = np.empty(many, np.int64)
    count = 0
    for i in order:
        good = True
        for j in range(count - 1, -1, -1):
            other = keep[j]
            below = True
            for c in range(width):
                if rows[other, c] > rows[i, c]:
                    below = False
                    break
            if below:
                good = False
                if j < count - 1:  # what dominates once tends to do so again
                    keep[j], keep[count - 1] = keep[count - 1], other
                break
        if good:
            keep[count] = i
            count += 1
    return keep[:count].copy()


def undominated(rows: Floats) -> Ints:
    """Indices (ascending) of a least set of rows such that each row has one at or below it."""
    if rows.shape[1] == 0:
        return np.zeros(1, np.int64)
    order = np.lexsort(rows.T[::-1])
    return np.sort(_scan(rows, order))
