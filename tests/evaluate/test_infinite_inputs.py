"""Infinite and undefined numbers are inputs like others."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

import dataflow


def test_an_additive_mask_of_minus_infinity() -> None:
    nodes = [
        helper.make_node("Add", ["x", "mask"], ["s"]),
        helper.make_node("Softmax", ["s"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in ("x", "mask")]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])]
    graph = helper.make_graph(nodes, "masked", inputs, outputs)
    opsets = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    mask = np.array([[0, -np.inf, 0, -np.inf]], dtype=np.float32)
    y = dataflow.evaluate(model, {"x": np.zeros((1, 4), np.float32), "mask": mask})["y"]
    assert np.array_equal(y, [[0.5, 0, 0.5, 0]])
