"""What the host makes of accumulators, as ONNX nodes in front of the tail."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dataflow.decide.wide import WEIGHTS, WideOutput
from dataflow.ir.cascade import Cascade, HostOp, Tensor
from dataflow.ir.expr import Access, Call, Const, Expr

OPERATORS = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min"}


def with_accumulators(
    tail: onnx.ModelProto | None,
    wide: Sequence[WideOutput],
    whole: onnx.ModelProto,
    cascade: Cascade,
) -> onnx.ModelProto:
    """The tail with the nodes that make the wide outputs from their digits.

    Args:
        tail: what follows; None when nothing does.
        wide: the outputs that were cut off.
        whole: the model, for versions and the names of what leaves it.
        cascade: the network before it was cut, for constants and shapes.
    """
    work = _Writer(cascade)
    made = [work.output(one) for one in wide]
    leave = {o.name for o in whole.graph.output}
    graph = onnx.GraphProto()
    graph.name = whole.graph.name
    graph.node.extend(work.nodes)
    graph.initializer.extend(work.constants)
    graph.input.extend(work.inputs)
    if tail is not None:
        graph.node.extend(tail.graph.node)
        graph.initializer.extend(tail.graph.initializer)
        graph.input.extend(i for i in tail.graph.input if i.name not in {m.name for m in made})
        graph.output.extend(tail.graph.output)
    graph.output.extend(m for m in made if m.name in leave)
    model = helper.make_model(graph, opset_imports=whole.opset_import, functions=whole.functions)
    model.ir_version = whole.ir_version
    return model


def _port(label: str, tensor: Tensor) -> onnx.ValueInfoProto:
    code = helper.np_dtype_to_tensor_dtype(tensor.dtype.interface)
    port: onnx.ValueInfoProto = helper.make_tensor_value_info(label, code, list(tensor.shape))
    return port


class _Writer:
    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []

    def output(self, wide: WideOutput) -> onnx.ValueInfoProto:
        """Writes the nodes of one output; what leaves them."""
        label = wide.result.label or wide.result.name
        self.prefix, self.count = label, 0
        value = self._accumulator(wide)
        tensor = wide.result
        if wide.einsum is not None:
            variables = wide.einsum.output.variables
            value = self._expr(wide.einsum.expr, value, variables)
        for op in wide.host:
            tensor = self.cascade.tensors[op.output]
            value = self._host(op, value, tensor)
        label = tensor.label or tensor.name
        self.nodes[-1].output[0] = label
        return _port(label, tensor)

    def _accumulator(self, wide: WideOutput) -> str:
        """The int32 accumulators: the digits, weighted and added."""
        total = ""
        for digit, weight in zip(wide.digits, cycle(WEIGHTS), strict=False):
            shape = wide.accumulator.shape
            self.inputs.append(helper.make_tensor_value_info(digit, TensorProto.INT8, shape))
            part = self._node("Cast", [digit], to=TensorProto.INT32)
            if weight > 1:
                part = self._node("Mul", [part, self._constant(np.array(weight, np.int32))])
            total = self._node("Add", [total, part]) if total else part
        return total

    def _expr(self, expr: Expr, accumulator: str, variables: tuple[str, ...]) -> str:
        if isinstance(expr, Const):
            return self._constant(np.array(expr.value, expr.dtype.numpy))
        if isinstance(expr, Access):
            if expr.tensor not in self.cascade.constants:
                return accumulator
            return self._constant(self._aligned(expr, variables))
        assert isinstance(expr, Call)
        read = [self._expr(a, accumulator, variables) for a in expr.args]
        if expr.op == "f32":
            return self._node("Cast", read, to=TensorProto.FLOAT)
        return self._node(OPERATORS[expr.op], read)

    def _aligned(self, access: Access, variables: tuple[str, ...]) -> np.ndarray:
        """A constant with a dimension for each variable of the result, 1 where it lacks one."""
        data = self.cascade.constants[access.tensor]
        names = [i.variable for i in access.indices]
        order = sorted(range(len(names)), key=lambda k: variables.index(names[k] or ""))
        sizes = {name: data.shape[k] for k, name in enumerate(names)}
        return data.transpose(order).reshape([sizes.get(v, 1) for v in variables])

    def _host(self, op: HostOp, value: str, tensor: Tensor) -> str:
        if op.op == "softmax":
            return self._node("Softmax", [value], axis=op.axis)
        assert op.op == "reshape", "codes alone are dequantised on the host"
        return self._node("Reshape", [value, self._constant(np.array(tensor.shape, np.int64))])

    def _constant(self, data: np.ndarray) -> str:
        name = f"{self.prefix} constant {len(self.constants)}"
        self.constants.append(
            numpy_helper.from_array(np.ascontiguousarray(data).reshape(data.shape), name)
        )
        return name

    def _node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{self.prefix} {op} {len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name
