"""Chains: the tile sizes of one rank variable at every place where it can branch.

A *place* is a point of a skeleton at which the tile of a variable is free: a hold of a tensor that
the variable does not index (or indexes with overlap), or a fan-out on which its loop may stand.
Between two places the smallest tile is best, so a chain is a row of tiles, one for each place. All
chains are enumerated from the innermost place outwards; :func:`walk` counts their iterations
exactly, last tiles included.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PERFECT, QUOTIENTS, EVERY = 0, 1, 2
"""Which tiles are tried: divisors; quotients and what fits them; every integer."""


@lru_cache(maxsize=4096)
def quotients(size: int, factors: int) -> Ints:
    """Tiles of a whole rank: its divisors, or the least tile of each trip count, ascending."""
    if factors == PERFECT:
        return np.array([d for d in range(1, size + 1) if size % d == 0], np.int64)
    if factors == EVERY:
        return np.arange(1, size + 1, dtype=np.int64)
    found, tile = [], size
    while True:
        found.append(tile)
        trips = -(-size // tile) + 1
        if trips > size:
            break
        tile = min(tile - 1, -(-size // trips))
        tile = -(-size // -(-size // tile))
    return np.array(sorted(set(found)), np.int64)


@njit(cache=True)
def _tiles(size, below, factors, quotient, out):  # type: ignore[no-untyped-def]
    """Tiles at or above ``below``, ascending, into ``out``; their number.

    For each trip count over the whole rank: the least tile, the least one that adds no iteration
    below it, and the least multiple of ``below`` (which keeps deeper tiles whole).
    """
    count = 0
    if factors == 0:
        for tile in quotient:
            if tile % below == 0:
                out[count] = tile
                count += 1
        return count
    if factors == 2:
        for tile in range(below, size + 1):
            out[count] = tile
            count += 1
        return count
    many = len(quotient)
    for i in range(many):
        last = quotient[i + 1] - 1 if i + 1 < many else size
        if last < below:
            continue
        first = max(below, quotient[i])
        out[count] = first
        count += 1
        multiple = -(-first // below) * below
        end = min(multiple, last)
        trips = -(-size // first)
        if trips > 1 and end > first:
            rest = -(-(size - (trips - 1) * end) // below)
            least = max(first, -(-(size - rest * below) // (trips - 1)))
            if least > first and least < end:
                out[count] = least
                count += 1
        if multiple > first and multiple <= last:
            out[count] = multiple
            count += 1
    if out[count - 1] < size:
        out[count] = size
        count += 1
    return count


@njit(cache=True)
def _branch(size, current, limit, factors, quotient):  # type: ignore[no-untyped-def]
    """(chain index, tile) of every extension of the chains at a hold."""
    buffer = np.empty(3 * len(quotient) + size * (factors == 2) + 4, np.int64)
    total = 0
    for i in range(len(current)):
        for j in range(_tiles(size, current[i], factors, quotient, buffer)):
            total += buffer[j] <= limit
    parent, tile = np.empty(total, np.int64), np.empty(total, np.int64)
    total = 0
    for i in range(len(current)):
        for j in range(_tiles(size, current[i], factors, quotient, buffer)):
            if buffer[j] <= limit:
                parent[total], tile[total] = i, buffer[j]
                total += 1
    return parent, tile


@njit(cache=True)
def _lanes(size, below, most, factors, out):  # type: ignore[no-untyped-def]
    """Trip counts of a spatial loop over tiles of ``below``, ascending, into ``out``."""
    count = 0
    whole = -(-size // below)
    top = min(most, whole)
    for lanes in range(1, top + 1):
        if factors == 0:
            good = size % (below * lanes) == 0
        else:
            good = factors == 2 or lanes == top or -(-whole // -(-whole // lanes)) == lanes
        if good:
            out[count] = lanes
            count += 1
    return count


@njit(cache=True)
def _spread(size, current, most, limit, factors):  # type: ignore[no-untyped-def]
    """(chain index, trips) of every extension of the chains at a fan-out."""
    buffer = np.empty(most + 1, np.int64)
    total = 0
    for i in range(len(current)):
        for j in range(_lanes(size, current[i], most, factors, buffer)):
            total += min(size, current[i] * buffer[j]) <= limit
    parent, lanes = np.empty(total, np.int64), np.empty(total, np.int64)
    total = 0
    for i in range(len(current)):
        for j in range(_lanes(size, current[i], most, factors, buffer)):
            if min(size, current[i] * buffer[j]) <= limit:
                parent[total], lanes[total] = i, buffer[j]
                total += 1
    return parent, lanes


def chains(size: int, places: tuple[tuple[int, int], ...], factors: int) -> tuple[Ints, Ints, Ints]:
    """All chains of a variable.

    Args:
        size: values of the variable.
        places: (fan-out size or 0 for a hold, largest tile there), outermost first.
        factors: PERFECT, QUOTIENTS or EVERY.

    Returns:
        (tiles below each place, tiles just above it, trips on it), each chains x places.
    """
    many = len(places)
    below = np.ones((1, many), np.int64)
    above, trips = below.copy(), below.copy()
    current = np.ones(1, np.int64)
    quotient = quotients(size, PERFECT if factors == PERFECT else QUOTIENTS)
    for i in range(many - 1, -1, -1):
        fan, limit = places[i]
        if fan:
            parent, lanes = _spread(size, current, fan, limit, factors)
            top = np.minimum(size, current[parent] * lanes)
            below, above, trips = below[parent], above[parent], trips[parent]
            below[:, i], above[:, i], trips[:, i] = current[parent], top, lanes
            current = top
        else:
            parent, current = _branch(size, current, limit, factors, quotient)
            below, above, trips = below[parent], above[parent], trips[parent]
            below[:, i] = above[:, i] = current
    return below, above, trips


@njit(cache=True)
def walk(size, below, above, spatial, once):  # type: ignore[no-untyped-def]
    """Iterations and extents after each place, last tiles walked exactly.

    Args:
        size: values of the variable.
        below, above: tiles, chains x places.
        spatial: places; whether it is a fan-out.
        once: masks x places; whether only the first (largest) instance of the fan-out is followed.

    Returns:
        (iterations, sums of the extents), each masks x (places + 1) x chains: after each place,
        and last after the loops down to single values.
    """
    rows, many = below.shape
    masks = once.shape[0]
    steps = np.zeros((masks, many + 1, rows))
    total = np.zeros((masks, many + 1, rows))
    room = 4 * (many + 2)
    extent, count = np.empty(room, np.int64), np.empty((masks, room), np.int64)
    for row in range(rows):
        extent[0], pieces = size, 1  # distinct extents and how often each occurs
        for m in range(masks):
            count[m, 0] = 1
        for place in range(many + 1):
            for part in range(2):
                if part == 1 and (place == many or not spatial[place]):
                    break
                if place == many:
                    tile = np.int64(1)
                elif part == 0:
                    tile = above[row, place]
                else:
                    tile = below[row, place]
                lead = -1  # the piece that becomes the whole tile
                have = pieces
                for j in range(have):
                    if extent[j] < tile:
                        continue
                    full, rest = extent[j] // tile, extent[j] % tile
                    if rest:
                        at = pieces
                        for k in range(pieces):
                            if extent[k] == rest:
                                at = k
                        if at == pieces:
                            pieces += 1
                            extent[at] = rest
                            for m in range(masks):
                                count[m, at] = 0
                        for m in range(masks):
                            if not (part == 1 and once[m, place]):
                                count[m, at] += count[m, j]
                    if not part:
                        for m in range(masks):
                            count[m, j] *= full
                    else:
                        for m in range(masks):
                            if not once[m, place]:
                                count[m, j] *= full
                    extent[j] = tile
                    if lead < 0:
                        lead = j
                    else:
                        for m in range(masks):
                            count[m, lead] += count[m, j]
                            count[m, j] = 0
                        extent[j] = 0  # merged into lead; never counted again
                keep = 0
                for j in range(pieces):
                    if extent[j] > 0:
                        extent[keep] = extent[j]
                        for m in range(masks):
                            count[m, keep] = count[m, j]
                        keep += 1
                pieces = keep
            for m in range(masks):
                for j in range(pieces):
                    steps[m, place, row] += count[m, j]
                    total[m, place, row] += count[m, j] * extent[j]
    return steps, total
