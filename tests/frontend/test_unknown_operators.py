"""Operators that the standard or the importer does not know: all in one table, with near names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dataflow import cli
from dataflow.api import check
from dataflow.errors import DataflowError
from dataflow.frontend import UnsupportedModelError, load_model
from tests.frontend import models


def unknown(opset: int = 20) -> onnx.ModelProto:
    """Weird of no opset, Own of a domain without import, NonZero; Relu and Exp are supported."""
    nodes = [
        models.node("Relu", ["x"], ["r"]),
        helper.make_node("Weird", ["r"], ["a"], name="first"),
        helper.make_node("Own", ["x"], ["b"], name="second", domain="my.domain"),
        models.node("NonZero", ["x"], ["c"]),
        models.node("Exp", ["a"], ["d"]),
    ]
    outputs = {"b": np.float32, "c": np.int64, "d": np.float32}
    given = models.model(nodes, {"x": ((2, 3), np.float32)}, outputs, {})
    del given.opset_import[:]
    given.opset_import.add(domain="", version=opset)
    return given


def test_they_are_listed_with_all_others() -> None:
    rows = check(unknown()).nodes
    assert [(r.name, r.operator, r.shape) for r in rows] == [
        ("first", "Weird", "[2, 3]"),
        ("second", "my.domain.Own", "[2, 3]"),
        ("c", "NonZero", "[2, 3]"),
    ]
    assert all(r.reason and r.fix and r.how == "unsupported" for r in rows)


def test_the_command_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(unknown().SerializeToString())
    assert cli.run(["check", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: network test: the machine cannot run 3 operators:\n")
    assert "Weird" in captured.out and "Relu" not in captured.out and "none" not in captured.out
    assert cli.run(["check", str(path), "--json"]) == 2
    assert [row["name"] for row in json.loads(capsys.readouterr().out)["nodes"]] == [
        "first",
        "second",
        "c",
    ]


def test_the_fix_names_three_near_operators() -> None:
    given = models.model(
        [helper.make_node("Relux", ["x"], ["y"])],
        {"x": ((2,), np.float32)},
        {"y": np.float32},
        {},
    )
    (row,) = check(given).nodes
    assert row.fix.startswith("replace it; the nearest names are Relu, ")
    assert row.fix.endswith("; see docs/operators.md") and row.fix.count(",") == 2


def test_the_model_keeps_its_domains() -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        load_model(unknown())
    assert [r.node.domain for r in caught.value.refusals] == ["", "my.domain", ""]
    assert "dataflow.unknown" not in str(caught.value)


@pytest.mark.parametrize("opset", [6, 9, 11, 20])
def test_every_opset(opset: int) -> None:
    given = models.model(
        [helper.make_node("Weird", ["x"], ["y"])],
        {"x": ((2,), np.float32)},
        {"y": np.float32},
        {},
    )
    given.opset_import[0].version = opset
    assert [r.operator for r in check(given).nodes] == ["Weird"]


def test_an_operator_of_a_later_opset() -> None:
    given = models.model(
        [helper.make_node("Gelu", ["x"], ["y"])], {"x": ((2,), np.float32)}, {"y": np.float32}, {}
    )
    given.opset_import[0].version = 17
    (row,) = check(given).nodes
    assert row.reason == "opset 17 has no such operator"
    assert row.fix == "export with opset 20 or later"


def test_other_faults_are_still_faults() -> None:
    given = unknown()
    given.graph.node[0].input.append("x")
    with pytest.raises(DataflowError, match="is not valid ONNX: Node with schema"):
        load_model(given)


def test_an_oversized_input_names_bytes_and_limit() -> None:
    port = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1 << 20, 1 << 20])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1 << 20, 1 << 20])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [port], [out])
    given = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    with pytest.raises(DataflowError) as caught:
        load_model(given)
    assert f"which is {4 << 40} bytes of float32" in str(caught.value)
    assert f"at most {1 << 32} bytes" in str(caught.value)


def test_an_operator_of_a_later_opset_in_an_old_model() -> None:
    given = models.model(
        [helper.make_node("Round", ["x"], ["y"])], {"x": ((2,), np.float32)}, {"y": np.float32}, {}
    )
    given.opset_import[0].version = 9
    with pytest.raises(DataflowError, match="No Op registered for Round"):
        load_model(given)
