"""Runs of the exact search with restarts: what `kernel` finds or refutes, part by part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflow.memory.offsets import kernel, refuted
from dataflow.memory.offsets.arrays import Ints, Part, load

RUN_FAILS = 50
"""Failures of the shortest run; run i has that many times the i-th number of Luby's sequence."""

FORGET = 8
"""Runs after which the weights of the sections are forgotten."""

SPREADS = (0.02, 0.05)
"""Sigma of the log-normal factor on the order of values, in the first four runs and after."""

ROWS_BYTES = 1 << 30
"""Most bytes of work space for rows of the search."""


KNOWN = (1 << 10, 1 << 20)
"""Refuted states that are kept: at first, at most."""


@dataclass(frozen=True)
class Found:
    """What the search of one part found.

    Attributes:
        offsets: in units, or None.
        refuted: without offsets: that there are none.
        nodes: decisions taken.
    """

    offsets: Ints | None
    refuted: bool
    nodes: int


def exact(part: Part, capacity: int, seed: int, effort: int) -> Found:
    """Offsets below `capacity` bytes, a proof that there are none, or neither after `effort` nodes.

    The result depends on nothing but the arguments.
    """
    loaded = load(part, capacity)
    arrays, row = loaded.arrays, loaded.row
    spans, count = len(part.sections), len(part.buffers)
    if (arrays[7] < part.least).any() or kernel.settle(arrays, row) >= 0:
        return Found(None, True, 0)
    width = len(row)
    rng = np.random.default_rng(seed)
    orders = _orders(part)
    weight = np.ones(spans)
    found = np.zeros(width, dtype=np.int64)
    counters = np.zeros(2, dtype=np.int64)
    depth = min(count + 8, max(64, ROWS_BYTES // (8 * width)))
    rows = np.empty((depth, width), dtype=np.int64)
    stack = np.empty((8 * count + 64, 9), dtype=np.int64)
    pool = np.empty(64 * count + 64, dtype=np.int64)
    known = np.full((KNOWN[0], 2), -1, dtype=np.int64)
    run = 0
    while counters[kernel.NODES] < effort:
        if run % FORGET == 0:
            weight[:] = 1.0
        spread = SPREADS[run >= len(orders)]
        key = orders[run % len(orders)] * np.exp(rng.normal(0.0, spread, count))
        fails = RUN_FAILS * luby(run + 1)
        status = kernel.search(
            arrays, row, key, weight, fails, found, counters, rows, stack, pool, known
        )
        nodes = int(counters[kernel.NODES])
        if status == kernel.SOLVED:
            return Found(-1 - found[5 * spans :], False, nodes)
        if status == kernel.REFUTED:
            return Found(None, True, nodes)
        if status == kernel.DEPTH:
            stack = np.empty((2 * len(stack), 9), dtype=np.int64)
            pool = np.empty(2 * len(pool), dtype=np.int64)
        if nodes * 2 > len(known) and len(known) < KNOWN[1]:
            larger = np.full((4 * len(known), 2), -1, dtype=np.int64)
            refuted.copied(known, larger)
            known = larger
        run += 1
    return Found(None, False, int(counters[kernel.NODES]))


def luby(i: int) -> int:
    """The i-th number (from 1) of 1 1 2 1 1 2 4 1 1 2 1 1 2 4 8 ..."""
    k = i.bit_length()
    return 1 << (k - 1) if i == (1 << k) - 1 else luby(i - (1 << (k - 1)) + 1)


def _orders(part: Part) -> list[NDArray[np.float64]]:
    """Orders of values by decreasing key: what is large, long, or both, first."""
    height = part.height.astype(np.float64)
    spans = np.zeros(len(part.buffers))
    for members in part.sections:
        spans[list(members)] += 1
    return [height, height * np.sqrt(spans), height * spans, spans * (height.max() + 1) + height]
