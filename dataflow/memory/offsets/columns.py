"""The inner loop of the sweep: what can stand beside what is placed, one section after another.

A *state* is what is alive in a section, sorted by offset. In the next section some buffers have
ended, and those that begin are shared out among the free intervals; how many bytes may stay free is
known. Cost and worth: see `order`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataflow.memory.offsets.compiled import compiled
from dataflow.memory.offsets.joints import liking
from dataflow.memory.offsets.order import WALL, between, stand
from dataflow.memory.offsets.share import NONE, PRIME, SOLVED, draw, insert, share

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@compiled
def _mixed(i: int, offset: int) -> int:
    """A number that tells buffer `i` at `offset` from others, nearly always."""
    x = (i * 1000003 + offset * 7919 + 12345) % PRIME
    return int(x * x % PRIME)


@compiled
def children(
    ids: Ints,
    lows: Ints,
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
    places: Ints,
    costs: Floats,
    names: Ints,
    signs: Ints,
    table: Ints,
    kills: Ints,
    work: Ints,
    slot: Ints,
    want: Floats,
    want_base: Floats,
    want_sum: Floats,
    love: float,
) -> int:
    """Ways to go on from every state to `section`; how many were written.

    For each state `tries` searches, each with its own order, share out the buffers `new` among the
    free intervals, at most `steps` decisions each. Some of those that come in the next section are
    let in too, so that what stays free is free for them. A way after which the buffers of the next
    section cannot be placed is left out.

    Args:
        ids, lows, counts: buffers of each state by offset, their offsets, their number.
        coming, later: buffers that begin in the next section, and bytes that may stay free there.
        parent, places, costs, names: receive a state's parent, offsets of `new`, cost, name.
        signs: receives a number for the sizes of the free intervals in the next section.
        table: what is known of such numbers: rows of (number, whether the next section works).
        work: one counter of decisions.
        slot, want, want_base, want_sum: see `wishes.Wishes`.
        love: what a joint counts beside the cost of neighbours.
    """
    fresh = new.shape[0]
    ghosts = look_at[1] if look_room.shape[0] else 0
    most = ids.shape[1] + 2
    wide = fresh + ghosts + ids.shape[1] + 2
    glow = np.empty(most, dtype=np.int64)
    gsize = np.empty(most, dtype=np.int64)
    gbelow = np.empty(most)
    below_id = np.empty(most, dtype=np.int64)
    above_id = np.empty(most, dtype=np.int64)
    left = np.empty(most, dtype=np.int64)
    here = np.empty(most, dtype=np.int64)
    stood = np.empty(most, dtype=np.int64)
    gabove = np.empty(most)
    gkey = np.empty(most)
    order = np.empty(most, dtype=np.int64)
    avail = np.empty((most, wide), dtype=np.int64)
    suffix = np.empty((most, wide), dtype=np.int64)
    number = np.empty(most, dtype=np.int64)
    chosen = np.empty((most, wide), dtype=np.int64)
    spots = np.empty((most, wide), dtype=np.int64)
    taken = np.zeros(most, dtype=np.int64)
    rest = np.empty(most, dtype=np.int64)
    used = np.zeros(height.shape[0], dtype=np.int64)
    at = np.zeros(height.shape[0], dtype=np.int64)
    line = np.empty(wide, dtype=np.int64)
    line_key = np.empty(wide)
    copy = np.empty(wide, dtype=np.int64)
    items = np.empty(wide, dtype=np.int64)
    kept = np.empty(most, dtype=np.int64)
    kept_low = np.empty(most, dtype=np.int64)
    alive = np.empty(most, dtype=np.int64)
    sizes = np.empty(most, dtype=np.int64)
    straight = np.arange(most)
    total = 0
    top = 1e-9
    for x in range(fresh):
        items[x] = new[x]
        total += height[new[x]]
        top = max(top, worth[new[x]])
    written = 0
    limit = parent.shape[0]
    for state in range(counts.shape[0]):
        gaps, room = 0, 0
        base = 0.0
        name = 0
        end = 0
        below = WALL
        stay = 0
        under, over = -1, -1
        lasting = 0
        for k in range(counts[state] + 1):
            over = -1
            if k < counts[state]:
                i = ids[state, k]
                if last[i] < section:
                    continue
                low, high, above = lows[state, k], lows[state, k] + height[i], worth[i]
                name += _mixed(i, low)
                over = i
                at[i] = low
                stood[lasting] = i
                lasting += 1
                if last[i] > section:
                    kept[stay], kept_low[stay] = i, low
                    stay += 1
            else:
                low, high, above = capacity, capacity, WALL
            if low > end:
                glow[gaps], gsize[gaps] = end, low - end
                gbelow[gaps], gabove[gaps] = below, above
                below_id[gaps], above_id[gaps] = under, over
                room += low - end
                gaps += 1
            else:
                base += between(below, above)
            end, below, under = high, above, over
        if room < total:
            continue
        for attempt in range(tries):
            if written >= limit:
                return written
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
                    break
                continue
            cost = base
            noise = 0.0 if attempt == 0 else 2.0
            for x in range(gaps):
                g = order[x]
                for k in range(taken[x]):
                    copy[k] = chosen[x, k]
                cost += stand(
                    copy, taken[x], glow[g], rest[x], gbelow[g], gabove[g], height, worth, noise,
                    shuffle if attempt % 2 else 0.0, at, seed, line, line_key, attempt % 4,
                    below_id[g], above_id[g], slot, want_sum, love,
                )  # fmt: skip
            # What stays, the new ones among it, and what is free in each of the next sections.
            n = 0
            for k in range(stay):
                alive[n] = kept[k]
                at[kept[k]] = kept_low[k]
                n += 1
            for x in range(fresh):
                i = new[x]
                if last[i] > section:
                    insert(alive, n, i, at)
                    n += 1
            dead = False
            sign = 0
            for h in range(look_room.shape[0]):
                mark = h + 1
                holes, end = 0, 0
                for k in range(n + 1):
                    if k < n:
                        i = alive[k]
                        if last[i] <= section + h:
                            continue
                        low, high = at[i], at[i] + height[i]
                    else:
                        low, high = capacity, capacity
                    if low > end:
                        mark += _mixed(h + 1, low - end)
                        y = holes
                        while y > 0 and sizes[y - 1] > low - end:
                            sizes[y] = sizes[y - 1]
                            y -= 1
                        sizes[y] = low - end
                        holes += 1
                    end = high
                if h == 0:
                    sign = mark
                cell = mark % table.shape[0]
                while table[cell, 0] != mark and table[cell, 0] != -1:
                    cell = cell + 1 if cell + 1 < table.shape[0] else 0
                if table[cell, 0] == -1:
                    c0, c1 = look_at[h], look_at[h + 1]
                    status = share(
                        holes, straight, sizes, gbelow, gabove, look[c0:c1], c1 - c0, height,
                        worth, top, look_room[h], 0, 0.0, steps, seed, work, used, avail, suffix,
                        number, chosen, spots, taken, rest,
                    )  # fmt: skip
                    table[cell, 1] = status != NONE
                    work[1] += 1
                    if work[1] * 2 < table.shape[0]:
                        table[cell, 0] = mark
                if not table[cell, 1]:
                    kills[h + 1] += 1
                    dead = True
                    break
            if dead:
                continue
            if want.shape[0]:
                for k in range(lasting):
                    here[k] = stood[k]
                y = lasting
                for x in range(fresh):
                    insert(here, y, new[x], at)
                    y += 1
                cost += love * liking(here, y, at, height, slot, want, want_base, left)
            parent[written] = state
            costs[written] = cost
            total_name = name
            for x in range(fresh):
                places[written, x] = at[new[x]]
                total_name += _mixed(new[x], at[new[x]])
            names[written] = total_name
            signs[written] = sign
            written += 1
    return written


@compiled
def follow(
    ids: Ints,
    lows: Ints,
    counts: Ints,
    section: int,
    new: Ints,
    last: Ints,
    parent: Ints,
    places: Ints,
    to_ids: Ints,
    to_lows: Ints,
    to_counts: Ints,
) -> None:
    """The states that follow their parents: what lives on, and what is new at its places."""
    fresh = new.shape[0]
    for state in range(parent.shape[0]):
        p = parent[state]
        n = 0
        for k in range(counts[p]):
            if last[ids[p, k]] >= section:
                to_ids[state, n] = ids[p, k]
                to_lows[state, n] = lows[p, k]
                n += 1
        for x in range(fresh):
            low = places[state, x]
            y = n
            while y > 0 and to_lows[state, y - 1] > low:
                to_ids[state, y] = to_ids[state, y - 1]
                to_lows[state, y] = to_lows[state, y - 1]
                y -= 1
            to_ids[state, y] = new[x]
            to_lows[state, y] = low
            n += 1
        to_counts[state] = n
