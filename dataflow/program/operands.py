"""The operands of a layer: where they stand, how they are moved, which bytes each tile reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

from dataflow.errors import DataflowError
from dataflow.layers.boxes import TileBox, second_box, sink_box, source_box
from dataflow.layers.layer import Dim, Layer, LayerGraph, Storage, View
from dataflow.layers.plan import NetworkMapping
from dataflow.layers.tiled import TiledLayer
from dataflow.program.addressing import Local, resident, streamed
from dataflow.program.transfer import Loop, Transfer, channel_loop, tile_transfer

Role = Literal["source", "second", "sink"]


@dataclass(frozen=True)
class Operand:
    """An operand of one layer under its tiling.

    Attributes:
        view: its access to the tensor.
        box: its tile.
        local: where it stands on chip.
        depth: depth of the reference.
        units: bytes per unit of each dim, on chip (`local_units`) and in DRAM (`dram_units`).
        chan: the loop over the bytes of a column in a transfer.
        windowed: rows and columns follow the window (stride, halo, padding).
    """

    view: View
    storage: Storage
    box: TileBox
    local: Local
    depth: int
    local_units: dict[Dim, int]
    dram_units: dict[Dim, int]
    chan: Loop
    windowed: bool
    row_dim: Dim = "p"

    def strides(self, tiled: TiledLayer) -> list[int]:
        """On-chip address step of each level."""
        return self.local.strides(tiled, self.local_units)

    def transfer(self, tiled: TiledLayer, dram: int) -> Transfer:
        """The DRAM transfer of its tiles."""
        return tile_transfer(
            tiled,
            self.view,
            self.box,
            self.local,
            dram,
            self.dram_units,
            self.chan,
            windowed=self.windowed,
            row_dim=self.row_dim,
        )


def _place(
    graph: LayerGraph,
    mapping: NetworkMapping,
    layer: Layer,
    role: Role,
    view: View,
    box: TileBox,
    how: str,
    slots: int,
    line_bytes: int,
) -> tuple[Local, Storage]:
    storage = graph.storage[view.tensor]
    memory = mapping.memory
    if how == "stream":
        key = (layer.name, role)
        if key not in memory.buffers:
            raise DataflowError(
                f"layer {layer.name}", f"its {role} buffer has no place", "map again"
            )
        return streamed(view, box, memory.buffers[key], slots, line_bytes), storage
    if view.tensor not in memory.resident:
        raise DataflowError(f"tensor {view.tensor}", "has no place on chip", "map again")
    return resident(view, storage, memory.resident[view.tensor]), storage


def source_operand(
    graph: LayerGraph, mapping: NetworkMapping, tiled: TiledLayer, line_bytes: int
) -> Operand:
    """The array's feed, or S0 of a vector layer."""
    layer, tiling = tiled.layer, tiled.tiling
    view = layer.source
    streaming = tiling.source == "stream"
    dims = "bgpqk" if layer.kind == "array" else "bpqn"
    depth = tiling.source_depth if streaming else tiled.relevant_depth(dims)
    box = source_box(tiled, depth)
    local, storage = _place(
        graph, mapping, layer, "source", view, box, tiling.source, tiling.source_slots, line_bytes
    )
    unit: dict[Dim, int]
    if layer.kind == "array":
        unit = {"g": layer.c, "k": 1}
        cut: Dim | None = "k" if "k" in box.tiled else "g"
        chan = channel_loop(tiled, box, cut, 1 if cut == "k" else layer.c)
    else:
        unit = {} if view.splat else {"n": 1}
        chan = channel_loop(tiled, box, None if view.splat else "n", 1)
    own: dict[Dim, int] = {
        "b": local.b_step,
        "p": layer.stride_p * local.y_step,
        "q": layer.stride_q * local.x_step,
    }
    far: dict[Dim, int] = {
        "b": view.b_bytes,
        "p": layer.stride_p * view.y_bytes,
        "q": layer.stride_q * view.x_bytes,
    }
    return Operand(view, storage, box, local, depth, own | unit, far | unit, chan, True)


def second_operand(
    graph: LayerGraph, mapping: NetworkMapping, tiled: TiledLayer, line_bytes: int
) -> Operand | None:
    """The stationary activation, or S1 of the vector unit; None when the layer has neither."""
    layer, tiling = tiled.layer, tiled.tiling
    stationary = layer.stationary.view if layer.stationary is not None else None
    view = stationary or layer.second
    if view is None:
        return None
    streaming = tiling.second == "stream"
    dims = "bnk" if stationary is not None else "bgpqn"
    depth = tiling.second_depth if streaming else tiled.relevant_depth(dims)
    box = second_box(tiled, depth)
    local, storage = _place(
        graph, mapping, layer, "second", view, box, tiling.second, tiling.second_slots, line_bytes
    )
    if stationary is not None:
        return _stationary_operand(tiled, stationary, storage, box, local, depth)
    unit: dict[Dim, int] = {}
    cut: Dim | None = None
    if not view.splat and not layer.second_words:
        unit, cut = {"g": layer.n, "n": 1}, "n" if "n" in box.tiled else "g"
    chan = channel_loop(tiled, box, cut, 1 if cut == "n" else layer.n)
    own: dict[Dim, int] = {"b": local.b_step, "p": local.y_step, "q": local.x_step}
    far: dict[Dim, int] = {"b": view.b_bytes, "p": view.y_bytes, "q": view.x_bytes}
    return Operand(view, storage, box, local, depth, own | unit, far | unit, chan, False)


def _stationary_operand(
    tiled: TiledLayer,
    view: View,
    storage: Storage,
    box: TileBox,
    local: Local,
    depth: int,
) -> Operand:
    """Rows are the strided dim (k, or n when transposed), chan the contiguous one."""
    layer = tiled.layer
    assert layer.stationary is not None
    row_dim: Dim
    chan_dim: Dim
    row_dim, chan_dim = ("n", "k") if layer.stationary.transposed else ("k", "n")
    row_bytes = view.x_bytes if layer.stationary.transposed else view.y_bytes
    chan = channel_loop(tiled, box, chan_dim, 1)
    # On chip the rows of a slot follow each other; a resident tensor keeps its own steps.
    across = local.tensor is not None and layer.stationary.transposed
    row_local = local.x_step if across else local.y_step
    own: dict[Dim, int] = {"b": local.b_step, row_dim: row_local, chan_dim: 1}
    far: dict[Dim, int] = {"b": view.b_bytes, row_dim: row_bytes, chan_dim: 1}
    flat = View(
        view.tensor, (view.shape[0], box.rows, 1, box.chan), view.b_bytes, row_bytes, 0, view.offset
    )
    fixed = Local(
        local.base,
        local.b_step,
        row_local,
        0,
        0,
        0,
        local.moving,
        local.slots,
        local.slot_bytes,
        local.region,
        local.tensor,
    )
    return Operand(flat, storage, box, fixed, depth, own, far, chan, False, row_dim)


def sink_operand(
    graph: LayerGraph, mapping: NetworkMapping, tiled: TiledLayer, line_bytes: int
) -> Operand:
    """The output of the vector unit."""
    layer, tiling = tiled.layer, tiled.tiling
    view = layer.output
    box = sink_box(tiled)
    how = "stream" if tiling.sink == "stream" else "resident"
    local, storage = _place(
        graph, mapping, layer, "sink", view, box, how, tiling.sink_slots, line_bytes
    )
    cut: Dim = "n" if "n" in box.tiled else "g"
    chan = channel_loop(tiled, box, cut, 1 if cut == "n" else layer.n)
    unit: dict[Dim, int] = {"g": layer.n, "n": 1}
    own: dict[Dim, int] = {"b": local.b_step, "p": local.y_step, "q": local.x_step}
    far: dict[Dim, int] = {"b": view.b_bytes, "p": view.y_bytes, "q": view.x_bytes}
    depth = len(tiling.order)
    return Operand(view, storage, box, local, depth, own | unit, far | unit, chan, False)


Range = tuple[int, int]


@dataclass(frozen=True)
class Touched:
    """What one fire of a resident reference touches: item, rows, columns, channels."""

    b: int
    y: Range
    x: Range
    c: Range


def regions(tiled: TiledLayer, role: Role, depth: int, view: View) -> Iterator[tuple[Touched, ...]]:
    """The elements that each fire of depth ``depth`` covers, in order; padding left out."""
    layer, tiling = tiled.layer, tiled.tiling
    counts = tiled.level_trips[:depth]
    for index in product(*(range(n) for n in counts)):
        at = dict(zip(tiling.order, index, strict=False))
        yield tuple(Touched(b, *_axes(tiled, role, at, view)) for b in _items(layer, at, view))


def _span(tiled: TiledLayer, dim: Dim, at: dict[Dim, int]) -> Range:
    if dim not in at:
        return 0, tiled.extent(dim)
    low = at[dim] * tiled.tile(dim)
    return low, min(low + tiled.ragged(dim)[0], tiled.extent(dim))


def _items(layer: Layer, at: dict[Dim, int], view: View) -> range:
    if view.b_bytes == 0 or view.shape[0] == 1:
        return range(1)
    return range(at["b"], at["b"] + 1) if "b" in at else range(layer.batch)


def _axes(
    tiled: TiledLayer, role: Role, at: dict[Dim, int], view: View
) -> tuple[Range, Range, Range]:
    layer = tiled.layer
    p, q = _span(tiled, "p", at), _span(tiled, "q", at)
    n, k, g = (_span(tiled, d, at) for d in ("n", "k", "g"))
    if role == "source":
        y = _reach(layer, "p", p, view.shape[1])
        x = _reach(layer, "q", q, view.shape[2])
        if layer.kind == "array":
            several = g[1] - g[0] > 1
            low = g[0] * layer.c + (0 if several else k[0])
            high = (g[1] - 1) * layer.c + (layer.c if several else k[1])
            return _broadcast(view, y, x, (low, high))
        return _broadcast(view, y, x, (0, view.shape[3]) if view.splat else n)
    if layer.stationary is not None and layer.stationary.view is not None and role == "second":
        rows, chan = (n, k) if layer.stationary.transposed else (k, n)
        return rows, (0, 1), chan
    if role == "second" and (view.splat or layer.second_words):
        return _broadcast(view, p, q, (0, view.shape[3]))
    several = g[1] - g[0] > 1
    low = g[0] * layer.n + (0 if several else n[0])
    high = (g[1] - 1) * layer.n + (layer.n if several else n[1])
    return _broadcast(view, p, q, (low, high))


def _reach(layer: Layer, dim: Dim, span: Range, size: int) -> Range:
    """Input rows (columns) under output rows ``span``, inside the tensor; maybe empty."""
    window = layer.window(dim)
    low = span[0] * window.stride - window.pad
    high = low + window.span(span[1] - span[0])
    low = max(0, min(low, size))
    return low, max(low, min(high, size))


def _broadcast(view: View, y: Range, x: Range, c: Range) -> tuple[Range, Range, Range]:
    return (
        (0, 1) if view.y_bytes == 0 and y[1] > y[0] else y,
        (0, 1) if view.x_bytes == 0 and x[1] > x[0] else x,
        c,
    )
