"""Blocks: intervals of the memory whose buffers may still lie in any order.

What stays of a block when some of its buffers end, where it leans, what is free then, and which
states have the same future.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataflow.memory.offsets.compiled import compiled
from dataflow.memory.offsets.share import PRIME, draw

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LOW, HIGH, BOTH = 0, 1, 2
"""Where in its block stands what stays."""

MIDDLE = -0.5
"""Worth of parting what stays in a block; free space beside free space is worth 1."""


@compiled
def mixed(one: int, two: int, three: int) -> int:
    """A number that tells three others from other three, nearly always."""
    x = (one * 1000003 + two * 7919 + three * 104729 + 12345) % PRIME
    return int(x * x % PRIME)


@compiled
def lean(
    blocks: int,
    lo: Ints,
    hi: Ints,
    size: Ints,
    link: Floats,
    noise: float,
    back: bool,
    seed: Ints,
    push: Ints,
    bat: Ints,
    capacity: int,
) -> None:
    """Where in its block stands what stays: LOW, HIGH or BOTH.

    From one end of the memory to the other: what is free in a block is put beside what is free
    before or behind it, if that does not part what is wanted side by side.

    Args:
        blocks: how many there are, by offset.
        lo, hi, size: first byte of each, the byte behind it, bytes of what stays.
        link: of each block, how much it is wanted beside the next one.
        noise: how much is left to chance.
        back: from the high end of the memory down.
        push: receives LOW, HIGH or BOTH.
        bat: of each block its first member; what is alone cannot part.
    """
    free = False
    edge = capacity if back else 0
    for x in range(blocks):
        b = blocks - 1 - x if back else x
        if (hi[b] < edge) if back else (lo[b] > edge):
            free = True
        edge = lo[b] if back else hi[b]
        push[b] = LOW
        if hi[b] - lo[b] == size[b]:
            free = False
            continue
        after = b - 1 if back else b + 1
        joined = 0.0  # what the links on both sides are worth
        value = 0.0
        if free:
            value += 1.0
        elif x > 0:
            value -= link[b] if back else link[b - 1]
        if 0 <= after < blocks:
            gap = hi[after] < lo[b] if back else lo[after] > hi[b]
            if gap:
                joined = 1.0
            elif hi[after] - lo[after] > size[after]:
                joined = 0.6
            joined -= link[after] if back else link[b]
        elif (lo[b] > 0) if back else (hi[b] < capacity):
            joined = 1.0
        if noise > 0.0:
            value += noise * (draw(seed) - 0.5)
        if bat[b + 1] - bat[b] > 1:
            middle = MIDDLE
            if noise > 0.0:
                middle += noise * (draw(seed) - 0.5)
            if middle > value and middle > joined:
                push[b] = BOTH
                free = False
                continue
        before = value > joined
        # Free before it: what stays stands at the far end.
        push[b] = HIGH if before != back else LOW
        free = not before


@compiled
def part_block(
    b: int,
    blocks: int,
    bat: Ints,
    bmem: Ints,
    lo: Ints,
    hi: Ints,
    slot: Ints,
    want: Floats,
    wanted: bool,
    seed: Ints,
    part: Ints,
    side: Ints,
    copy: Ints,
) -> None:
    """Orders what stays in block `b` so that its first ones stand low, the others high.

    Low stands what is wanted beside the block below; without such a one, or without others, one by
    chance stands alone.

    Args:
        bat, bmem: of each block its first member; the members.
        slot, want: see `columns.children`; they hold something only where `wanted`.
        part: receives the position of the first member that stands high.
        side, copy: work space.
    """
    first, last = bat[b], bat[b + 1]
    low = 0
    high = 0
    for k in range(first, last):
        i = bmem[k]
        side[i] = 0
        if not wanted or slot[i] < 0:
            continue
        value = 0.0
        if b > 0 and hi[b - 1] == lo[b]:
            for x in range(bat[b - 1], bat[b]):
                if slot[bmem[x]] >= 0:
                    value += want[slot[bmem[x]], slot[i]]
        if b + 1 < blocks and lo[b + 1] == hi[b]:
            for x in range(bat[b + 1], bat[b + 2]):
                if slot[bmem[x]] >= 0:
                    value -= want[slot[i], slot[bmem[x]]]
        if value > 0.05:
            side[i] = 1
            low += 1
        elif value < -0.05:
            side[i] = -1
            high += 1
    n = 0
    rest = 0
    lone = int(draw(seed) * (last - first - low - high)) if low + high < last - first else 0
    # What nobody asks for stands with the side that is asked for less, or by chance apart.
    alone = low == 0 and high == 0
    up = draw(seed) < 0.5
    for k in range(first, last):
        i = bmem[k]
        if side[i] == 0:
            if alone:
                side[i] = 1 if (rest == lone) != up else -1
            else:
                side[i] = 1 if low == 0 or (high > 0 and up) else -1
            rest += 1
    for turn in range(2):
        for k in range(first, last):
            if side[bmem[k]] == (1 if turn == 0 else -1):
                copy[n] = bmem[k]
                n += 1
        if turn == 0:
            part[b] = first + n
    for k in range(n):
        bmem[first + k] = copy[k]
    part[b] = min(max(part[b], first + 1), last - 1)


@compiled
def holes(
    n: int,
    ids: Ints,
    lows: Ints,
    highs: Ints,
    last: Ints,
    height: Ints,
    section: int,
    capacity: int,
    back: bool,
    sizes: Ints,
) -> int:
    """How many intervals are free behind `section`; `sizes` receives theirs, ascending.

    What stays of a block leans as in `lean`, without chance.
    """
    count = 0
    cur = 0
    edge = capacity if back else 0
    k = 0
    while k <= n:
        if k < n:
            e = n - 1 - k if back else k
            lo, hi = lows[e], highs[e]
            stays = 0
            while k < n:
                e = n - 1 - k if back else k
                if lows[e] != lo:
                    break
                if last[ids[e]] > section:
                    stays += height[ids[e]]
                k += 1
            cur += edge - hi if back else lo - edge
            edge = lo if back else hi
            if stays == 0:
                cur += hi - lo
                continue
            f = hi - lo - stays
            if f > 0:
                if cur == 0:
                    cur = f
                    continue
                cur += f
        else:
            cur += edge if back else capacity - edge
            k += 1
        if cur > 0:
            y = count
            while y > 0 and sizes[y - 1] > cur:
                sizes[y] = sizes[y - 1]
                y -= 1
            sizes[y] = cur
            count += 1
            cur = 0
    return count


@compiled
def shape(
    n: int,
    ids: Ints,
    lows: Ints,
    highs: Ints,
    last: Ints,
    height: Ints,
    section: int,
    capacity: int,
    until: Ints,
    size: Ints,
    below: Ints,
) -> int:
    """A number of a state for what can come of it, the same for those that differ by mirror images.

    What ends last parts the memory; as long as it lives, neither which part lies where matters nor
    how each is turned, and so on inside of each.

    Args:
        ids, lows, highs: the `n` buffers of a state and their blocks, by offset.
        last: last section of each buffer.
        until, size, below: work space, two more than twice the buffers.
    """
    depth = 0
    edge = 0
    k = 0
    while k <= n:
        if k < n:
            lo, hi = lows[k], highs[k]
        else:
            lo, hi = capacity, capacity
        for turn in range(2):
            mark = 0
            if turn == 0:
                if lo == edge:
                    continue
                when, tall = section, lo - edge
            elif k < n:
                when, tall = 0, hi - lo
                first = k
                while k < n and lows[k] == lo:
                    when = max(when, last[ids[k]])
                    k += 1
                if k > first + 1:
                    for x in range(first, k):
                        mark += mixed(last[ids[x]], height[ids[x]], 1)
                edge = hi
                when = max(when, section)
            else:
                when, tall = 1 << 30, 0
                k += 1
            carry = 0
            while depth > 0 and until[depth - 1] < when:
                depth -= 1
                carry = mixed(until[depth], size[depth], (below[depth] + carry) % PRIME)
            if depth == 0 or until[depth - 1] > when:
                until[depth], size[depth], below[depth] = when, 0, 0
                depth += 1
            size[depth - 1] += tall
            below[depth - 1] = (below[depth - 1] + carry + mark) % PRIME
    return int(below[0])
