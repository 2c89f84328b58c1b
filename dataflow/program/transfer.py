"""Fields of the load and store engines for one tile of a tensor, and the exact bytes moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from dataflow.errors import DataflowError
from dataflow.layers.boxes import TileBox
from dataflow.layers.layer import Dim, View
from dataflow.layers.tiled import NO_LEVEL, TiledLayer
from dataflow.layers.tiling import Tiling
from dataflow.machine.isa import LEVELS, Value
from dataflow.program.addressing import DRAM_MASK, Local

UNBOUNDED = DRAM_MASK
"""Size of a coordinate that is never clipped."""


@dataclass(frozen=True)
class Loop:
    """One of the three loops of a transfer.

    Attributes:
        count: elements of a (full, last) tile.
        level: loop level that decides between them.
        dram, local: bytes per element.
        origin: coordinate of the first tile's first element.
        steps: coordinate step by dim.
        size: coordinates outside [0, size) are skipped.
    """

    count: tuple[int, int]
    level: int
    dram: int
    local: int
    origin: int = 0
    steps: dict[Dim, int] = field(default_factory=dict)
    size: int = UNBOUNDED

    def moved(self, tiled: TiledLayer) -> int:
        """Elements moved, summed over the iterations of the levels that this loop depends on."""
        tiling = tiled.tiling
        dims = [d for d in tiling.order if d in self.steps or tiled.level(d) == self.level]
        assert len(dims) <= 1, "a transfer loop follows one tiled dim"
        if not dims:
            return self._clipped(self.origin, self.count[0])
        last = tiled.level_trips[tiling.order.index(dims[0])] - 1
        return sum(
            self._clipped(
                self.origin + i * self.steps.get(dims[0], 0),
                self.count[i == last and self.level != NO_LEVEL],
            )
            for i in range(last + 1)
        )

    def _clipped(self, low: int, count: int) -> int:
        return max(0, min(low + count, self.size) - max(low, 0))

    def follows(self, tiled: TiledLayer) -> set[Dim]:
        """Dims over which `moved` has summed."""
        return {d for d in tiled.tiling.order if d in self.steps or tiled.level(d) == self.level}


@dataclass(frozen=True)
class Transfer:
    """Three nested loops (rows, columns, bytes of a segment) between DRAM and a tile."""

    y: Loop
    x: Loop
    z: Loop
    dram: int
    dram_strides: list[int]

    def bytes_moved(self, tiled: TiledLayer, depth: int) -> int:
        """Bytes over the whole instruction, clipping included."""
        tiling = tiled.tiling
        loops = (self.y, self.x, self.z)
        summed = set().union(*(loop.follows(tiled) for loop in loops))
        others = zip(tiling.order[:depth], tiled.level_trips, strict=False)
        repeats = prod(count for dim, count in others if dim not in summed)
        return repeats * prod(loop.moved(tiled) for loop in loops)

    def fields(self) -> dict[str, Value]:
        """The fields that BLOCK and STORE share."""
        y, x, z = self.y, self.x, self.z
        return {
            "dram": self.dram & DRAM_MASK,
            "dram_strides": [s & DRAM_MASK for s in self.dram_strides],
            "y_count": y.count,
            "x_count": x.count,
            "z_count": z.count,
            "y_level": y.level,
            "x_level": x.level,
            "z_level": z.level,
            "y_dram": y.dram,
            "x_dram": x.dram,
            "y_local": y.local,
            "x_local": x.local,
        }

    def clip_fields(self, tiling: Tiling) -> dict[str, Value]:
        """The coordinate fields of BLOCK."""
        result: dict[str, Value] = {}
        for name, loop in (("y", self.y), ("x", self.x), ("z", self.z)):
            steps = [0] * LEVELS
            for dim, step in loop.steps.items():
                steps[tiling.order.index(dim)] = step
            result[name] = loop.origin
            result[f"{name}_strides"] = steps
            result[f"{name}_size"] = loop.size
        return result


def whole(tensor_bytes: int, row: int, pitch: int, dram: int) -> Transfer:
    """A whole tensor into its resident place, in one fire."""
    single = Loop((1, 1), NO_LEVEL, 0, 0)
    if pitch == row:
        return Transfer(
            single, single, Loop((tensor_bytes,) * 2, NO_LEVEL, 0, 0), dram, [0] * LEVELS
        )
    rows = tensor_bytes // row
    return Transfer(
        Loop((rows, rows), NO_LEVEL, row, pitch),
        single,
        Loop((row, row), NO_LEVEL, 0, 0),
        dram,
        [0] * LEVELS,
    )


def tile_transfer(
    tiled: TiledLayer,
    view: View,
    box: TileBox,
    local: Local,
    dram: int,
    units: Mapping[Dim, int],
    chan: Loop,
    *,
    windowed: bool,
    row_dim: Dim = "p",
) -> Transfer:
    """Tiles of a view. ``units``: DRAM bytes per unit of each dim that moves the tile.

    ``windowed``: rows and columns are input rows and columns of p and q (stride, halo, padding).
    Raises DataflowError when the tile needs more than three loops.
    """
    layer, tiling = tiled.layer, tiled.tiling
    rows = _axis_loop(tiled, box, row_dim, view.y_bytes, local.y_step, windowed)
    cols = _axis_loop(tiled, box, "q", view.x_bytes, local.x_step, windowed)
    batch = Loop((box.batch,) * 2, NO_LEVEL, view.b_bytes, local.b_step)
    loops = [batch, rows, cols, chan]
    for at in (2, 1, 0):
        if _joins(loops[at], loops[at + 1]):
            loops[at : at + 2] = [_joined(loops[at], loops[at + 1])]
    loops = [loop for loop in loops[:-1] if loop.count != (1, 1) or loop.steps] + loops[-1:]
    if len(loops) > 3:
        raise DataflowError(
            f"layer {layer.name}",
            "a tile of several batch items with partial rows and channels cannot be moved",
            "tile b inside the buffer's depth",
        )
    loops = [Loop((1, 1), NO_LEVEL, 0, 0)] * (3 - len(loops)) + loops
    strides = [0] * LEVELS
    for dim in box.tiled:
        strides[tiling.order.index(dim)] = tiled.tile(dim) * units.get(dim, 0)
    base = dram + view.offset + box.y0 * view.y_bytes + box.x0 * view.x_bytes
    return Transfer(loops[0], loops[1], loops[2], base, strides)


def _axis_loop(
    tiled: TiledLayer, box: TileBox, dim: Dim, dram: int, local: int, windowed: bool
) -> Loop:
    layer = tiled.layer
    count = box.cols if dim == "q" else box.rows
    if dim not in box.tiled or dram == 0:
        return Loop((count, count), NO_LEVEL, dram, local)
    size = tiled.ragged(dim)
    if not windowed:
        return Loop(size, tiled.level(dim), dram, local)
    stride = layer.stride_p if dim == "p" else layer.stride_q
    return Loop(
        (layer.window(dim).span(size[0]), layer.window(dim).span(size[1])),
        tiled.level(dim),
        dram,
        local,
        box.y0 if dim == "p" else box.x0,
        {dim: size[0] * stride},
        layer.source.shape[1 if dim == "p" else 2],
    )


def channel_loop(tiled: TiledLayer, box: TileBox, dim: Dim | None, unit: int) -> Loop:
    """The bytes of one column; ``dim``, when tiled, cuts them into tiles of ``unit`` bytes each."""
    if dim is None or dim not in box.tiled:
        return Loop((box.chan,) * 2, NO_LEVEL, 1, 1)
    tile, last = tiled.ragged(dim)
    return Loop((tile * unit, last * unit), tiled.level(dim), 1, 1)


def _joins(outer: Loop, inner: Loop) -> bool:
    """Whether two nested loops are one even run, in DRAM and in the tile."""
    span = inner.count[0]
    if span != inner.count[1] or inner.steps or inner.origin:
        return False
    if inner.size not in (UNBOUNDED, span):
        return False
    even = outer.dram == inner.dram * span and outer.local == inner.local * span
    return even or (outer.count == (1, 1) and not outer.steps)


def _joined(outer: Loop, inner: Loop) -> Loop:
    span = inner.count[0]
    return Loop(
        (outer.count[0] * span, outer.count[1] * span),
        outer.level,
        inner.dram,
        inner.local,
        outer.origin * span,
        {d: s * span for d, s in outer.steps.items()},
        outer.size if outer.size == UNBOUNDED else outer.size * span,
    )
