"""The models that are mutated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.conformance.sets import Case, node_cases

FEW = 64
"""Most elements of an integer input that becomes a constant: it may be a shape or an axis."""


def models(folders: Sequence[Path] = ()) -> list[bytes]:
    """Conformance tests, small quantised networks, and the ``.onnx`` files of some folders."""
    found = [_bound(c).SerializeToString() for c in node_cases()]
    stored = [p.read_bytes() for f in folders for p in sorted(f.glob("*.onnx"))]
    # Networks count half as much as the many models of one operator.
    whole = [quantised().SerializeToString(), *stored]
    return found + whole * (len(found) // (2 * len(whole)))


def _bound(case: Case) -> onnx.ModelProto:
    """The model with what may be a parameter as a constant, so that its import goes further."""
    names = [p.name for p in case.model.graph.input]
    values = dict(zip(names, case.data[0][0], strict=False)) if case.data else {}
    chosen = {
        n: np.asarray(v)
        for n, v in list(values.items())[1:]
        if v is not None and np.asarray(v).dtype.kind in "iub" and np.asarray(v).size <= FEW
    }
    copy = onnx.ModelProto()
    copy.CopyFrom(case.model)
    ports = [p for p in copy.graph.input if p.name not in chosen]
    del copy.graph.input[:]
    copy.graph.input.extend(ports)
    copy.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in chosen.items())
    return copy


def quantised() -> onnx.ModelProto:
    """A small integer network between QuantizeLinear and DequantizeLinear."""
    constants = {
        "s": np.float32(0.1),
        "z": np.int8(1),
        "w": np.arange(-9, 9, dtype=np.int8).reshape(2, 1, 3, 3),
        "ws": np.array([0.1, 0.2], np.float32),
        "wz": np.zeros(2, np.int8),
        "b": np.array([5, -7], np.int32),
        "t": np.array([1, -1], np.int64),
        "m": np.ones((8, 3), np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "ws", "wz", "s", "z", "b"], ["c"]),
        helper.make_node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["p", "t"], ["r"]),
        helper.make_node("QLinearMatMul", ["r", "s", "z", "m", "s", "z", "s", "z"], ["k"]),
        helper.make_node(
            "QLinearAdd", ["k", "s", "z", "k", "s", "z", "s", "z"], ["a"], domain="com.microsoft"
        ),
        helper.make_node("DequantizeLinear", ["a", "s", "z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "quantised",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)
