"""check: a row for each node, what runs where, what was changed."""

from __future__ import annotations

import numpy as np

from dataflow.frontend import check
from tests.frontend import models
from tests.frontend.test_structure import region


def test_rows_of_a_region() -> None:
    rows = {r.name: r for r in check(region())}
    conv = rows["f"]
    assert (conv.operator, conv.runs, conv.arithmetic) == ("Conv", "array+vector", "int")
    assert conv.lowered == "f_acc, y"
    assert conv.macs == 4 * 8 * 8 * 2 * 3 * 3
    assert conv.note == "bias quantised to int32 with scale input*weight"
    assert rows["y"].lowered == "y" and rows["y"].macs == 0
    assert (conv.how, rows["y"].how, rows["wf"].how) == ("einsums", "fused", "constant")
    assert rows["wf"].runs == "none" and rows["y"].runs == "vector"
    assert not any(r.reason for r in rows.values())


def test_float_work_inside_a_quantised_model_is_shown() -> None:
    constants: dict[str, np.ndarray] = {
        "s": np.asarray(np.float32(0.1)),
        "z": np.asarray(np.int8(0)),
    }
    proto = models.model(
        [
            models.node("DequantizeLinear", ["x", "s", "z"], ["f"]),
            models.node("Softmax", ["f"], ["g"]),
            models.node("QuantizeLinear", ["g", "s", "z"], ["y"]),
        ],
        {"x": ((2, 5), np.int8)},
        {"y": np.int8},
        constants,
    )
    rows = {r.name: r for r in check(proto)}
    assert (rows["g"].runs, rows["g"].arithmetic) == ("vector", "float32")


def test_nodes_that_no_output_needs_are_listed_last() -> None:
    nodes = [models.node("Relu", ["x"], ["y"]), models.node("Erf", ["x"], ["unused"])]
    proto = models.model(nodes, {"x": ((2, 3), np.float32)}, {"y": np.float32}, {})
    rows = check(proto)
    assert [(r.operator, r.runs) for r in rows] == [("Relu", "vector"), ("Erf", "none")]
    assert rows[1].how == "unused" and rows[1].lowered == "not needed by any output"
