"""Tile sizes of an axis and what tiles of it touch: exact integers, ragged tiles included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def ceil_div(a: int, b: int) -> int:
    """ceil(a / b) for b > 0."""
    return -(-a // b)


def tile_sizes(extent: int) -> tuple[int, ...]:
    """All distinct ceil(extent / t): every other size has the trips of one of these and is larger.

    There are at most 2*sqrt(extent) of them.
    """
    sizes = {extent}
    trips = 1
    while sizes and trips < extent:
        size = ceil_div(extent, trips)
        sizes.add(size)
        # the least number of trips that needs a smaller tile
        trips = (extent - 1) // (size - 1) + 1 if size > 1 else extent
    sizes.add(1)
    return tuple(sorted(sizes))


@dataclass(frozen=True)
class Window:
    """How output points of one axis reach source positions.

    Output point i reads positions ``i*stride + t*dilation - pad`` for t in 0..taps-1.
    """

    taps: int = 1
    stride: int = 1
    dilation: int = 1
    pad: int = 0

    def span(self, count: int) -> int:
        """Source positions under ``count`` neighbouring output points, halo included."""
        return (count - 1) * self.stride + (self.taps - 1) * self.dilation + 1

    def clipped_runs(self, size: int, points: int, tile: int) -> Ints:
        """Source positions inside [0, size) that each tile of ``points`` points reads, in order."""
        start = np.arange(0, points, tile, dtype=np.int64)
        count = np.minimum(tile, points - start)
        low = start * self.stride - self.pad
        high = low + (count - 1) * self.stride + (self.taps - 1) * self.dilation + 1
        runs: Ints = np.maximum(0, np.minimum(high, size) - np.maximum(low, 0))
        return runs

    def prefix_need(self, size: int, tile: int) -> int:
        """Source positions, counted from 0, that must exist before the first tile can be read."""
        return max(0, min(size, self.span(tile) - self.pad))
