"""More numbers for each channel than the machine reads: one multiply-add, or nothing."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from dataflow.evaluate import run_machine_part
from dataflow.frontend import load_model
from dataflow.ir.cascade import Cascade
from dataflow.ir.expr import Call, walk
from dataflow.lower import lower
from dataflow.rewrite import legalise_report
from dataflow.rewrite.accumulators import merge_parameters
from dataflow.rewrite.fold_constants import fold_parameters
from dataflow.rewrite.uniform_parameters import uniform_parameters
from tests.rewrite.code_models import Array, behind_a_convolution


def numbers(seed: int, low: float, high: float) -> Array:
    return np.random.default_rng(seed).uniform(low, high, (10, 1, 1)).astype(np.float32)


def normalised(relu: bool = False) -> onnx.ModelProto:
    """A batch normalisation, one channel of which turns the sign."""
    names = dict(zip("gbuv", range(4), strict=True))
    data = {n: numbers(k, 0.5, 1.5).reshape(-1) for n, k in names.items()}
    data["g"][3] = -0.7
    node = helper.make_node("BatchNormalization", ["c", *names], ["e" if relu else "f"])
    nodes = [node, *([helper.make_node("Relu", ["e"], ["f"])] if relu else [])]
    return behind_a_convolution(nodes, data, False)


def with_a_dead_channel() -> onnx.ModelProto:
    """The same, with a channel that is a constant and one that the Relu always clips."""
    names = dict(zip("gbuv", range(4), strict=True))
    data = {n: numbers(k, 0.5, 1.5).reshape(-1) for n, k in names.items()}
    data["g"][2:4], data["b"][3] = (0.0, 1e-6), -2.0
    nodes = [
        helper.make_node("BatchNormalization", ["c", *names], ["e"]),
        helper.make_node("Relu", ["e"], ["f"]),
    ]
    return behind_a_convolution(nodes, data, False)


def scaled_and_shifted() -> onnx.ModelProto:
    nodes = [helper.make_node("Mul", ["c", "m"], ["e"]), helper.make_node("Add", ["e", "k"], ["f"])]
    return behind_a_convolution(nodes, {"m": numbers(1, 0.5, 2), "k": numbers(2, -1, 1)}, False)


def divided() -> onnx.ModelProto:
    node = helper.make_node("Div", ["c", "m"], ["f"])
    return behind_a_convolution([node], {"m": numbers(1, 0.5, 2)}, False)


def calls(cascade: Cascade) -> list[str]:
    """Operations behind the accumulator."""
    tip = cascade.einsums[-1]
    free = ("clip", "rint", "f32", "add")
    return [p.op for p in walk(tip.expr) if isinstance(p, Call) and p.op not in free]


@pytest.mark.parametrize(
    "model",
    [
        normalised(),
        normalised(relu=True),
        with_a_dead_channel(),
        scaled_and_shifted(),
        divided(),
    ],
)
def test_a_chain_of_numbers_is_one_multiply_add_up_to_ties(model: onnx.ModelProto) -> None:
    imported = load_model(model)
    merged = merge_parameters(fold_parameters(imported))
    assert calls(merged) == ["fma"]
    rng = np.random.default_rng(7)
    differs = total = 0
    for _ in range(8):
        x = rng.integers(-128, 128, (1, 3, 7, 6)).astype(np.int8)
        before = run_machine_part(imported, {"x": x})[imported.outputs[0]].astype(int)
        after = run_machine_part(merged, {"x": x})[merged.outputs[0]].astype(int)
        assert np.abs(after - before).max() <= 1
        differs, total = differs + int((after != before).sum()), total + after.size
    assert differs <= total // 1000
    assert len(np.unique(before)) > 50


def test_it_is_said_to_be_inexact_and_can_be_switched_off() -> None:
    report = legalise_report(load_model(normalised()))
    assert {s.name: s.exact for s in report.steps if s.changed}["merge-parameters"] is False
    assert len(lower(report.cascade).layers) == 1
    literal = legalise_report(load_model(normalised()), literal=True)
    assert literal.exact


def test_one_scale_for_all_weights_is_a_literal_where_lines_are_short() -> None:
    nodes = [helper.make_node("Mul", ["c", "m"], ["e"]), helper.make_node("Add", ["e", "k"], ["f"])]
    data = {"m": numbers(1, 0.5, 2), "k": numbers(2, -1, 1), "sw": np.full(10, 0.003, np.float32)}
    report = legalise_report(load_model(behind_a_convolution(nodes, data, False)))
    changed = {s.name for s in report.steps if s.changed}
    assert "uniform-parameters" in changed and "merge-parameters" not in changed
    assert report.exact and len(lower(report.cascade).layers) == 1
    # With the factor alone two numbers are read: the scale stays one of them.
    del data["k"]
    alone = [helper.make_node("Mul", ["c", "m"], ["f"])]
    imported = load_model(behind_a_convolution(alone, data, False))
    assert uniform_parameters(imported) is imported


def test_two_numbers_stay_as_they_are_written() -> None:
    node = helper.make_node("Mul", ["c", "m"], ["f"])
    imported = load_model(behind_a_convolution([node], {"m": numbers(1, 0.5, 2)}, False))
    assert merge_parameters(imported) is imported


def test_a_slope_below_zero_is_no_multiply_add() -> None:
    nodes = [
        helper.make_node("Mul", ["c", "m"], ["e"]),
        helper.make_node("Add", ["e", "k"], ["g"]),
        helper.make_node("LeakyRelu", ["g"], ["f"], alpha=0.3),
    ]
    data = {"m": numbers(1, 0.5, 2), "k": numbers(2, -1, 1)}
    imported = load_model(behind_a_convolution(nodes, data, False))
    assert merge_parameters(imported) is imported


def test_parameters_of_codes_are_not_folded() -> None:
    imported = load_model(divided())
    assert fold_parameters(imported) is imported
