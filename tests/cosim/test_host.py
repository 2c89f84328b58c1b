"""Heads and tails: written, run by the simulations, and part of what is compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from dataflow import api
from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from dataflow.ir import text
from dataflow.npz import load_npz
from dataflow.onnx_session import open_session
from tests.decide.test_decide import classifier
from tests.frontend import models

NORMALISED = (
    models.node("Sub", ["x", "mean"], ["d"]),
    models.node("Mul", ["d", "factor"], ["h"]),
)


def network() -> onnx.ModelProto:
    """Floats normalised per channel, a product, a softmax quantised again, the best two, and a
    sum with what the head made."""
    tail = [
        models.node("Softmax", ["y"], ["e"]),
        models.node("QuantizeLinear", ["e", "es", "ez"], ["p"]),
        models.node("TopK", ["e", "two"], ["best", "which"]),
        models.node("ReduceSum", ["h"], ["sum"], keepdims=0),
        models.node("Add", ["best", "sum"], ["shifted"]),
    ]
    proto = classifier(*tail, head=NORMALISED)
    extra = {
        "mean": np.array([0.1, -0.2, 0.3, 0.4], np.float32),
        "factor": np.array([1.5, 0.7, 2.0, 0.9], np.float32),
        "es": np.float32(1 / 256),
        "ez": np.uint8(0),
        "two": np.array([2]),
    }
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in extra.items()
    )
    del proto.graph.output[:]
    kinds = {"p": np.uint8, "which": np.int64, "shifted": np.float32}
    proto.graph.output.extend(
        onnx.helper.make_tensor_value_info(n, models.tensor_type(t), [2, 5 if n == "p" else 2])
        for n, t in kinds.items()
    )
    return proto


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("host")
    model = folder / "m.onnx"
    model.write_bytes(network().SerializeToString())
    api.compile_model(model, folder / "out", arch="edge8")
    return folder / "out"


def test_head_and_tail_are_models_that_onnxruntime_runs(out: Path) -> None:
    """With the machine's codes between them as evaluated, they make what the whole makes."""
    inputs = load_npz(out / "data" / "inputs.npz")
    cascade = text.load(out / "ir" / "cascade.yaml")
    values = {**inputs, **evaluate(cascade, inputs, tensors=True)}
    for name in ("head", "tail"):
        session = open_session(str(out / "host" / f"{name}.onnx"))
        feed = {}
        for port in session.get_inputs():
            feed[port.name] = values[port.name] if port.name in values else values["m"]
        made = session.run(None, feed)
        for port, value in zip(session.get_outputs(), made, strict=True):
            values.setdefault(port.name, value)
            if port.name in ("p", "which", "shifted"):
                np.testing.assert_allclose(value, values[port.name], atol=1e-5)
    whole = api.evaluate(out / "ir" / "model.onnx", inputs)
    assert sorted(whole) == ["p", "shifted", "which"]
    stored = load_npz(out / "data" / "outputs.npz")
    for name, value in whole.items():
        np.testing.assert_array_equal(stored[name], value)


def test_the_parts_survive_the_text_form(out: Path, tmp_path: Path) -> None:
    cascade = text.load(out / "ir" / "cascade.yaml")
    assert cascade.head is not None and cascade.tail is not None
    text.save(cascade, tmp_path / "again.yaml")
    again = text.load(tmp_path / "again.yaml")
    assert text.dumps(again) == text.dumps(cascade)
    inputs = load_npz(out / "data" / "inputs.npz")
    for name, value in evaluate(again, inputs).items():
        np.testing.assert_array_equal(value, evaluate(cascade, inputs)[name])


def test_the_c_simulation_runs_and_compares_them(out: Path) -> None:
    result = api.csim(out)
    assert result.mismatches == 0
    assert set(result.outputs) == {"p", "which", "shifted"}
    summary = json.loads((out / "report" / "summary.json").read_text())
    places = {(part["operator"], part["where"]) for part in summary["host"]}
    assert {("Sub", "head"), ("Mul", "head"), ("packing", "head")} <= places
    assert {("packing", "tail"), ("Softmax", "tail"), ("TopK", "tail"), ("Add", "tail")} <= places
    for key in ("operations", "bytes"):
        assert summary[f"host_{key}"] == sum(part[key] for part in summary["host"]) > 0
    # Eight floats less a number of their column, times another: one expression, the product's.
    work = {part["operator"]: (part["operations"], part["bytes"]) for part in summary["host"][:2]}
    assert work == {"Sub": (0, 0), "Mul": (16, 4 * (8 + 4 + 4 + 8))}
    packed = [part["bytes"] for part in summary["host"] if part["operator"] == "packing"]
    assert packed == [2 * 8, 2 * 10]


@pytest.mark.rtl
def test_the_rtl_simulation_runs_and_compares_them(out: Path) -> None:
    result = api.simulate(out)
    assert result.mismatches == 0 and result.cycles == result.predicted_cycles


@pytest.mark.parametrize(("part", "constant"), [("head", "factor"), ("tail", "es")])
def test_a_part_that_computes_otherwise_is_a_mismatch(out: Path, part: str, constant: str) -> None:
    path = out / "host" / f"{part}.onnx"
    before = path.read_bytes()
    proto = onnx.load_from_string(before)
    (tensor,) = [t for t in proto.graph.initializer if t.name == constant]
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 3, constant))
    try:
        path.write_bytes(proto.SerializeToString())
        assert api.csim(out).mismatches > 0
        path.unlink()
        with pytest.raises(DataflowError, match=f"{part}.onnx.*is missing"):
            api.csim(out)
    finally:
        path.write_bytes(before)


def test_a_part_with_other_ports_is_no_part(out: Path) -> None:
    path = out / "host" / "tail.onnx"
    before = path.read_bytes()
    try:
        path.write_bytes((out / "host" / "head.onnx").read_bytes())
        with pytest.raises(DataflowError, match="has other inputs or outputs"):
            api.csim(out)
    finally:
        path.write_bytes(before)


def test_a_network_with_copies_that_move_no_byte_is_read_back(out: Path) -> None:
    written = (out / "ir" / "cascade.yaml").read_text()
    again = text.loads(written + "alias:\n  copy: root\n")
    assert again.sections["alias"] == {"copy": "root"} and text.dumps(again).count("alias:") == 1
