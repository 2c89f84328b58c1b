"""What a float model may look like: computed constants, scalar inputs, weights in codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from dataflow.errors import DataflowError
from dataflow.frontend import is_quantised, load_model
from dataflow.quantise import quantize_report
from dataflow.quantise.calibration import calibration
from tests.frontend import models

Array = np.ndarray
RNG = np.random.default_rng(3)
SAMPLES = {"x": RNG.normal(size=(6, 3, 8, 8)).astype(np.float32)}
WEIGHTS = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)
BIAS = np.arange(4, dtype=np.float32)


def convolution(*before: Any, weights: str = "w", bias: str = "b") -> onnx.ModelProto:
    """A convolution behind nodes that make its constants of w, b and codes c with scales s."""
    codes = np.rint(WEIGHTS / 0.03).clip(-128, 127).astype(np.int8)
    constants = {"w": WEIGHTS, "b": BIAS, "c": codes}
    constants |= {"s": np.full(4, 0.03, np.float32), "z": np.zeros(4, np.int8)}
    node = models.node("Conv", ["x", weights, bias], ["y"])
    used = {name for n in (*before, node) for name in n.input}
    kept = {name: data for name, data in constants.items() if name in used}
    port = {"x": ((1, 3, 8, 8), np.float32)}
    return models.model([*before, node], port, {"y": np.float32}, kept)


CONSTANT = helper.make_node("Constant", [], ["b2"], value=numpy_helper.from_array(BIAS))
CASES = {
    "Constant": convolution(CONSTANT, bias="b2"),
    "Identity": convolution(models.node("Identity", ["b"], ["b2"]), bias="b2"),
    "both": convolution(CONSTANT, models.node("Identity", ["b2"], ["b3"]), bias="b3"),
    "codes": convolution(
        models.node("DequantizeLinear", ["c", "s", "z"], ["w2"], axis=0), weights="w2"
    ),
    "transposed": convolution(
        models.node("Transpose", ["w"], ["w2"], perm=[0, 1, 3, 2]),
        models.node("Neg", ["w2"], ["w3"]),
        weights="w3",
    ),
}


@pytest.mark.parametrize("form", ["qoperator", "qdq"])
@pytest.mark.parametrize("case", CASES)
def test_constants_of_nodes_are_quantised(case: str, form: Any, tmp_path: Path) -> None:
    proto = CASES[case]
    assert not is_quantised(proto)
    made = quantize_report(proto, SAMPLES, tmp_path / "q.onnx", form)
    assert made.snr_db > 25
    found = onnx.load(made.path)
    assert is_quantised(found)
    assert "Conv" not in [n.op_type for n in found.graph.node] or form == "qdq"
    assert load_model(found).einsums


def test_codes_of_data_make_a_quantised_model(tmp_path: Path) -> None:
    head = [
        models.node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        models.node("DequantizeLinear", ["xq", "xs", "xz"], ["y"]),
    ]
    constants: dict[str, Array] = {"xs": np.array(0.1, np.float32), "xz": np.array(0, np.int8)}
    proto = models.model(head, {"x": ((1, 3), np.float32)}, {"y": np.float32}, constants)
    assert is_quantised(proto)
    with pytest.raises(DataflowError, match="is quantised already"):
        quantize_report(proto, {"x": np.ones((2, 3), np.float32)}, tmp_path / "q.onnx")


def _scaled() -> onnx.ModelProto:
    nodes = [models.node("Conv", ["x", "w", "b"], ["a"]), models.node("Mul", ["a", "k"], ["y"])]
    ports: dict[str, Any] = {"x": ((1, 3, 8, 8), np.float32), "k": ((), np.float32)}
    return models.model(nodes, ports, {"y": np.float32}, {"w": WEIGHTS, "b": BIAS})


@pytest.mark.parametrize("shape", [(6,), (6, 1), ()])
def test_scalar_inputs_take_a_number_a_sample_or_one_for_all(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    factors = np.full(shape, 2, np.float32)
    feeds = calibration(_scaled(), SAMPLES | {"k": factors})
    assert [feed["k"].shape for feed in feeds] == [()] * 6
    made = quantize_report(_scaled(), SAMPLES | {"k": factors}, tmp_path / "q.onnx")
    assert made.snr_db > 25


def test_wrong_shapes_of_scalars_are_named() -> None:
    with pytest.raises(DataflowError, match=r"'k': has shape \[6, 2\]; use \[samples\]"):
        calibration(_scaled(), SAMPLES | {"k": np.ones((6, 2), np.float32)})
    with pytest.raises(DataflowError, match=r"unequal sample counts \(x: 6, k: 5\)"):
        calibration(_scaled(), SAMPLES | {"k": np.ones(5, np.float32)})
    with pytest.raises(DataflowError, match="calibration 'x': has shape"):
        calibration(_scaled(), {"x": np.array(1, np.float32), "k": np.ones(6, np.float32)})


def test_models_of_old_opsets_are_quantised(tmp_path: Path) -> None:
    proto = convolution()
    proto.graph.node.append(
        helper.make_node("Slice", ["y"], ["z"], starts=[0, 1], ends=[4, 5], axes=[1, 2])
    )
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info("z", 1, None))
    proto.opset_import[0].version = 9
    for form in ("qoperator", "qdq"):
        made = quantize_report(proto, SAMPLES, tmp_path / "q.onnx", form)
        assert made.snr_db > 25
        assert load_model(made.path).einsums
