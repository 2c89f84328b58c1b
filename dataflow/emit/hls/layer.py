"""One layer as a C++ function: its tile loops, loads, array call, vector epilogue and stores."""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.emit.hls import micro as hls_micro
from dataflow.emit.hls.micro import Element
from dataflow.emit.hls.operands import Params, Place, Second, store
from dataflow.emit.hls.source import Source
from dataflow.emit.hls.tree import Scope, lines, plus, times
from dataflow.emit.hls.walk import Item, Walk, block_count, normalised
from dataflow.emit.hls.weights import Weights
from dataflow.layers.layer import Dim, Layer
from dataflow.layers.tiled import TiledLayer
from dataflow.layers.tiling import Tiling
from dataflow.machine import Machine
from dataflow.machine.isa import Operand

_BUFFERS = {  # argument of a layer function: its declaration, and the size that it needs
    "x_tile": "df::x_line_t x_tile[df::kPorts][df::kXLines]",
    "w_tile": "df::w_line_t w_tile[df::kWLines]",
    "s_tile": "df::s_line_t s_tile[df::kSLines]",
    "s_words": "int32_t s_words[df::kSWords]",
    "p_tile": "df::p_line_t p_tile[df::kParams][df::kPLines]",
    "acc": "df::acc_line_t acc[df::kAccLines]",
    "o_tile": "df::o_line_t o_tile[df::kOLines]",
}


@dataclass(frozen=True)
class Places:
    """Where a layer's tensors and constants are.

    Attributes:
        source, second, stationary: operands (stationary: codes in ``weights`` or a tensor).
        sinks: where the output is written, DRAM first.
        zeros: address in ``weights`` of the stationary operand's zero points, or -1.
        params: addresses in ``weights`` of the per-channel vectors.
    """

    source: Place
    second: Place | None
    stationary: Place | None
    sinks: tuple[Place, ...]
    zeros: int
    params: tuple[int, ...]


@dataclass(frozen=True)
class LayerCode:
    """A layer function.

    Attributes:
        name: of the function and of its file.
        code: lines of the element functions and of the layer function.
        call: the call in the top function.
        sizes: lines that it needs of each buffer, by buffer name.
        fir: taps along the shift register.
    """

    name: str
    code: tuple[str, ...]
    call: str
    sizes: dict[str, int]
    fir: int


def layer_code(
    name: str, layer: Layer, tiling: Tiling, places: Places, machine: Machine
) -> LayerCode:
    """Prints a layer.

    Args:
        name: a C++ identifier, unique in the project.
        layer, tiling: what and how.
        places: where everything is.
        machine: array and lanes.
    """
    tiled = TiledLayer(*normalised(layer, tiling), machine)
    return _LayerPrinter(name, Walk(tiled), places).print()


class _LayerPrinter:
    def __init__(self, name: str, walk: Walk, places: Places) -> None:
        self.name = name
        self.places = places
        self.walk = walk
        self.layer = layer = walk.layer
        tiling = walk.tiling
        loops = len(tiling.order)

        def depth(streamed: bool, stated: int, dims: str) -> int:
            """Loads of a tensor that is on chip are as small as the loops allow."""
            return walk.clamped(min(stated, loops), dims) if streamed else walk.relevant_depth(dims)

        channels = "k" if layer.kind == "array" else "n"
        self.source = Source(
            walk,
            places.source,
            depth(tiling.source == "stream", tiling.source_depth, "bgpq" + channels),
        )
        used = hls_micro.sources(layer.micro)
        self.second: Second | None = None
        if Operand.S1 in used:
            assert layer.second is not None, f"{layer.name}: S1 is read but is no operand"
            assert places.second is not None, f"{layer.name}: the second operand has no place"
            uses = hls_micro.second_uses(layer.micro) if layer.second_words else 0
            streamed = tiling.second == "stream"
            at = depth(streamed, tiling.second_depth, "bpq" if uses else "bgpqn")
            self.second = Second(walk, places.second, at, layer.second, uses)
        self.weights: Weights | None = None
        if layer.stationary is not None and layer.kind == "array":
            assert places.stationary is not None, f"{layer.name}: the weights have no place"
            streamed, stated = True, tiling.weight_depth
            if layer.stationary.view is not None:
                streamed, stated = tiling.second == "stream", tiling.second_depth
            at = depth(streamed, stated, "bgnk")
            self.weights = Weights(self.source, places.stationary, at, places.zeros)
        self.params = Params(walk, places.params, walk.clamped(tiling.param_depth, "gn"))
        self.windowed = layer.kind == "vector" and layer.taps_r * layer.taps_s > 1
        self.element = hls_micro.element(
            name, layer.micro, windowed=self.windowed, separate_uses=layer.second_words
        )
        self.points = walk.tile("p") * walk.tile("q")

    def print(self) -> LayerCode:
        """The functions of the layer."""
        # The top function takes the layers in, so that their calls share the engines' instances.
        body = Scope(pragmas=("INLINE",))
        self._nest(body)
        text = list(lines(body))
        used = [
            name
            for name in ("weights", "mem", "act")
            if any(_mentions(line, name) for line in text)
        ]
        buffers = [name for name in _BUFFERS if any(_mentions(line, name) for line in text)]
        arguments = [f"{'const ' * (n == 'weights')}df::word_t *{n}" for n in used]
        arguments += [_BUFFERS[name] for name in buffers]
        code: list[str] = []
        for scope in self.element.code:
            code += [*lines(scope), ""]
        head = f"inline void {self.name}({', '.join(arguments)})"
        function = Scope(head, body.pragmas, body.body)
        call = f"{self.name}({', '.join([*used, *buffers])});"
        return LayerCode(self.name, (*code, *lines(function)), call, self._sizes(), self._fir())

    def _sizes(self) -> dict[str, int]:
        walk = self.walk
        output = walk.tile("b") * walk.bundles * walk.blocks * self.points
        second = self.second
        words = second is not None and second.uses > 0
        return {
            "x_tile": self.source.lines,
            "w_tile": self.weights.lines if self.weights else 0,
            "zeros": walk.blocks,
            "s_tile": second.lines if second and not words else 0,
            "s_words": second.lines if second and words else 0,
            "p_tile": self.params.lines if self.places.params else 0,
            "acc": output if self.layer.kind == "array" else 0,
            "o_tile": output,
        }

    def _fir(self) -> int:
        if not self.source.depthwise:
            return 1
        layer, tiling = self.layer, self.walk.tiling
        dilation = layer.dilation_r if tiling.swap else layer.dilation_s
        taps = layer.taps_r if tiling.swap else layer.taps_s
        return min(tiling.fir_taps, taps) if dilation == 1 else 1

    def _nest(self, scope: Scope) -> None:
        """The tile loops, each operand loaded at its depth."""
        order = self.walk.tiling.order
        self._loads(scope, 0)
        for position, dim in enumerate(order):
            if dim == "k":
                continue
            scope = self.walk.open(scope, dim)
            self._loads(scope, position + 1)
        if self.layer.kind == "array":
            inner = scope
            if "k" in order:
                assert order[-1] == "k", f"{self.layer.name}: k must be the innermost tile loop"
                inner = self.walk.open(scope, "k")
                self._loads(inner, len(order))
            self._feed(inner)
            self._epilogue(scope)
        elif self.windowed:
            self._window(scope)
        else:
            self._epilogue(scope)
        item = self.walk.items(scope)
        store(item.scope, self.walk, item, self.places.sinks, self._item_output(item))

    def _loads(self, scope: Scope, depth: int) -> None:
        if self.places.params and self.params.depth == depth:
            self.params.load(scope)
        for operand in (self.second, self.source, self.weights):
            if operand is not None and operand.depth == depth:
                operand.load(scope)

    def _item_output(self, item: Item) -> str:
        """First accumulator or output line of a batch item and pack of groups."""
        per_item = self.walk.blocks * self.points
        return plus(times(item.b, self.walk.bundles * per_item), times(item.g, per_item))

    def _feed(self, scope: Scope) -> None:
        """The call of the array."""
        walk, layer, source = self.walk, self.layer, self.source
        tiling = walk.tiling
        assert self.weights is not None, f"{layer.name}: an array layer has a stationary operand"
        item = walk.items(scope)
        rows, columns = (walk.count("p"), walk.tile("q")), (walk.count("q"), 1)
        depthwise, merged = source.depthwise, source.merged
        y, x = layer.stride_p * source.y_lines, layer.stride_q * source.x_lines
        if merged:
            x = source.x_lines
        outer, inner = (rows[0], y, rows[1]), (columns[0], x, columns[1])
        taps = (layer.taps_r, layer.dilation_r * source.y_lines, layer.taps_s)
        fine = (1 if merged else layer.taps_s, layer.dilation_s * source.x_lines, 1)
        stride, step = layer.stride_q, source.x_lines
        if depthwise and tiling.swap:
            outer, inner, taps, fine = inner, outer, fine, taps
            stride, step = layer.stride_p, source.y_lines
        machine = walk.tiled.machine
        fed = min(machine.feed_ports, max(1, machine.rows // self._segment()))
        if depthwise:
            fed, taps_fed = min(tiling.ports, machine.feed_ports), self._fir()
            assert fed * taps_fed <= machine.rows, f"{layer.name}: more taps than array rows"
            if taps_fed == 1:  # nothing is fed twice: a step is a point
                stride, step = 1, stride * step
        item.scope.assign(
            "df::Feed",
            "feed",
            (
                ("depthwise", "true" if depthwise else "0"),
                ("outer_count", outer[0]),
                ("inner_count", inner[0]),
                ("x_line", source.first_line(item)),
                ("x_outer", str(outer[1])),
                ("x_inner", str(step if depthwise else inner[1])),
                ("taps_a", str(taps[0])),
                ("taps_b", str(fine[0])),
                ("x_a", str(taps[1])),
                ("x_b", str(fine[1])),
                ("w_line", self.weights.first_line(item)),
                ("w_a", str(taps[2] if depthwise else 0)),
                ("w_b", str(fine[2] if depthwise else 0)),
                ("segment", source.segment(item)),
                ("fed_taps", str(fed)),
                ("blocks", block_count(item.of_groups(walk.count("n")), walk.cols)),
                ("acc_line", self._item_output(item)),
                ("acc_outer", str(outer[2])),
                ("acc_inner", str(inner[2])),
                ("acc_block", str(self.points)),
                ("first", f"{walk.start('k')} == 0" if walk.splits_reduction else "true"),
                ("fir_taps", str(self._fir() if depthwise else 0)),
                ("fir_stride", str(stride if depthwise else 0)),
            ),
        )
        item.scope.add("df::array_tile(x_tile, w_tile, feed, acc);")

    def _segment(self) -> int:
        """Reduction indices of a tap in the largest tile."""
        layer, walk = self.layer, self.walk
        return layer.taps_s * layer.c if self.source.merged else walk.pack * walk.tile("k")

    def _points(self, scope: Scope, *pragmas: str) -> tuple[Item, Scope, str]:
        """Opens the loops over blocks and points of a tile; the block's name last."""
        walk = self.walk
        item = walk.items(scope)
        inner, block = item.scope, "0"
        if walk.blocks > 1:
            stop = block_count(item.of_groups(walk.count("n")), walk.cols)
            inner, block = inner.loop("n1", "0", stop, 1, (1, walk.blocks)), "n1"
        loops: tuple[tuple[Dim, str], ...] = (("p", "p1"), ("q", "q1"))
        for dim, var in loops:
            inner = inner.loop(
                var, "0", walk.count(dim), 1, (1, walk.tile(dim)), *(pragmas if dim == "q" else ())
            )
        return item, inner, block

    def _arguments(self, item: Item, block: str, first: str) -> tuple[list[str], list[str]]:
        """Line declarations and the arguments of an element function, S0 being ``first``."""
        declared: list[str] = []
        values: dict[str, str] = {"s0": first}
        if self.second is not None:
            declared.append(f"const int s_line = {self.second.line(item, 'p1', 'q1', block)};")
            values["s1"] = "s_tile[s_line][lane]"
            for use in range(self.second.uses):
                values[f"s1_{use}"] = f"s_words[{plus('s_line', use)}]"
        if self.places.params:
            declared.append(f"const int p_line = {self.params.line(item, block)};")
            for index in range(len(self.places.params)):
                values[f"p{index}"] = f"p_tile[{index}][p_line][lane]"
        return declared, [values[name] for name in self.element.arguments]

    def _output_line(self, item: Item, block: str) -> str:
        return plus(
            self._item_output(item),
            times(block, self.points),
            times("p1", self.walk.tile("q")),
            "q1",
        )

    def _epilogue(self, scope: Scope) -> None:
        """Vector operations on each output point; array layers read the accumulators."""
        words = self.second.uses if self.second is not None else 0
        interval = max(1, -(-words // 2))  # a memory gives two words in a cycle
        item, inner, block = self._points(scope, f"PIPELINE II={interval}")
        line = self._output_line(item, block)
        if self.layer.kind == "array":
            first = "acc[line][lane]"
            if self.layer.bias:
                first = f"df::add_i32({first}, p_tile[0][p_line][lane])"
        else:
            first = self._position(inner, item, block, "0", "0")
        declared, arguments = self._arguments(item, block, first)
        inner.add(*declared, f"const int line = {line};")
        inner.lanes(
            "lane",
            "df::kCols",
            f"o_tile[line][lane] = {self.name}_element({', '.join(arguments)});",
        )

    def _position(self, scope: Scope, item: Item, block: str, r: str, s: str) -> str:
        """Declares the source line of window position (r, s); returns the expression of S0."""
        layer, source = self.layer, self.source
        p = plus(times("p1", layer.stride_p), times(r, layer.dilation_r))
        q = plus(times("q1", layer.stride_q), times(s, layer.dilation_s))
        line = plus(
            source.first_line(item),
            times(p, source.y_lines),
            times(q, source.x_lines),
            block,
        )
        scope.add(f"const int x_line = {line};")
        first = "x_tile[0][x_line][lane]"
        if layer.pad_value == 0 or not self._reaches_padding():
            return first
        walk = self.walk
        y = plus(times(walk.start("p"), layer.stride_p), p, -layer.pad_p)
        x = plus(times(walk.start("q"), layer.stride_q), q, -layer.pad_q)
        rows, columns = layer.source.shape[1], layer.source.shape[2]
        scope.add(
            f"const int y = {y};",
            f"const int x = {x};",
            f"const bool inside = y >= 0 && y < {rows} && x >= 0 && x < {columns};",
        )
        return f"inside ? {first} : {layer.pad_value}"

    def _reaches_padding(self) -> bool:
        layer = self.layer
        bottom = (layer.p - 1) * layer.stride_p + (layer.taps_r - 1) * layer.dilation_r
        right = (layer.q - 1) * layer.stride_q + (layer.taps_s - 1) * layer.dilation_s
        return (
            layer.pad_p > 0
            or layer.pad_q > 0
            or bottom - layer.pad_p >= layer.source.shape[1]
            or right - layer.pad_q >= layer.source.shape[2]
        )

    def _window(self, scope: Scope) -> None:
        """Vector operations over a window around each output point."""
        layer, element = self.layer, self.element
        item, inner, block = self._points(scope)
        inner.add(
            f"{self.name}_state state[df::kCols];",
            "#pragma HLS ARRAY_PARTITION variable=state dim=1 type=complete",
        )
        declared, outside = self._arguments(item, block, "0")
        inner.add(*declared, f"const int line = {self._output_line(item, block)};")
        inner.lanes("lane", "df::kCols", self._state_call(element, "init", [], outside))
        # A chain of float operations from repetition to repetition takes what it takes.
        pipeline = "PIPELINE II=1" if hls_micro.repeats_each_cycle(layer.micro) else "PIPELINE"
        window = inner.loop("r", "0", str(layer.taps_r), 1, (layer.taps_r, layer.taps_r))
        window = window.loop("s", "0", str(layer.taps_s), 1, (layer.taps_s, layer.taps_s), pipeline)
        first = self._position(window, item, block, "r", "s")
        _, arguments = self._arguments(item, block, first)
        window.lanes(
            "lane",
            "df::kCols",
            self._state_call(element, "body", ["r == 0 && s == 0"], arguments),
        )
        inner.lanes(
            "lane",
            "df::kCols",
            f"o_tile[line][lane] = {self._state_call(element, 'final', [], outside)}",
        )

    def _state_call(
        self, element: Element, part: str, extra: list[str], arguments: list[str]
    ) -> str:
        return f"{self.name}_{part}({', '.join(['state[lane]', *extra, *arguments])});"


def _mentions(line: str, name: str) -> bool:
    """Whether a printed line uses an identifier."""
    position = line.find(name)
    while position >= 0:
        before, after = line[:position][-1:], line[position + len(name) :][:1]
        if not (before.isalnum() or before == "_") and not (after.isalnum() or after == "_"):
            return True
        position = line.find(name, position + 1)
    return False
