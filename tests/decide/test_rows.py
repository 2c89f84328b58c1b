"""The rows of nodes: what runs where, what was changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dataflow.api import check, stayed_float
from tests.frontend import models
from tests.frontend.test_structure import region


def test_rows_of_a_region() -> None:
    rows = {r.name: r for r in check(region()).nodes}
    conv = rows["f"]
    assert (conv.operator, conv.runs, conv.arithmetic) == ("Conv", ("array", "vector"), "int")
    assert conv.lowered == "f_acc, y"
    assert conv.macs == 4 * 8 * 8 * 2 * 3 * 3
    assert conv.note == "bias quantised to int32 with scale input*weight"
    assert rows["y"].lowered == "y" and rows["y"].macs == 0
    assert (conv.how, rows["y"].how, rows["wf"].how) == ("einsums", "fused", "constant")
    assert rows["wf"].runs == ("none",) and rows["y"].runs == ("vector",)
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
    rows = {r.name: r for r in check(proto).nodes}
    assert (rows["g"].runs, rows["g"].arithmetic) == (("host",), "float32")


def test_nodes_that_no_output_needs_are_listed_last() -> None:
    nodes = [models.node("Relu", ["x"], ["y"]), models.node("Erf", ["x"], ["unused"])]
    proto = models.model(nodes, {"x": ((2, 3), np.float32)}, {"y": np.float32}, {})
    rows = check(proto).nodes
    assert [(r.operator, r.runs) for r in rows] == [("Relu", ()), ("Erf", ("none",))]
    assert rows[1].how == "unused" and rows[1].lowered == "not needed by any output"


def rows_of(nodes: list[Any], x: tuple[int, ...], constants: dict[str, Any], **outputs: Any) -> Any:
    arrays = {k: np.asarray(v) for k, v in constants.items()}
    outputs = outputs or {"y": np.float32}
    proto = models.model(nodes, {"x": (x, np.float32)}, outputs, arrays)
    return {r.operator: r for r in check(proto).nodes}


def weights(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


BOTH = ("array", "vector")


@pytest.mark.parametrize(
    ("op", "shape", "constants", "more", "macs", "runs"),
    [
        (
            *("Conv", (2, 4, 8, 8), {"w": weights(6, 2, 3, 3)}, {"group": 2}),
            *(2 * 6 * 6 * 6 * 2 * 9, BOTH),
        ),
        # Each output of a stride-2 kernel-2 transposed convolution has one tap of the four.
        (
            *("ConvTranspose", (1, 4, 5, 5), {"w": weights(4, 3, 2, 2)}, {"strides": [2, 2]}),
            *(3 * 10 * 10 * 4, BOTH),
        ),
        ("Gemm", (5, 7), {"w": weights(3, 7)}, {"transB": 1}, 5 * 7 * 3, BOTH),
        ("MatMul", (2, 5, 7), {"w": weights(7, 3)}, {}, 2 * 5 * 7 * 3, BOTH),
        (
            *("Einsum", (2, 5, 7), {"w": weights(7, 3)}, {"equation": "bik,kn->bn"}),
            *(2 * 5 * 7 * 3, ()),
        ),
        ("LayerNormalization", (2, 8), {"w": weights(8)}, {}, 0, ()),
        ("Softmax", (2, 8), {}, {}, 0, ()),
    ],
)
def test_macs_and_units_of_float_operators(
    op: str, shape: Any, constants: Any, more: Any, macs: int, runs: tuple[str, ...]
) -> None:
    """Judged by the int8 form: the last three have none."""
    row = rows_of([models.node(op, ["x", *constants], ["y"], **more)], shape, constants)[op]
    assert (row.macs, row.runs) == (macs, runs)
    assert bool(row.reason) == bool(row.fix) == (not runs)


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_macs_of_recurrences_count_all_steps(op: str, gates: int) -> None:
    steps, batch, inputs, hidden = 6, 2, 5, 3
    constants = {"w": weights(1, gates * hidden, inputs), "r": weights(1, gates * hidden, hidden)}
    node = models.node(op, ["x", "w", "r"], ["y"], hidden_size=hidden)
    row = rows_of([node], (steps, batch, inputs), constants)[op]
    assert row.macs == steps * batch * gates * hidden * (inputs + hidden)


def test_how_each_node_is_lowered() -> None:
    nodes = [
        models.node("Transpose", ["x"], ["a"]),
        models.node("Exp", ["c"], ["b"]),
        models.node("Mul", ["a", "b"], ["m"]),
        models.node("Gather", ["m", "i"], ["g"]),
        models.node("Relu", ["g"], ["y"]),
    ]
    constants = {"c": np.float32(1), "i": np.array([2, 0, 0, 1])}
    rows = rows_of(nodes, (2, 3), constants)
    assert {op: (r.how, r.runs) for op, r in rows.items()} == {
        "Transpose": ("view", ("none",)),
        "Exp": ("constant", ("none",)),
        "Mul": ("einsums", ("vector",)),
        "Gather": ("einsums", ("host",)),
        "Relu": ("einsums", ("host",)),
    }
    assert rows["Transpose"].shape == "[3, 2]" and rows["Transpose"].lowered == "m"


def test_what_stayed_float_in_a_quantised_model() -> None:
    constants = {"s": np.float32(0.1), "z": np.int8(0), "w": weights(4, 4)}
    nodes = [
        models.node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        models.node("DequantizeLinear", ["q", "s", "z"], ["f"]),
        models.node("LayerNormalization", ["f", "g"], ["n"]),
        models.node("Softmax", ["n"], ["t"]),
        models.node("QuantizeLinear", ["t", "s", "z"], ["y"]),
    ]
    constants["g"] = weights(4)
    arrays = {k: np.asarray(v) for k, v in constants.items()}
    proto = models.model(nodes, {"x": ((2, 4), np.float32)}, {"y": np.int8}, arrays)
    rows = check(proto).nodes
    assert [r.operator for r in stayed_float(rows)] == ["LayerNormalization", "Softmax"]
    plain = models.model(nodes[2:4], {"f": ((2, 4), np.float32)}, {"t": np.float32}, arrays)
    assert stayed_float(check(plain).nodes) == ()


def test_softmax_of_sums_that_nothing_quantises_runs_in_the_tail() -> None:
    constants = {
        "s": np.float32(0.1),
        "z": np.int8(0),
        "w": weights(4, 4),
        "ws": np.float32(0.02),
    }
    nodes = [
        models.node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        models.node("DequantizeLinear", ["q", "s", "z"], ["f"]),
        models.node("QuantizeLinear", ["w", "ws", "z"], ["wq"]),
        models.node("DequantizeLinear", ["wq", "ws", "z"], ["wf"]),
        models.node("MatMul", ["f", "wf"], ["sums"]),
        models.node("Softmax", ["sums"], ["y"]),
    ]
    arrays = {k: np.asarray(v) for k, v in constants.items()}
    proto = models.model(nodes, {"x": ((2, 4), np.float32)}, {"y": np.float32}, arrays)
    rows = {row.operator: row for row in check(proto).nodes}
    assert (rows["Softmax"].runs, rows["Softmax"].where) == (("host",), "tail")
    assert rows["MatMul"].runs == ("array",)
