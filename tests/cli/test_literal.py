"""Rewrites that change rounding are said, measured, and left out on demand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dataflow import cli
from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from dataflow.ir import text


def tied_sum(folder: Path) -> Path:
    """x * 0.02 + z * 0.03, rounded to steps of 0.02: half of all pairs lie half-way."""
    numbers = {"a": 0.02, "b": 0.03, "c": 0.02}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "a", "o"], ["xf"], "xf"),
        helper.make_node("DequantizeLinear", ["z", "b", "o"], ["zf"], "zf"),
        helper.make_node("Add", ["xf", "zf"], ["s"], "s"),
        helper.make_node("QuantizeLinear", ["s", "c", "o"], ["y"], "y"),
    ]
    port = helper.make_tensor_value_info
    ports = [port(name, TensorProto.INT8, [1, 3, 9, 9]) for name in "xzy"]
    constants = [numpy_helper.from_array(np.array(v, np.float32), k) for k, v in numbers.items()]
    constants.append(numpy_helper.from_array(np.array(0, np.int8), "o"))
    graph = helper.make_graph(nodes, "g", ports[:2], ports[2:], constants)
    opsets = [helper.make_opsetid("", 20)]
    path = folder / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def test_a_change_of_rounding_is_said_and_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model, out = tied_sum(tmp_path), tmp_path / "out"
    assert cli.run(["compile", str(model), "-o", str(out)]) == 0
    assert "rounding changed by near-ties (1): " in capsys.readouterr().out
    summary = json.loads((out / "report" / "summary.json").read_text())
    assert {"name": "near-ties", "exact": False, "einsums": 1} in summary["rewrites"]
    assert 30 < summary["snr_db_vs_imported"]["y"] < 80


def test_literal_keeps_every_bit_of_what_is_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model, out = tied_sum(tmp_path), tmp_path / "out"
    assert cli.run(["compile", str(model), "--literal", "-o", str(out)]) == 0
    assert "rounding changed" not in capsys.readouterr().out
    summary = json.loads((out / "report" / "summary.json").read_text())
    assert all(one["exact"] for one in summary["rewrites"])
    assert summary["snr_db_vs_imported"] == {}
    last, imported = text.load(out / "ir" / "cascade.yaml"), load_model(onnx.load(model))
    rng = np.random.default_rng(0)
    draws = {k: rng.integers(-128, 128, (1, 3, 9, 9)).astype(np.int8) for k in "xz"}
    np.testing.assert_array_equal(evaluate(last, draws)["y"], evaluate(imported, draws)["y"])


def test_check_takes_literal(tmp_path: Path) -> None:
    assert cli.run(["check", str(tied_sum(tmp_path)), "--literal"]) == 0
