"""What the loader bounds before anything else reads a model."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from dataflow.errors import DataflowError
from dataflow.frontend import load_model
from dataflow.frontend.onnx.graph import MAX_RANK
from dataflow.frontend.onnx.load import MAX_DEPTH


def wrapped(nodes: list[NodeProto], tensors: list[TensorProto] | None = None) -> onnx.ModelProto:
    """The nodes from ``x`` (float32 [2]) and ``c`` (a boolean) to ``y``."""
    ports = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [2]),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
    ]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", ports, [out], tensors or [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def inside(node: NodeProto) -> NodeProto:
    """An If with the node as both of its branches."""
    body = GraphProto(name="b", node=[node], output=[onnx.ValueInfoProto(name=node.output[0])])
    node = helper.make_node("If", ["c"], ["y"])
    for name in ("then_branch", "else_branch"):
        node.attribute.append(helper.make_attribute(name, body))
        body = GraphProto()
        body.CopyFrom(node.attribute[0].g)
    return node


def test_external_data_of_a_constant_inside_a_branch_is_bounded_too(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(8))
    folder = tmp_path / "models"
    folder.mkdir()
    value = TensorProto(name="v", data_type=TensorProto.FLOAT, dims=[2])
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="../secret.bin")
    constant = helper.make_node("Constant", [], ["y"])
    constant.attribute.append(helper.make_attribute("value", value))
    path = folder / "m.onnx"
    path.write_bytes(wrapped([inside(constant)]).SerializeToString())
    with pytest.raises(DataflowError, match="outside the model's folder"):
        load_model(path)


def test_deep_nesting_is_refused() -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    for _ in range(3):
        node = inside(node)
    assert load_model(wrapped([node])).outputs
    body = helper.make_node("Relu", ["x"], ["y"])
    for _ in range(MAX_DEPTH + 1):
        graph = GraphProto(name="b", node=[body], output=[onnx.ValueInfoProto(name="y")])
        body = helper.make_node("If", ["c"], ["y"], then_branch=graph)
    with pytest.raises(DataflowError, match=f"nests graphs {MAX_DEPTH + 1} deep"):
        load_model(wrapped([body]))


def test_many_dimensions_are_refused() -> None:
    data = np.zeros([1] * (MAX_RANK + 1), np.float32)
    relu = helper.make_node("Relu", ["x"], ["y"])
    with pytest.raises(DataflowError, match=f"at most {MAX_RANK}"):
        load_model(wrapped([relu], [numpy_helper.from_array(data, "w")]))
    model = wrapped([relu])
    for _ in range(MAX_RANK):
        model.graph.input[0].type.tensor_type.shape.dim.add().dim_value = 1
    with pytest.raises(DataflowError, match=f"has {MAX_RANK + 1} dimensions"):
        load_model(model)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    for path in (tmp_path / "pipe.onnx", tmp_path, Path("/dev/zero")):
        with pytest.raises(DataflowError, match="is no regular file"):
            load_model(path)
