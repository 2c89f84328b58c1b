"""Builds QDQ networks node by node: dequantised operands, float operators, quantised results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Array = np.ndarray
OPSET, IR_VERSION = 21, 10
S8, U8 = np.dtype(np.int8), np.dtype(np.uint8)


class QdqNet:
    """A network in the making; names of values are strings, all draws come from ``rng``."""

    def __init__(self, seed: int = 0, opset: int = OPSET) -> None:
        self.rng = np.random.default_rng(seed)
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[str] = []
        self.domains: set[str] = set()
        self._names = 0

    def name(self, stem: str) -> str:
        """A new name."""
        self._names += 1
        return f"{stem}_{self._names}"

    def constant(self, data: Any, stem: str = "c") -> str:
        """A new initialiser."""
        name = self.name(stem)
        self.constants.append(numpy_helper.from_array(np.asarray(data), name))
        return name

    def input(self, shape: Sequence[int], dtype: Any = np.float32) -> str:
        """A network input."""
        name = self.name("x")
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node of one output."""
        return self.ops(kind, *inputs, domain=domain, outputs=1, **attributes)[0]

    def ops(
        self, kind: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any
    ) -> list[str]:
        """A node of several outputs."""
        made = [self.name(kind.lower()) for _ in range(outputs)]
        if domain:
            self.domains.add(domain)
        self.nodes.append(
            helper.make_node(
                kind, list(inputs), made, name=f"{made[0]}_node", domain=domain, **attributes
            )
        )
        return made

    def quantised(self, x: str, scale: float, zero: int = 0, dtype: Any = S8) -> str:
        """QuantizeLinear."""
        return self.op("QuantizeLinear", x, *self._params(scale, zero, dtype))

    def dequantised(self, x: str, scale: float, zero: int = 0, dtype: Any = S8) -> str:
        """DequantizeLinear."""
        return self.op("DequantizeLinear", x, *self._params(scale, zero, dtype))

    def through(self, x: str, scale: float, zero: int = 0, dtype: Any = S8) -> str:
        """QuantizeLinear and DequantizeLinear."""
        return self.dequantised(self.quantised(x, scale, zero, dtype), scale, zero, dtype)

    def weights(
        self,
        shape: Sequence[int],
        axis: int | None = None,
        zero: int = 0,
        dtype: Any = S8,
        scale: float = 0.01,
    ) -> str:
        """Dequantised random weights; one scale, or one for each coordinate of ``axis``."""
        info = np.iinfo(dtype)
        data = self.rng.integers(info.min, info.max + 1, tuple(shape)).astype(dtype)
        codes = self.constant(data, "w")
        if axis is None:
            return self.op("DequantizeLinear", codes, *self._params(scale, zero, dtype))
        scales = (scale * self.rng.uniform(0.4, 1.6, shape[axis])).astype(np.float32)
        zeros = np.full(shape[axis], zero, dtype)
        names = [self.constant(scales, "scale"), self.constant(zeros, "zero")]
        return self.op("DequantizeLinear", codes, *names, axis=axis)

    def floats(self, *shape: int, low: float = -1.0, high: float = 1.0) -> str:
        """A random float32 constant."""
        return self.constant(self.rng.uniform(low, high, shape).astype(np.float32))

    def finish(self, *outputs: str) -> onnx.ModelProto:
        """The model, with float outputs."""
        ends = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in outputs]
        graph = helper.make_graph(self.nodes, "net", self.inputs, ends, self.constants)
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(d, 1) for d in sorted(self.domains)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)

    def _params(self, scale: float, zero: int, dtype: Any) -> list[str]:
        return [
            self.constant(np.float32(scale), "scale"),
            self.constant(np.asarray(zero).astype(dtype), "zero"),
        ]
