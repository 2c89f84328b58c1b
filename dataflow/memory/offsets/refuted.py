"""States of the exact search that were refuted: noted as two numbers, and known when met again.

What is placed may be stacked in many orders with the same future. The rows that tell a state are
those of `kernel`, in which the search runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.memory.offsets.compiled import compiled

Ints = NDArray[np.int64]

PRIME, OTHER = 2147483647, 2147483629
"""Moduli of the numbers of states."""

PROBES = 8
"""Cells of the table in which a state may be."""


@compiled
def name(a: Any, row: Ints, low: int, high: int, step: int) -> tuple[int, int]:
    """Two numbers for all that the future of sections `low` to `high` depends on.

    That is which buffers are unplaced, their least offsets (a floor is the lowest of its section's)
    and whether something can rest on what was placed last: a top that is lower by `step`, the
    largest alignment, holds nothing. Together the numbers tell states apart, nearly always.
    """
    spans, n = a[0], a[1]
    first, last = a[16], a[17]
    one, two = 1, 1
    for t in range(low, high + 1):
        x = 0
        if row[3 * spans + t]:
            x = min(step, row[t] - row[spans + t])
        one = (one * 48271 + x) % PRIME
        two = (two * 39373 + x) % OTHER
    for i in range(n):
        if first[i] >= low and last[i] <= high:
            x = max(-1, row[5 * spans + i]) + 1
            one = (one * 48271 + x) % PRIME
            two = (two * 39373 + x) % OTHER
    return one, two


@compiled
def holds(known: Ints, one: int, two: int) -> bool:
    """Whether the numbers are those of a state that is noted."""
    cell = one % known.shape[0]
    for _ in range(PROBES):
        if known[cell, 0] == one and known[cell, 1] == two:
            return True
        cell = cell + 1 if cell + 1 < known.shape[0] else 0
    return False


@compiled
def note(known: Ints, one: int, two: int) -> None:
    """Keeps the numbers of a refuted state, in place of others where all cells are taken."""
    cell = one % known.shape[0]
    for _ in range(PROBES):
        if known[cell, 0] < 0:
            break
        cell = cell + 1 if cell + 1 < known.shape[0] else 0
    known[cell, 0], known[cell, 1] = one, two


@compiled
def copied(known: Ints, larger: Ints) -> None:
    """Notes in `larger` what is noted in `known`."""
    for cell in range(known.shape[0]):
        if known[cell, 0] >= 0:
            note(larger, known[cell, 0], known[cell, 1])
