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
    mode: int,
    under: int,
    over: int,
    slot: Ints,
    want: Floats,
    love: float,
) -> float:
    """Offsets for the `count` chosen buffers in a free interval; the cost of all neighbours.

    What lives long stands outside, next to what lives long; what stays free, beside the short ones.

    Args:
        low, free: first byte of the interval, and bytes of it that stay free.
        below, above: worth of its neighbours.
        noise: how much chance there is in where the free bytes lie.
        at: receives the offsets, by buffer.
        line: work space.
        mode: of the attempt; every second one chains up what is wanted side by side (1), or
            takes any order (3).
        under, over: the neighbours of the interval, or -1.
        slot, want, love: see `columns.children`.
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
    if mode & 1:
        # From one end: what is wanted most beside the one before, or any.
        previous, beside = under, below
        flip = draw(seed) < 0.5
        if flip:
            previous, beside = over, above
        for x in range(count):
            best, pick = -1e300, x
            for y in range(x, count):
                i = chosen[y]
                if mode == 3:
                    value = draw(seed)
                else:
                    value = -between(beside, worth[i]) * (0.5 + draw(seed))
                    if previous >= 0 and slot[previous] >= 0 and slot[i] >= 0:
                        value += love * want[slot[previous], slot[i]] * (0.5 + draw(seed))
                if value > best:
                    best, pick = value, y
            i = chosen[pick]
            chosen[pick] = chosen[x]
            chosen[x] = i
            line[count - 1 - x if flip else x] = i
            previous, beside = i, worth[i]
        left = count
    for x in range(left, count):
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
