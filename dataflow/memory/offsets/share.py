"""Which of a section's new buffers go into which of its free intervals: subset sums by search."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataflow.memory.offsets.compiled import compiled

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NONE, SOLVED, LIMIT = 0, 1, 2
"""How a search ends: there is no way; one was found; out of decisions."""

PRIME = 2147483647
"""Modulus of the random numbers."""


@compiled
def draw(seed: Ints) -> float:
    """The next random number of [0, 1)."""
    seed[0] = seed[0] * 48271 % PRIME
    return float(seed[0]) / PRIME


@compiled
def insert(order: Ints, count: int, item: int, key: Ints | Floats) -> None:
    """Puts an item behind those of the first ``count``, sorted, whose key is not greater."""
    y = count
    while y > 0 and key[order[y - 1]] > key[item]:
        order[y] = order[y - 1]
        y -= 1
    order[y] = item


@compiled
def share(
    gaps: int,
    order: Ints,
    sizes: Ints,
    below: Floats,
    above: Floats,
    items: Ints,
    count: int,
    height: Ints,
    worth: Floats,
    top: float,
    slack: int,
    attempt: int,
    skip: float,
    steps: int,
    seed: Ints,
    work: Ints,
    used: Ints,
    avail: Ints,
    suffix: Ints,
    number: Ints,
    chosen: Ints,
    spots: Ints,
    taken: Ints,
    rest: Ints,
) -> int:
    """Shares out `items` among free intervals: SOLVED, NONE (there is no way) or LIMIT.

    The intervals are filled in `order`; what is chosen for the x-th one is `chosen[x, :taken[x]]`,
    and `rest[x]` bytes of it stay free, together at most `slack`. The first attempt tries large
    items first; others those that live about as long as a neighbour, or large ones, by chance.

    Args:
        top: the largest worth of an item.
        skip: chance that an item is passed over, so that NONE is no proof.
    """
    key = np.empty(count + 1)
    for x in range(count):
        used[items[x]] = 0
    waste = 0
    level = 0
    pos = 0
    entered = False
    for _ in range(steps):
        work[0] += 1
        if level == gaps:
            return SOLVED
        g = order[level]
        if not entered:
            entered = True
            n = 0
            for x in range(count):
                i = items[x]
                if used[i]:
                    continue
                if attempt % 2 == 0:
                    k = -float(height[i])
                else:
                    k = min(
                        abs(worth[i] - min(below[g], 2 * top)),
                        abs(worth[i] - min(above[g], 2 * top)),
                    )
                if attempt:
                    k *= 1.0 + draw(seed)
                y = n
                while y > 0 and key[y - 1] > k:
                    key[y] = key[y - 1]
                    avail[level, y] = avail[level, y - 1]
                    y -= 1
                key[y] = k
                avail[level, y] = i
                n += 1
            number[level] = n
            suffix[level, n] = 0
            for x in range(n - 1, -1, -1):
                suffix[level, x] = suffix[level, x + 1] + height[avail[level, x]]
            taken[level] = 0
            rest[level] = sizes[g]
            pos = 0
        back = False
        if rest[level] - suffix[level, pos] > slack - waste:
            back = True
        elif pos == number[level] or rest[level] == 0:
            if rest[level] <= slack - waste:
                waste += rest[level]
                level += 1
                entered = False
            else:
                back = True
        else:
            i = avail[level, pos]
            if height[i] <= rest[level] and (skip == 0.0 or draw(seed) >= skip):
                chosen[level, taken[level]] = i
                spots[level, taken[level]] = pos
                taken[level] += 1
                rest[level] -= height[i]
                used[i] = 1
            pos += 1
        if back:
            while level >= 0 and taken[level] == 0:
                level -= 1
                if level >= 0:
                    waste -= rest[level]
            if level < 0:
                return NONE
            taken[level] -= 1
            i = chosen[level, taken[level]]
            used[i] = 0
            rest[level] += height[i]
            pos = spots[level, taken[level]] + 1
            entered = True
    return LIMIT
