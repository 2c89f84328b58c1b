"""Places of tensors, the vector operands of a layer (second source, parameters), and its stores."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dataflow.emit.hls.tree import Scope, plus, times, wide
from dataflow.emit.hls.walk import ANYWHERE, Held, Item, Walk, block_count, pieces
from dataflow.layers.layer import View


@dataclass(frozen=True)
class Place:
    """Where a tensor is: a memory argument of the layer function and a byte offset."""

    memory: str
    offset: int

    @property
    def here(self) -> str:
        """Suffix of the load that reads the on-chip memory in place."""
        return "_here" if self.memory == "act" else ""


def address(place: Place, view: View, item: Item, channel: str) -> str:
    """Address of a batch item's row 0, column 0 and first channel."""
    return plus(
        wide(item.batch, view.b_bytes), "0" if view.splat else channel, place.offset + view.offset
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
        columns = item.of_groups(walk.count("n"))
        p, q = self.held.range("p"), self.held.range("q")
        depth = 4 if self.uses else 1 if view.splat else walk.columns
        rows, width, points = p.count, q.count, q.most
        if width == str(view.shape[2]) and 0 < view.y_bytes == view.shape[2] * view.x_bytes:
            # Whole rows, which follow each other in memory and buffer.
            rows, width, points = "1", times(rows, view.shape[2]), q.most * p.most
        run, run_lines = pieces(view.x_bytes, depth, walk.cols, points)
        item.scope.assign(
            "df::Block",
            "second",
            (
                ("base", address(self.place, view, item, "0" if self.uses else channel)),
                ("y", p.start if view.y_bytes else "0"),
                ("x", times(q.start, view.x_bytes)),
                ("y_count", rows),
                ("x_count", width),
                ("y_size", str(ANYWHERE)),
                ("x_size", str(ANYWHERE)),
                ("y_bytes", str(view.y_bytes)),
                ("x_bytes", str(view.x_bytes)),
                ("splat", "true" if view.splat else "0"),
                ("channels", "0" if self.uses else columns),
                ("lanes", str(walk.cols)),
                ("lines", "0" if self.uses else block_count(columns, walk.cols)),
                ("run", str(run)),
                ("run_lines", str(walk.blocks if view.splat else run_lines)),
                ("line", self._item_line(item)),
                ("y_lines", str(self.y_lines)),
                ("x_lines", str(self.x_lines)),
                ("c_lines", "1"),
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
                f"df::load_second{self.place.here}({self.place.memory}, second, {signed},"
                f" {layer.second_zero}, s_tile);"
            )


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
            item.scope.add(f"df::load_params(weights, {at}, {count}, {line}, p_tile[{index}]);")


def store(scope: Scope, walk: Walk, item: Item, places: tuple[Place, ...], first_line: str) -> None:
    """Prints the stores of an output tile: ``o_tile`` lines from ``first_line`` to each place."""
    layer, view = walk.layer, walk.layer.output
    columns = item.of_groups(walk.count("n"))
    channel = plus(times(item.group, layer.n), walk.start("n"))
    rows, width = walk.count("p"), walk.count("q")
    # Points whose channels leave no gaps are written together, whole rows too.
    dense = columns == str(view.x_bytes)
    if dense and walk.trips("q") == 1 and view.y_bytes == layer.q * view.x_bytes:
        rows, width = "1", times(rows, layer.q)
    points = walk.tile("p") * walk.tile("q")
    run, run_lines = pieces(view.x_bytes, walk.columns, walk.cols, points if dense else 1)
    for index, place in enumerate(places):
        name = "sink" if index == 0 else f"sink_{index}"
        scope.assign(
            "df::Block",
            name,
            (
                ("base", address(place, view, item, channel)),
                ("y", walk.start("p")),
                ("x", times(walk.start("q"), view.x_bytes)),
                ("y_count", rows),
                ("x_count", width),
                ("y_bytes", str(view.y_bytes)),
                ("x_bytes", str(view.x_bytes)),
                ("channels", columns),
                ("lines", block_count(columns, walk.cols)),
                ("run", str(run)),
                ("run_lines", str(run_lines)),
                ("line", first_line),
                ("y_lines", str(walk.tile("q"))),
                ("x_lines", "1"),
                ("c_lines", str(points)),
            ),
        )
        scope.add(f"df::store_block(o_tile, {name}, {place.memory});")
