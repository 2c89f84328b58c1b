"""A small writer of quantised ONNX networks with seeded numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]
OPSET, IR_VERSION = 20, 10
MICROSOFT = "com.microsoft"
SPREAD = 74.0
"""Standard deviation of uniform 8-bit codes."""


@dataclass(frozen=True)
class Codes:
    """An 8-bit tensor: real number = (code - zero) * scale."""

    name: str
    shape: tuple[int, ...]
    scale: float
    zero: int
    signed: bool = True

    @property
    def dtype(self) -> type[np.int8 | np.uint8]:
        """Its NumPy type."""
        return np.int8 if self.signed else np.uint8


class Net:
    """A network in the making; every number comes from ``seed``."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def _fresh(self, stem: str) -> str:
        return f"{stem}{len(self.nodes) + len(self.constants) + len(self.inputs)}"

    def constant(self, data: Any, dtype: Any) -> str:
        """A new initialiser."""
        name = self._fresh("k")
        self.constants[name] = np.asarray(data).astype(dtype)
        return name

    def node(self, op: str, inputs: Sequence[str], domain: str = "", **attributes: Any) -> str:
        """Appends a node and returns the name of its output."""
        output = self._fresh("t")
        made = helper.make_node(op, list(inputs), [output], output, domain=domain, **attributes)
        self.nodes.append(made)
        return output

    def input(
        self, shape: Sequence[int], scale: float = 0.05, zero: int = 0, signed: bool = True
    ) -> Codes:
        """A graph input of codes."""
        codes = Codes(self._fresh("x"), tuple(shape), scale, zero, signed)
        self.inputs.append(self._info(codes))
        return codes

    def output(self, codes: Codes) -> None:
        """Makes a tensor an output of the network."""
        self.outputs.append(self._info(codes))

    def _info(self, codes: Codes) -> onnx.ValueInfoProto:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(codes.dtype))
        return helper.make_tensor_value_info(codes.name, kind, codes.shape)

    def operand(self, codes: Codes) -> list[str]:
        """Name, scale and zero point of an operand."""
        return [codes.name, *self.params(codes)]

    def params(self, codes: Codes) -> list[str]:
        """Scale and zero point of a result."""
        scale = self.constant(codes.scale, np.float32)
        return [scale, self.constant(codes.zero, codes.dtype)]

    def dequantised(self, codes: Codes) -> str:
        """The float form of a tensor of codes."""
        return self.node("DequantizeLinear", self.operand(codes))

    def quantised(self, value: str, codes: Codes) -> Codes:
        """The codes of a float tensor, with the parameters of ``codes``."""
        name = self.node("QuantizeLinear", [value, *self.params(codes)])
        return Codes(name, codes.shape, codes.scale, codes.zero, codes.signed)

    def draw(self, shape: Sequence[int], signed: bool = True) -> Array:
        """Uniform 8-bit codes."""
        low = -128 if signed else 0
        return self.rng.integers(low, low + 256, tuple(shape))

    def conv(
        self,
        x: Codes,
        channels: int,
        kernel: Sequence[int],
        *,
        groups: int = 1,
        per_channel: bool = False,
        zeros: bool = False,
        zero: int = 0,
        power_of_two: bool = False,
        bias: int = 0,
        **attributes: Any,
    ) -> Codes:
        """QLinearConv.

        Args:
            per_channel: a scale for each output channel.
            zeros: weights are uint8 with a zero point of their own (x is then unsigned too).
            zero: of the result.
            power_of_two: all scales are powers of two, so that ties occur.
            bias: its spread; 0 for none.
        """
        rank = len(kernel)
        reduction = prod(kernel) * x.shape[1] // groups
        weights = self.draw((channels, x.shape[1] // groups, *kernel), signed=not zeros)
        scales = np.full(channels if per_channel else 1, 1 / 64)
        if per_channel:
            power = self.rng.integers(-2, 2, channels)
            scales = scales * (2.0**power if power_of_two else self.rng.uniform(0.5, 2, channels))
        real = x.scale / 64 * SPREAD * SPREAD * reduction**0.5 / 50
        scale = 2.0 ** round(np.log2(real)) if power_of_two else float(np.float32(real))
        strides = attributes.setdefault("strides", [1] * rank)
        dilations = attributes.setdefault("dilations", [1] * rank)
        pads = attributes.setdefault("pads", [0] * 2 * rank)
        points = [
            (size + pads[i] + pads[rank + i] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1
            for i, size in enumerate(x.shape[2:])
        ]
        y = Codes("", (x.shape[0], channels, *points), scale, zero, x.signed)
        kind = np.uint8 if zeros else np.int8
        inputs = [
            *self.operand(x),
            self.constant(weights, kind),
            self.constant(scales if per_channel else scales[0], np.float32),
            self.constant(self.rng.integers(100, 156) if zeros else 0, kind),
            *self.params(y),
        ]
        if bias:
            inputs.append(self.constant(self.rng.integers(-bias, bias + 1, channels), np.int32))
        name = self.node("QLinearConv", inputs, group=groups, **attributes)
        return Codes(name, y.shape, scale, zero, x.signed)

    def product(self, a: Codes, b: Codes | Array, zero: int = 0, scale: float = 0.0) -> Codes:
        """QLinearMatMul of codes by codes or by constant int8 codes with one scale."""
        if isinstance(b, Codes):
            shape, other = b.shape, self.operand(b)
        else:
            codes = self.constant(b, np.int8)
            shape = b.shape
            other = [codes, self.constant(1 / 64, np.float32), self.constant(0, np.int8)]
        fitted = a.scale / 64 * SPREAD * SPREAD * a.shape[-1] ** 0.5 / 50
        y = Codes("", (*a.shape[:-1], shape[-1]), scale or float(np.float32(fitted)), zero)
        name = self.node("QLinearMatMul", [*self.operand(a), *other, *self.params(y)])
        return Codes(name, y.shape, y.scale, zero)

    def pairwise(self, op: str, a: Codes, b: Codes, scale: float, zero: int = 0) -> Codes:
        """QLinearAdd or QLinearMul."""
        shape = np.broadcast_shapes(a.shape, b.shape)
        y = Codes("", shape, scale, zero, a.signed)
        inputs = [*self.operand(a), *self.operand(b), *self.params(y)]
        return Codes(self.node(op, inputs, MICROSOFT), shape, scale, zero, a.signed)

    def model(self) -> onnx.ModelProto:
        """The finished model."""
        constants = [numpy_helper.from_array(v, n) for n, v in self.constants.items()]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, constants)
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model
