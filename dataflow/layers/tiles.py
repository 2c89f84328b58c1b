"""Tile arithmetic of a Layer under a Tiling: trips, ragged sizes, halos, buffer tiles.

Shared by the mapper, the legality check, the program builder and the cycle model, so that a size
is computed once. Conventions:

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
from math import prod

from dataflow.layers.layer import Dim, Layer, View
from dataflow.layers.tiling import Tiling

NO_LEVEL = 7
"""Value of a ``*_level`` field that names no loop level."""


def ceil_div(a: int, b: int) -> int:
    """a / b rounded up."""
    return -(-a // b)


def extent(layer: Layer, dim: Dim) -> int:
    """Size of a dim of the layer (k: reduction channels per group)."""
    return {
        "b": layer.batch,
        "g": layer.groups,
        "p": layer.p,
        "q": layer.q,
        "n": layer.n,
        "k": layer.c,
    }[dim]


def tile_of(layer: Layer, tiling: Tiling, dim: Dim) -> int:
    """Tile size of a dim: its full extent when it is not tiled."""
    return tiling.tile[dim] if dim in tiling.order else extent(layer, dim)


def level(tiling: Tiling, dim: Dim) -> int:
    """Hardware loop level of a dim, ``NO_LEVEL`` when it is not tiled."""
    return tiling.order.index(dim) if dim in tiling.order else NO_LEVEL


def trips(layer: Layer, tiling: Tiling) -> tuple[int, ...]:
    """Iterations of each level, outermost first; as long as ``order``."""
    return tuple(ceil_div(extent(layer, d), tiling.tile[d]) for d in tiling.order)


def ragged(layer: Layer, tiling: Tiling, dim: Dim) -> tuple[int, int]:
    """(size of a full tile, size of the last tile) of a dim."""
    whole, tile = extent(layer, dim), tile_of(layer, tiling, dim)
    return tile, whole - (ceil_div(whole, tile) - 1) * tile


def fires(layer: Layer, tiling: Tiling, depth: int) -> int:
    """How often a reference of this depth fires in the layer's instruction."""
    return prod(trips(layer, tiling)[:depth])


def blocks_iterations(layer: Layer, tiling: Tiling) -> int:
    """Output tiles: iterations of all levels but k."""
    sizes = zip(tiling.order, trips(layer, tiling), strict=True)
    return prod(count for dim, count in sizes if dim != "k")


def relevant_depth(tiling: Tiling, dims: str) -> int:
    """Smallest depth at which each of ``dims`` that is tiled lies inside ``order[:depth]``."""
    return max((tiling.order.index(d) + 1 for d in tiling.order if d in dims), default=0)


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


def columns(layer: Layer, tiling: Tiling, cols: int) -> Columns:
    """Column blocks of the layer's output tiles; ``cols`` = array columns = vector lanes."""
    if layer.flat:
        return Columns(1, cols, (1, 1), (cols, cols), NO_LEVEL)
    if layer.kind == "vector" or tile_of(layer, tiling, "g") == 1:
        sizes, at = ragged(layer, tiling, "n"), level(tiling, "n")
        pack, width = 1, cols
    else:
        pack = cols if tiling.feed == "fir" else tiling.group_pack
        groups, at = ragged(layer, tiling, "g"), level(tiling, "g")
        width = pack * layer.n
        sizes = (groups[0] * layer.n, groups[1] * layer.n)
    blocks = (ceil_div(sizes[0], width), ceil_div(sizes[1], width))
    last = (sizes[0] - (blocks[0] - 1) * width, sizes[1] - (blocks[1] - 1) * width)
    return Columns(pack, min(width, max(sizes)), blocks, last, at)


@dataclass(frozen=True)
class TileBox:
    """A tile of an operand in the activation memory.

    Attributes:
        batch, rows, cols, chan: extents of a full tile; chan in bytes. A dim that the view
            broadcasts (stride 0) has extent 1.
        y0, x0: coordinates of the first tile's first row and column (negative: padding).
        tiled: the dims of order[:depth] that move the tile.
        row_bytes: dense bytes of a row, cols * chan.
    """

    batch: int
    rows: int
    cols: int
    chan: int
    y0: int
    x0: int
    tiled: frozenset[Dim]

    @property
    def row_bytes(self) -> int:
        return self.cols * self.chan

    def bytes(self, pitch: int = 0) -> int:
        """Bytes of the tile with rows ``pitch`` apart (default: dense)."""
        return self.batch * self.rows * max(pitch, self.row_bytes)


def window(layer: Layer, dim: Dim, count: int) -> int:
    """Input rows (dim p) or columns (q) that ``count`` output points reach, halo included."""
    taps, stride, dilation = (
        (layer.taps_r, layer.stride_p, layer.dilation_r)
        if dim == "p"
        else (layer.taps_s, layer.stride_q, layer.dilation_s)
    )
    return (count - 1) * stride + (taps - 1) * dilation + 1


def source_box(layer: Layer, tiling: Tiling, depth: int | None = None) -> TileBox:
    """Tile of the first source (array operand, or S0 of a vector layer)."""
    depth = tiling.source_depth if depth is None else depth
    tiled = frozenset(tiling.order[:depth])
    b, y, x, c = layer.source.shape
    chan = c
    if layer.kind == "array":
        if "g" in tiled:
            chan = tile_of(layer, tiling, "g") * layer.c
        if "k" in tiled:
            chan = tiling.tile["k"] if "g" in tiled or layer.groups == 1 else c
    elif "n" in tiled and not layer.source.splat:
        chan = tiling.tile["n"]
    rows, y0 = (y, 0) if "p" not in tiled else (window(layer, "p", tiling.tile["p"]), -layer.pad_p)
    cols, x0 = (x, 0) if "q" not in tiled else (window(layer, "q", tiling.tile["q"]), -layer.pad_q)
    return _shrunk(layer.source, TileBox(1 if "b" in tiled else b, rows, cols, chan, y0, x0, tiled))


def _shrunk(view: View, box: TileBox) -> TileBox:
    """The box with the dims that ``view`` broadcasts reduced to one element."""
    return TileBox(
        1 if view.b_bytes == 0 else box.batch,
        1 if view.y_bytes == 0 else box.rows,
        1 if view.x_bytes == 0 else box.cols,
        box.chan,
        0 if view.y_bytes == 0 else box.y0,
        0 if view.x_bytes == 0 else box.x0,
        box.tiled,
    )


def second_box(layer: Layer, tiling: Tiling, depth: int | None = None) -> TileBox:
    """Tile of the second source.

    Array with an activation as stationary operand: rows = reduction (or output channels when
    transposed), one column, chan = the contiguous dim. Vector and fused epilogue: rows p,
    columns q, channels of the output tile.
    """
    depth = tiling.second_depth if depth is None else depth
    tiled = frozenset(tiling.order[:depth])
    stationary = layer.stationary
    if stationary is not None and stationary.view is not None:
        k = tiling.tile["k"] if "k" in tiled else layer.c
        n = tiling.tile["n"] if "n" in tiled else layer.n
        rows, chan = (n, k) if stationary.transposed else (k, n)
        batch = 1 if "b" in tiled or stationary.view.b_bytes == 0 else layer.batch
        return TileBox(batch, rows, 1, chan, 0, 0, tiled)
    view = layer.second
    assert view is not None, "the layer has no second source"
    b, y, x, c = view.shape
    box = TileBox(
        1 if "b" in tiled else b,
        tiling.tile["p"] if "p" in tiled else y,
        tiling.tile["q"] if "q" in tiled else x,
        _channels(layer, tiling, tiled, c, view.splat or layer.second_words),
        0,
        0,
        tiled,
    )
    return _shrunk(view, box)


def _channels(layer: Layer, tiling: Tiling, tiled: frozenset[Dim], whole: int, single: bool) -> int:
    """Channels of an output-shaped tile."""
    if single:
        return whole
    groups = tiling.tile["g"] if "g" in tiled else layer.groups
    n = tiling.tile["n"] if "n" in tiled else layer.n
    return whole if groups * n == layer.groups * layer.n else groups * n


def sink_box(layer: Layer, tiling: Tiling) -> TileBox:
    """Output tile of one iteration."""
    tiled = frozenset(tiling.order)
    b, y, x, c = layer.output.shape
    return TileBox(
        1 if "b" in tiled else b,
        tiling.tile["p"] if "p" in tiled else y,
        tiling.tile["q"] if "q" in tiled else x,
        _channels(layer, tiling, tiled, c, False),
        0,
        0,
        tiled,
    )


def slot_bytes(box: TileBox, pitch: int, line_bytes: int) -> int:
    """Bytes from slot to slot of a buffer: the tile rounded up to whole lines."""
    return ceil_div(box.bytes(pitch), line_bytes) * line_bytes
