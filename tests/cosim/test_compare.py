"""Comparison of outputs with evaluate, onnxruntime and torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dataflow.cosim.compare import (
    SNR_EQUAL_DB,
    compare_outputs,
    max_abs_error,
    run_onnxruntime,
    run_torch,
    snr_db,
)
from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from dataflow.rewrite import legalise

SCALE, STEP = np.float32(0.125), np.float32(0.25)
WEIGHTS = np.array([[1, -2], [3, 4], [0, 5]], dtype=np.int8)


def model(*, dequantised: bool) -> onnx.ModelProto:
    """y = quantised(x) @ WEIGHTS, codes or dequantised."""
    constants = {
        "sx": SCALE, "zx": np.int8(3), "w": WEIGHTS, "sw": np.float32(1), "zw": np.int8(0),
        "sy": STEP, "zy": np.int8(-7),
    }  # fmt: skip
    names = ["xq", "sx", "zx", "w", "sw", "zw", "sy", "zy"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
        helper.make_node("QLinearMatMul", names, ["yq" if dequantised else "y"]),
    ]
    if dequantised:
        nodes.append(helper.make_node("DequantizeLinear", ["yq", "sy", "zy"], ["y"]))
    kind = TensorProto.FLOAT if dequantised else TensorProto.INT8
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", kind, [2, 2])],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


TORCH = """
import torch
class M(torch.nn.Module):
    def forward(self, x):
        return x @ torch.tensor([[1.0, -2.0], [3.0, 4.0], [0.0, 5.0]])
def make():
    return M(), (torch.zeros(2, 3),)
def two():
    class Two(M):
        def forward(self, x):
            return x, x
    return Two(), (torch.zeros(2, 3),)
"""
INPUTS = {"x": np.array([[1.0, -0.5, 0.3], [0.1, 2.0, -1.0]], dtype=np.float32)}


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "module.py").write_text(TORCH)
    return f"{tmp_path / 'module.py'}:make"


def test_snr_by_hand() -> None:
    reference = np.array([3.0, 4.0])
    assert snr_db(reference, np.array([3.0, 4.5])) == pytest.approx(20.0)
    assert snr_db(reference, reference) == SNR_EQUAL_DB
    assert snr_db(0 * reference, reference) == -SNR_EQUAL_DB
    assert max_abs_error(reference, np.array([1.0, 4.5])) == 2.0
    assert max_abs_error(np.zeros((0, 3)), np.zeros((0, 3))) == 0.0


def test_codes_far_apart_do_not_wrap() -> None:
    a, b = np.array([-128], dtype=np.int8), np.array([127], dtype=np.int8)
    assert max_abs_error(a, b) == 255.0


def test_equal_outputs_have_no_error(spec: str) -> None:
    proto = model(dequantised=True)
    cascade = legalise(load_model(proto))
    outputs = evaluate(cascade, INPUTS)
    result = compare_outputs(proto, cascade, INPUTS, outputs, spec)["y"]
    assert result["max_abs_error_vs_evaluate"] == 0.0
    assert result["max_abs_error_vs_onnxruntime"] == 0.0
    assert result["max_lsb_error_vs_onnxruntime"] == 0
    assert result["snr_db_vs_onnxruntime"] == SNR_EQUAL_DB
    assert 25 < result["snr_db_vs_torch"] < 60


def test_one_wrong_step_is_one_lsb() -> None:
    proto = model(dequantised=True)
    cascade = legalise(load_model(proto))
    outputs = evaluate(cascade, INPUTS)
    outputs["y"] = outputs["y"] + np.array([[0, STEP], [0, 0]], dtype=np.float32)
    result = compare_outputs(proto, cascade, INPUTS, outputs)["y"]
    assert result["max_abs_error_vs_evaluate"] == float(STEP)
    assert result["max_lsb_error_vs_evaluate"] == 1
    assert result["max_lsb_error_vs_onnxruntime"] == 1
    assert "snr_db_vs_torch" not in result


def test_codes_are_compared_with_torch_as_numbers(spec: str) -> None:
    proto = model(dequantised=False)
    cascade = legalise(load_model(proto))
    outputs = evaluate(cascade, INPUTS)
    assert outputs["y"].dtype == np.int8
    result = compare_outputs(proto, cascade, INPUTS, outputs, spec)["y"]
    assert result["max_lsb_error_vs_evaluate"] == 0
    assert 25 < result["snr_db_vs_torch"] < 60


def test_a_module_with_other_outputs_is_refused(spec: str) -> None:
    with pytest.raises(DataflowError, match="returns 2 values, the model has 1 outputs"):
        run_torch(spec.replace(":make", ":two"), model(dequantised=True), INPUTS)


def test_onnxruntime_names_what_it_refuses() -> None:
    wrong = {"x": np.zeros((2, 3), dtype=np.float64)}
    with pytest.raises(DataflowError, match="onnxruntime: cannot run the model"):
        run_onnxruntime(model(dequantised=True), wrong)


def test_a_model_that_onnxruntime_does_not_know_is_compared_with_evaluate_alone() -> None:
    quant = helper.make_node(
        "Quant", ["x", "s", "z", "n"], ["y"], domain="qonnx.custom_op.general", signed=1, narrow=0
    )
    constants = {"s": SCALE, "z": np.float32(0), "n": np.float32(8)}
    graph = helper.make_graph(
        [quant],
        "qonnx",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("qonnx.custom_op.general", 1)]
    unknown = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    cascade = legalise(load_model(unknown))
    x = np.array([[0.1, -3.0, 1.0], [0.2, 0.0, 99.0]], dtype=np.float32)
    outputs = evaluate(cascade, {"x": x})
    assert np.array_equal(outputs["y"], np.clip(np.rint(x / SCALE), -128, 127) * SCALE)
    result = compare_outputs(unknown, cascade, {"x": x}, outputs)["y"]
    assert result["max_abs_error_vs_evaluate"] == 0
    assert result["max_abs_error_vs_onnxruntime"] is None
    assert "qonnx" in result["onnxruntime_refusal"]
