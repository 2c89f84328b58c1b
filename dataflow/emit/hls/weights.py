"""The stationary operand of an array layer: its load into the weight buffer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dataflow.emit.hls.data import by_taps
from dataflow.emit.hls.operands import Place
from dataflow.emit.hls.source import Source
from dataflow.emit.hls.tree import Scope, plus, times, wide
from dataflow.emit.hls.walk import ANYWHERE, Held, Item, block_count, pieces

_ONE_GROUP = Item(scope=Scope(), b="0", g="0", batch="0", group="0", packed="1")


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
        walk = self.source.walk
        stationary = walk.layer.stationary
        assert stationary is not None, "an array layer has a stationary operand"
        item = walk.items(self.held.open(scope, self.dims))
        transposed = stationary.view is not None and stationary.transposed
        if self.source.depthwise:
            fields = self._depthwise(item)
        elif transposed:
            fields = self._transposed(item)
        else:
            fields = self._rows(item)
        groups = "1" if self.source.depthwise else item.packed
        zeros = "0"
        if self.zeros >= 0:
            column = plus(wide(item.group, 4 * walk.layer.n), wide(walk.start("n"), 4))
            zeros = plus(column, self.zeros)
        item.scope.assign(
            "df::WeightBlock",
            "block",
            (
                *((f"group.{name}", value) for name, value in fields),
                ("groups", groups),
                ("group_bytes", "0" if groups == "1" else str(self._group_bytes)),
                ("group_lines", "0" if groups == "1" else self.rows),
                ("group_lanes", "0" if groups == "1" else walk.count("n")),
                ("columns", item.of_groups(walk.count("n"))),
                ("is_signed", "true" if stationary.signed else "0"),
                ("zero", str(stationary.zero[0] if self.zeros < 0 else 0)),
                ("own_zeros", "true" if self.zeros >= 0 else "0"),
                ("zeros", zeros),
            ),
        )
        function = "load_transposed_weights" if transposed else "load_weights"
        item.scope.add(f"df::{function}({self.place.memory}, weights, block, w_tile);")

    @property
    def _group_bytes(self) -> int:
        layer = self.source.walk.layer
        size = layer.taps_r * layer.taps_s * layer.c * layer.n
        return 1 if by_taps(layer) else size

    def _rows(self, item: Item) -> tuple[tuple[str, str], ...]:
        """Rows of contiguous columns, for each tap."""
        walk, layer = self.source.walk, self.source.walk.layer
        view = None if layer.stationary is None else layer.stationary.view
        segment, columns = self.source.segment(item), walk.count("n")
        rows = layer.taps_s * layer.c if self.source.merged else layer.c  # of a tap
        tile_rows = rows if self.source.merged else walk.tile("k")
        batch, offset, start = "0", self.place.offset, wide(walk.start("n"), self.taps * rows)
        step, row_bytes, tap_bytes = walk.tile("n"), columns, times(columns, rows)
        if view is not None:
            step, row_bytes, tap_bytes = view.y_bytes, str(view.y_bytes), "0"
            batch, offset, start = (
                wide(item.batch, view.b_bytes),
                offset + view.offset,
                walk.start("n"),
            )
        elif by_taps(layer):
            step, row_bytes, tap_bytes = layer.groups, str(layer.groups), str(layer.groups)
        group = "0" if view is not None else wide(item.group, self._group_bytes)
        first_row = "0"
        if walk.splits_reduction:
            first_row = f"df::addr_t({walk.start('k')}) * {row_bytes}"
        start = plus(start, first_row)
        taps, count = self.taps, self.rows
        if item.packed == "1" and not walk.splits_reduction and view is None:
            taps, count, tile_rows = 1, str(taps * rows), taps * rows  # the taps follow each other
        run, run_lines = pieces(step, walk.tile("n"), walk.cols, tile_rows)
        return (
            ("base", plus(batch, group, start, offset)),
            ("y_count", str(taps)),
            ("x_count", count),
            ("y_size", str(ANYWHERE)),
            ("x_size", str(ANYWHERE)),
            ("y_bytes", tap_bytes),
            ("x_bytes", row_bytes),
            ("channels", columns),
            ("lanes", str(walk.cols)),
            ("lines", block_count(columns, walk.cols)),
            ("run", str(run)),
            ("run_lines", str(run_lines)),
            ("line", self.first_line(item)),
            ("y_lines", segment),
            ("x_lines", "1"),
            ("c_lines", times(segment, self.taps)),
        )

    def _depthwise(self, item: Item) -> tuple[tuple[str, str], ...]:
        """Rows are taps, columns groups."""
        walk, layer = self.source.walk, self.source.walk.layer
        run, run_lines = pieces(layer.groups, walk.columns, walk.cols, self.taps)
        return (
            ("base", plus(wide(item.group, 1), self.place.offset)),
            ("y_count", "1"),
            ("x_count", str(self.taps)),
            ("y_size", str(ANYWHERE)),
            ("x_size", str(ANYWHERE)),
            ("x_bytes", str(layer.groups)),
            ("channels", item.packed),
            ("lanes", str(walk.cols)),
            ("lines", block_count(item.packed, walk.cols)),
            ("run", str(run)),
            ("run_lines", str(run_lines)),
            ("line", self.first_line(item)),
            ("x_lines", "1"),
            ("c_lines", str(self.taps)),
        )

    def _transposed(self, item: Item) -> tuple[tuple[str, str], ...]:
        """Columns of contiguous rows."""
        walk, stationary = self.source.walk, self.source.walk.layer.stationary
        assert stationary is not None
        assert stationary.view is not None, "only activations are transposed"
        view = stationary.view
        column = wide(walk.start("n"), view.x_bytes)
        base = (wide(item.batch, view.b_bytes), walk.start("k"), column)
        return (
            ("base", plus(*base, self.place.offset + view.offset)),
            ("x_count", walk.count("n")),
            ("x_bytes", str(view.x_bytes)),
            ("channels", self.rows),
            ("line", self.first_line(item)),
            ("c_lines", self.rows),
        )
