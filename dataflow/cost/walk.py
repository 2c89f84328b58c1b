"""How the loops of one rank variable cut its range, remainders walked exactly.

The loops of a variable, outermost first, cut its range into tiles, each of those into smaller ones,
and so on; where a tile does not divide what it cuts, the last one is smaller. At most one more size
appears for each loop, so a short histogram (size, how many) says all that is needed.

`cut_loop` is a plain loop over integers. It runs as Python for one mapping, and compiled by numba
for the rows of a search (`dataflow.search.chains.walk`): one counting code. All results are at most
the size of the variable, so that sizes below 2**62 cannot overflow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def cut_loop(tile: int, once: bool, e: Ints, n: Ints, used: int) -> int:
    """One loop: changes the histogram of tiles into that of the tiles that the loop leaves.

    Args:
        tile: of the loop.
        once: only the first (a full) tile of each is followed: lanes that get the same word, or
            all iterations but the first.
        e, n: sizes and their numbers, with room for one more.
        used: entries of ``e`` and ``n`` in use.

    Returns:
        How many are used afterwards.
    """
    full = 0
    kept = 0
    for i in range(used):
        size = e[i]
        number = n[i]
        trips = size // tile
        if trips == 0:
            e[kept] = size
            n[kept] = number
            kept += 1
            continue
        if once:
            full += number
            continue
        full += number * trips
        rest = size - trips * tile
        if rest:
            e[kept] = rest
            n[kept] = number
            kept += 1
    if full:
        e[kept] = tile
        n[kept] = full
        kept += 1
    return kept


def cut(
    size: int, tiles: Sequence[int] | Ints, once: Sequence[bool] | Ints, e: Ints, n: Ints
) -> int:
    """Fills the histogram of the tiles that loops leave, outermost loop first.

    ``e`` and ``n`` have room for len(tiles) + 1 entries; how many are used is returned.
    """
    e[0] = size
    n[0] = 1
    used = 1
    for j in range(len(tiles)):
        used = cut_loop(tiles[j], bool(once[j]), e, n, used)
    return used


def histogram(size: int, tiles: Sequence[int], once: Sequence[bool]) -> list[tuple[int, int]]:
    """(size, number) of the tiles that loops leave, as Python integers."""
    room = len(tiles) + 2
    e, n = np.zeros(room, np.int64), np.zeros(room, np.int64)
    used = cut(size, tiles, once, e, n)
    return [(int(e[i]), int(n[i])) for i in range(used)]


def tile_list(size: int, tiles: Sequence[int], once: Sequence[bool]) -> tuple[Ints, Ints]:
    """First value and size of every tile that loops leave, in the order of execution."""
    starts, sizes = np.zeros(1, np.int64), np.full(1, size, np.int64)
    for tile, first_only in zip(tiles, once, strict=True):
        trips = np.where(first_only, 1, -(-sizes // tile))
        number = np.arange(int(trips.sum()), dtype=np.int64)
        number -= np.repeat(np.cumsum(trips) - trips, trips)
        left = np.repeat(sizes, trips) - number * tile
        starts = np.repeat(starts, trips) + number * tile
        sizes = np.minimum(left, tile)
    return starts, sizes
