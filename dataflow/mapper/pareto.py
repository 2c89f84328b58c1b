"""Removal of dominated rows: what is nowhere better than another row cannot be part of an optimum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataflow.cost.axis import Ints


def pareto_rows(costs: Ints, ties: Ints) -> NDArray[np.intp]:
    """Indices of the rows of `costs` (rows x criteria, less is better) that no other row dominates.

    Of equal rows the one with the least `ties` stays, then the first. The result is sorted by the
    criteria in order, so it does not depend on the order of the input beyond that rule.
    """
    keys = (*([ties] if len(ties) else []), *costs.T[::-1])
    order = np.lexsort(keys)
    kept: list[int] = []
    rest = costs[order]
    while len(order):
        kept.append(int(order[0]))
        # Lexicographic order: nothing later can dominate the first row.
        alive = (rest < rest[0]).any(axis=1)
        order, rest = order[alive], rest[alive]
    return np.array(kept, dtype=np.intp)
