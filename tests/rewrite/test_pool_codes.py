"""Maxima behind the quantiser: exact, and only where every window has an element."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from dataflow.evaluate import run_machine_part
from dataflow.frontend import load_model
from dataflow.ir.cascade import Cascade
from dataflow.rewrite.cone import is_codes
from dataflow.rewrite.pool_codes import pool_codes
from tests.frontend.qdq_net import S8, QdqNet

Array = np.ndarray
POOL: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}


def network(*, sign: float = 1.0, behind: str = "", **pool: Any) -> onnx.ModelProto:
    """Codes [1, 6, 7, 8] normalised for each channel, pooled, quantised."""
    net = QdqNet(3)
    x = net.dequantised(net.input((1, 6, 7, 8), S8), 0.04, -7)
    norm = [net.floats(6, low=0.5, high=2.0) for _ in range(4)]
    y = net.op("MaxPool", net.op("BatchNormalization", x, *norm), **(pool or POOL))
    if behind:
        y = net.op(behind, y)
    if sign < 0:
        y = net.op("Neg", y)
    return net.finish(net.through(y, 0.05, -20))


def pooled_floats(cascade: Cascade) -> int:
    """Maxima of numbers that are no codes."""
    return sum(
        e.reduction is not None
        and e.reduction.op == "max"
        and not is_codes(cascade.tensors[e.output.tensor])
        for e in cascade.einsums
    )


def result(cascade: Cascade) -> Array:
    """The only output on seeded codes."""
    codes = np.random.default_rng(5).integers(-128, 128, (1, 6, 7, 8)).astype(np.int8)
    values = run_machine_part(cascade, dict.fromkeys(cascade.inputs, codes))
    return values[cascade.outputs[0]]


@pytest.mark.parametrize("behind", ["", "Relu"])
def test_codes_are_pooled_instead_of_numbers(behind: str) -> None:
    imported = load_model(network(behind=behind))
    moved = pool_codes(imported)
    assert pooled_floats(imported) == 1
    assert pooled_floats(moved) == 0
    before = result(imported)
    assert np.array_equal(before, result(moved))
    assert len(np.unique(before)) > 20


def test_a_function_that_falls_stays_behind_the_maximum() -> None:
    imported = load_model(network(sign=-1.0))
    assert pool_codes(imported) is imported


def test_a_window_without_an_element_stays() -> None:
    # The last window lies in the padding alone: its maximum is no number of the tensor.
    imported = load_model(
        network(kernel_shape=[2, 2], strides=[2, 2], dilations=[8, 1], pads=[7, 0, 7, 0])
    )
    moved = pool_codes(imported)
    assert np.array_equal(result(imported), result(moved))
