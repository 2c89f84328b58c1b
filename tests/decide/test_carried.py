"""The end of a classifier alone: its codes pass through the machine, the host does the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from dataflow import api
from dataflow.evaluate import evaluate
from dataflow.frontend import import_model
from dataflow.ir import text
from tests.frontend import models

CODED = ((2, 5), np.int8)
REAL = ((2, 5), np.float32)
SCALES: dict[str, np.ndarray] = {"s": np.asarray(np.float32(0.1)), "z": np.asarray(np.int8(3))}


def head(*middle: onnx.NodeProto, quantised: bool = True) -> onnx.ModelProto:
    """Dequantise, the nodes from ``f`` to ``g``, quantise again where that is asked for."""
    nodes = [models.node("DequantizeLinear", ["x", "s", "z"], ["f"]), *middle]
    if quantised:
        nodes.append(models.node("QuantizeLinear", ["g", "s", "z"], ["y"]))
        return models.model(nodes, {"x": CODED}, {"y": np.int8}, SCALES)
    return models.model(nodes, {"x": CODED}, {"g": np.float32}, SCALES)


def integer_softmax() -> onnx.ModelProto:
    """QLinearSoftmax alone."""
    node = onnx.helper.make_node(
        "QLinearSoftmax",
        ["x", "s", "z", "s", "z"],
        ["y"],
        domain="com.microsoft",
        opset=18,
        axis=-1,
    )
    proto = models.model([node], {"x": CODED}, {"y": np.int8}, SCALES)
    proto.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    return proto


SOFTMAX = models.node("Softmax", ["f"], ["g"])
ENDS = {
    "Softmax quantised again": head(SOFTMAX),
    "Softmax": head(SOFTMAX, quantised=False),
    "LogSoftmax": head(models.node("LogSoftmax", ["f"], ["g"])),
    "QLinearSoftmax": integer_softmax(),
}


@pytest.mark.rtl
@pytest.mark.parametrize("name", ENDS)
def test_it_runs_and_all_of_its_work_is_the_hosts(name: str, tmp_path: Path) -> None:
    verdict = api.check(ENDS[name], arch="edge8")
    assert verdict.compiles and {row.runs for row in verdict.nodes} == {("host",)}
    assert verdict.host.share == 1.0 and "100.0 %" in verdict.warning
    onnx.save(ENDS[name], tmp_path / "m.onnx")
    api.compile_model(tmp_path / "m.onnx", tmp_path / "out", arch="edge8")
    found = api.simulate(tmp_path / "out")
    assert (found.mismatches, found.cycles) == (0, found.predicted_cycles)
    assert api.csim(tmp_path / "out").mismatches == 0
    cascade = text.load(tmp_path / "out" / "ir" / "cascade.yaml")
    x = np.arange(-5, 5, dtype=np.int8).reshape(2, 5) * 9
    whole = evaluate(import_model(ENDS[name]).cascade, {"x": x})
    for label, value in evaluate(cascade, {"x": x}).items():
        np.testing.assert_array_equal(value, whole[label])


def test_host_none_refuses_it() -> None:
    refused = api.check(head(SOFTMAX), host="none").refusals
    assert {r.operator for r in refused} == {"Softmax"}


@pytest.mark.parametrize("operator", ["ReduceL2", "Einsum"])
def test_what_else_no_engine_runs_is_refused(operator: str) -> None:
    more = {"equation": "ij->i"} if operator == "Einsum" else {"keepdims": 0}
    verdict = api.check(head(models.node(operator, ["f"], ["g"], **more), quantised=False))
    assert not verdict.compiles and verdict.refusals[0].fix


def test_floats_without_codes_are_refused() -> None:
    proto = models.model([models.node("Softmax", ["x"], ["y"])], {"x": REAL}, {"y": np.float32}, {})
    assert not api.check(proto).compiles
