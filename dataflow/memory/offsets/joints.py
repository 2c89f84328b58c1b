"""Which buffers should lie side by side: what full sections tell about the sections before them.

Between two full sections what begins must fill exactly what ends. Where it does not fit piece by
piece, some of those that end must lie side by side (a *joint*), and must have been placed so,
perhaps long before. The ways with the fewest joints are enumerated here, and how often what begins
lies where something ended is counted over random fillings; `wishes` carries both back in time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataflow.memory.offsets.compiled import compiled
from dataflow.memory.offsets.share import NONE, PRIME, SOLVED, draw, insert, share

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@compiled
def _scratch(ends: int, begins: int) -> tuple[Ints, Ints, Ints, Ints, Ints, Ints, Ints, Ints]:
    """What `share` works on: used, avail, suffix, number, chosen, spots, taken, rest."""
    rows, wide = ends + 1, begins + 2
    return (
        np.zeros(begins, dtype=np.int64),
        np.empty((rows, wide), dtype=np.int64),
        np.empty((rows, wide), dtype=np.int64),
        np.empty(rows, dtype=np.int64),
        np.empty((rows, wide), dtype=np.int64),
        np.empty((rows, wide), dtype=np.int64),
        np.empty(rows, dtype=np.int64),
        np.empty(rows, dtype=np.int64),
    )


@compiled
def partitions(ends: Ints, begins: Ints, tests: int, steps: int, found: Ints, work: Ints) -> int:
    """Fewest unions of `ends` that `begins` fill: how many ways, 0: none is needed, -1: not known.

    Args:
        ends, begins: sizes, both in descending order, with the same sum.
        tests: ways that are tried.
        steps: decisions of one trial; a way that is not refuted by then counts as one.
        found: (most ways, ends): receives of each way the union of each end, by its first member.
        work: one counter of decisions.
    """
    n, m = ends.shape[0], begins.shape[0]
    rows = tests + 1
    labels = np.zeros((rows, n), dtype=np.int64)
    total = 0
    for x in range(m):
        total += begins[x]
    # Sums that some of what begins can have.
    reach = np.zeros(total + 1, dtype=np.bool_)
    reach[0] = True
    for x in range(m):
        for v in range(total, begins[x] - 1, -1):
            if reach[v - begins[x]]:
                reach[v] = True
    for x in range(n):
        labels[0, x] = x
    level_low, level_high = 0, 1
    sizes = np.empty(n + 1, dtype=np.int64)
    order = np.empty(n + 1, dtype=np.int64)
    ones, worth, items = np.ones(n + 1), np.ones(m), np.arange(m)
    used, avail, suffix, number, chosen, spots, taken, rest = _scratch(n, m)
    seed = np.ones(1, dtype=np.int64)
    unfit = np.zeros(rows, dtype=np.int64)
    names = np.zeros(rows, dtype=np.int64)
    count = 0
    merged = 0
    while level_low < level_high:
        for r in range(level_low, level_high):
            sizes[:] = 0
            for x in range(n):
                sizes[labels[r, x]] += ends[x]
            unfit[r] = -1
            g = 0
            for x in range(n):
                if sizes[x] == 0:
                    continue
                insert(order, g, x, sizes)
                g += 1
            for x in range(g):
                if not reach[sizes[order[x]]]:
                    unfit[r] = order[x]
                    break
            if unfit[r] >= 0 or (g and m and sizes[order[g - 1]] < begins[0]):
                continue
            status = share(
                g, order, sizes, ones, ones, items, m, begins, worth, 1.0, 0, 0, 0.0, steps,
                seed, work, used, avail, suffix, number, chosen, spots, taken, rest,
            )  # fmt: skip
            if status == NONE:
                continue
            if merged == 0 or count >= found.shape[0]:
                return -1 if merged else 0
            found[count] = labels[r]
            count += 1
        if count:
            return count
        merged += 1
        high = level_high
        for r in range(level_low, level_high):
            a = unfit[r]
            for x in range(n):
                if labels[r, x] != x or (a >= 0 and x != a):
                    continue
                for y in range(n):
                    if labels[r, y] != y or y == x or (a < 0 and y < x):
                        continue
                    if high >= rows:
                        return -1
                    low = min(x, y)
                    other = max(x, y)
                    for z in range(n):
                        labels[high, z] = low if labels[r, z] == other else labels[r, z]
                    name = 0
                    for z in range(n):
                        name = (name * 48271 + labels[high, z] + 1) % PRIME
                    names[high] = name
                    same = False
                    for q in range(level_high, high):
                        if names[q] == name:
                            same = True
                            break
                    if not same:
                        high += 1
        level_low, level_high = level_high, high
    return -1


@compiled
def shares(
    ends: Ints,
    begins: Ints,
    ways: Ints,
    tries: int,
    steps: int,
    seed: Ints,
    work: Ints,
    place: Floats,
    joint: Floats,
) -> int:
    """How often each of `begins` lies where each of `ends` was; fillings that were counted.

    Args:
        ways: unions of the ends, as `partitions` finds them.
        tries: random fillings of each way.
        place, joint: (begins, ends) and (ends, ends), zeros: receive shares of the fillings.
    """
    n, m = ends.shape[0], begins.shape[0]
    sizes = np.empty(n + 1, dtype=np.int64)
    order = np.empty(n + 1, dtype=np.int64)
    key = np.empty(n + 1)
    ones, worth, items = np.ones(n + 1), np.ones(m), np.arange(m)
    used, avail, suffix, number, chosen, spots, taken, rest = _scratch(n, m)
    filled = 0
    for r in range(ways.shape[0]):
        sizes[:] = 0
        for x in range(n):
            sizes[ways[r, x]] += ends[x]
        for attempt in range(1, tries + 1):
            g = 0
            for x in range(n):
                if sizes[x] == 0:
                    continue
                key[x] = sizes[x] * (1.0 + draw(seed))
                insert(order, g, x, key)
                g += 1
            status = share(
                g, order, sizes, ones, ones, items, m, begins, worth, 1.0, 0, 2 * attempt,
                0.0, steps, seed, work, used, avail, suffix, number, chosen, spots, taken, rest,
            )  # fmt: skip
            if status != SOLVED:
                continue
            filled += 1
            for y in range(g):
                u = order[y]
                whole = sizes[u]
                for x in range(n):
                    if ways[r, x] != u:
                        continue
                    for k in range(taken[y]):
                        place[chosen[y, k], x] += ends[x] / whole
                    for z in range(n):
                        if z != x and ways[r, z] == u:
                            joint[x, z] += (ends[x] + ends[z]) / whole
    if filled:
        for x in range(n):
            for y in range(m):
                place[y, x] /= filled
            for y in range(n):
                joint[x, y] /= filled
    return filled


@compiled
def liking(
    ids: Ints,
    lows: Ints,
    highs: Ints,
    n: int,
    slot: Ints,
    want: Floats,
    base: Floats,
    power: Floats,
    left: Ints,
) -> float:
    """Minus the logarithm of the chance of each joint to come, given which neighbours can touch.

    Two can touch in one block, and in blocks without space between them.

    Args:
        ids, lows, highs: the `n` buffers of a state and their blocks, in order.
        slot: of each buffer its row in `want`, or -1.
        want: (joints, rows, rows): chance that these two lead to the joint; see `wishes`.
        base: of each joint, its chance without any.
        power: of each joint, what it counts.
        left: work space.
    """
    pairs = 0
    for k in range(n - 1):
        if slot[ids[k]] < 0:
            continue
        for m in range(k + 1, n):
            if lows[m] > highs[k]:
                break
            if slot[ids[m]] >= 0:
                left[2 * pairs] = slot[ids[k]]
                left[2 * pairs + 1] = slot[ids[m]]
                pairs += 1
    cost = 0.0
    for t in range(want.shape[0]):
        total = base[t]
        for p in range(pairs):
            total += want[t, left[2 * p], left[2 * p + 1]]
        cost -= power[t] * np.log(min(1.0, total))
    return cost
