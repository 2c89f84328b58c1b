"""A few hundred bytes that ask for gigabytes, for hours or for more dimensions than NumPy has."""

from __future__ import annotations

import resource
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dataflow.arch import load_architecture
from dataflow.decide import decide
from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from dataflow.frontend import load_model, load_proto
from dataflow.machine import machine_of
from dataflow.quantise import quantize_report
from tests.frontend import models

X = np.ones((1, 3), np.float32)
EDGE16 = machine_of(load_architecture("edge16"))


def _repeated(rows: int) -> onnx.ModelProto:
    """x tiled to ``rows`` rows, squared, summed up."""
    nodes = [
        models.node("Tile", ["x", "r"], ["t"]),
        models.node("Mul", ["t", "t"], ["s"]),
        models.node("ReduceSum", ["s"], ["y"], keepdims=0),
    ]
    constants = {"r": np.array([rows, 1], np.int64)}
    return models.model(nodes, {"x": (X.shape, np.float32)}, {"y": np.float32}, constants)


def _body(body: list[Any], extra: str = "") -> Any:
    port = helper.make_tensor_value_info
    return helper.make_graph(
        [helper.make_node("Identity", ["go" + extra], ["on" + extra]), *body],
        "body" + extra,
        [
            port("i" + extra, TensorProto.INT64, []),
            port("go" + extra, TensorProto.BOOL, []),
            port("v" + extra, TensorProto.FLOAT, [1, 3]),
        ],
        [port("on" + extra, TensorProto.BOOL, []), port("w" + extra, TensorProto.FLOAT, [1, 3])],
    )


def _nested(count: int) -> onnx.ModelProto:
    inner = _body([helper.make_node("Add", ["v2", "v2"], ["w2"])], "2")
    again = helper.make_node("Loop", ["n", "", "v1"], ["w1"], body=inner)
    outer = _body([again], "1")
    node = helper.make_node("Loop", ["n", "", "x"], ["y"], body=outer)
    constants = {"n": np.array(count, np.int64)}
    return models.model([node], {"x": (X.shape, np.float32)}, {"y": np.float32}, constants)


def _endless() -> onnx.ModelProto:
    body = _body([helper.make_node("Add", ["v", "v"], ["w"])])
    node = helper.make_node("Loop", ["", "yes", "x"], ["y"], body=body)
    constants = {"yes": np.array(True)}
    return models.model([node], {"x": (X.shape, np.float32)}, {"y": np.float32}, constants)


def _wide(op: str) -> onnx.ModelProto:
    shape = np.ones(40, np.int64)
    if op == "Expand":
        nodes = [models.node("Expand", ["x", "s"], ["y"])]
    else:
        nodes = [
            models.node("ConstantOfShape", ["s"], ["c"]),
            models.node("Add", ["x", "c"], ["y"]),
        ]
    return models.model(nodes, {"x": (X.shape, np.float32)}, {"y": np.float32}, {"s": shape})


CASES = {
    "memory": (_repeated(200_000_000), "bytes of intermediate results at once"),
    "one tensor": (_repeated(2_000_000_000), "which is 24000000000 bytes of float32"),
    "nested loops": (_nested(1000), "is evaluated in loops of 1000 x 1000 steps"),
    "an endless loop": (_endless(), "holds for more than 1024 steps"),
    "Expand": (_wide("Expand"), "dimensions"),
    "ConstantOfShape": (_wide("ConstantOfShape"), "its result has 40 dimensions"),
}


@pytest.mark.parametrize("command", ["evaluate", "quantize"])
@pytest.mark.parametrize("case", CASES)
def test_small_models_that_ask_for_much(case: str, command: str, tmp_path: Any) -> None:
    proto, message = CASES[case]
    assert proto.ByteSize() < 1000

    def run() -> object:
        if command == "evaluate":
            return evaluate(load_model(proto), {"x": X})
        return quantize_report(proto, {"x": X}, tmp_path / "q.onnx")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataflowError, match=message):
        run()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


def test_loops_within_the_bound_run() -> None:
    found = evaluate(load_model(_nested(3)), {"x": X})
    np.testing.assert_array_equal(found["y"], X * 2**9)


def test_an_attribute_of_a_function_outside_of_one() -> None:
    node = models.node("ArgMax", ["x"], ["y"], axis=1)
    node.attribute[0].ClearField("i")
    node.attribute[0].ref_attr_name = "k"
    proto = models.model([node], {"x": (X.shape, np.float32)}, {"y": np.int64}, {})
    with pytest.raises(DataflowError, match=r"ArgMax 'y': takes the attribute 'k'|not valid ONNX"):
        load_model(proto)


@pytest.mark.parametrize("code", [0, 256, 2**31 - 1])
def test_element_types_that_do_not_exist(code: int, tmp_path: Any) -> None:
    proto = models.model(
        [models.node("Relu", ["x"], ["y"])], {"x": (X.shape, np.float32)}, {"y": np.float32}, {}
    )
    proto.graph.input[0].type.tensor_type.elem_type = code
    for call in (
        lambda: load_model(proto),
        lambda: quantize_report(proto, {"x": X}, tmp_path / "q.onnx"),
    ):
        with pytest.raises(DataflowError, match=r"element type|not valid ONNX"):
            call()


def test_a_size_of_minus_one_is_any_size() -> None:
    proto = models.model(
        [models.node("Relu", ["x"], ["y"])], {"x": ((1, 3), np.float32)}, {"y": np.float32}, {}
    )
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    with pytest.raises(DataflowError, match=r"dynamic dimensions: 'x\.0'; give .* --dim x\.0=1"):
        load_model(proto)
    found = evaluate(load_model(proto, {"x.0": 2}), {"x": np.ones((2, 3), np.float32)})
    assert found["y"].shape == (2, 3)


def test_nodes_out_of_order_are_put_in_order() -> None:
    nodes = [models.node("Neg", ["a"], ["y"]), models.node("Relu", ["x"], ["a"])]
    proto = models.model(nodes, {"x": (X.shape, np.float32)}, {"y": np.float32}, {})
    np.testing.assert_array_equal(evaluate(load_model(proto), {"x": X})["y"], -X)
    assert [n.op_type for n in load_proto(proto).graph.node] == ["Relu", "Neg"]
    circle = [models.node("Add", ["x", "y"], ["a"]), models.node("Relu", ["a"], ["y"])]
    proto = models.model(circle, {"x": (X.shape, np.float32)}, {"y": np.float32}, {})
    with pytest.raises(DataflowError, match="not valid ONNX"):
        load_model(proto)


@pytest.mark.parametrize(
    ("dtype", "shape", "message"),
    [
        (TensorProto.FLOAT16, [1, 3], "declared float16, but its operators make float32"),
        (TensorProto.FLOAT, [1, 4], r"declared \[1, 4\], but its operators make \[1, 3\]"),
        (TensorProto.FLOAT, [1, 3, 1], r"declared \[1, 3, 1\], but"),
    ],
)
def test_outputs_are_what_the_model_declares(dtype: int, shape: list[int], message: str) -> None:
    proto = models.model(
        [models.node("Relu", ["x"], ["y"])], {"x": (X.shape, np.float32)}, {"y": np.float32}, {}
    )
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", dtype, shape))
    with pytest.raises(DataflowError, match=f"output 'y': is {message}"):
        load_model(proto)


def test_refused_inputs_and_operators_are_listed_together() -> None:
    nodes = [
        helper.make_node("Mystery", ["t"], ["a"], domain="elsewhere"),
        models.node("Relu", ["x"], ["b"]),
        helper.make_node("Riddle", ["b"], ["y"], domain="elsewhere"),
    ]
    proto = models.model(
        nodes, {"x": (X.shape, np.float32)}, {"y": np.float32, "a": np.float32}, {}
    )
    proto.graph.input.append(helper.make_tensor_value_info("t", TensorProto.STRING, [2]))
    rows = decide(proto, EDGE16).nodes
    assert [(row.name, row.operator) for row in rows] == [
        ("t", "Input"),
        ("a", "elsewhere.Mystery"),
        ("y", "elsewhere.Riddle"),
    ]
    assert all(row.reason and row.fix for row in rows)
