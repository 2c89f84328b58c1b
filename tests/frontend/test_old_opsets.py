"""Models older than opset 11: read as the forms of that opset, or refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from dataflow.frontend import load_model, load_proto
from tests.frontend import models

Array = np.ndarray

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 9


def model(
    op: str,
    opset: int,
    constants: dict[str, Array] | None = None,
    outputs: int = 1,
    **attributes: Any,
) -> onnx.ModelProto:
    """One node on ``x`` (2, 3, 4) and the constants."""
    constants = constants or {}
    names = [f"y{k}" for k in range(outputs)]
    node = helper.make_node(op, ["x", *constants], names, name="n", **attributes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)
    # Files of that time list their constants among the inputs too.
    listed = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(d.dtype), d.shape)
        for n, d in constants.items()
    ]
    second = TensorProto.INT64 if op == "TopK" else TensorProto.FLOAT
    ports = [
        helper.make_tensor_value_info(n, kind, None)
        for n, kind in zip(names, (TensorProto.FLOAT, second), strict=False)
    ]
    tensors = [numpy_helper.from_array(d, n) for n, d in constants.items()]
    graph = helper.make_graph([node], "g", [x, *listed], ports, tensors)
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=3)


def result(given: onnx.ModelProto) -> Array:
    """The first output for X."""
    return evaluate(load_model(given), {"x": X})["y0"]


def test_broadcasting_by_axis() -> None:
    row = np.array([10, 20, 30], np.float32)
    given = model("Add", 6, {"b": row}, broadcast=1, axis=1)
    np.testing.assert_array_equal(result(given), X + row[:, None])
    last = np.array([1, 2, 3, 4], np.float32)
    given = model("Mul", 6, {"b": last}, broadcast=1)
    np.testing.assert_array_equal(result(given), X * last)
    pair = np.arange(6, dtype=np.float32).reshape(2, 3)
    given = model("Sub", 6, {"b": pair}, broadcast=1, axis=0)
    np.testing.assert_array_equal(result(given), X - pair[:, :, None])


def test_broadcasting_beyond_the_first_operand_is_refused() -> None:
    given = model("Add", 6, {"b": np.ones((3, 4), np.float32)}, broadcast=1, axis=2)
    with pytest.raises(DataflowError, match="broadcasts a 2-D tensor from axis 2 of 3-D"):
        load_model(given)


def test_slopes_by_channel() -> None:
    slope = np.array([0.5, 2, 4], np.float32)
    wanted = np.where(X < 0, X * slope[:, None], X)
    np.testing.assert_array_equal(result(model("PRelu", 6, {"s": slope})), wanted)


def test_attributes_that_became_inputs() -> None:
    padded = model("Pad", 2 + 4, pads=[0, 1, 0, 0, 0, 2], value=7.0)
    wanted = np.pad(X, [(0, 0), (1, 0), (0, 2)], constant_values=7)
    np.testing.assert_array_equal(result(padded), wanted)
    sliced = model("Slice", 9, starts=[1, -3], ends=[9, -1], axes=[1, 2])
    np.testing.assert_array_equal(result(sliced), X[:, 1:9, -3:-1])
    plain = model("Slice", 9, starts=[1, 0, 2], ends=[2, 1, 3])
    np.testing.assert_array_equal(result(plain), X[1:2, 0:1, 2:3])
    largest = model("TopK", 9, outputs=2, k=2, axis=1)
    np.testing.assert_array_equal(result(largest), -np.sort(-X, axis=1)[:, :2])


@pytest.mark.parametrize("version", [7, 9])
def test_upsample_repeats(version: int) -> None:
    scales = np.array([1, 2, 3], np.float32)
    if version == 7:
        given = model("Upsample", 7, scales=scales.tolist())
    else:
        given = model("Upsample", 9, {"s": scales})
    np.testing.assert_array_equal(result(given), X.repeat(2, 1).repeat(3, 2))


def test_batch_normalisation_of_inference() -> None:
    ones = dict.fromkeys("abcd", np.ones(3, np.float32))
    given = model("BatchNormalization", 6, ones, epsilon=0.0, is_test=1, spatial=1)
    np.testing.assert_array_equal(result(given), X)
    given = model("BatchNormalization", 6, ones, spatial=0)
    with pytest.raises(DataflowError, match="normalises every position apart"):
        load_model(given)


def test_softmax_keeps_the_meaning_of_its_opset() -> None:
    flat = np.exp(X.reshape(2, 12) - X.reshape(2, 12).max(1, keepdims=True))
    wanted = (flat / flat.sum(1, keepdims=True)).reshape(X.shape)
    np.testing.assert_allclose(result(model("Softmax", 9, axis=1)), wanted, rtol=1e-5)


def test_forms_that_are_not_read_are_refused_by_name() -> None:
    given = model("Reshape", 1, shape=[2, 12])
    with pytest.raises(DataflowError, match="Reshape 'n': has its form of opset 1"):
        load_model(given)
    assert load_model(model("Relu", 6)).einsums


def test_models_without_operators_of_the_standard_are_read() -> None:
    given = model("Binarizer", 1, domain="ai.onnx.ml", threshold=0.5)
    given.opset_import[0].domain = "ai.onnx.ml"
    np.testing.assert_array_equal(result(given), (X > 0.5).astype(np.float32))
    with pytest.raises(DataflowError, match="not valid ONNX"):
        load_model(model("Relu", 0))


OLD: dict[str, tuple[Any, ...]] = {
    "Pad": ("Pad", 10, {}, 1, {"pads": [0, 1, 0, 0, 0, 2], "value": 7.0}),
    "Slice": ("Slice", 9, {}, 1, {"starts": [1, -3], "ends": [9, -1], "axes": [1, 2]}),
    "TopK": ("TopK", 9, {}, 2, {"k": 2, "axis": 1}),
    "Upsample 7": ("Upsample", 7, {}, 1, {"scales": [1.0, 2.0, 3.0]}),
    "Upsample": ("Upsample", 9, {"s": np.array([1, 2, 3], np.float32)}, 1, {}),
    "Resize": ("Resize", 10, {"s": np.array([1, 2, 2], np.float32)}, 1, {"mode": "nearest"}),
    "Clip": ("Clip", 10, {}, 1, {"min": -2.0, "max": 3.0}),
    "Clip above": ("Clip", 7, {}, 1, {"max": 3.0}),
    "Squeeze": ("Unsqueeze", 9, {}, 1, {"axes": [0, 2]}),
    "ReduceSum": ("ReduceSum", 8, {}, 1, {"axes": [1], "keepdims": 0}),
    "Split": ("Split", 9, {}, 2, {"axis": 2, "split": [1, 3]}),
    "Softmax": ("Softmax", 9, {}, 1, {"axis": 1}),
    "Softmax of one": ("Softmax", 9, {}, 1, {"axis": 2}),
    "LogSoftmax": ("LogSoftmax", 9, {}, 1, {}),
    "Dropout": ("Dropout", 9, {}, 1, {"ratio": 0.3}),
    "ReduceMean": ("ReduceMean", 9, {}, 1, {"axes": [2]}),
}


@pytest.mark.parametrize("case", OLD)
def test_what_is_read_of_an_old_opset_is_valid_and_means_the_same(case: str) -> None:
    op, opset, constants, outputs, attributes = OLD[case]
    given = model(op, opset, constants, outputs, **attributes)
    if op == "TopK":
        given.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    wanted = models.run(given, {"x": X})
    read = load_proto(given)
    for port in read.graph.output:
        port.type.tensor_type.shape.SetInParent()
    onnx.checker.check_model(read)
    for found in (models.run(read, {"x": X}), evaluate(load_model(read), {"x": X})):
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)


def test_bodies_of_old_models_are_rewritten_too() -> None:
    def branch(start: int) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(f"o{start}", TensorProto.FLOAT, None)
        attributes: dict[str, Any] = {"starts": [start], "ends": [start + 1], "axes": [1]}
        cut = helper.make_node("Slice", ["x"], [f"o{start}"], **attributes)
        return helper.make_graph([cut], f"b{start}", [], [out])

    node = helper.make_node("If", ["c"], ["y"], then_branch=branch(0), else_branch=branch(2))
    ports = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
    ]
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", ports, [made])
    imports = [helper.make_opsetid("", 9)]
    given = helper.make_model(graph, opset_imports=imports, ir_version=4)
    found = evaluate(load_model(given), {"x": X, "c": np.array(False)})
    np.testing.assert_array_equal(found["y"], X[:, 2:3])
