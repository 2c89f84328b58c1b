"""Nodes are put after what they read, bodies included; nodes in order keep their places."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, checker, helper

from dataflow.frontend.onnx.order import sort_nodes
from tests.frontend import models


def test_a_loop_follows_what_its_body_captures() -> None:
    port = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["still"]),
            helper.make_node("Add", ["state", "late"], ["next"]),
        ],
        "body",
        [
            port("step", TensorProto.INT64, []),
            port("go", TensorProto.BOOL, []),
            port("state", TensorProto.FLOAT, [2]),
        ],
        [port("still", TensorProto.BOOL, []), port("next", TensorProto.FLOAT, [2])],
    )
    nodes = [
        models.node("Relu", ["x"], ["a"]),
        helper.make_node("Loop", ["count", "", "a"], ["y"], body=body),
        models.node("Neg", ["x"], ["late"]),
        models.node("Abs", ["x"], ["z"]),
    ]
    proto = models.model(
        nodes,
        {"x": ((2,), np.float32)},
        {"y": np.float32, "z": np.float32},
        {"count": np.asarray(np.int64(2))},
    )
    sort_nodes(proto.graph)
    assert [n.op_type for n in proto.graph.node] == ["Relu", "Neg", "Loop", "Abs"]
    for output in proto.graph.output:
        output.type.tensor_type.shape.dim.add().dim_value = 2
    checker.check_model(proto)
    before = proto.SerializeToString()
    sort_nodes(proto.graph)
    assert proto.SerializeToString() == before


def test_a_cycle_is_left_alone() -> None:
    nodes = [models.node("Add", ["x", "b"], ["a"]), models.node("Neg", ["a"], ["b"])]
    proto = models.model(nodes, {"x": ((2,), np.float32)}, {"b": np.float32}, {})
    sort_nodes(proto.graph)
    assert [n.op_type for n in proto.graph.node] == ["Add", "Neg"]
