"""The stationary operand of an array layer: its load into the weight buffer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dataflow.emit.hls.operands import Place
from dataflow.emit.hls.source import Source
from dataflow.emit.hls.tree import Scope, plus, times, wide
from dataflow.emit.hls.walk import Held, Item

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
            row_bytes, column_bytes = (
                (1, view.x_bytes) if stationary.transposed else (view.y_bytes, 1)
            )
            batch = wide(item.batch, view.b_bytes)
            offset = self.place.offset + view.offset
        if self.source.merged:
            tap_bytes *= layer.taps_s
        zeros = "-1"
        if self.zeros >= 0:
            zeros = plus(wide(item.group, 4 * layer.n), wide(column, 4), self.zeros)
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
