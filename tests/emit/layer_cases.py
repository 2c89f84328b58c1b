"""Random layers with random legal tilings, for printers that must take any of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.layers.layer import (
    Dim,
    Layer,
    LayerGraph,
    MicroOp,
    MicroProgram,
    Stationary,
    Storage,
    View,
)
from dataflow.layers.plan import MemoryMap, NetworkMapping, Placement
from dataflow.layers.tiling import Tiling
from dataflow.machine.isa import Op, Operand
from tests.emit.layer_oracle import run_layer

Array = NDArray[Any]


def bits(value: float) -> int:
    """Pattern of a binary32 number."""
    return int(np.float32(value).view(np.uint32))


REQUANTISE = MicroOp(
    Op.FMA, Operand.S0, Operand.P0, Operand.MINUS_ZERO, a_float=True, to_int=(3, -128, 127),
    sink=True,
)  # fmt: skip
REQUANTISE_BIASED = replace(REQUANTISE, b=Operand.P1)


def residual(scale: Operand) -> MicroProgram:
    """clip(rint(f32(r) * k0 + (f32(s1) * k1 + k2))), r the requantised accumulator."""
    return MicroProgram(
        init=(),
        body=(replace(REQUANTISE, b=scale, sink=False, dst=1),),
        final=(
            MicroOp(Op.FMA, Operand.S1, Operand.K0 + 1, Operand.K0 + 2, a_float=True, dst=0),
            MicroOp(
                Op.FMA, 1, Operand.K0, 0, a_float=True, c_negate=True, to_int=(0, -128, 127),
                sink=True, depends=True,
            ),
        ),
        constants=(bits(0.73), bits(-0.31), bits(1.25)),
    )  # fmt: skip


MAX_POOL = MicroProgram(
    init=(),
    body=(MicroOp(Op.IMAX, 2, Operand.S0, dst=2, first_b=True),),
    final=(MicroOp(Op.MOVE, 2, sink=True),),
)
AVERAGE_POOL = MicroProgram(
    init=(MicroOp(Op.MOVE, Operand.ZERO, dst=0),),
    body=(MicroOp(Op.FMA, Operand.S0, Operand.K0, 0, a_float=True, dst=0),),
    final=(MicroOp(Op.FMA, 0, Operand.K0 + 1, Operand.ZERO, to_int=(-5, -128, 127), sink=True),),
    constants=(bits(0.0371), bits(1.0 / 3.0)),
)
COUNTED_POOL = MicroProgram(  # the words of each point: 1 / count and -count
    init=(),
    body=(
        MicroOp(Op.IADD, Operand.S0, Operand.ZERO, dst=1),
        MicroOp(Op.IADD, 1, 0, dst=0, first_b=True, depends=True),
    ),
    final=(
        MicroOp(Op.FMA, 0, Operand.S1, Operand.MINUS_ZERO, a_float=True, dst=2),
        MicroOp(Op.FMAX, 2, Operand.S1, to_int=(1, -100, 90), sink=True, b_negate=True),
    ),
)


@dataclass
class Case:
    """A graph of independent layers over common inputs, with its mapping and bytes."""

    rng: np.random.Generator
    layers: list[Layer] = field(default_factory=list)
    tilings: dict[str, Tiling] = field(default_factory=dict)
    storage: dict[str, Storage] = field(default_factory=dict)
    memory: dict[str, Array] = field(default_factory=dict)
    weights: dict[str, object] = field(default_factory=dict)
    params: dict[str, object] = field(default_factory=dict)
    placed: dict[str, Placement] = field(default_factory=dict)
    dram: dict[str, int] = field(default_factory=dict)
    chip_end: int = 0
    dram_end: int = 32

    def tensor(self, shape: Sequence[int], role: str) -> str:
        """A new tensor of bytes with room in both memories."""
        name = f"t{len(self.storage)}"
        size = int(np.prod(shape))
        layout = tuple(range(len(shape)))
        self.storage[name] = Storage(name, tuple(shape), layout, size, role, signed=False)  # type: ignore[arg-type]
        if role == "input":
            self.memory[name] = self.rng.integers(0, 256, size, dtype=np.uint8)
        self.placed[name] = Placement(self.chip_end, size + 7, size)
        self.dram[name] = self.dram_end
        self.chip_end += size + 7
        self.dram_end += size + 5
        return name

    def view(self, shape: tuple[int, int, int, int], role: str, slack: int = 0) -> View:
        """A tensor of this shape, or a slice of one with ``slack`` more channels."""
        b, y, x, c = shape
        whole = c + slack
        name = self.tensor((b, y, x, whole), role)
        return View(name, shape, y * x * whole, x * whole, whole, slack // 2)

    def random(self, low: int, high: int) -> int:
        """An integer in [low, high]."""
        return int(self.rng.integers(low, high + 1))

    def choose(self, *options: object) -> object:
        """One of the options."""
        return options[self.random(0, len(options) - 1)]

    def vector(self, n: int) -> tuple[str, str]:
        """Names of a random bias and a random scale."""
        index = len(self.params)
        self.params[f"bias{index}"] = self.rng.integers(-3000, 3000, n).astype(np.int32)
        self.params[f"scale{index}"] = self.rng.uniform(1e-4, 5e-3, n).astype(np.float32)
        return f"bias{index}", f"scale{index}"

    def zeros(self, n: int, signed: bool) -> tuple[int, ...]:
        """Zero points, one or one for each channel."""
        low, high = (-128, 127) if signed else (0, 255)
        count = n if self.random(0, 1) else 1
        return tuple(int(z) for z in self.rng.integers(low, high + 1, count))

    def add(self, layer: Layer, tiling: Tiling) -> None:
        """Adds a layer and computes its output."""
        self.layers.append(layer)
        self.tilings[layer.name] = tiling
        expected = run_layer(self.graph(), layer, self.memory)
        view = layer.output
        whole = self.storage[view.tensor]
        data = np.full(whole.bytes, 0xA5, dtype=np.uint8)
        b, p, q, c = np.meshgrid(*(np.arange(s) for s in expected.shape), indexing="ij")
        at = view.offset + b * view.b_bytes + p * view.y_bytes + q * view.x_bytes + c
        data[at] = expected
        self.memory[view.tensor] = data

    def graph(self) -> LayerGraph:
        """The layers so far."""
        return LayerGraph("random", tuple(self.layers), self.storage, self.weights, self.params)

    def mapping(self) -> NetworkMapping:
        """Their mapping."""
        memory = MemoryMap(self.placed, {}, self.dram)
        return NetworkMapping("random", self.tilings, memory, 0, 0, False)

    def tiling(self, layer: Layer, dims: str, **fixed: object) -> Tiling:
        """A random tiling of ``dims``."""
        extent = {
            "b": layer.batch, "g": layer.groups, "p": layer.p, "q": layer.q, "n": layer.n,
            "k": layer.c,
        }  # fmt: skip
        tiled = [d for d in dims if extent[d] > 1 and self.random(0, 1) and d != "k"]
        if layer.batch > 1 and "b" not in tiled:
            tiled.append("b")
        order = [tiled[int(i)] for i in self.rng.permutation(len(tiled))]
        if "k" in dims and layer.c > 1 and self.random(0, 1):
            order.append("k")
        tile = {d: 1 if d == "b" else self.random(1, extent[d]) for d in order}
        if layer.flat and "q" in tile:
            tile["q"] = max(8, tile["q"] // 8 * 8)
        loops = len(order)
        needed = 1 + max((order.index(d) for d in order if d in "bgk"), default=-1)
        second = layer.second is not None or (
            layer.stationary is not None and layer.stationary.view is not None
        )
        options: dict[str, object] = {
            "order": tuple(order),
            "tile": tile,
            "source": self.choose("resident", "stream"),
            "source_depth": self.random(needed, loops),
            "source_slots": 2,
            "second": self.choose("resident", "stream") if second else "none",
            "second_depth": self.random(0, loops),
            "second_slots": 2,
            "sink": self.choose("resident", "stream", "both"),
            "sink_slots": 2,
            "weight_depth": self.random(0, loops),
            "param_depth": self.random(0, loops),
        }
        return Tiling(**(options | fixed))  # type: ignore[arg-type]

    def window(self, *, pad: bool, most: int = 3) -> dict[str, Any]:
        """Kernel geometry."""
        taps_r, taps_s = self.random(1, most), self.random(1, most)
        return {
            "taps_r": taps_r,
            "taps_s": taps_s,
            "stride_p": self.random(1, 3),
            "stride_q": self.random(1, 2),
            "dilation_r": self.random(1, 2),
            "dilation_s": self.random(1, 2),
            "pad_p": self.random(0, taps_r - 1) if pad else 0,
            "pad_q": self.random(0, taps_s - 1) if pad else 0,
        }


def _source_size(out: int, stride: int, taps: int, dilation: int, pad: int, cut: int) -> int:
    """Rows such that the last window reaches ``cut`` rows past the end."""
    return max(1, (out - 1) * stride + (taps - 1) * dilation + 1 - pad - cut)


def convolution(case: Case, kind: str) -> None:
    """A dense, grouped or depthwise convolution, with or without bias and residual."""
    groups = {"dense": 1, "grouped": case.random(2, 5), "depthwise": case.random(2, 21)}[kind]
    c, n = (1, 1) if kind == "depthwise" else (case.random(1, 19), case.random(1, 20))
    if kind == "grouped":
        c, n = case.random(1, 4), case.random(1, 3)
    w = case.window(pad=True, most=5 if kind == "depthwise" else 3)
    batch, p, q = case.random(1, 2), case.random(1, 6), case.random(1, 7)
    rows = _source_size(
        p, w["stride_p"], w["taps_r"], w["dilation_r"], w["pad_p"], case.random(0, 1)
    )
    cols = _source_size(
        q, w["stride_q"], w["taps_s"], w["dilation_s"], w["pad_q"], case.random(0, 1)
    )
    index = len(case.layers)
    slack = case.random(0, 1) * 3
    signed = bool(case.random(0, 1))
    low = -128 if signed else 0
    name = f"w{index}"
    case.weights[name] = case.rng.integers(
        low, low + 256, (groups, w["taps_r"], w["taps_s"], c, n)
    ).astype(np.int16)
    bias, scale = case.vector(groups * n)
    biased, joined = bool(case.random(0, 1)), bool(case.random(0, 1))
    program = MicroProgram((), (REQUANTISE_BIASED if biased else REQUANTISE,), ())
    if joined:
        program = residual(Operand.P1 if biased else Operand.P0)
    x_signed = bool(case.random(0, 1))
    layer = Layer(
        name=f"layer{index}", kind="array", einsums=(f'{kind} "*/ \\',), batch=batch,
        groups=groups, p=p, q=q, n=n, c=c,
        source=case.view((batch, rows, cols, groups * c), "input", slack),
        output=case.view((batch, p, q, groups * n), "output", case.random(0, 1) * 2),
        micro=program,
        source_zero=case.random(-128, 127) if x_signed else case.random(0, 255),
        source_signed=x_signed,
        stationary=Stationary(name, case.zeros(groups * n, signed), signed),
        params=(bias, scale) if biased else (scale,), bias=biased,
        second=case.view((batch, p, q, groups * n), "input", 1) if joined else None,
        second_zero=case.random(-9, 9),
        **w,
    )  # fmt: skip
    fir = kind == "depthwise" and case.random(0, 2) > 0
    fixed: dict[str, object] = {"ports": case.random(1, 3)}
    if fir:
        swap = bool(case.random(0, 1))
        dilation = w["dilation_r"] if swap else w["dilation_s"]
        taps = w["taps_r"] if swap else w["taps_s"]
        most = min(taps, 8 // int(str(fixed["ports"])))  # rows of the smallest array
        fixed |= {"feed": "fir", "fir_taps": case.random(1, most) if dilation == 1 else 1}
        fixed |= {"swap": swap}
    dims: str = "bgpq" if groups > 1 else "bpqnk"
    if layer.output.shape[3] != layer.output.x_bytes:
        fixed["sink"] = "stream"  # the test bench knows what the bytes beside the slice hold
    tiling = case.tiling(layer, dims, **fixed)
    if groups > 1 and not fir:
        tile_g = tiling.tile.get("g", groups)
        tiling = replace(tiling, group_pack=case.random(1, max(1, min(tile_g, 8 // n))))
    case.add(layer, tiling)


def matmul(case: Case) -> None:
    """A product of two activations."""
    batch, m, n, k = case.random(1, 3), case.random(1, 6), case.random(1, 19), case.random(1, 21)
    transposed = bool(case.random(0, 1))
    index = len(case.layers)
    _, scale = case.vector(n)
    other = case.view((batch, 1, n, k) if transposed else (batch, k, 1, n), "input")
    layer = Layer(
        name=f"layer{index}", kind="array", einsums=("matmul",), batch=batch, groups=1, p=1, q=m,
        n=n, c=k, source=case.view((batch, 1, m, k), "input"),
        output=case.view((batch, 1, m, n), "output"),
        micro=MicroProgram((), (REQUANTISE,), ()), source_zero=7,
        stationary=Stationary("", (case.random(-20, 20),), True, other, transposed),
        params=(scale,),
    )  # fmt: skip
    case.add(layer, case.tiling(layer, "bqnk"))


def pooling(case: Case, kind: str) -> None:
    """A window reduction on the vector unit."""
    w = case.window(pad=True)
    batch, p, q, n = case.random(1, 2), case.random(1, 6), case.random(1, 5), case.random(1, 20)
    rows = _source_size(p, w["stride_p"], w["taps_r"], w["dilation_r"], w["pad_p"], 0)
    cols = _source_size(q, w["stride_q"], w["taps_s"], w["dilation_s"], w["pad_q"], 0)
    words = kind == "counted"
    second = None
    if words:
        view = case.view((1, p, q, 8), "input")
        counts = case.rng.integers(1, 9, (p, q)).astype(np.float32)
        pairs = np.stack([1 / counts, -counts], axis=-1).astype("<f4")
        case.memory[view.tensor] = np.frombuffer(pairs.tobytes(), dtype=np.uint8).copy()
        second = replace(view, b_bytes=0)
    layer = Layer(
        name=f"layer{len(case.layers)}", kind="vector", einsums=(kind,), batch=batch, groups=1,
        p=p, q=q, n=n, source=case.view((batch, rows, cols, n), "input"),
        output=case.view((batch, p, q, n), "output"),
        micro={"max": MAX_POOL, "average": AVERAGE_POOL, "counted": COUNTED_POOL}[kind],
        source_zero=0 if kind == "max" else case.random(-128, 127),
        pad_value=-(2**31) if kind == "max" else case.random(-1, 1) * 4,
        second=second, second_words=words, second_use=4, **w,
    )  # fmt: skip
    case.add(layer, case.tiling(layer, "bpqn"))


def elementwise(case: Case) -> None:
    """A sum with an operand that may be broadcast, or a table, on bytes in a row."""
    size = case.random(1, 100)
    table = bool(case.random(0, 1))
    splat = bool(case.random(0, 1))
    source = case.tensor((size,), "input")
    output = case.tensor((size,), "output")
    other = case.tensor((1 if splat else size,), "input")
    micro = residual(Operand.ONE)
    if table:
        codes = case.rng.integers(0, 256, 256, dtype=np.uint8).tobytes()
        micro = MicroProgram((), (MicroOp(Op.LOOKUP, Operand.S0, sink=True),), (), (), codes)

    def row(tensor: str, step: int = 1) -> View:
        return View(tensor, (1, 1, size, 1), 0, 0, step)

    layer = Layer(
        name=f"layer{len(case.layers)}", kind="vector", einsums=("elementwise",), batch=1,
        groups=1, p=1, q=size, n=1, source=row(source), output=row(output), micro=micro,
        second=None if table else row(other, 0 if splat else 1), flat=True,
        source_zero=0 if table else 4,
    )  # fmt: skip
    case.add(layer, case.tiling(layer, "q"))


def broadcast(case: Case) -> None:
    """A sum with an operand that is the same in every row, column or channel."""
    batch, p, q, n = case.random(1, 2), case.random(1, 4), case.random(1, 5), case.random(1, 20)
    other = case.view((batch, p, q, n), "input")
    choices: dict[str, dict[str, Any]] = {
        "b": {"b_bytes": 0}, "y": {"y_bytes": 0}, "x": {"x_bytes": 0}, "c": {"splat": True},
    }  # fmt: skip
    options = choices[str(case.choose("b", "y", "x", "c"))]
    layer = Layer(
        name=f"layer{len(case.layers)}", kind="vector", einsums=("sum",), batch=batch, groups=1,
        p=p, q=q, n=n, source=case.view((batch, p, q, n), "input"),
        output=case.view((batch, p, q, n), "output"), micro=residual(Operand.ONE),
        second=replace(other, **options), second_signed=False,
    )  # fmt: skip
    case.add(layer, case.tiling(layer, "bpqn"))


def random_case(seed: int, rounds: int = 1) -> Case:
    """Layers of every kind."""
    case = Case(np.random.default_rng(seed))
    for _ in range(rounds):
        for kind in ("dense", "dense", "grouped", "depthwise", "depthwise"):
            convolution(case, kind)
        matmul(case)
        for kind in ("max", "average", "counted"):
            pooling(case, kind)
        elementwise(case)
        broadcast(case)
    return case


def dims(text: str) -> tuple[Dim, ...]:
    """``"pq"`` as dims."""
    return tuple(text)  # type: ignore[arg-type]
