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

Array = np.ndarray


def model(
    node: onnx.NodeProto, port: tuple[int, list[int]], constants: dict[str, Array]
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


def test_codes_of_64_bits_are_refused() -> None:
    names = ["x", "s", "z", "w", "s", "z", "s", "wide"]
    constants: dict[str, Any] = {
        "s": np.float32(0.1),
        "z": np.int8(0),
        "w": np.ones((1, 1, 1, 1), np.int8),
        "wide": np.int64(5),
        "x": np.ones((1, 1, 2, 2), np.int8),
    }
    node = helper.make_node("QLinearConv", names, ["y"])
    folded = model(node, (TensorProto.FLOAT, [1]), constants)
    folded.graph.input[0].name = "unused"
    with pytest.raises(DataflowError):
        load_model(folded)
    del constants["x"]
    with pytest.raises(DataflowError):
        load_model(model(node, (TensorProto.INT8, [1, 1, 2, 2]), constants))


def test_weights_of_a_loss_with_too_many_dimensions_are_refused() -> None:
    constants = {"t": np.array([1, 0]), "w": np.ones((3, 2), np.float32)}
    node = helper.make_node("SoftmaxCrossEntropyLoss", ["x", "t", "w"], ["y"])
    with pytest.raises(DataflowError, match=r"shape \[3, 2\]"):
        load_model(model(node, (TensorProto.FLOAT, [2, 3]), constants))


def test_a_constant_with_too_many_values_is_refused() -> None:
    given = model(helper.make_node("Relu", ["x"], ["y"]), (TensorProto.FLOAT, [2]), {})
    given.graph.initializer.append(
        TensorProto(name="c", data_type=TensorProto.FLOAT, float_data=[0.0] * 41)
    )
    given.graph.node[0].input[0] = "c"
    with pytest.raises(DataflowError, match="cannot be read"):
        load_model(given)


def test_a_step_that_is_never_taken_may_be_huge() -> None:
    constants = {"step": np.int64(2**62), "window": np.ones(4, np.float32)}
    node = helper.make_node("STFT", ["x", "step", "window"], ["y"])
    cascade = load_model(model(node, (TensorProto.FLOAT, [1, 4, 1]), constants))
    wave = np.arange(4, dtype=np.float32)
    found = evaluate(cascade, {"x": wave.reshape(1, 4, 1)})["y"]
    wanted = np.fft.rfft(wave.astype(np.float64))
    np.testing.assert_allclose(found[0, 0, :, 0] + 1j * found[0, 0, :, 1], wanted, atol=1e-6)
