"""The operands of a layer as tensors of a cascade, with the holds that buffers and rings become."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import prod

from dataflow.layers.layer import Dim, Layer, LayerGraph, MicroOp, View
from dataflow.layers.tiled import NO_LEVEL, TiledLayer
from dataflow.machine.isa import Operand as Micro
from dataflow.machine.program import LayerCounts
from dataflow.program.trees.nest import Holds
from dataflow.program.trees.words import Index, Names

CODE_BITS, WORD_BITS = 8, 32


@dataclass(frozen=True)
class Access:
    """A tensor and its index."""

    tensor: str
    index: tuple[Index, ...]

    def __str__(self) -> str:
        return f"{self.tensor}[{', '.join(self.index)}]"


@dataclass(frozen=True)
class Read:
    """An operand that is read from the scratchpad.

    Attributes:
        name: of its tensor, where no layer before wrote it under the same view.
        view: of the machine's tensor.
        index, shape: of the cascade's.
        copies: slots that it is streamed through; 0: it is resident.
        depth: tile loops above its buffer.
        filled: a resident tensor that this layer loads.
        uses: reads of an element at each point.
        own: other layers cannot name it the same way.
    """

    name: str
    view: View
    index: tuple[Index, ...]
    shape: tuple[int, ...]
    copies: int
    depth: int
    filled: bool
    uses: int
    own: bool = False


@dataclass
class Tensors:
    """The tensors of a cascade: shape and format of each, and who wrote what."""

    graph: LayerGraph
    line_bytes: int
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    formats: dict[str, dict[str, str | int]] = field(default_factory=dict)
    written: dict[str, tuple[str, View, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.writers = Counter(self.root(layer.output.tensor) for layer in self.graph.layers)

    def root(self, tensor: str) -> str:
        """The tensor whose bytes it is."""
        return self.graph.storage[tensor].alias_of or tensor

    def add(self, name: str, shape: tuple[int, ...], **form: str | int) -> str:
        """Declares a tensor; ``form``: its format."""
        if name not in self.shapes:
            self.shapes[name] = shape
            self.formats[name] = {k: v for k, v in form.items() if (k, v) != ("uses", 1)}
        return name

    def source(self, names: Names, holds: Holds, counts: LayerCounts) -> Access:
        """The array's feed, or S0 of the vector unit."""
        layer, tiling = names.layer, names.tiled.tiling
        on_array = layer.kind == "array"
        return self._read(
            Read(
                f"X{names.number}",
                layer.source,
                names.source(),
                names.shape(layer.source),
                tiling.source_slots if tiling.source == "stream" else 0,
                tiling.source_depth,
                counts.source_bytes > 0,
                1 if on_array else uses(layer, Micro.S0),
                names.merged,
            ),
            holds,
        )

    def second(self, names: Names, holds: Holds, counts: LayerCounts) -> Access | None:
        """S1 of the vector unit, or the activation that stays in the array; None: neither."""
        layer, tiling = names.layer, names.tiled.tiling
        still = layer.stationary.view if layer.stationary is not None else None
        view = still or layer.second
        if view is None:
            return None
        if still is not None:
            index = tuple(i for i, _ in names.stationary(still))
            shape = tuple(n for _, n in names.stationary(still))
        else:
            index, shape = names.second(view), names.shape(view)
        return self._read(
            Read(
                f"R{names.number}",
                view,
                index,
                shape,
                tiling.second_slots if tiling.second == "stream" else 0,
                tiling.second_depth,
                counts.second_bytes > 0,
                1 if still is not None else uses(layer, Micro.S1),
                still is not None,
            ),
            holds,
        )

    def _read(self, read: Read, holds: Holds) -> Access:
        outside = read.copies > 0 or read.filled
        home = "dram" if outside else "activations"
        found = self.written.get(self.root(read.view.tensor))
        same = found is not None and _same(found[1], read.view) and found[2] == home
        name, index, shape, parts = read.name, read.index, read.shape, 1
        if found is not None and same and not read.own and read.uses == 1:
            name = found[0]
        else:
            if read.filled and not read.copies:  # all of the tensor comes, a part of it is read
                parts, rest = divmod(self.graph.storage[read.view.tensor].bytes, prod(shape))
                if parts > 1 and not rest:
                    index, shape = ("0", *index), (parts, *shape)
            form: dict[str, str | int] = {"bits": CODE_BITS, "role": "input", "uses": read.uses}
            if not outside:
                form["resident"] = "activations"
            self.add(name, shape, **form)
        if outside:
            holds.add(0, "dram", name)
        layer = holds.names.layer
        depth = read.depth if read.copies else 0
        cut = holds.names.tiled.tiling.order[:depth]
        whole = parts > 1
        if read.view is layer.source:
            whole = whole or _beyond(holds.names, cut)
        elif read.view is layer.second:
            whole = whole or layer.second_words
        holds.add(depth, "activations", name, max(1, read.copies), whole and outside)
        return Access(name, index)

    def weights(self, names: Names, holds: Holds) -> Access:
        """Constant weights: lines of a ring, one for each row of the array."""
        found = names.weights()
        name = f"W{names.number}"
        tiled = names.tiled
        by_group = names.layer.groups > 1 and names.layer.n == 1
        form = self._lines(CODE_BITS, tiled, "g" if by_group else "n", 1)
        self.add(name, tuple(n for _, n in found), role="weight", **form)
        holds.add(0, "dram", name)
        holds.add(tiled.tiling.weight_depth, "weights", name)
        return Access(name, tuple(i for i, _ in found))

    def parameters(self, names: Names, holds: Holds) -> list[Access]:
        """P0 and P1: a word for each channel."""
        layer, tiled = names.layer, names.tiled
        dim: Dim = "g" if tiled.level("g") != NO_LEVEL or layer.groups > 1 else "n"
        form = self._lines(WORD_BITS, tiled, dim, layer.n if dim == "g" else 1)
        found = []
        for number in range(len(layer.params)):
            name = f"P{names.number}_{number}"
            self.add(name, (layer.groups * layer.n,), role="weight", **form)
            holds.add(0, "dram", name)
            holds.add(tiled.tiling.param_depth, "parameters", name)
            found.append(Access(name, (names.output_channel(),)))
        return found

    def _lines(self, bits: int, tiled: TiledLayer, dim: Dim, unit: int) -> dict[str, int]:
        """Format of an image that is stored in lines.

        Each tile of channels, and each column block of one, begins a new line.

        Args:
            dim: whose tiles; ``unit`` channels of the image each.
        """
        line, tile = self.line_bytes, tiled.tile(dim) * unit
        width = min(tiled.columns.width, tile)
        form = {"bits": bits, "line": line}
        cut = tiled.level(dim) != NO_LEVEL
        if width < tiled.extent(dim) * unit and width % line:
            return form | {"block": tile if cut and tile % width else width}
        return form | ({"block": tile} if cut and tile % line else {})

    def sums(self, names: Names) -> Access:
        """What the array leaves in the accumulators."""
        layer = names.layer
        name = f"A{names.number}"
        shape = (layer.batch, layer.p, layer.q, layer.groups * layer.n)
        self.add(name, shape, bits=WORD_BITS, uses=uses(layer, Micro.S0))
        return Access(name, names.output())

    def output(self, names: Names, holds: Holds) -> Access:
        """What the vector unit writes."""
        layer, tiling = names.layer, names.tiled.tiling
        view, name = layer.output, f"Layer{names.number}"
        stored, kept = tiling.sink != "resident", tiling.sink != "stream"
        form: dict[str, str | int] = {"bits": CODE_BITS}
        if not stored:
            form["resident"] = "activations"
        self.add(name, names.shape(view), **form)
        if self.writers[self.root(view.tensor)] == 1:
            home = "dram" if stored else "activations"
            self.written[self.root(view.tensor)] = name, view, home
        if stored:
            holds.add(0, "dram", name)
        outer = len([d for d in tiling.order if d != "k"])
        holds.add(0 if kept else outer, "activations", name, max(1, tiling.sink_slots))
        return Access(name, names.output())


def uses(layer: Layer, operand: Micro) -> int:
    """How often the micro-program reads an operand at a point; 0: it is loaded alone."""
    micro = layer.micro
    parts: tuple[tuple[MicroOp, ...], ...] = (micro.init, micro.body, micro.final)
    return sum(operand in (op.a, op.b, op.c) for part in parts for op in part)


def outside_window(layer: Layer, operand: Micro) -> bool:
    """Whether the micro-program reads an operand before and behind the window alone."""
    return not any(operand in (op.a, op.b, op.c) for op in layer.micro.body)


def _beyond(names: Names, cut: tuple[Dim, ...]) -> bool:
    """Whether an axis of the source that is not cut has places behind the last window."""
    layer = names.layer
    if layer.flat:
        return False
    rows, columns = layer.window("p"), layer.window("q")
    _, height, width, _ = layer.source.shape
    return ("p" not in cut and rows.span(layer.p) - rows.pad < height) or (
        "q" not in cut and columns.span(layer.q) - columns.pad < width
    )


def _same(one: View, other: View) -> bool:
    """Whether two views are one, whatever the names of their tensors."""
    key = ("shape", "b_bytes", "y_bytes", "x_bytes", "offset", "splat")
    return all(getattr(one, k) == getattr(other, k) for k in key)
