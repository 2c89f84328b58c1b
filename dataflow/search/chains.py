"""Chains: the tile sizes of one rank variable at every place where it can branch.

A *place* is a point of a skeleton at which the tile of a variable is free: a hold of a tensor that
the variable does not index (or indexes with overlap), or a fan-out on which its loop may stand.
Between two places the smallest tile is best, so a chain is a row of tiles, one for each place. All
chains are enumerated from the innermost place outwards; :func:`walk` counts their iterations
exactly, last tiles included.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import isqrt

import numpy as np
import numpy.typing as npt
from numba import njit

from dataflow.cost.walk import cut_loop

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PERFECT, QUOTIENTS, EVERY = 0, 1, 2
"""Which tiles are tried: divisors; quotients and what fits them; every integer."""


class TooManyChainsError(Exception):
    """There are more chains than the search enumerates."""


MOST_CHAINS = 400_000


@lru_cache(maxsize=4096)
def quotients(size: int, factors: int) -> Ints:
    """Tiles of a whole rank: its divisors, or the least tile of each trip count, ascending.

    Raises TooManyChainsError.
    """
    root = isqrt(size)
    if factors == PERFECT:
        low = [d for d in range(1, root + 1) if size % d == 0]
        return np.array(sorted({*low, *(size // d for d in low)}), np.int64)
    if (size if factors == EVERY else 2 * root) > MOST_CHAINS:
        raise TooManyChainsError
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
def _blocks(size, below, most, pin, factors, out):  # type: ignore[no-untyped-def]
    """What a spatial loop over tiles of ``below`` can cover, ascending, into ``out``.

    Its trips follow: covered / below, rounded up. A ``pin`` above 0 asks for as many.
    """
    count = 0
    whole = -(-size // below)
    top = min(most, whole)
    if factors == 2:
        for block in range(below, min(size, below * top) + 1):
            if pin == 0 or -(-block // below) == pin:
                out[count] = block
                count += 1
        return count
    for lanes in range(1, top + 1):
        if pin > 0:
            good = lanes == pin
        elif factors == 0:
            good = size % (below * lanes) == 0
        else:
            good = lanes == top or -(-whole // -(-whole // lanes)) == lanes
        if good:
            out[count] = min(size, below * lanes)
            count += 1
    return count


@njit(cache=True)
def _spread(size, current, most, limit, pin, factors):  # type: ignore[no-untyped-def]
    """(chain index, block) of every extension of the chains at a fan-out."""
    buffer = np.empty(size * (factors == 2) + min(size, most) + 1, np.int64)
    total = 0
    for i in range(len(current)):
        for j in range(_blocks(size, current[i], most, pin, factors, buffer)):
            total += buffer[j] <= limit
    parent, block = np.empty(total, np.int64), np.empty(total, np.int64)
    total = 0
    for i in range(len(current)):
        for j in range(_blocks(size, current[i], most, pin, factors, buffer)):
            if buffer[j] <= limit:
                parent[total], block[total] = i, buffer[j]
                total += 1
    return parent, block


@dataclass(frozen=True)
class Place:
    """Where the tile of a variable is free.

    Attributes:
        fan: instances of the fan-out there; 0: a hold.
        limit: largest tile above it.
        pin: the tile (at a fan-out: the trips) that is asked for; 0: any.
    """

    fan: int
    limit: int
    pin: int = 0


def chains(
    size: int, places: tuple[Place, ...], factors: int, most: int = MOST_CHAINS
) -> tuple[Ints, Ints, Ints]:
    """All chains of a variable.

    Args:
        size: values of the variable.
        places: outermost first.
        factors: PERFECT, QUOTIENTS or EVERY.
        most: chains, at most (never more than MOST_CHAINS).

    Returns:
        (tiles below each place, tiles just above it, trips on it), each chains x places.

    Raises TooManyChainsError.
    """
    many = len(places)
    below = np.ones((1, many), np.int64)
    above = below.copy()
    current = np.ones(1, np.int64)
    quotient = quotients(size, PERFECT if factors == PERFECT else QUOTIENTS)
    for i in range(many - 1, -1, -1):
        place = places[i]
        if place.fan:
            parent, block = _spread(size, current, place.fan, place.limit, place.pin, factors)
            below, above = below[parent], above[parent]
            below[:, i], above[:, i] = current[parent], block
            current = block
        elif place.pin:
            parent = np.flatnonzero(current <= place.pin) if place.pin <= place.limit else _NONE
            current = np.full(len(parent), place.pin, np.int64)
            below, above = below[parent], above[parent]
            below[:, i] = above[:, i] = current
        else:
            parent, current = _branch(size, current, place.limit, factors, quotient)
            below, above = below[parent], above[parent]
            below[:, i] = above[:, i] = current
        if len(current) > min(most, MOST_CHAINS):
            raise TooManyChainsError
    return below, above, -(-above // below)


_NONE = np.zeros(0, np.int64)


compiled_cut = njit(cache=True)(cut_loop)


@njit(cache=True)
def walk(size, below, above, spatial, once):  # type: ignore[no-untyped-def]
    """Iterations and extents after each place, last tiles walked exactly.

    Args:
        size: values of the variable.
        below, above: tiles, chains x places.
        spatial: places; whether it is a fan-out.
        once: masks x (places + 1); whether only the first (largest) instance of the fan-out is
            followed, and last: the first trip of the loops over time.

    Returns:
        (iterations, sums of the extents), each masks x (places + 1) x chains: after each place,
        and last after the loops down to single values. Integers up to ``size``, which are exact.
    """
    rows, many = below.shape
    masks = once.shape[0]
    steps = np.zeros((masks, many + 1, rows))
    total = np.zeros((masks, many + 1, rows))
    e, n = np.empty(2 * many + 4, np.int64), np.empty(2 * many + 4, np.int64)
    for m in range(masks):
        for row in range(rows):
            e[0], n[0], used = size, 1, 1
            for place in range(many + 1):
                if place == many:
                    used = compiled_cut(1, once[m, many], e, n, used)
                else:
                    used = compiled_cut(above[row, place], once[m, many], e, n, used)
                    if spatial[place]:
                        used = compiled_cut(below[row, place], once[m, place], e, n, used)
                count, extent = 0, 0
                for j in range(used):
                    count += n[j]
                    extent += n[j] * e[j]
                steps[m, place, row] = count
                total[m, place, row] = extent
    return steps, total
