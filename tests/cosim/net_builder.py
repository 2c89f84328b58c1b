"""Builds quantised ONNX networks operator by operator, with scales that spread the codes.

A value carries sample codes along. Each operator computes its exact real result from them and
takes an output scale and zero point that use the range of the type, so that the networks neither
saturate nor die out, whatever the draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]

OPSET, IR_VERSION = 20, 10
MICROSOFT = "com.microsoft"
STANDARD = frozenset({"QLinearConv", "QLinearMatMul", "QuantizeLinear", "DequantizeLinear"})
S8, U8 = np.dtype(np.int8), np.dtype(np.uint8)
CODES = (S8, U8)


@dataclass(frozen=True)
class Value:
    """An 8-bit tensor of the network.

    Attributes:
        codes: sample codes, int64.
        scale, zero: real number = (code - zero) * scale.
    """

    name: str
    dtype: np.dtype[Any]
    codes: Array
    scale: np.float32
    zero: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.codes.shape

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return self.codes.ndim

    @property
    def steps(self) -> Array:
        """code - zero, exact, as float64."""
        return (self.codes - self.zero).astype(np.float64)

    @property
    def real(self) -> Array:
        """The numbers that the sample codes stand for, float64."""
        return self.steps * float(self.scale)


@dataclass(frozen=True)
class Weight:
    """Constant 8-bit operand with one scale and zero point, or one for each output channel."""

    codes: Array
    dtype: np.dtype[Any]
    scale: Array
    zero: Array

    def steps(self, axis: int) -> Array:
        """code - zero as float64; per-channel zero points lie along ``axis``."""
        if self.zero.ndim == 0:
            return (self.codes - self.zero).astype(np.float64)
        shape = [1] * self.codes.ndim
        shape[axis] = -1
        return (self.codes - self.zero.reshape(shape)).astype(np.float64)


class NetBuilder:
    """A network in the making; all draws come from ``rng``."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.values: list[Value] = []
        self.used: set[str] = set()
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._names = 0

    # ------------------------------------------------------------------------------------- draws

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def pick(self, items: Sequence[Any]) -> Any:
        """One of the items."""
        return items[int(self.rng.integers(len(items)))]

    def between(self, low: int, high: int) -> int:
        """An integer of low..high, both included; low when the range is empty."""
        return int(self.rng.integers(low, max(low, high) + 1))

    def dtype(self) -> np.dtype[Any]:
        """int8 or uint8."""
        return S8 if self.chance(0.5) else U8

    # -------------------------------------------------------------------------------------- graph

    def name(self, stem: str) -> str:
        """A new name."""
        self._names += 1
        return f"{stem}_{self._names}"

    def constant(self, data: Array | np.generic, stem: str) -> str:
        """A new initialiser."""
        name = self.name(stem)
        self.constants[name] = np.asarray(data)
        return name

    def params(self, scale: Any, zero: Any, dtype: np.dtype[Any]) -> list[str]:
        """Initialisers of a scale and a zero point."""
        return [
            self.constant(np.asarray(scale, np.float32), "scale"),
            self.constant(np.asarray(zero).astype(dtype), "zero"),
        ]

    def operand(self, value: Value) -> list[str]:
        """Name, scale and zero point of an operand of a QLinear operator."""
        self.used.add(value.name)
        return [value.name, *self.params(value.scale, value.zero, value.dtype)]

    def node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Appends a node of one output and returns that output's name."""
        output = self.name(op.removeprefix("QLinear").lower())
        ours = op == "QGemm" or (op.startswith("QLinear") and op not in STANDARD)
        self.nodes.append(
            helper.make_node(
                op,
                list(inputs),
                [output],
                name=f"{output}_node",
                domain=MICROSOFT if ours else "",
                **attributes,
            )
        )
        return output

    def value(self, name: str, dtype: np.dtype[Any], codes: Array, scale: Any, zero: int) -> Value:
        """Registers an 8-bit tensor of the network."""
        made = Value(name, dtype, codes.astype(np.int64), np.float32(scale), int(zero))
        self.values.append(made)
        return made

    def result(self, name: str, real: Array, dtype: np.dtype[Any], scale: Any, zero: int) -> Value:
        """Registers the result of an operator from its real numbers."""
        info = np.iinfo(dtype)
        codes = np.clip(np.rint(real / float(scale)) + zero, info.min, info.max)
        return self.value(name, dtype, codes, scale, zero)

    def input(self, shape: Sequence[int], dtype: np.dtype[Any] | None = None) -> Value:
        """A graph input of uniform codes, or a float one that the host quantises."""
        dtype = dtype or self.dtype()
        info = np.iinfo(dtype)
        codes = self.rng.integers(info.min, info.max + 1, tuple(shape))
        scale, zero = self.scale(), self.zero(dtype)
        name = self.name("input")
        if self.chance(0.65):
            self.inputs.append(_info(name, dtype, shape))
            return self.value(name, dtype, codes, scale, zero)
        self.inputs.append(_info(name, np.dtype(np.float32), shape))
        quantised = self.node("QuantizeLinear", [name, *self.params(scale, zero, dtype)])
        return self.value(quantised, dtype, codes, scale, zero)

    def finish(self) -> onnx.ModelProto:
        """The model: what nothing reads leaves the network, sometimes inner values too."""
        leaves = [v for v in self.values if v.name not in self.used]
        made = {node.output[0] for node in self.nodes}
        inner = [v for v in self.values if v.name in self.used and v.name in made]
        inner = [v for v in inner if not self._quantises_input(v)]
        if inner and self.chance(0.35):
            leaves.append(self.pick(inner))
        for value in leaves:
            self._output(value)
        graph = helper.make_graph(
            self.nodes,
            "random_network",
            self.inputs,
            self.outputs,
            [numpy_helper.from_array(v, n) for n, v in self.constants.items()],
            value_info=[_info(v.name, v.dtype, v.shape) for v in self.values if v.name in made],
        )
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model

    def _quantises_input(self, value: Value) -> bool:
        entries = {entry.name for entry in self.inputs}
        return any(
            node.op_type == "QuantizeLinear"
            and node.output[0] == value.name
            and node.input[0] in entries
            for node in self.nodes
        )

    def _output(self, value: Value) -> None:
        made = {node.output[0] for node in self.nodes}
        whole = value.name in made and not self._quantises_input(value)
        if whole and self.chance(0.55):
            self.outputs.append(_info(value.name, value.dtype, value.shape))
            if self.chance(0.85):
                return
        name = self.node("DequantizeLinear", self.operand(value))
        self.outputs.append(_info(name, np.dtype(np.float32), value.shape))

    # ------------------------------------------------------------------------------- quantisation

    def scale(self) -> np.float32:
        """An ordinary scale, or a power of two (which makes ties)."""
        if self.chance(0.3):
            return np.float32(2.0 ** self.between(-7, -1))
        return np.float32(self.rng.uniform(0.004, 0.2))

    def zero(self, dtype: np.dtype[Any]) -> int:
        """Any zero point; the extremes, the middle and odd ones are likely."""
        info = np.iinfo(dtype)
        middle = 0 if dtype == S8 else 128
        return int(self.pick([info.min, info.max, middle, self.between(info.min, info.max) | 1]))

    def fit(self, real: Array, dtype: np.dtype[Any]) -> tuple[np.float32, int]:
        """Scale and zero point that spread ``real`` over the codes.

        Mostly the whole range; sometimes one side only, with the zero point at an end of the type
        (what a quantiser makes of a ReLU), or a power of two as scale.
        """
        info = np.iinfo(dtype)
        low = min(0.0, float(np.quantile(real, 0.005)))
        high = max(0.0, float(np.quantile(real, 0.995)))
        above, below = float((real > 0).mean()), float((real < 0).mean())
        form = self.rng.random()
        if form < 0.25 and max(above, below) > 0.3:
            span, zero = (high, info.min) if above >= below else (-low, info.max)
        else:
            span = high - low
            zero = round(info.min - low / max(span, 1e-30) * 255)
            zero = int(np.clip(zero + self.between(-6, 6), info.min, info.max))
        scale = span / 255 * self.rng.uniform(0.75, 1.05)
        if not scale > 1e-12:
            return np.float32(0.05), zero
        if self.chance(0.2):
            scale = 2.0 ** np.ceil(np.log2(scale) - 0.4)
        return np.float32(scale), zero

    def weight(
        self,
        shape: Sequence[int],
        beside: np.dtype[Any],
        channels: int | None,
        *,
        centred: bool = False,
    ) -> Weight:
        """Random weights that onnxruntime has kernels for.

        Args:
            shape: of the codes.
            beside: type of the activation; int8 activations take int8 weights only.
            channels: number of scales when they are per channel; None: one.
            centred: zero point in the middle, so that the numbers have mean 0.
        """
        dtype = S8 if beside == S8 else self.dtype()
        info = np.iinfo(dtype)
        middle = 0 if dtype == S8 else 128
        zero = middle if centred else self.pick([middle, middle, self.zero(dtype)])
        if self.chance(0.25):
            codes = self.rng.integers(info.min, info.max + 1, tuple(shape))
        else:
            spread = self.pick([20.0, 45.0, 80.0])
            drawn = np.rint(self.rng.normal(0.0, spread, tuple(shape))) + zero
            codes = np.clip(drawn, info.min, info.max).astype(np.int64)
        if channels is None:
            return Weight(codes, dtype, np.asarray(self.scale()), np.asarray(zero))
        base = float(self.scale())
        scales = (base * self.rng.uniform(0.4, 1.6, channels)).astype(np.float32)
        return Weight(codes, dtype, scales, np.full(channels, zero))


def _info(name: str, dtype: np.dtype[Any], shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(dtype), [int(s) for s in shape]
    )
