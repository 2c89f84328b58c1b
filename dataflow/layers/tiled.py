"""A layer under a tiling on a machine: trips, ragged sizes, column blocks and passes.

Computed once here and asked by the mapper, the legality check, the program builder, the HLS
printer and the cycle model. Conventions:

- ``order`` holds the tiled dims; position = hardware loop level. ``b`` is always tiled by 1 (it
  must be in ``order`` when batch > 1). ``k`` is last when it is tiled.
- A tile of a streamed operand covers one tile of each dim in ``order[:depth]`` and the whole of
  every other dim.
- A *flat* vector layer has p = n = batch = groups = 1 and ``q`` counts bytes; a tiled q is a
  multiple of the vector lanes (``machine.cols``).
- Array with groups: an iteration handles ``tile["g"]`` groups. With ``feed == "flat"`` they
  are ``ceil(tile["g"] / group_pack)`` column blocks of ``group_pack * n`` columns
  (block-diagonal weights); ``tile["g"] > 1`` needs n untiled and group_pack * n <= columns, and
  ``group_pack > 1`` needs k untiled. With ``feed == "fir"`` (c = n = 1) channels stand on
  columns: ``ceil(tile["g"] / cols)`` blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

from dataflow.layers.axis import ceil_div
from dataflow.layers.layer import Dim, Layer
from dataflow.layers.passes import (
    Feed,
    Pass,
    Reduction,
    enumerate_passes,
    feed_steps,
    fir_stride,
    merges_columns,
    reduction_of,
)
from dataflow.layers.tiling import Tiling
from dataflow.machine import Machine

NO_LEVEL = 7
"""Value of a ``*_level`` field that names no loop level."""


@dataclass(frozen=True)
class Columns:
    """Column blocks of an output tile on the array or the vector lanes.

    Attributes:
        pack: groups side by side in one block.
        width: columns (lanes) of a full block.
        blocks: number of blocks of a (full, last) tile.
        last: columns of the last block of a (full, last) tile.
        level: loop level that decides between full and last.
    """

    pack: int
    width: int
    blocks: tuple[int, int]
    last: tuple[int, int]
    level: int


@dataclass(frozen=True)
class TiledLayer:
    """One layer, how it is tiled, and the machine that runs it."""

    layer: Layer
    tiling: Tiling
    machine: Machine

    def extent(self, dim: Dim) -> int:
        """Size of a dim of the layer (k: reduction channels per group)."""
        return self.layer.extent(dim)

    def tile(self, dim: Dim) -> int:
        """Tile size of a dim: its full extent when it is not tiled."""
        return self.tiling.tile[dim] if dim in self.tiling.order else self.extent(dim)

    def level(self, dim: Dim) -> int:
        """Hardware loop level of a dim, ``NO_LEVEL`` when it is not tiled."""
        order = self.tiling.order
        return order.index(dim) if dim in order else NO_LEVEL

    def trips(self, dim: Dim) -> int:
        """Tiles of a dim."""
        return ceil_div(self.extent(dim), self.tile(dim))

    @cached_property
    def level_trips(self) -> tuple[int, ...]:
        """Iterations of each level, outermost first; as long as ``order``."""
        return tuple(self.trips(d) for d in self.tiling.order)

    def ragged(self, dim: Dim) -> tuple[int, int]:
        """(size of a full tile, size of the last tile) of a dim."""
        whole, tile = self.extent(dim), self.tile(dim)
        return tile, whole - (ceil_div(whole, tile) - 1) * tile

    def fires(self, depth: int) -> int:
        """How often a reference of this depth fires in the layer's instruction."""
        return prod(self.level_trips[:depth])

    @property
    def output_tiles(self) -> int:
        """Output tiles: iterations of all levels but k."""
        return prod(self.trips(dim) for dim in self.tiling.order if dim != "k")

    def relevant_depth(self, dims: str) -> int:
        """Smallest depth at which each of ``dims`` that is tiled lies inside ``order[:depth]``."""
        order = self.tiling.order
        return max((order.index(d) + 1 for d in order if d in dims), default=0)

    @cached_property
    def columns(self) -> Columns:
        """Column blocks of the output tiles; array columns = vector lanes."""
        layer, cols = self.layer, self.machine.cols
        if layer.flat:
            return Columns(1, cols, (1, 1), (cols, cols), NO_LEVEL)
        if layer.kind == "vector" or self.tile("g") == 1:
            sizes, at = self.ragged("n"), self.level("n")
            pack, width = 1, cols
        else:
            pack = cols if self.tiling.feed == "fir" else self.tiling.group_pack
            groups, at = self.ragged("g"), self.level("g")
            width = pack * layer.n
            sizes = (groups[0] * layer.n, groups[1] * layer.n)
        blocks = (ceil_div(sizes[0], width), ceil_div(sizes[1], width))
        last = (sizes[0] - (blocks[0] - 1) * width, sizes[1] - (blocks[1] - 1) * width)
        return Columns(pack, min(width, max(sizes)), blocks, last, at)

    @cached_property
    def feed(self) -> Feed:
        """How the array is fed."""
        tiling = self.tiling
        return Feed(tiling.feed, tiling.ports, tiling.fir_taps, tiling.swap, tiling.group_pack)

    def reduction(self, k: int) -> Reduction:
        """The reduction of a column block over ``k`` channels of each group.

        Kernel columns are merged with the channels when they are contiguous and k is untiled.
        """
        layer = self.layer
        merged = self.level("k") == NO_LEVEL and merges_columns(
            layer.groups, layer.taps_s, layer.dilation_s, layer.source.x_bytes, layer.c
        )
        pack = self.columns.pack if self.tile("g") > 1 and self.tiling.feed == "flat" else 1
        return reduction_of(self.feed, layer.taps_r, layer.taps_s, pack * k, merged)

    def passes(self, k: int) -> tuple[Pass, ...]:
        """All passes of a column block, in order, over ``k`` reduction channels."""
        return enumerate_passes(self.reduction(k), self.feed, self.machine.rows)

    @property
    def fir_stride(self) -> int:
        """Feed steps from output point to output point."""
        layer = self.layer
        return fir_stride(
            self.feed, layer.stride_p, layer.dilation_r, layer.stride_q, layer.dilation_s
        )

    def steps(self, one: Pass, p: int, q: int) -> int:
        """Feed steps of a pass over a tile of p x q points."""
        outer, inner = (q, p) if self.tiling.swap else (p, q)
        return feed_steps(self.feed, one.taps[0][3], self.fir_stride, outer, inner)

    @property
    def zero_lines(self) -> bool:
        """Whether weight zero points differ between channels: a line of them before each pass."""
        stationary = self.layer.stationary
        return stationary is not None and len(set(stationary.zero)) > 1

    def weight_lines(self, k: int) -> int:
        """Weight-ring lines of a column block over ``k`` reduction channels."""
        return sum(one.lanes + self.zero_lines for one in self.passes(k))
