"""The inner loop of the exact search: a skyline that is filled from below.

Any placement can be pushed down until every buffer rests on the bottom, on the top of another one
(moved up to its alignment), on the end of a bank or at its fixed offset. The search builds such
placements from below. A *section* is a maximal set of buffers that live together; the state of one
is the lowest level that is free above what is placed (`floor`), the top of what was placed last
(`top`), and the size of what is still to come (`rest`).

The state of the search is one row of integers, so that a choice copies a row and a failure goes
back to the row below. Arrays of a problem come as one tuple, see `arrays.Arrays`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.memory.offsets.compiled import compiled
from dataflow.memory.offsets.refuted import holds, name, note

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SOLVED, REFUTED, LIMIT, DEPTH = 1, 0, 2, 3
"""How a run ends: a placement; none exists; out of failures; the stack is too short."""

FAR = 1 << 62

NODES, FAILS = 0, 1
"""Places in the counters of a run."""


@compiled
def _raised(a: Any, row: Ints, queue: Ints, queued: Ints, tail: int) -> int:
    """Carries raised floors to a fixpoint; the section that cannot be filled any more, or -1.

    A buffer cannot lie below the floors of its sections (`least`), and a floor not below the
    lowest of its unplaced buffers.
    """
    spans, n = a[0], a[1]
    sec_at, secs, buf_at, bufs = a[2], a[3], a[4], a[5]
    most, align, room = a[7], a[8], a[10]
    floor, rest = row[:spans], row[2 * spans : 3 * spans]
    least = row[5 * spans : 5 * spans + n]
    head = 0
    failed = -1
    size = queue.shape[0]
    while head != tail:
        t = queue[head]
        head = head + 1 if head + 1 < size else 0
        queued[t] = 0
        if failed >= 0:
            continue
        low = FAR
        for k in range(buf_at[t], buf_at[t + 1]):
            m = least[bufs[k]]
            if 0 <= m < low:
                low = m
        if low != FAR and low > floor[t]:
            floor[t] = low
        level = floor[t]
        if low != FAR and level + rest[t] > room[t]:
            failed = t
            continue
        for k in range(buf_at[t], buf_at[t + 1]):
            i = bufs[k]
            m = least[i]
            if m < 0 or m >= level:
                continue
            to = level
            if align[i] > 1:
                to = (level + align[i] - 1) // align[i] * align[i]
            if to > most[i]:
                failed = t
                break
            least[i] = to
            for q in range(sec_at[i], sec_at[i + 1]):
                u = secs[q]
                # Only the lowest buffer of a section holds its floor down.
                if floor[u] < to and m <= floor[u] and not queued[u]:
                    queued[u] = 1
                    queue[tail] = u
                    tail = tail + 1 if tail + 1 < size else 0
    return failed


@compiled
def settle(a: Any, row: Ints) -> int:
    """Carries the floors of a first row to a fixpoint; a section that cannot be filled, or -1."""
    spans = a[0]
    queue = np.empty(spans + 1, dtype=np.int64)
    queued = np.ones(spans, dtype=np.int64)
    for t in range(spans):
        queue[t] = t
    return _raised(a, row, queue, queued, spans)


@compiled
def _place(a: Any, row: Ints, i: int, queue: Ints, queued: Ints) -> int:
    """Places buffer `i` at its least offset; the section that fails, or -1."""
    spans, n = a[0], a[1]
    sec_at, secs = a[2], a[3]
    height, most, align = a[6], a[7], a[8]
    partner_at, partners, bank, size = a[12], a[13], a[14], a[15]
    floor, top, rest = row[:spans], row[spans : 2 * spans], row[2 * spans : 3 * spans]
    count, cross = row[3 * spans : 4 * spans], row[4 * spans : 5 * spans]
    least = row[5 * spans : 5 * spans + n]
    at = least[i]
    high = at + height[i]
    least[i] = -1 - at
    tail = 0
    last = -1
    for q in range(sec_at[i], sec_at[i + 1]):
        t = secs[q]
        floor[t] = high
        top[t] = high
        rest[t] -= height[i]
        count[t] -= 1
        if last == t - 1 and last >= 0:
            cross[last] -= 1
        last = t
        queued[t] = 1
        queue[tail] = t
        tail += 1
    failed = -1
    for q in range(partner_at[i], partner_at[i + 1]):
        j = partners[q]
        m = least[j]
        if m < 0:
            continue
        # The next bank; what is placed later in a common section lies above.
        to = ((at + size[i] - 1) // bank + 1) * bank
        if align[j] > 1:
            to = (to + align[j] - 1) // align[j] * align[j]
        if m < to:
            least[j] = to
            if to > most[j]:
                failed = secs[sec_at[j]]
            for p in range(sec_at[j], sec_at[j + 1]):
                u = secs[p]
                if not queued[u]:
                    queued[u] = 1
                    queue[tail] = u
                    tail += 1
    lost = _raised(a, row, queue, queued, tail)
    return failed if failed >= 0 else lost


@compiled
def _next_level(a: Any, row: Ints, s: int, f: int, tops: Ints) -> int:
    """The lowest level above the floor `f` that the lowest buffer of section `s` can have.

    It is the least offset of one that cannot lie at the floor, or the top of one that is no member
    of the section and may lie below one that could.

    Args:
        tops: of each section, a level not above the tops of its unplaced buffers.
    """
    spans, n = a[0], a[1]
    buf_at, bufs = a[4], a[5]
    height, first, last, plain = a[6], a[16], a[17], a[18]
    least = row[5 * spans : 5 * spans + n]
    level = FAR
    left, right = s, s
    for k in range(buf_at[s], buf_at[s + 1]):
        i = bufs[k]
        m = least[i]
        if m > f:
            level = min(level, m)
        elif m == f:
            left, right = min(left, first[i]), max(right, last[i])
    if not plain:
        left, right = 0, spans - 1
    for t in range(left, right + 1):
        if t == s or tops[t] >= level:
            continue
        for k in range(buf_at[t], buf_at[t + 1]):
            j = bufs[k]
            m = least[j]
            if m >= 0 and m + height[j] < level and (not plain or first[j] > s or last[j] < s):
                level = max(f + 1, m + height[j])
    return level


@compiled
def _choose(
    a: Any, row: Ints, weight: Floats, options: Ints, tops: Ints, marks: Ints, node: int
) -> tuple[int, int, int]:
    """(section, how many buffers can rest there, level of waste or -1) with the fewest options.

    Only runs of equal floors between higher ones are looked at: a buffer whose least offset is
    the floor of such a run lies inside it, so what rests there is decided now. Where buffers have
    holes in their lives, this holds for the lowest floor of all.

    Args:
        options: receives the buffers that can rest.
        tops, marks: work space; `node` tells the marks of this call from older ones.
    """
    spans, n = a[0], a[1]
    sec_at, secs, buf_at, bufs = a[2], a[3], a[4], a[5]
    height, align, fixed, room, alike = a[6], a[8], a[9], a[10], a[11]
    first, last, plain = a[16], a[17], a[18]
    floor, top, rest = row[:spans], row[spans : 2 * spans], row[2 * spans : 3 * spans]
    count, cross = row[3 * spans : 4 * spans], row[4 * spans : 5 * spans]
    least = row[5 * spans : 5 * spans + n]
    best, best_score, best_waste = -1, 1e300, -1
    bottom = FAR
    if not plain:
        for t in range(spans):
            if count[t] and floor[t] < bottom:
                bottom = floor[t]
    tops[:] = -1
    # A buffer's mark: 2 * node, plus 1 when it rests on something at its least offset.
    low = 0
    while low < spans:
        if not count[low]:
            low += 1
            continue
        f = floor[low]
        high = low + 1
        if plain:
            while high < spans and cross[high - 1] > 0 and floor[high] == f:
                high += 1
            if (low > 0 and cross[low - 1] > 0 and floor[low - 1] < f) or (
                high < spans and cross[high - 1] > 0 and floor[high] < f
            ):
                low = high
                continue
        elif f > bottom:
            low = high
            continue
        for s in range(low, high):
            places = 0
            above = FAR
            left, right = s, s
            for k in range(buf_at[s], buf_at[s + 1]):
                i = bufs[k]
                m = least[i]
                if m < f:
                    continue
                if m > f:
                    above = min(above, m)
                    continue
                left, right = min(left, first[i]), max(right, last[i])
                if alike[i] >= 0 and least[alike[i]] >= 0:
                    continue
                if marks[i] < 2 * node:
                    marks[i] = 2 * node
                    if f == 0 or fixed[i]:
                        marks[i] += 1
                    else:
                        step = align[i]
                        for q in range(sec_at[i], sec_at[i + 1]):
                            at = top[secs[q]]
                            if at == f or (step > 1 and (at + step - 1) // step * step == f):
                                marks[i] += 1
                                break
                places += marks[i] & 1
            if places > 1 and places / weight[s] >= best_score:
                continue
            waste = -1
            limit = room[s] - rest[s]
            if f < limit:
                # As in `_next_level`, but the first level that leaves enough room will do.
                level = above
                if not plain:
                    left, right = 0, spans - 1
                for t in range(left, right + 1):
                    if level <= limit:
                        break  # waste is possible; how much is asked of the chosen one only
                    if t == s or not count[t]:
                        continue
                    if not plain or tops[t] < 0:
                        tops[t] = FAR
                        for k in range(buf_at[t], buf_at[t + 1]):
                            m = least[bufs[k]]
                            if m >= 0 and m + height[bufs[k]] < tops[t]:
                                tops[t] = m + height[bufs[k]]
                    if tops[t] > limit or tops[t] >= level:
                        continue
                    for k in range(buf_at[t], buf_at[t + 1]):
                        j = bufs[k]
                        m = least[j]
                        outside = not plain or first[j] > s or last[j] < s
                        if m >= 0 and m + height[j] < level and outside:
                            level = max(f + 1, m + height[j])
                if level <= limit:
                    waste = level
            total = places + (1 if waste >= 0 else 0)
            score = total / weight[s]
            if total <= 1:
                score = total - 2.0
            if score < best_score:
                best, best_score, best_waste = s, score, waste
                if total == 0:
                    return s, 0, -1
        low = high
    if best < 0:
        return -1, 0, -1
    if best_waste >= 0:
        best_waste = _next_level(a, row, best, floor[best], tops)
    places = 0
    f = floor[best]
    for k in range(buf_at[best], buf_at[best + 1]):
        i = bufs[k]
        first_of_alike = alike[i] < 0 or least[alike[i]] < 0
        if least[i] == f and marks[i] == 2 * node + 1 and first_of_alike:
            options[places] = i
            places += 1
    return best, places, best_waste


@compiled
def search(
    a: Any,
    start: Ints,
    key: Floats,
    weight: Floats,
    fails: int,
    found: Ints,
    counters: Ints,
    rows: Ints,
    stack: Ints,
    pool: Ints,
    known: Ints,
) -> int:
    """One run of the search from the row `start`; SOLVED writes the last row into `found`.

    Args:
        key: of each buffer; the highest of a section is tried first.
        weight: of each section, raised where the search fails.
        fails: failures after which the run is given up.
        rows, stack, pool: work space.
        known: numbers of the states that were refuted, in this run or earlier ones; without rows
            none are kept.

    A decision is an entry of the stack: row, first and last section of its component (what no
    unplaced buffer connects with the rest), section, options left and their place in the pool,
    level of waste, numbers of the state. When all options of a component are refuted, decisions in
    other components are no cause of it and are skipped. A component in a state that was refuted
    before, by whatever way it came about, is refuted at once.
    """
    spans = a[0]
    plain = a[18]
    width = start.shape[0]
    step = 1
    for i in range(a[1]):
        step = max(step, a[8][i])
    queue = np.empty(spans + 1, dtype=np.int64)
    queued = np.zeros(spans, dtype=np.int64)
    options = np.empty(a[1] + 1, dtype=np.int64)
    tops = np.empty(spans, dtype=np.int64)
    marks = np.zeros(a[1], dtype=np.int64)
    rows[0, :width] = start
    depth = -1
    r = 0
    pooled = 0
    failed = 0
    while True:
        row = rows[r]
        s, places, waste = _choose(a, row, weight, options, tops, marks, counters[NODES] + 1)
        if s < 0:
            found[:] = row[:width]
            return SOLVED
        counters[NODES] += 1
        low, high = 0, spans - 1
        if plain:
            cross = row[4 * spans : 5 * spans]
            low, high = s, s
            while low > 0 and cross[low - 1] > 0:
                low -= 1
            while high < spans - 1 and cross[high] > 0:
                high += 1
        one, two = -1, 0
        if known.shape[0] and places + (1 if waste >= 0 else 0) > 1:
            one, two = name(a, row, low, high, step)
            if holds(known, one, two):
                places, waste, one = 0, -1, -1
        depth += 1
        if depth >= stack.shape[0] or pooled + places >= pool.shape[0] or r + 1 >= rows.shape[0]:
            return DEPTH
        for x in range(places):  # insertion sort: the highest key last, so that it is popped first
            i = options[x]
            y = x
            while y > 0 and key[pool[pooled + y - 1]] > key[i]:
                pool[pooled + y] = pool[pooled + y - 1]
                y -= 1
            pool[pooled + y] = i
        stack[depth, 0] = r
        stack[depth, 1] = low
        stack[depth, 2] = high
        stack[depth, 3] = s
        stack[depth, 4] = places
        stack[depth, 5] = pooled
        stack[depth, 6] = waste
        stack[depth, 7] = one
        stack[depth, 8] = two
        pooled += places
        lost = places == 0 and waste < 0
        if lost:
            weight[s] += 1.0
            failed += 1
            counters[FAILS] += 1
        while True:
            # Take the next option of the decision on top of the stack, or go back.
            while stack[depth, 4] == 0 and stack[depth, 6] < 0:
                low, high = stack[depth, 1], stack[depth, 2]
                if stack[depth, 7] >= 0:
                    note(known, stack[depth, 7], stack[depth, 8])
                depth -= 1
                while depth >= 0 and (stack[depth, 2] < low or stack[depth, 1] > high):
                    depth -= 1
                if depth < 0:
                    return REFUTED
            if failed >= fails:
                return LIMIT
            r = stack[depth, 0]
            left = stack[depth, 4]
            pooled = stack[depth, 5] + left
            level = stack[depth, 6]
            if left + (1 if level >= 0 else 0) > 1:
                rows[r + 1, :width] = rows[r, :width]
                r += 1
            row = rows[r]
            if left > 0:
                stack[depth, 4] = left - 1
                bad = _place(a, row, pool[pooled - 1], queue, queued)
            else:
                stack[depth, 6] = -1
                t = stack[depth, 3]
                row[t] = level
                queued[t] = 1
                queue[0] = t
                bad = _raised(a, row, queue, queued, 1)
            if bad < 0:
                break
            weight[bad] += 1.0
            failed += 1
            counters[FAILS] += 1
