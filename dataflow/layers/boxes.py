"""Tiles of a layer's operands as boxes in the activation memory."""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.layers.axis import ceil_div
from dataflow.layers.layer import Dim, View
from dataflow.layers.tiled import TiledLayer


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


def source_box(tiled: TiledLayer, depth: int | None = None) -> TileBox:
    """Tile of the first source (array operand, or S0 of a vector layer)."""
    layer, tiling = tiled.layer, tiled.tiling
    depth = tiling.source_depth if depth is None else depth
    cut = frozenset(tiling.order[:depth])
    b, y, x, c = layer.source.shape
    chan = c
    if layer.kind == "array":
        if "g" in cut:
            chan = tiled.tile("g") * layer.c
        if "k" in cut:
            chan = tiling.tile["k"] if "g" in cut or layer.groups == 1 else c
    elif "n" in cut and not layer.source.splat:
        chan = tiling.tile["n"]
    down, across = layer.window("p"), layer.window("q")
    rows, y0 = (y, 0) if "p" not in cut else (down.span(tiling.tile["p"]), -down.pad)
    cols, x0 = (x, 0) if "q" not in cut else (across.span(tiling.tile["q"]), -across.pad)
    return _shrunk(layer.source, TileBox(1 if "b" in cut else b, rows, cols, chan, y0, x0, cut))


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


def second_box(tiled: TiledLayer, depth: int | None = None) -> TileBox:
    """Tile of the second source.

    Array with an activation as stationary operand: rows = reduction (or output channels when
    transposed), one column, chan = the contiguous dim. Vector and fused epilogue: rows p,
    columns q, channels of the output tile.
    """
    layer, tiling = tiled.layer, tiled.tiling
    depth = tiling.second_depth if depth is None else depth
    cut = frozenset(tiling.order[:depth])
    stationary = layer.stationary
    if stationary is not None and stationary.view is not None:
        k = tiling.tile["k"] if "k" in cut else layer.c
        n = tiling.tile["n"] if "n" in cut else layer.n
        rows, chan = (n, k) if stationary.transposed else (k, n)
        batch = 1 if "b" in cut or stationary.view.b_bytes == 0 else layer.batch
        return TileBox(batch, rows, 1, chan, 0, 0, cut)
    view = layer.second
    assert view is not None, "the layer has no second source"
    b, y, x, c = view.shape
    box = TileBox(
        1 if "b" in cut else b,
        tiling.tile["p"] if "p" in cut else y,
        tiling.tile["q"] if "q" in cut else x,
        _channels(tiled, cut, c, view.splat or layer.second_words),
        0,
        0,
        cut,
    )
    return _shrunk(view, box)


def _channels(tiled: TiledLayer, cut: frozenset[Dim], whole: int, single: bool) -> int:
    """Channels of an output-shaped tile."""
    layer, tiling = tiled.layer, tiled.tiling
    if single:
        return whole
    groups = tiling.tile["g"] if "g" in cut else layer.groups
    n = tiling.tile["n"] if "n" in cut else layer.n
    return whole if groups * n == layer.groups * layer.n else groups * n


def sink_box(tiled: TiledLayer) -> TileBox:
    """Output tile of one iteration."""
    layer, tiling = tiled.layer, tiled.tiling
    cut = frozenset(tiling.order)
    b, y, x, c = layer.output.shape
    return TileBox(
        1 if "b" in cut else b,
        tiling.tile["p"] if "p" in cut else y,
        tiling.tile["q"] if "q" in cut else x,
        _channels(tiled, cut, c, False),
        0,
        0,
        cut,
    )


def slot_bytes(box: TileBox, pitch: int, line_bytes: int) -> int:
    """Bytes from slot to slot of a buffer: the tile rounded up to whole lines."""
    return ceil_div(box.bytes(pitch), line_bytes) * line_bytes
