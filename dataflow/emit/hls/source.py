"""The first source of a layer: its load into the feed buffer, and where a point stands there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dataflow.emit.hls.operands import Place, address
from dataflow.emit.hls.tree import Scope, plus, times
from dataflow.emit.hls.walk import ANYWHERE, Held, Item, Walk, pieces, quotient
from dataflow.layers.axis import ceil_div
from dataflow.layers.layer import Dim
from dataflow.layers.passes import merges_columns


@dataclass(frozen=True)
class Source:
    """The first source: lines of ``x_tile``, one or more for each point of the halo'd tile.

    Attributes:
        walk: the layer and its loops.
        place: where the tensor is.
        depth: loops inside which it is loaded.
    """

    walk: Walk
    place: Place
    depth: int

    @property
    def rows(self) -> int:
        """Array rows."""
        return self.walk.tiled.machine.rows

    @cached_property
    def held(self) -> Held:
        """The buffer's scope."""
        return Held(self.walk, self.depth, f"bgpq{self.along}")

    @property
    def along(self) -> Dim:
        """The dim that walks the source's channels."""
        return "k" if self.walk.layer.kind == "array" else "n"

    @cached_property
    def merged(self) -> bool:
        """Kernel columns stand beside the channels in one line: they are contiguous in a row."""
        layer, walk = self.walk.layer, self.walk
        return (
            layer.kind == "array"
            and not walk.splits_reduction
            and layer.taps_s * layer.c <= self.rows
            and merges_columns(
                layer.groups, layer.taps_s, layer.dilation_s, layer.source.x_bytes, layer.c
            )
        )

    @property
    def depthwise(self) -> bool:
        """Channels stand on columns."""
        return self.walk.layer.kind == "array" and self.walk.tiling.feed == "fir"

    @property
    def lanes(self) -> int:
        """Channels of a line."""
        flat = self.walk.layer.kind == "array" and not self.depthwise
        return self.rows if flat else self.walk.cols

    @property
    def _channels(self) -> int:
        """Channels of the largest tile of one pack."""
        walk = self.walk
        if self.merged:
            return walk.layer.taps_s * walk.layer.c
        return walk.pack * walk.tile(self.along)

    @cached_property
    def tile_lines(self) -> int:
        """Lines of a point in one channel tile."""
        return ceil_div(self._channels, self.lanes)

    @property
    def x_lines(self) -> int:
        """Lines from column to column."""
        return self.held.slots(self.along) * self.tile_lines

    @property
    def _columns(self) -> int:
        most = self.held.range("q").most
        layer = self.walk.layer
        if self.merged:
            return most
        return (most - 1) * layer.stride_q + (layer.taps_s - 1) * layer.dilation_s + 1

    @property
    def y_lines(self) -> int:
        """Lines from row to row."""
        return self._columns * self.x_lines

    @property
    def _item_lines(self) -> int:
        layer = self.walk.layer
        most = self.held.range("p").most
        return ((most - 1) * layer.stride_p + (layer.taps_r - 1) * layer.dilation_r + 1) * (
            self.y_lines
        )

    @property
    def lines(self) -> int:
        """Lines of the buffer."""
        walk, held = self.walk, self.held
        items = held.slots("b") * walk.tile("b") * held.slots("g") * walk.bundles
        return items * self._item_lines

    def _item_line(self, item: Item) -> str:
        walk, item_lines = self.walk, self._item_lines
        per_group_tile = walk.bundles * item_lines
        per_batch = self.held.slots("g") * per_group_tile
        return plus(
            times(self.held.slot("b"), walk.tile("b") * per_batch),
            times(item.b, per_batch),
            times(self.held.slot("g"), per_group_tile),
            times(item.g, item_lines),
            times(self.held.slot(self.along), self.tile_lines),
        )

    def first_line(self, item: Item) -> str:
        """Line of the current tile's first row and column (halo included)."""
        layer = self.walk.layer
        columns = self.x_lines if self.merged else layer.stride_q * self.x_lines
        return plus(
            self._item_line(item),
            times(self.held.offset("p"), layer.stride_p * self.y_lines),
            times(self.held.offset("q"), columns),
        )

    def segment(self, item: Item) -> str:
        """Channels of the current tile (merged: with the kernel's columns)."""
        if self.merged:
            return str(self._channels)
        return item.of_groups(self.walk.count(self.along))

    def _rows_follow(self, columns: str, x: str) -> bool:
        """Whether whole rows are loaded that follow each other in memory and buffer: no padding."""
        layer, view = self.walk.layer, self.walk.layer.source
        return (
            layer.taps_r == layer.taps_s == 1
            and layer.pad_p == layer.pad_q == 0
            and (layer.p - 1) * layer.stride_p < view.shape[1]
            and x == "0"
            and columns == str(view.shape[2])
            and view.x_bytes > 0
            and view.y_bytes == view.shape[2] * view.x_bytes
            and self._columns == view.shape[2]
        )

    def load(self, scope: Scope) -> None:
        """Prints the load."""
        walk, layer, view = self.walk, self.walk.layer, self.walk.layer.source
        item = walk.items(self.held.open(scope, f"bg{self.along}"))
        per_group = layer.c if layer.kind == "array" else layer.n
        channel = plus(times(item.group, per_group), walk.start(self.along))
        p, q = self.held.range("p"), self.held.range("q")
        rows = plus(
            times(p.count, layer.stride_p),
            (layer.taps_r - 1) * layer.dilation_r + 1 - layer.stride_p,
        )
        columns = plus(
            times(q.count, layer.stride_q),
            (layer.taps_s - 1) * layer.dilation_s + 1 - layer.stride_q,
        )
        # A line of merged columns begins where its window does.
        step = layer.stride_q * view.x_bytes if self.merged else view.x_bytes
        width = "1" if view.splat else str(layer.c) if self.merged else self.segment(item)
        x_size = plus((view.shape[2] - 1) * view.x_bytes, width)
        depth = 1 if view.splat else self._channels
        x = times(plus(times(q.start, layer.stride_q), -layer.pad_q), view.x_bytes)
        points = self._columns
        if self._rows_follow(columns, x):
            rows, columns, x_size = "1", times(rows, view.shape[2]), str(ANYWHERE)
            points *= view.shape[1]
        run, run_lines = pieces(step, depth, self.lanes, points)
        y = plus(times(p.start, layer.stride_p), -layer.pad_p)
        item.scope.assign(
            "df::Block",
            "source",
            (
                ("base", address(self.place, view, item, channel)),
                ("y", y if view.y_bytes else "0"),
                ("x", x),
                ("y_count", rows),
                ("x_count", q.count if self.merged else columns),
                ("y_size", str(view.shape[1] if view.y_bytes else ANYWHERE)),
                ("x_size", x_size if view.x_bytes else str(ANYWHERE)),
                ("y_bytes", str(view.y_bytes)),
                ("x_bytes", str(step)),
                ("splat", "true" if view.splat else "0"),
                ("channels", self.segment(item)),
                ("lanes", str(self.lanes)),
                ("lines", quotient(self.segment(item), self.lanes)),
                ("run", str(run)),
                ("run_lines", str(self.tile_lines if view.splat else run_lines)),
                ("line", self._item_line(item)),
                ("y_lines", str(self.y_lines)),
                ("x_lines", str(self.x_lines)),
                ("c_lines", "1"),
            ),
        )
        signed = "true" if layer.source_signed else "false"
        item.scope.add(
            f"df::load_source{self.place.here}({self.place.memory}, source, {signed},"
            f" {layer.source_zero}, x_tile);"
        )
