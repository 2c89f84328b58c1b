"""In which order buffers stand in a free interval, and what it costs later.

A *worth* is given for every buffer: how much longer it lives, each section weighed by how full it
is. Where two neighbours differ in worth, a border of a free interval will stand for as long as they
differ; the sum of these differences is the *cost*.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataflow.memory.offsets.compiled import compiled
from dataflow.memory.offsets.share import draw

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

WALL = 1e300
"""Worth of the ends of the memory: next to them everything stands well."""


@compiled
def between(one: float, other: float) -> float:
    """Cost of two neighbours."""
    if one >= WALL or other >= WALL:
        return 0.0
    return abs(one - other)


@compiled
def stand(
    chosen: Ints,
    count: int,
    low: int,
    free: int,
    below: float,
    above: float,
    height: Ints,
    worth: Floats,
    noise: float,
    shuffle: float,
    at: Ints,
    seed: Ints,
    line: Ints,
    key: Floats,
) -> float:
    """Offsets for the `count` chosen buffers in a free interval; the cost of all neighbours.

    What lives long stands outside, next to what lives long; what stays free, beside the short ones.

    Args:
        low, free: first byte of the interval, and bytes of it that stay free.
        below, above: worth of its neighbours.
        noise: how much chance there is in where the free bytes lie.
        at: receives the offsets, by buffer.
        line: work space.
    """
    for x in range(count):  # insertion sort by worth, the highest first
        i = chosen[x]
        k = worth[i] * (1.0 + shuffle * (draw(seed) - 0.5)) if shuffle > 0.0 else worth[i]
        y = x
        while y > 0 and key[y - 1] < k:
            chosen[y] = chosen[y - 1]
            key[y] = key[y - 1]
            y -= 1
        chosen[y] = i
        key[y] = k
    left, right = 0, count
    one, other = below, above
    for x in range(count):
        i = chosen[x]
        v = worth[i]
        more, less = max(0.0, v - one), max(0.0, v - other)
        if more < less or (more == less and draw(seed) < 0.5):
            line[left] = i
            left += 1
            one = v
        else:
            right -= 1
            line[right] = i
            other = v
    cost = 0.0
    gap, least, added = 0, 1e308, 0.0
    last = below
    for x in range(count + 1):
        v = worth[line[x]] if x < count else above
        cost += between(last, v)
        if free:
            if last >= WALL and v >= WALL:
                extra = 0.0
            elif last >= WALL or v >= WALL:
                extra = min(last, v)
            else:
                extra = 2 * min(last, v)
            chance = (extra + 0.05) * (1.0 + noise * draw(seed)) if noise > 0.0 else extra
            if chance < least:
                gap, least, added = x, chance, extra
        last = v
    offset = low
    for x in range(count):
        if free and x == gap:
            offset += free
        at[line[x]] = offset
        offset += height[line[x]]
    return cost + added
