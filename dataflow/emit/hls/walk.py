"""A layer's tile loops as C++ expressions: starts, counts and buffer slots of each dim.

A tiled dim ``p`` is walked by ``p0``, the first index of the tile, and has ``p_count`` indices
where its last tile is smaller. An operand is loaded inside the loops ``order[:depth]``, its
*scope*; the loops outside the scope that move it have a buffer slot for each of their tiles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from dataflow.emit.hls.tree import Scope, plus, times
from dataflow.layers.axis import ceil_div
from dataflow.layers.layer import DIMS, Dim, Layer, View
from dataflow.layers.tiled import TiledLayer
from dataflow.layers.tiling import Tiling

ANYWHERE = 1 << 30
"""Size of a dimension that a view broadcasts, or that no tile leaves: nothing is outside."""
ROW_BYTES = 4096
"""Bytes fetched or written at once: what an AXI burst may carry."""


def pieces(step: int, depth: int, lanes: int, points: int) -> tuple[int, int]:
    """How a row of points is cut so that a piece fits the row of words.

    Args:
        step: bytes from point to point.
        depth: bytes of a point, at most.
        lanes: of a line.
        points: of a row, at most.

    Returns:
        points of a piece, and lines of a point in it (all of them when there are several points).
    """
    if depth > ROW_BYTES:
        return 1, ROW_BYTES // lanes
    run = points if step == 0 else 1 if step > 2 * depth else (ROW_BYTES - depth) // step + 1
    return max(1, min(run, points)), ceil_div(depth, lanes)


def _bytes_as_channels(view: View) -> View:
    size = view.shape[2]
    return replace(view, shape=(1, 1, 1, size), x_bytes=0, splat=view.splat or view.x_bytes == 0)


def normalised(layer: Layer, tiling: Tiling) -> tuple[Layer, Tiling]:
    """A flat layer, whose q counts bytes, as one point with that many channels."""
    if not layer.flat:
        return layer, tiling
    renamed: dict[Dim, Dim] = {"q": "n"}
    return (
        replace(
            layer,
            q=1,
            n=layer.q,
            flat=False,
            source=_bytes_as_channels(layer.source),
            output=_bytes_as_channels(layer.output),
            second=None if layer.second is None else _bytes_as_channels(layer.second),
        ),
        replace(
            tiling,
            order=tuple(renamed.get(d, d) for d in tiling.order if d != "n"),
            tile={renamed.get(d, d): size for d, size in tiling.tile.items() if d != "n"},
        ),
    )


@dataclass(frozen=True)
class Range:
    """``count`` indices of a dim from ``start``, at most ``most``."""

    start: str
    count: str
    most: int


@dataclass(frozen=True)
class Walk:
    """The tile loops of a layer, which was :func:`normalised`."""

    tiled: TiledLayer

    @property
    def layer(self) -> Layer:
        """The layer."""
        return self.tiled.layer

    @property
    def tiling(self) -> Tiling:
        """Its tiling."""
        return self.tiled.tiling

    @property
    def cols(self) -> int:
        """Array columns = vector lanes, on which the output channels stand."""
        return self.tiled.machine.cols

    def extent(self, dim: Dim) -> int:
        """Size of a dim; k is the reduction channels of a group."""
        return 1 if dim == "k" and self.layer.kind == "vector" else self.tiled.extent(dim)

    def tile(self, dim: Dim) -> int:
        """Largest tile of a dim."""
        return min(self.extent(dim), self.tiled.tile(dim))

    def trips(self, dim: Dim) -> int:
        """Tiles of a dim."""
        return ceil_div(self.extent(dim), self.tile(dim))

    @cached_property
    def output_loops(self) -> tuple[Dim, ...]:
        """The tile loops but k, outermost first."""
        return tuple(d for d in self.tiling.order if d != "k")

    @property
    def splits_reduction(self) -> bool:
        """Whether partial sums of several k tiles are added."""
        return self.trips("k") > 1

    def start(self, dim: Dim) -> str:
        """First index of the current tile."""
        return f"{dim}0" if self.trips(dim) > 1 else "0"

    def count(self, dim: Dim) -> str:
        """Indices of the current tile."""
        ragged = self.extent(dim) % self.tile(dim) != 0
        return f"{dim}_count" if ragged else str(self.tile(dim))

    def open(self, scope: Scope, dim: Dim) -> Scope:
        """Opens the tile loop of a dim in ``scope``; ``scope`` itself when it has one tile."""
        trips, whole, tile = self.trips(dim), self.extent(dim), self.tile(dim)
        if trips == 1:
            return scope
        inner = scope.loop(f"{dim}0", "0", str(whole), tile, (trips, trips))
        if whole % tile:
            inner.add(f"const int {dim}_count = df::least({tile}, {whole} - {dim}0);")
        return inner

    def clamped(self, depth: int, dims: str) -> int:
        """``depth`` without the loops at its end that do not move an operand of ``dims``."""
        loops = self.tiling.order[:depth]
        while loops and loops[-1] not in dims:
            loops = loops[:-1]
        return len(loops)

    def relevant_depth(self, dims: str) -> int:
        """Smallest depth whose loops hold every tiled dim of ``dims``."""
        return self.clamped(len(self.tiling.order), dims)

    @cached_property
    def pack(self) -> int:
        """Groups side by side on the array; all groups of a tile when channels are columns."""
        if self.layer.kind == "vector" or self.tile("g") == 1:
            return 1
        if self.tiling.feed == "fir":
            return self.tile("g")
        return min(self.tiling.group_pack, self.tile("g"))

    @property
    def bundles(self) -> int:
        """Packs of groups in the largest tile."""
        return ceil_div(self.tile("g"), self.pack)

    @property
    def columns(self) -> int:
        """Output channels of the largest pack, in one tile."""
        return self.pack * self.tile("n")

    @property
    def blocks(self) -> int:
        """Column blocks of the largest pack."""
        return ceil_div(self.columns, self.cols)

    def items(self, scope: Scope) -> Item:
        """Opens the loops over the batch items and packs of groups of a tile."""
        b, g = "0", "0"
        if self.tile("b") > 1:
            scope = scope.loop("bi", "0", self.count("b"), 1, (1, self.tile("b")))
            b = "bi"
        packed = self.count("g")
        if self.bundles > 1:
            stop = self.count("g") if self.pack == 1 else quotient(self.count("g"), self.pack)
            scope = scope.loop("gi", "0", stop, 1, (1, self.bundles))
            g = "gi"
            packed = str(self.pack)
            if self.extent("g") % self.tile("g") or self.tile("g") % self.pack:
                rest = f"{self.count('g')} - {times('gi', self.pack)}"
                packed = f"df::least({self.pack}, {rest})"
        return Item(
            scope=scope,
            b=b,
            g=g,
            batch=plus(self.start("b"), b),
            group=plus(self.start("g"), times(g, self.pack)),
            packed=packed,
        )


@dataclass(frozen=True)
class Item:
    """One batch item and pack of groups of a tile.

    Attributes:
        scope: where statements about it go.
        b, g: its place in the tile.
        batch: the batch item.
        group: the first group.
        packed: number of groups.
    """

    scope: Scope
    b: str
    g: str
    batch: str
    group: str
    packed: str

    def of_groups(self, count: str) -> str:
        """``packed * count``."""
        if self.packed == "1":
            return count
        return times(self.packed, int(count)) if count.isdigit() else f"{self.packed} * {count}"


def quotient(count: str, size: int) -> str:
    """``count / size`` rounded up, as an expression."""
    if count.isdigit():
        return str(ceil_div(int(count), size))
    return f"df::ceil_div({count}, {size})"


def block_count(columns: str, cols: int) -> str:
    """Column blocks of ``columns`` output channels."""
    return quotient(columns, cols)


@dataclass(frozen=True)
class Held:
    """What a buffer holds: the tiles of ``dims`` outside the loops ``order[:depth]``."""

    walk: Walk
    depth: int
    dims: str

    @cached_property
    def _scope(self) -> frozenset[Dim]:
        return frozenset(self.walk.tiling.order[: self.depth])

    def slotted(self, dim: Dim) -> bool:
        """Whether the buffer holds several tiles of a dim."""
        return dim in self.dims and dim not in self._scope and self.walk.trips(dim) > 1

    def slots(self, dim: Dim) -> int:
        """Tiles of a dim in the buffer."""
        return self.walk.trips(dim) if self.slotted(dim) else 1

    def slot(self, dim: Dim) -> str:
        """Which of them the current one is."""
        if not self.slotted(dim):
            return "0"
        tile = self.walk.tile(dim)
        return f"{dim}0" if tile == 1 else f"{dim}0 / {tile}"

    def range(self, dim: Dim) -> Range:
        """Indices of a dim that the buffer holds as one range."""
        if self.slotted(dim):
            whole = self.walk.extent(dim)
            return Range("0", str(whole), whole)
        return Range(self.walk.start(dim), self.walk.count(dim), self.walk.tile(dim))

    def offset(self, dim: Dim) -> str:
        """The current tile's start inside that range."""
        return self.walk.start(dim) if self.slotted(dim) else "0"

    def open(self, scope: Scope, dims: str) -> Scope:
        """Opens the loops over the slots of ``dims``."""
        for dim in DIMS:
            if dim in dims and self.slotted(dim):
                scope = self.walk.open(scope, dim)
        return scope
