"""Maxima over windows that no memory holds are made in turn: exact, on every machine."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.arch import load_architecture
from dataflow.evaluate import run_machine_part
from dataflow.frontend import load_model
from dataflow.ir.cascade import Cascade
from dataflow.machine import machine_of
from dataflow.rewrite import long_maxima as module
from dataflow.rewrite.long_maxima import long_maxima
from dataflow.rewrite.pool_codes import pool_codes
from tests.cosim.harness import compiled_network, simulated_network
from tests.frontend.qdq_net import S8, QdqNet
from tests.program.cases import check_model

Array = np.ndarray
FEW = 12


def maximum(shape: tuple[int, ...], op: str = "", **attributes: Any) -> onnx.ModelProto:
    """Of codes: over the last rank, or what a pooling does."""
    net = QdqNet(len(shape))
    x = net.dequantised(net.input(shape, S8), 0.05, 3)
    if op:
        y = net.op(op, x, **attributes)
    else:
        y = net.op("ReduceMax", x, net.constant(np.array([-1], np.int64)), keepdims=1)
    return net.finish(net.through(y, 0.05, 3))


def windows(cascade: Cascade) -> list[int]:
    """Elements of each maximum's window."""
    return [
        prod(cascade.size(v) for v in e.reduction.variables)
        for e in cascade.einsums
        if e.reduction is not None and e.reduction.op == "max"
    ]


def results(cascade: Cascade, shape: tuple[int, ...]) -> Array:
    """The output on codes of which few are large, so that each one of them counts."""
    rng = np.random.default_rng(7)
    codes = rng.integers(-128, 0, shape).astype(np.int8)
    flat = codes.reshape(-1)
    some = rng.choice(flat.size, max(1, flat.size // 50), replace=False)
    flat[some] = rng.integers(0, 128, some.size)
    values = run_machine_part(cascade, dict.fromkeys(cascade.inputs, codes))
    return values[cascade.outputs[0]]


def in_turn(monkeypatch: pytest.MonkeyPatch, model: onnx.ModelProto, shape: Any) -> list[int]:
    """Checks the results with windows of `FEW` elements; the windows that there are."""
    monkeypatch.setattr(module, "MOST", FEW)
    imported = pool_codes(load_model(model))
    made = long_maxima(imported)
    assert np.array_equal(results(imported, shape), results(made, shape))
    assert max(windows(made)) <= FEW
    return windows(made)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.integers(1, 3))
def test_rows_of_any_length(length: int, rows: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        found = in_turn(patched, maximum((rows, length)), (rows, length))
    assert (len(found) > 1) == (length > FEW)


POOLS: dict[str, dict[str, Any]] = {
    "global": {"op": "GlobalMaxPool"},
    "window": {"op": "MaxPool", "kernel_shape": [5, 6], "strides": [2, 3], "pads": [2, 1, 1, 2]},
    "dilated": {"op": "MaxPool", "kernel_shape": [4, 5], "dilations": [2, 3], "pads": [3, 2, 0, 4]},
}


@pytest.mark.parametrize("name", POOLS)
def test_windows_over_two_dimensions(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (2, 3, 14, 17)
    assert len(in_turn(monkeypatch, maximum(shape, **POOLS[name]), shape)) > 1


def test_short_ones_stay() -> None:
    imported = pool_codes(load_model(maximum((2, module.MOST))))
    assert long_maxima(imported) is imported


@pytest.mark.parametrize(
    ("shape", "op"), [((2, 5003), ""), ((1, 3, 70, 90), "GlobalMaxPool")], ids=["row", "map"]
)
def test_a_window_larger_than_the_memory_runs(shape: tuple[int, ...], op: str) -> None:
    # 5,003 and 6,300 lines of 16 bytes: edge8 has 4,096.
    codes = np.random.default_rng(3).integers(-128, 128, shape).astype(np.int8)
    model = maximum(shape, op)
    inputs = {i.name: codes for i in model.graph.input}
    check_model(model, inputs, machine_of(load_architecture("edge8")), 5)


@pytest.mark.rtl
def test_a_row_longer_than_the_memory_in_rtl() -> None:
    compiled = compiled_network(maximum((2, 5003)), "edge8")
    for stall in (0.0, 0.3):
        outcome = simulated_network(compiled, 3, stall)
        assert stall or outcome.simulated == outcome.predicted
