"""The inner loop of the sweep: what can stand beside what is placed, one section after another.

A *state* is a row of *blocks*: intervals of the memory, each with the buffers that lie somewhere in
it. Buffers that begin together in one free interval make a block; in which order they stand, and
where what stays free, is decided as late as possible: when some of them have ended, the others move
to one end of the block, so that what is free lies together, beside what is free next to the block.
Only when something is put there, the block shrinks to what is left of it. So one state stands for
very many placements.

In the next section, those that begin are shared out among the free intervals; how many bytes may
stay free is known. Cost and worth: see `order`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataflow.memory.offsets.blocks import BOTH, HIGH, LOW, holes, lean, mixed, part_block, shape
from dataflow.memory.offsets.compiled import compiled
from dataflow.memory.offsets.joints import liking
from dataflow.memory.offsets.order import WALL, between, stand
from dataflow.memory.offsets.share import NONE, SOLVED, draw, insert, share

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@compiled
def children(
    ids: Ints,
    lows: Ints,
    highs: Ints,
    counts: Ints,
    section: int,
    new: Ints,
    look: Ints,
    look_at: Ints,
    look_room: Ints,
    last: Ints,
    height: Ints,
    worth: Floats,
    capacity: int,
    tries: int,
    steps: int,
    shuffle: float,
    seed: Ints,
    parent: Ints,
    to_ids: Ints,
    to_lows: Ints,
    to_highs: Ints,
    to_counts: Ints,
    costs: Floats,
    names: Ints,
    signs: Ints,
    table: Ints,
    rows: Ints,
    kills: Ints,
    work: Ints,
    slot: Ints,
    want: Floats,
    want_base: Floats,
    want_power: Floats,
    want_sum: Floats,
    love: float,
) -> int:
    """Ways to go on from every state to `section`; how many were written.

    For each state `tries` searches, each with its own order and its own lean of the blocks, share
    out the buffers `new` among the free intervals, at most `steps` decisions each. Some of those
    that come in the next sections are let in too, so that what stays free is free for them. A way
    after which the buffers of one of the next sections cannot be placed is left out.

    Args:
        ids, lows, highs, counts: buffers of each state by offset, their blocks, their number.
        look, look_at, look_room: buffers that begin in the next sections, where those of each
            section begin in `look`, bytes that may stay free in each.
        parent: receives the state that each one follows.
        to_ids, to_lows, to_highs, to_counts: receive the states.
        costs, names: receive the cost, and a number of what can come of the state (`shape`).
        signs: receives a number for the sizes of the free intervals in the next section.
        table: what is known of such numbers: rows of (number, whether the section works).
        rows: how many rows of the table are taken.
        kills: counts ways that fail here, and those that fail in each of the next sections.
        work: one counter of decisions.
        slot, want, want_base, want_power, want_sum: see `wishes.Wishes`.
        love: what a joint counts beside the cost of neighbours.
    """
    fresh = new.shape[0]
    ghosts = look_at[1] if look_room.shape[0] else 0
    most = ids.shape[1] + 2
    wide = fresh + ghosts + ids.shape[1] + 2
    # Blocks of a state.
    blo = np.empty(most, dtype=np.int64)
    bhi = np.empty(most, dtype=np.int64)
    bsize = np.empty(most, dtype=np.int64)
    bat = np.empty(most + 1, dtype=np.int64)
    bcost = np.empty(most)
    push = np.empty(most, dtype=np.int64)
    link = np.empty(most)
    bmem = np.empty(most, dtype=np.int64)
    nlo = np.empty(most, dtype=np.int64)
    nhi = np.empty(most, dtype=np.int64)
    # Free intervals.
    glow = np.empty(2 * most, dtype=np.int64)
    gsize = np.empty(2 * most, dtype=np.int64)
    gbelow = np.empty(2 * most)
    gabove = np.empty(2 * most)
    below_id = np.empty(2 * most, dtype=np.int64)
    above_id = np.empty(2 * most, dtype=np.int64)
    gnext = np.empty(2 * most, dtype=np.int64)  # the block above
    inside = np.zeros(2 * most, dtype=np.bool_)
    holds = np.zeros(2 * most, dtype=np.bool_)
    part = np.zeros(most, dtype=np.int64)
    wanted = want.shape[0] > 0
    gfill = np.empty(2 * most, dtype=np.int64)  # position in `order`
    gkey = np.empty(2 * most)
    left = np.empty(4 * most * most, dtype=np.int64)
    until = np.empty(2 * most + 4, dtype=np.int64)
    tall = np.empty(2 * most + 4, dtype=np.int64)
    inner = np.empty(2 * most + 4, dtype=np.int64)
    order = np.empty(2 * most, dtype=np.int64)
    avail = np.empty((2 * most, wide), dtype=np.int64)
    suffix = np.empty((2 * most, wide), dtype=np.int64)
    number = np.empty(2 * most, dtype=np.int64)
    chosen = np.empty((2 * most, wide), dtype=np.int64)
    spots = np.empty((2 * most, wide), dtype=np.int64)
    taken = np.zeros(2 * most, dtype=np.int64)
    rest = np.empty(2 * most, dtype=np.int64)
    used = np.zeros(height.shape[0], dtype=np.int64)
    at = np.zeros(height.shape[0], dtype=np.int64)
    line = np.empty(wide, dtype=np.int64)
    line_key = np.empty(wide)
    copy = np.empty(wide, dtype=np.int64)
    items = np.empty(wide, dtype=np.int64)
    is_new = np.zeros(height.shape[0], dtype=np.bool_)
    sizes = np.empty(2 * most, dtype=np.int64)
    straight = np.arange(2 * most)
    total = 0
    top = 1e-9
    for x in range(fresh):
        items[x] = new[x]
        is_new[new[x]] = True
        total += height[new[x]]
        top = max(top, worth[new[x]])
    written = 0
    limit = parent.shape[0]
    for state in range(counts.shape[0]):
        blocks = 0
        members = 0
        room = capacity
        k = 0
        while k < counts[state]:
            lo, hi = lows[state, k], highs[state, k]
            bat[blocks] = members
            stays = 0
            while k < counts[state] and lows[state, k] == lo:
                i = ids[state, k]
                if last[i] >= section:
                    bmem[members] = i
                    members += 1
                    stays += height[i]
                k += 1
            if stays:
                blo[blocks], bhi[blocks], bsize[blocks] = lo, hi, stays
                cost = 0.0
                for y in range(bat[blocks] + 1, members):
                    cost += between(worth[bmem[y - 1]], worth[bmem[y]])
                bcost[blocks] = cost
                room -= stays
                blocks += 1
        bat[blocks] = members
        for b in range(blocks):
            link[b] = 0.0
            if b + 1 < blocks and bhi[b] == blo[b + 1] and want.shape[0]:
                for x in range(bat[b], bat[b + 1]):
                    if slot[bmem[x]] >= 0:
                        for y in range(bat[b + 1], bat[b + 2]):
                            if slot[bmem[y]] >= 0:
                                link[b] += want_sum[slot[bmem[x]], slot[bmem[y]]]
        if room < total:
            continue
        for attempt in range(tries):
            if written >= limit:
                return written
            chance = 0.0
            if attempt >= 2:
                chance = 0.8 * (attempt % 5)
            lean(blocks, blo, bhi, bsize, link, chance, attempt % 2 == 1, seed, push, bat, capacity)
            gaps = 0
            base = 0.0
            end = 0
            below = WALL
            under = -1
            for b in range(blocks + 1):
                if b < blocks:
                    low = bhi[b] - bsize[b] if push[b] == HIGH else blo[b]
                    high = low + bsize[b]
                    if push[b] == BOTH:
                        part_block(
                            b, blocks, bat, bmem, blo, bhi, slot, want_sum, wanted, seed, part,
                            used, copy,
                        )  # fmt: skip
                        high = low
                        for y in range(bat[b], part[b]):
                            high += height[bmem[y]]
                    over = bmem[bat[b]]
                    above = worth[over]
                    base += bcost[b]
                else:
                    low, high, above, over = capacity, capacity, WALL, -1
                if low > end:
                    glow[gaps], gsize[gaps] = end, low - end
                    gbelow[gaps], gabove[gaps] = below, above
                    below_id[gaps], above_id[gaps] = under, over
                    gnext[gaps] = b
                    inside[gaps] = False
                    gaps += 1
                else:
                    base += between(below, above)
                end = high
                if b < blocks and push[b] == BOTH:
                    under, over = bmem[part[b] - 1], bmem[part[b]]
                    glow[gaps], gsize[gaps] = high, bhi[b] - blo[b] - bsize[b]
                    gbelow[gaps], gabove[gaps] = worth[under], worth[over]
                    below_id[gaps], above_id[gaps] = under, over
                    gnext[gaps] = b
                    inside[gaps] = True
                    gaps += 1
                    end = bhi[b]
                if b < blocks:
                    under = bmem[bat[b + 1] - 1]
                    below = worth[under]
            slack = room - total
            count = fresh
            if slack > 0 and attempt % 4 and ghosts:
                for x in range(ghosts):
                    i = look[x]
                    if height[i] <= slack and draw(seed) < 0.6:
                        items[count] = i
                        count += 1
                        slack -= height[i]
            for g in range(gaps):
                order[g] = g
                gkey[g] = gsize[g] * (1.0 + (0.5 * draw(seed) if attempt else 0.0))
            for x in range(1, gaps):
                insert(order, x, order[x], gkey)
            skip = 0.0
            if slack > 0 and attempt % 3 == 2:
                skip = 0.3
            status = share(
                gaps, order, gsize, gbelow, gabove, items, count, height, worth, top, slack,
                attempt, skip, steps, seed, work, used, avail, suffix, number, chosen, spots,
                taken, rest,
            )  # fmt: skip
            if status != SOLVED:
                if status == NONE and skip == 0.0 and count == fresh:
                    kills[0] += 1
                continue
            cost = base
            noise = 0.0 if attempt == 0 else 2.0
            for x in range(gaps):
                g = order[x]
                gfill[g] = x
                for k in range(taken[x]):
                    copy[k] = chosen[x, k]
                cost += stand(
                    copy, taken[x], glow[g], rest[x], gbelow[g], gabove[g], height, worth, noise,
                    shuffle if attempt % 2 else 0.0, at, seed, line, line_key, attempt % 4,
                    below_id[g], above_id[g], slot, want_sum, love,
                )  # fmt: skip
                # In the order of their places.
                for k in range(taken[x]):
                    chosen[x, k] = line[k]
            for b in range(blocks):
                nlo[b], nhi[b] = blo[b], bhi[b]
            n = 0
            g = 0
            row_ids, row_lows, row_highs = to_ids[written], to_lows[written], to_highs[written]
            # Which blocks shrink.
            for g in range(gaps):
                x = gfill[g]
                some = False
                for k in range(taken[x]):
                    if is_new[chosen[x, k]]:
                        some = True
                holds[g] = some
                if some and not inside[g]:
                    b = gnext[g]
                    if b < blocks and push[b] == HIGH:
                        nlo[b] = bhi[b] - bsize[b]
                    if b > 0 and push[b - 1] == LOW:
                        nhi[b - 1] = blo[b - 1] + bsize[b - 1]
            g = 0
            for b in range(blocks + 1):
                begin = bat[b] if b < blocks else 0
                while g < gaps and gnext[g] == b:
                    low, high = glow[g], glow[g] + gsize[g]
                    if inside[g] and holds[g]:
                        for k in range(begin, part[b]):
                            row_ids[n], row_lows[n], row_highs[n] = bmem[k], blo[b], low
                            n += 1
                        begin = part[b]
                        nlo[b] = high
                    x = gfill[g]
                    if holds[g]:
                        for k in range(taken[x]):
                            i = chosen[x, k]
                            if is_new[i]:
                                row_ids[n], row_lows[n], row_highs[n] = i, low, high
                                n += 1
                    g += 1
                if b < blocks:
                    for k in range(begin, bat[b + 1]):
                        row_ids[n], row_lows[n], row_highs[n] = bmem[k], nlo[b], nhi[b]
                        n += 1
            names[written] = shape(
                n, row_ids, row_lows, row_highs, last, height, section, capacity, until, tall,
                inner,
            )  # fmt: skip
            dead = False
            sign = 0
            for h in range(look_room.shape[0]):
                good = False
                for turn in range(2):
                    found = holes(
                        n, row_ids, row_lows, row_highs, last, height, section + h, capacity,
                        turn == 1, sizes,
                    )  # fmt: skip
                    mark = mixed(h + 1, section + 1, 0)
                    for k in range(found):
                        mark += mixed(h + 1, sizes[k], k)
                    if h == 0 and turn == 0:
                        sign = mark
                    cell = mark % table.shape[0]
                    while table[cell, 0] != mark and table[cell, 0] != -1:
                        cell = cell + 1 if cell + 1 < table.shape[0] else 0
                    if table[cell, 0] == -1:
                        c0, c1 = look_at[h], look_at[h + 1]
                        status = share(
                            found, straight, sizes, gbelow, gabove, look[c0:c1], c1 - c0, height,
                            worth, top, look_room[h], 0, 0.0, steps, seed, work, used, avail,
                            suffix, number, chosen, spots, taken, rest,
                        )  # fmt: skip
                        table[cell, 1] = status != NONE
                        if rows[0] * 2 < table.shape[0]:
                            rows[0] += 1
                            table[cell, 0] = mark
                    if table[cell, 1]:
                        good = True
                        break
                if not good:
                    kills[h + 1] += 1
                    dead = True
                    break
            if dead:
                continue
            if want.shape[0] and love > 0.0:
                cost += love * liking(
                    row_ids, row_lows, row_highs, n, slot, want, want_base, want_power, left
                )
            parent[written] = state
            to_counts[written] = n
            costs[written] = cost
            signs[written] = sign
            written += 1
    return written
