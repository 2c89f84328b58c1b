"""Elements that tiles of an index touch where tile by tile counts: what lies outside the tensor is
not moved, and where data index no tile touches more than there are."""

from __future__ import annotations

import numpy as np
from numba import njit

from dataflow.search.chains import compiled_cut


@njit(cache=True)
def _tiles(size, below, above, spatial, once, places, end, starts, sizes):  # type: ignore[no-untyped-def]
    """Fills first value and size of each tile of a chain; (how many, whether one was left out)."""
    starts[0], sizes[0] = 0, size
    count, cut = 1, False
    for place in range(places + end):
        for part in range(2):
            if place == places:
                if part:
                    break
                tile = np.int64(1)
            elif part == 0:
                tile = above[place]
            elif not spatial[place]:
                break
            else:
                tile = below[place]
            first_only = part == 1 and once[place]
            cut = cut or (first_only and sizes[0] > tile)
            total = 0
            for j in range(count):
                total += 1 if first_only else -(-sizes[j] // tile)
            at = total
            for j in range(count - 1, -1, -1):  # from the back, in place
                trips = 1 if first_only else -(-sizes[j] // tile)
                start, left = starts[j], sizes[j]
                for k in range(trips - 1, -1, -1):
                    at -= 1
                    starts[at] = start + k * tile
                    sizes[at] = min(tile, left - k * tile)
            count = total
    return count, cut


@njit(cache=True)
def inside(  # type: ignore[no-untyped-def]
    size0,
    below0,
    above0,
    spatial0,
    once0,
    places0,
    end0,
    step0,
    size1,
    below1,
    above1,
    spatial1,
    once1,
    places1,
    end1,
    step1,
    offset,
    extent,
):
    """For each pair of chains of two variables (one: the second has size 1): the sum over all tiles
    of the elements of ``step0 * v0 + step1 * v1 + offset`` within 0..extent-1."""
    rows0, rows1 = below0.shape[0], below1.shape[0]
    s0, e0 = np.empty(size0 + 1, np.int64), np.empty(size0 + 1, np.int64)
    s1, e1 = np.empty(size1 + 1, np.int64), np.empty(size1 + 1, np.int64)
    out = np.empty(rows0 * rows1)
    for i in range(rows0):
        many0, cut0 = _tiles(size0, below0[i], above0[i], spatial0, once0, places0, end0, s0, e0)
        for j in range(rows1):
            many1, cut1 = _tiles(
                size1, below1[j], above1[j], spatial1, once1, places1, end1, s1, e1
            )
            total = 0
            for a in range(many0):
                for b in range(many1):
                    if cut0 or cut1:
                        span = 1 + abs(step0) * (e0[a] - 1) + abs(step1) * (e1[b] - 1)
                        total += min(extent, span)
                        continue
                    low = high = offset
                    if step0 > 0:
                        low += step0 * s0[a]
                        high += step0 * (s0[a] + e0[a] - 1)
                    else:
                        low += step0 * (s0[a] + e0[a] - 1)
                        high += step0 * s0[a]
                    if step1 > 0:
                        low += step1 * s1[b]
                        high += step1 * (s1[b] + e1[b] - 1)
                    else:
                        low += step1 * (s1[b] + e1[b] - 1)
                        high += step1 * s1[b]
                    total += max(0, min(high, extent - 1) - max(low, 0) + 1)
            out[i * rows1 + j] = total
    return out


@njit(cache=True)
def _sizes(size, below, above, spatial, once, places, end, e, n):  # type: ignore[no-untyped-def]
    """Fills sizes and numbers of the tiles of a chain; how many sizes there are."""
    e[0], n[0], used = size, 1, 1
    for place in range(places):
        used = compiled_cut(above[place], False, e, n, used)
        if spatial[place]:
            used = compiled_cut(below[place], once[place], e, n, used)
    return compiled_cut(1, False, e, n, used) if end else used


@njit(cache=True)
def gathered(  # type: ignore[no-untyped-def]
    size0,
    below0,
    above0,
    spatial0,
    once0,
    places0,
    end0,
    size1,
    below1,
    above1,
    spatial1,
    once1,
    places1,
    end1,
    most,
):
    """For each pair of chains of two variables (one: the second has size 1): the sum over all tiles
    of their points, at most ``most`` of each."""
    rows0, rows1 = below0.shape[0], below1.shape[0]
    room = 2 * max(below0.shape[1], below1.shape[1]) + 4
    e0, n0 = np.empty(room, np.int64), np.empty(room, np.int64)
    e1, n1 = np.empty(room, np.int64), np.empty(room, np.int64)
    out = np.empty(rows0 * rows1)
    for i in range(rows0):
        used0 = _sizes(size0, below0[i], above0[i], spatial0, once0, places0, end0, e0, n0)
        for j in range(rows1):
            used1 = _sizes(size1, below1[j], above1[j], spatial1, once1, places1, end1, e1, n1)
            total = 0
            for a in range(used0):
                for b in range(used1):
                    total += n0[a] * n1[b] * min(most, e0[a] * e1[b])
            out[i * rows1 + j] = total
    return out
