"""A heuristic for very large problems: first fit by arrays, what is alive at the peaks first.

Buffers whose lives are long, few of them, are placed first, at the bottom; above them every section
of time has a base. The others follow in several orders, each at the lowest offset that is free over
its life; the order with the lowest top is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from dataflow.memory.offsets.compiled import compiled
from dataflow.memory.plan import Buffer

Ints = NDArray[np.int64]

LARGE = 20_000
"""Buffers from which the exact search is not tried."""

LONG = 2_000
"""Sections from which a life is long."""

NEAR = 1.005
"""Top over load at which no further order is tried."""


@dataclass(frozen=True)
class Spread:
    """Offsets in bytes in the order of the buffers; `load` is the most that is alive at once."""

    offsets: Ints
    top: int
    load: int


def large(buffers: Sequence[Buffer], align: int) -> Spread:
    """Offsets that are multiples of `align` and of each buffer's own alignment, as low as found.

    The buffers have no fixed offsets, no holes and no bank groups.
    """
    aligns = np.array([align * b.align // gcd(align, b.align) for b in buffers], dtype=np.int64)
    step = int(np.gcd.reduce(aligns))
    size = np.array([b.size for b in buffers], dtype=np.int64)
    height = -(-(size + np.array([b.gap for b in buffers], dtype=np.int64)) // step) * step
    first, last, spans = _sections(
        np.array([b.start for b in buffers], dtype=np.int64),
        np.array([b.end for b in buffers], dtype=np.int64),
    )
    change = np.zeros(spans + 1, dtype=np.int64)
    np.add.at(change, first, height)
    np.add.at(change, last + 1, -height)
    loads = np.cumsum(change)[:spans]
    load = int(loads.max())
    length = last - first + 1
    long = np.flatnonzero(length > LONG)
    base, placed = _long(long, first, last, height, aligns, spans)
    heat = _heat(loads, first, last, length)
    best: Ints | None = None
    least = 0
    short = np.flatnonzero(length <= LONG)
    at = np.zeros(spans + 1, dtype=np.int64)
    np.add.at(at, first[short] + 1, 1)
    live = np.zeros(spans + 1, dtype=np.int64)
    np.add.at(live, first[short], 1)
    np.add.at(live, last[short] + 1, -1)
    at = np.concatenate(([0], np.cumsum(np.cumsum(live)[:spans]))).astype(np.int64)
    hot = -np.floor(heat / (0.1 * load))
    for keys in ((-length, -height, hot), (-height * length,), (-height,)):
        order = short[np.lexsort((first[short], *(k[short] for k in keys)))].astype(np.int64)
        offsets = placed.copy()
        fill(order, first, last, height, aligns, base, at, offsets)
        top = int((offsets + size).max())
        if best is None or top < least:
            best, least = offsets, top
        if least <= NEAR * load:
            break
    assert best is not None
    return Spread(best, least, load)


def _sections(start: Ints, end: Ints) -> tuple[Ints, Ints, int]:
    """First and last section of every life; a section ends where a life ends behind a new one."""
    ends = np.unique(end)
    begun = np.searchsorted(np.sort(start), ends, side="left")
    cuts = ends[np.diff(begun, prepend=0) > 0]
    first = np.searchsorted(cuts, start, side="right").astype(np.int64)
    last = np.searchsorted(cuts, end, side="right").astype(np.int64) - 1
    return first, last, len(cuts)


def _long(
    long: Ints, first: Ints, last: Ints, height: Ints, aligns: Ints, spans: int
) -> tuple[Ints, Ints]:
    """Level above the long lives in every section; offsets of the long ones, -1 of the others."""
    base = np.zeros(spans, dtype=np.int64)
    offsets = np.full(len(height), -1, dtype=np.int64)
    for i in long[np.lexsort((first[long], -(last - first)[long]))]:
        low, high = int(first[i]), int(last[i]) + 1
        at = -(-int(base[low:high].max()) // int(aligns[i])) * int(aligns[i])
        offsets[i] = at
        base[low:high] = at + int(height[i])
    return base, offsets


def _heat(loads: Ints, first: Ints, last: Ints, length: Ints) -> NDArray[np.float64]:
    """The highest load of each life, by tables of maxima over powers of two."""
    heat = np.zeros(len(first))
    table, width = loads, 1
    for power in range(int(length.max()).bit_length()):
        here = np.flatnonzero((length >= width) & (length < 2 * width))
        heat[here] = np.maximum(table[first[here]], table[last[here] - width + 1])
        if len(table) <= width:
            break
        table = np.maximum(table[:-width], table[width:])
        width = 1 << (power + 1)
    return heat


@compiled
def fill(
    order: Ints,
    first: Ints,
    last: Ints,
    height: Ints,
    aligns: Ints,
    base: Ints,
    at: Ints,
    offsets: Ints,
) -> None:
    """First fit in `order` above `base`; `at` is where each section's list of members begins."""
    count = np.zeros(base.shape[0], dtype=np.int64)
    members = np.empty(at[-1], dtype=np.int64)
    lows = np.empty(64, dtype=np.int64)
    highs = np.empty(64, dtype=np.int64)
    for x in range(order.shape[0]):
        i = order[x]
        level = np.int64(0)
        found = 0
        for s in range(first[i], last[i] + 1):
            level = max(level, base[s])
            for k in range(at[s], at[s] + count[s]):
                j = members[k]
                if s > first[i] and first[j] < s:
                    continue  # seen in the section before
                if found == lows.shape[0]:
                    lows = np.concatenate((lows, np.empty_like(lows)))
                    highs = np.concatenate((highs, np.empty_like(highs)))
                y = found
                low = offsets[j]
                while y > 0 and lows[y - 1] > low:
                    lows[y] = lows[y - 1]
                    highs[y] = highs[y - 1]
                    y -= 1
                lows[y] = low
                highs[y] = low + height[j]
                found += 1
        level = (level + aligns[i] - 1) // aligns[i] * aligns[i]
        for k in range(found):
            if level + height[i] <= lows[k]:
                break
            if highs[k] > level:
                level = (highs[k] + aligns[i] - 1) // aligns[i] * aligns[i]
        offsets[i] = level
        for s in range(first[i], last[i] + 1):
            members[at[s] + count[s]] = i
            count[s] += 1
