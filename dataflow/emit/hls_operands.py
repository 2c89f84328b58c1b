"""Loads of a layer's operands into line buffers, and where a point's line stands in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dataflow.emit.hls_tree import Scope, plus, times, wide
from dataflow.emit.hls_walk import Held, Item, Walk, block_count, ceil_div
from dataflow.ir.mapping import View

ANYWHERE = 1 << 30
"""Size of a dimension that a view broadcasts: no coordinate is outside."""


@dataclass(frozen=True)
class Place:
    """Where a tensor is: a memory argument of the layer function and a byte offset."""

    memory: str
    offset: int


def address(place: Place, view: View, item: Item, channel: str) -> str:
    """Address of a batch item's row 0, column 0 and first channel."""
    return plus(
        wide(item.batch, view.b_bytes), "0" if view.splat else channel, place.offset + view.offset
    )


@dataclass(frozen=True)
class Source:
    """The first source: lines of ``x_tile``, one or more for each point of the halo'd tile.

    Attributes:
        walk: the layer and its loops.
        place: where the tensor is.
        depth: loops inside which it is loaded.
        rows: array rows.
    """

    walk: Walk
    place: Place
    depth: int
    rows: int

    @cached_property
    def held(self) -> Held:
        """The buffer's scope."""
        return Held(self.walk, self.depth, "bgpqk" if self.walk.layer.kind == "array" else "bgpqn")

    @property
    def along_channels(self) -> str:
        """The dim that walks the source's channels."""
        return "k" if self.walk.layer.kind == "array" else "n"

    @cached_property
    def merged(self) -> bool:
        """Kernel columns stand beside the channels in one line: they are contiguous in a row."""
        layer, walk = self.walk.layer, self.walk
        return (
            layer.kind == "array"
            and layer.taps_s > 1
            and layer.groups == 1
            and not walk.splits_reduction
            and layer.dilation_s == 1
            and layer.source.x_bytes == layer.c
            and layer.taps_s * layer.c <= self.rows
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
        return walk.pack * walk.tile("k" if walk.layer.kind == "array" else "n")

    @cached_property
    def tile_lines(self) -> int:
        """Lines of a point in one channel tile."""
        return ceil_div(self._channels, self.lanes)

    @property
    def x_lines(self) -> int:
        """Lines from column to column."""
        slots = self.held.slots("k" if self.walk.layer.kind == "array" else "n")
        return slots * self.tile_lines

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
        channel_slot = self.held.slot("k" if walk.layer.kind == "array" else "n")
        return plus(
            times(self.held.slot("b"), walk.tile("b") * per_batch),
            times(item.b, per_batch),
            times(self.held.slot("g"), per_group_tile),
            times(item.g, item_lines),
            times(channel_slot, self.tile_lines),
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
        return item.of_groups(self.walk.count("k" if self.walk.layer.kind == "array" else "n"))

    def load(self, scope: Scope) -> None:
        """Prints the load."""
        walk, layer, view = self.walk, self.walk.layer, self.walk.layer.source
        along = "k" if layer.kind == "array" else "n"
        item = walk.items(self.held.open(scope, "bg" + along))
        per_group = layer.c if layer.kind == "array" else layer.n
        channel = plus(times(item.group, per_group), walk.start("k" if along == "k" else "n"))
        p, q = self.held.range("p"), self.held.range("q")
        rows = plus(
            times(p.count, layer.stride_p),
            (layer.taps_r - 1) * layer.dilation_r + 1 - layer.stride_p,
        )
        columns = plus(
            times(q.count, layer.stride_q),
            (layer.taps_s - 1) * layer.dilation_s + 1 - layer.stride_q,
        )
        unit = layer.c if self.merged else 1  # columns are counted in bytes when merged
        x = times(plus(times(q.start, layer.stride_q), -layer.pad_q), unit)
        y = plus(times(p.start, layer.stride_p), -layer.pad_p)
        item.scope.assign(
            "df::Block",
            "source",
            (
                ("base", address(self.place, view, item, channel)),
                ("y", y if view.y_bytes else "0"),
                ("x", x if view.x_bytes else "0"),
                ("y_count", rows),
                ("x_count", q.count if self.merged else columns),
                ("y_size", str(view.shape[1] if view.y_bytes else ANYWHERE)),
                ("x_size", str(view.shape[2] * unit if view.x_bytes else ANYWHERE)),
                ("x_step", str(layer.stride_q * unit if self.merged else 1)),
                ("x_lane", str(int(self.merged))),
                ("y_bytes", str(view.y_bytes)),
                ("x_bytes", str(1 if self.merged else view.x_bytes)),
                ("c_bytes", str(int(not view.splat))),
                ("channels", self.segment(item)),
                ("lanes", str(self.lanes)),
                ("line", self._item_line(item)),
                ("y_lines", str(self.y_lines)),
                ("x_lines", str(self.x_lines)),
            ),
        )
        signed = "true" if layer.source_signed else "false"
        item.scope.add(
            f"df::load_source({self.place.memory}, source, {signed}, {layer.source_zero}, x_tile);"
        )


@dataclass(frozen=True)
class Second:
    """The second source of the vector operations: lines of ``s_tile`` or words of ``s_words``.

    Attributes:
        walk: the layer and its loops.
        place: where the tensor is.
        depth: loops inside which it is loaded.
        view: the operand.
        uses: words of a point; 0 when it is bytes.
    """

    walk: Walk
    place: Place
    depth: int
    view: View
    uses: int

    @cached_property
    def held(self) -> Held:
        """The buffer's scope."""
        return Held(self.walk, self.depth, "bpq" if self.uses else "bgpqn")

    @property
    def x_lines(self) -> int:
        """Lines (words) from column to column."""
        return self.uses or self.held.slots("n") * self.walk.blocks

    @property
    def y_lines(self) -> int:
        """Lines from row to row."""
        return self.held.range("q").most * self.x_lines

    @property
    def _item_lines(self) -> int:
        return self.held.range("p").most * self.y_lines

    @property
    def _bundles(self) -> int:
        return 1 if self.uses else self.walk.bundles

    @property
    def lines(self) -> int:
        """Lines (words) of the buffer."""
        held = self.held
        items = held.slots("b") * self.walk.tile("b") * held.slots("g") * self._bundles
        return items * self._item_lines

    def _item_line(self, item: Item) -> str:
        per_group_tile = self._bundles * self._item_lines
        per_batch = self.held.slots("g") * per_group_tile
        return plus(
            times(self.held.slot("b"), self.walk.tile("b") * per_batch),
            times(item.b, per_batch),
            times(self.held.slot("g"), per_group_tile),
            "0" if self.uses else times(item.g, self._item_lines),
            times(self.held.slot("n"), self.walk.blocks),
        )

    def line(self, item: Item, p: str, q: str, block: str) -> str:
        """Line of an output point and column block of the current tile (word: of its first use)."""
        return plus(
            self._item_line(item),
            times(plus(self.held.offset("p"), p), self.y_lines),
            times(plus(self.held.offset("q"), q), self.x_lines),
            "0" if self.uses else block,
        )

    def load(self, scope: Scope) -> None:
        """Prints the load."""
        walk, layer, view = self.walk, self.walk.layer, self.view
        item = walk.items(self.held.open(scope, "b" if self.uses else "bgn"))
        channel = plus(times(item.group, layer.n), walk.start("n"))
        p, q = self.held.range("p"), self.held.range("q")
        item.scope.assign(
            "df::Block",
            "second",
            (
                ("base", address(self.place, view, item, "0" if self.uses else channel)),
                ("y", p.start if view.y_bytes else "0"),
                ("x", q.start if view.x_bytes else "0"),
                ("y_count", p.count),
                ("x_count", q.count),
                ("y_bytes", str(view.y_bytes)),
                ("x_bytes", str(view.x_bytes)),
                ("c_bytes", str(int(not view.splat))),
                ("channels", "0" if self.uses else item.of_groups(walk.count("n"))),
                ("lanes", str(walk.cols)),
                ("line", self._item_line(item)),
                ("y_lines", str(self.y_lines)),
                ("x_lines", str(self.x_lines)),
            ),
        )
        if self.uses:
            item.scope.add(
                f"df::load_words({self.place.memory}, second, {self.uses}, {layer.second_use},"
                " s_words);"
            )
        else:
            signed = "true" if layer.second_signed else "false"
            item.scope.add(
                f"df::load_second({self.place.memory}, second, {signed}, {layer.second_zero},"
                " s_tile);"
            )


@dataclass(frozen=True)
class Weights:
    """The stationary operand: lines of ``w_tile``, in the order in which the array takes them.

    Attributes:
        source: the first source, which decides the shape of the reduction.
        place: where the codes are.
        depth: loops inside which it is loaded.
        zeros: address of the zero points of each column in ``weights``, or -1.
    """

    source: Source
    place: Place
    depth: int
    zeros: int

    @cached_property
    def held(self) -> Held:
        """The buffer's scope."""
        return Held(self.source.walk, self.depth, self.dims)

    @property
    def dims(self) -> str:
        """The dims that move it."""
        stationary = self.source.walk.layer.stationary
        assert stationary is not None, "an array layer has a stationary operand"
        batched = stationary.view is not None and stationary.view.b_bytes
        return "bgnk" if batched else "gnk"

    @property
    def taps(self) -> int:
        """Kernel taps outside a line's channels."""
        layer = self.source.walk.layer
        return layer.taps_r * (1 if self.source.merged else layer.taps_s)

    @property
    def rows(self) -> str:
        """Reduction indices of one group and tap in the current tile."""
        return self.source.segment(_ONE_GROUP)

    @property
    def _tile_lines(self) -> int:
        walk = self.source.walk
        if self.source.depthwise:
            return walk.blocks * self.taps
        layer = walk.layer
        segment = layer.taps_s * layer.c if self.source.merged else walk.pack * walk.tile("k")
        return walk.blocks * self.taps * segment

    @property
    def _items(self) -> int:
        """Batch items of a tile that have operands of their own."""
        return self.source.walk.tile("b") if "b" in self.dims else 1

    @property
    def lines(self) -> int:
        """Lines of the buffer."""
        held, slots = self.held, 1
        for dim in ("b", "g", "n", "k"):
            slots *= held.slots(dim)
        return slots * self._items * self.source.walk.bundles * self._tile_lines

    def first_line(self, item: Item) -> str:
        """Line of the current tile's first column block, tap and reduction index."""
        held, pitch = self.held, self._tile_lines
        parts = []
        for dim in ("k", "n"):
            parts.append(times(held.slot(dim), pitch))
            pitch *= held.slots(dim)
        parts.append(times(item.g, pitch))
        pitch *= self.source.walk.bundles
        parts.append(times(held.slot("g"), pitch))
        pitch *= held.slots("g")
        if "b" in self.dims:
            parts.append(times(item.b, pitch))
            parts.append(times(held.slot("b"), pitch * self._items))
        return plus(*reversed(parts))

    def load(self, scope: Scope) -> None:
        """Prints the load."""
        walk, layer = self.source.walk, self.source.walk.layer
        stationary = layer.stationary
        assert stationary is not None, "an array layer has a stationary operand"
        item = walk.items(self.held.open(scope, self.dims))
        row, column = walk.start("k"), walk.start("n")
        taps = layer.taps_r * layer.taps_s
        view = stationary.view
        if view is None:
            group_bytes, tap_bytes = taps * layer.c * layer.n, layer.c * layer.n
            row_bytes, column_bytes = layer.n, 1
            batch = "0"
            offset = self.place.offset
        else:
            group_bytes, tap_bytes = 0, 0
            row_bytes, column_bytes = (1, view.y_bytes) if stationary.transposed else (
                view.y_bytes,
                1,
            )
            batch = wide(item.batch, view.b_bytes)
            offset = self.place.offset + view.offset
        if self.source.merged:
            tap_bytes *= layer.taps_s
        zeros = "-1"
        if self.zeros >= 0:
            zeros = plus(
                wide(item.group, 4 * layer.n), wide(column, 4), self.zeros
            )
        item.scope.assign(
            "df::WeightBlock",
            "block",
            (
                (
                    "base",
                    plus(
                        batch,
                        wide(item.group, group_bytes),
                        wide(row, row_bytes),
                        wide(column, column_bytes),
                        offset,
                    ),
                ),
                ("group_bytes", str(group_bytes)),
                ("tap_bytes", str(tap_bytes)),
                ("row_bytes", str(row_bytes)),
                ("column_bytes", str(column_bytes)),
                ("groups", item.packed),
                ("taps", str(self.taps)),
                ("rows", self.rows),
                ("columns", walk.count("n")),
                ("line", self.first_line(item)),
                ("is_signed", "true" if stationary.signed else "0"),
                ("zero", str(stationary.zero[0] if self.zeros < 0 else 0)),
                ("zeros", zeros),
                ("group_zeros", str(layer.n)),
            ),
        )
        function = "load_depthwise_weights" if self.source.depthwise else "load_weights"
        item.scope.add(f"df::{function}({self.place.memory}, weights, block, w_tile);")


_ONE_GROUP = Item(scope=Scope(), b="0", g="0", batch="0", group="0", packed="1")


@dataclass(frozen=True)
class Params:
    """Per-channel parameter vectors P0, P1: lines of ``p_tile``.

    Attributes:
        walk: the layer and its loops.
        bases: address in ``weights`` of each vector.
        depth: loops inside which they are loaded.
    """

    walk: Walk
    bases: tuple[int, ...]
    depth: int

    @cached_property
    def held(self) -> Held:
        """The buffer's scope."""
        return Held(self.walk, self.depth, "gn")

    @property
    def lines(self) -> int:
        """Lines of one vector's buffer."""
        held = self.held
        return held.slots("g") * self.walk.bundles * held.slots("n") * self.walk.blocks

    def line(self, item: Item, block: str) -> str:
        """Line of a column block of the current tile."""
        per_group = self.held.slots("n") * self.walk.blocks
        return plus(
            times(self.held.slot("g"), self.walk.bundles * per_group),
            times(item.g, per_group),
            times(self.held.slot("n"), self.walk.blocks),
            block,
        )

    def load(self, scope: Scope) -> None:
        """Prints the loads."""
        walk = self.walk
        item = walk.items(self.held.open(scope, "gn"))
        channel = plus(times(item.group, walk.layer.n), walk.start("n"))
        count = item.of_groups(walk.count("n"))
        for index, base in enumerate(self.bases):
            at = plus(wide(channel, 4), base)
            line = self.line(item, "0")
            item.scope.add(
                f"df::load_params(weights, {at}, {count}, {line}, p_tile[{index}]);"
            )


def store(
    scope: Scope, walk: Walk, item: Item, places: tuple[Place, ...], first_line: str
) -> None:
    """Prints the stores of an output tile: ``o_tile`` lines from ``first_line`` to each place."""
    layer, view = walk.layer, walk.layer.output
    columns = item.of_groups(walk.count("n"))
    inner, block = scope, "0"
    valid = columns
    if walk.blocks > 1:
        stop = block_count(columns, walk.cols)
        inner, block = scope.loop("n1", "0", stop, 1, (1, walk.blocks)), "n1"
        valid = f"df::least({walk.cols}, {columns} - {times('n1', walk.cols)})"
    channel = plus(
        times(item.group, layer.n), walk.start("n"), times(block, walk.cols)
    )
    points = walk.tile("p") * walk.tile("q")
    for index, place in enumerate(places):
        name = "sink" if index == 0 else f"sink_{index}"
        inner.assign(
            "df::Block",
            name,
            (
                ("base", address(place, view, item, channel)),
                ("y", walk.start("p")),
                ("x", walk.start("q")),
                ("y_count", walk.count("p")),
                ("x_count", walk.count("q")),
                ("y_bytes", str(view.y_bytes)),
                ("x_bytes", str(view.x_bytes)),
                ("channels", valid),
                ("line", plus(first_line, times(block, points))),
                ("y_lines", str(walk.tile("q"))),
                ("x_lines", "1"),
            ),
        )
        inner.add(f"df::store_block(o_tile, {name}, {place.memory});")
