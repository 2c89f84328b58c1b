"""The loop tree of a layer: what the engines walk, in the words of the general Mapping.

::

    hold dram: ...                      what comes from outside
    for p3 tile 8                       the tiling's loops, with a hold where a buffer is filled
      hold activations: X3 x2
      hold accumulators: A3 x2
      together
        branch                          the array: column blocks, passes, points
          for n3 tile 16
            for r3 tile 1
              ...
        branch                          the vector unit
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dataflow.layers.layer import Dim
from dataflow.mapping import Branches, Compute, Hold, Loop, Nest, Node
from dataflow.program.trees.words import Names

COPIES = 2
"""Halves of the accumulators: one with the array, one with the vector unit."""


LEVELS = ("dram", "activations", "weights", "parameters")
"""Memories outside the accumulators, outermost first."""


@dataclass
class Holds:
    """Holds of a layer by the number of tile loops above them, in the order in which they come."""

    names: Names
    at: dict[int, list[Hold]] = field(default_factory=dict)

    def add(
        self, depth: int, level: str, tensor: str, copies: int = 1, whole: bool = False
    ) -> None:
        self.at.setdefault(depth, []).append(Hold(level, (tensor,), copies, whole=whole))

    def joined(self, depth: int) -> list[Node]:
        """The holds at a depth; those of one level that are alike in one line."""
        found: dict[Hold, list[str]] = {}
        for hold in self.at.get(depth, ()):
            found.setdefault(replace(hold, tensors=()), []).extend(hold.tensors)
        order = sorted(found.items(), key=lambda item: LEVELS.index(item[0].level))
        return [replace(alike, tensors=tuple(names)) for alike, names in order]


def layer_nest(names: Names, holds: Holds, array: Nest, vector: Nest, sums: str) -> Nest:
    """The nest of a layer; ``array`` empty: the vector unit alone. ``sums``: the accumulators'."""
    order = names.tiled.tiling.order
    shared: list[Node] = list(holds.joined(0))
    inner: list[Node] = []
    for depth, dim in enumerate(order, 1):
        place = inner if dim == "k" else shared
        if dim != "k" or names.split or not names.flat:
            place.append(_tile_loop(names, dim))
        place += holds.joined(depth)
    if not array:
        return (*shared, *vector)
    shared.append(Hold("accumulators", (sums,), COPIES))
    return (*shared, Branches(((*inner, *array), vector), together=True))


def _tile_loop(names: Names, dim: Dim) -> Loop:
    if dim == "k" and names.split:
        return Loop.of(names.of("k"), 1)
    letter = "c" if dim == "k" else str(dim)
    return Loop.of(names.of(names.walked(letter)), names.tiled.tile(dim))


class Walk:
    """Loops over what is left of a layer's variables.

    Args:
        names: of the layer.
        sizes: values left of each walked variable, by letter.
    """

    def __init__(self, names: Names) -> None:
        self.names = names
        tiled = names.tiled
        self.left: dict[str, int] = {}
        for letter, size in names.sizes.items():
            self.left[names.walked(letter)] = size
        if names.flat:
            self.left["u"] = names.flat_size
        self.left.pop("k", None)  # a tile loop walks it
        for dim in tiled.tiling.order:
            if dim == "k" and names.flat:
                continue
            letter = names.walked("c" if dim == "k" else str(dim))
            if letter in self.left:
                self.left[letter] = min(self.left[letter], tiled.tile(dim))
        self.nodes: list[Node] = []

    def cut(self, letter: str, tile: int, fanout: str | None = None) -> None:
        """A loop that leaves ``tile`` values, where more are left."""
        if self.left.get(letter, 1) > tile:
            self.left[letter] = tile
            self.nodes.append(Loop.of(self.names.of(letter), tile, fanout))

    def pieces(self, letter: str, sizes: tuple[int, ...]) -> None:
        """A loop whose tiles have these sizes; only the last one differs in most cases."""
        if all(size == sizes[0] for size in sizes[:-1]) and sizes[-1] <= sizes[0]:
            self.cut(letter, sizes[0])
            return
        self.left[letter] = max(sizes)
        self.nodes.append(Loop.of_pieces(self.names.of(letter), sizes))

    def lanes(self, letter: str, fanout: str) -> None:
        """What is left of a variable on the instances of a fan-out."""
        self.cut(letter, 1, fanout)

    def hold(self, level: str, *tensors: str) -> None:
        self.nodes.append(Hold(level, tensors))

    def blocks(self) -> None:
        """Column blocks: what one line of accumulators holds."""
        shape, layer = self.names.tiled.columns, self.names.layer
        if layer.flat:
            return
        if self.left.get("n", 1) > 1 or "g" not in self.left:
            self.cut("n", shape.width)
        self.cut("g", max(1, shape.width // layer.n))

    def done(self, einsum: str, unit: str) -> Nest:
        return (*self.nodes, Compute(einsum, unit))


def array_nest(names: Names, einsum: str, source: str, weights: str) -> Nest:
    """Column blocks, passes, points."""
    walk = Walk(names)
    walk.blocks()
    tiling = names.tiled.tiling
    passes = names.tiled.passes(names.tiled.ragged("k")[0])
    feed = names.tiled.feed
    outer, inner = ("q", "p") if tiling.swap else ("p", "q")
    if feed.per_channel:
        along, across = ("r", "s") if tiling.swap else ("s", "r")
        walk.cut(along, feed.taps)
        walk.cut(across, feed.ports)
        rows: tuple[str, ...] = (across, along)
    elif taps := tap_letters(names):
        rows = ("u",) if names.flat else taps
        pack = names.tiled.columns.pack if names.tiled.tile("g") > 1 else 1
        walk.pieces(rows[0], tuple(-(-one.lanes // pack) for one in passes))
    else:
        rows = ("j",) if names.merged else ("c",)
        for tap in ("s", "r") if tiling.swap else ("r", "s"):
            walk.cut(tap, 1)
        walk.cut(rows[0], names.tiled.machine.rows)
    for letter in rows:
        walk.lanes(letter, "rows")
    for letter in ("g", "n"):
        walk.lanes(letter, "columns")
    walk.hold("weight_registers", weights)
    walk.cut("b", 1)
    walk.cut(outer, 1)
    if feed.by_tap:  # lanes shift
        walk.hold("rows", source)
    walk.cut(inner, 1)
    return walk.done(einsum, "mac")


def vector_nest(names: Names, output: str, parameters: Sequence[str], outside: str | None) -> Nest:
    """Column blocks, points, the window.

    Args:
        outside: an operand that is read once for a window, before or behind it.
    """
    walk = Walk(names)
    walk.blocks()
    if names.layer.flat:
        walk.cut("q", names.tiled.machine.cols)
        walk.lanes("q", "lanes")
    for letter in ("g", "n"):
        walk.lanes(letter, "lanes")
    if parameters:
        walk.hold("vector", *parameters)
    for letter in ("b", "p", "q"):
        walk.cut(letter, 1)
    if names.layer.kind == "vector" and names.present("r", "s"):
        walk.hold("vector", output, *((outside,) if outside else ()))
        walk.cut("r", 1)
        walk.cut("s", 1)
    return walk.done(output, "vector")


def flattened_taps(plain: Names) -> Names:
    """The names of an array layer: its taps are walked as one variable where passes need it.

    A pass that takes parts of several taps, or taps that no rectangle covers, is a piece of the
    whole reduction.
    """
    letters = tap_letters(plain)
    if not letters:
        return plain
    tiled = plain.tiled
    split = tiled.tile("k") if tiled.trips("k") > 1 else 0
    return replace(plain, flat=letters if len(letters) > 1 else (), split=split)


def tap_letters(names: Names) -> tuple[str, ...]:
    """Variables of the reduction, outermost first, where a pass takes several taps; else none."""
    tiled = names.tiled
    # Tiles of unequal depth have unequal runs of taps, which no one variable walks.
    if tiled.feed.per_channel or tiled.extent("k") % tiled.tile("k"):
        return ()
    if all(len(one.taps) == 1 for one in tiled.passes(tiled.ragged("k")[0])):
        return ()
    taps = ("r", "j") if names.merged else ("s", "r", "c") if tiled.tiling.swap else ("r", "s", "c")
    sizes = names.sizes | ({"c": tiled.tile("k")} if tiled.tile("k") > 1 else {})
    return tuple(v for v in taps if v in sizes)
