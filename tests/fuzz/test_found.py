"""What the fuzzer found once."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from dataflow.frontend import load_model


def model(
    node: onnx.NodeProto, port: tuple[int, list[int]], constants: dict[str, Any]
) -> onnx.ModelProto:
    """One node from ``x`` and constants to ``y``."""
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", *port)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def survives(given: onnx.ModelProto, inputs: dict[str, Any]) -> None:
    """Refused with a message, or imported and evaluated."""
    try:
        cascade = load_model(given)
    except DataflowError:
        return
    evaluate(cascade, inputs)


@pytest.mark.parametrize("constant", [False, True])
def test_codes_of_64_bits_are_refused(constant: bool) -> None:
    names = ["x", "s", "z", "w", "s", "z", "s", "wide"]
    x = np.ones((1, 1, 2, 2), np.int8)
    constants: dict[str, Any] = {
        "s": np.float32(0.1),
        "z": np.int8(0),
        "w": np.ones((1, 1, 1, 1), np.int8),
        "wide": np.int64(5),
    }
    if constant:
        constants["x"] = x
    given = model(
        helper.make_node("QLinearConv", names, ["y"]), (TensorProto.INT8, [*x.shape]), constants
    )
    if constant:
        del given.graph.input[0]
    with pytest.raises(DataflowError, match="its zero point is int64"):
        load_model(given)


def test_weights_of_a_loss_with_too_many_dimensions() -> None:
    constants = {"t": np.array([1, 0]), "w": np.ones((3, 2), np.float32)}
    node = helper.make_node("SoftmaxCrossEntropyLoss", ["x", "t", "w"], ["y"])
    survives(model(node, (TensorProto.FLOAT, [2, 3]), constants), {"x": np.eye(2, 3, dtype="f4")})


def test_a_constant_with_too_many_values_is_refused() -> None:
    given = model(helper.make_node("Relu", ["x"], ["y"]), (TensorProto.FLOAT, [2]), {})
    given.graph.initializer.append(
        TensorProto(name="c", data_type=TensorProto.FLOAT, float_data=[0.0] * 41)
    )
    given.graph.node[0].input[0] = "c"
    with pytest.raises(DataflowError, match="cannot be read"):
        load_model(given)


def test_a_step_that_is_never_taken_may_be_huge() -> None:
    constants: dict[str, Any] = {"step": np.int64(2**62), "window": np.ones(4, np.float32)}
    node = helper.make_node("STFT", ["x", "step", "window"], ["y"])
    cascade = load_model(model(node, (TensorProto.FLOAT, [1, 4, 1]), constants))
    wave = np.arange(4, dtype=np.float32)
    found = evaluate(cascade, {"x": wave.reshape(1, 4, 1)})["y"]
    wanted = np.fft.rfft(wave.astype(np.float64))
    np.testing.assert_allclose(found[0, 0, :, 0] + 1j * found[0, 0, :, 1], wanted, atol=1e-6)


@pytest.mark.parametrize("shape", [[2**63 - 1, 0], [0, 2**31, 2**31]])
def test_an_empty_input_of_huge_dimensions_is_refused(shape: list[int]) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    with pytest.raises(DataflowError, match="use a smaller"):
        load_model(model(node, (TensorProto.FLOAT, shape), {}))


def test_a_constant_that_doubles_and_doubles_stays_in_bounds() -> None:
    nodes = [helper.make_node("Concat", ["c", "c"], ["c0"], axis=0)]
    for k in range(30):
        nodes.append(helper.make_node("Concat", [f"c{k}"] * 2, [f"c{k + 1}"], axis=0))
    nodes.append(helper.make_node("Add", ["x", "c30"], ["y"]))
    given = model(nodes[0], (TensorProto.FLOAT, [1]), {"c": np.zeros(64, np.float32)})
    del given.graph.node[:]
    given.graph.node.extend(nodes)
    with pytest.raises(DataflowError, match="use a smaller model"):
        load_model(given)


def test_an_image_with_scales_by_channel_is_read_as_floats() -> None:
    scales = np.array([0.5, 0.25], np.float32)
    codes = np.arange(-6, 6, dtype=np.int8).reshape(2, 2, 3)
    constants = {"c": codes, "s": scales, "z": np.zeros(2, np.int8)}
    given = model(helper.make_node("Identity", ["x"], ["y"]), (TensorProto.FLOAT, [1]), constants)
    del given.graph.node[:], given.graph.input[:]
    given.graph.node.extend(
        [
            helper.make_node("DequantizeLinear", ["c", "s", "z"], ["d"], axis=0),
            helper.make_node("Conv", ["d", "d"], ["y"]),
        ]
    )
    real = codes * scales[:, None, None].astype(np.float32)
    wanted = np.einsum("bcl,ocl->bo", real, real)[..., None]
    found = evaluate(load_model(given), {})["y"]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
