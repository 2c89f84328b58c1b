"""Cheaper forms of functions of codes: the same code at every input, or a tie and said so."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from dataflow.evaluate import run_machine_part
from dataflow.frontend import load_model
from dataflow.ir.cascade import Cascade
from dataflow.ir.expr import Call, walk
from dataflow.rewrite import legalise_report, tabulate
from dataflow.rewrite.code_arithmetic import break_ties, cheapen_codes
from tests.rewrite.code_models import Array, Params, binary, model, qlinear, scaled_channels

GRID = np.indices((256, 256)).astype(np.uint8).view(np.int8)
"""All pairs of codes: the first varies over rows, the second over columns."""


def codes(cascade: Cascade, **inputs: Array) -> Array:
    """The output's codes."""
    return run_machine_part(cascade, inputs)[cascade.outputs[0]].astype(np.int64)


def calls(cascade: Cascade) -> list[str]:
    """Arithmetic that is written: what the vector unit executes, but for roundings and casts."""
    free = ("clip", "rint", "f32")
    parts = [p for e in cascade.einsums for p in walk(e.expr) if isinstance(p, Call)]
    integer = ("sub", "add")
    return [p.op for p in parts if p.op not in (*free, *integer)]


scales = st.floats(0.004, 0.2).map(lambda s: float(np.float32(s)))
zeros = st.integers(-128, 127)
params = st.tuples(scales, zeros)


@given(a=params, b=params, y=params, op=st.sampled_from(["Add", "Sub", "Mul"]), relu=st.booleans())
@settings(max_examples=12, deadline=None)
def test_exact_forms_give_the_literal_code_for_all_pairs(
    a: Params, b: Params, y: Params, op: str, relu: bool
) -> None:
    imported = load_model(binary(op, a, b, y, relu))
    cheap = cheapen_codes(tabulate(imported))
    given_codes = {"a": GRID[0], "b": GRID[1]}
    assert np.array_equal(codes(cheap, **given_codes), codes(imported, **given_codes))


@pytest.mark.parametrize(
    ("op", "expected"), [("Add", ["fma", "fma"]), ("Sub", ["fma", "fma"]), ("Mul", ["fma", "mul"])]
)
@pytest.mark.parametrize("relu", [False, True])
def test_sums_and_products_of_two_tensors_take_two_operations(
    op: str, expected: list[str], relu: bool
) -> None:
    scale = 0.037 if op != "Mul" else 0.0023
    imported = load_model(binary(op, (0.03, -5), (0.02, 9), (scale, -20), relu))
    cheap = cheapen_codes(imported)
    assert calls(cheap) == expected
    given_codes = {"a": GRID[0], "b": GRID[1]}
    assert np.array_equal(codes(cheap, **given_codes), codes(imported, **given_codes))


def test_scales_in_a_simple_ratio_are_not_changed_exactly_but_near_ties() -> None:
    a, b, y = (0.02, 3), (0.03, -5), (0.02, 4)
    imported = load_model(binary("Add", a, b, y))
    given_codes = {"a": GRID[0], "b": GRID[1]}
    literal = codes(imported, **given_codes)
    assert np.array_equal(codes(cheapen_codes(imported), **given_codes), literal)
    even = break_ties(imported)
    assert calls(even) == ["fma", "fma"]
    found = codes(even, **given_codes)
    differs = found != literal
    assert 0 < differs.sum() < 0.1 * differs.size
    assert np.abs(found - literal).max() == 1
    for i, j in np.argwhere(differs):
        first, second = int(GRID[0][i, j]) - a[1], int(GRID[1][i, j]) - b[1]
        real = first + Fraction(3, 2) * second  # with 0.02 and 0.03 as they are meant
        assert real.denominator == 2
        assert found[i, j] == round(real) + y[1]  # Python rounds halves to even


def test_ties_of_powers_of_two_are_met_exactly() -> None:
    imported = load_model(binary("Add", (0.25, 3), (0.5, -5), (1.0, 4)))
    cheap = cheapen_codes(imported)
    assert calls(cheap) == ["fma", "fma"]
    given_codes = {"a": GRID[0], "b": GRID[1]}
    assert np.array_equal(codes(cheap, **given_codes), codes(imported, **given_codes))


@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
def test_an_integer_kernel_keeps_its_ties(op: str) -> None:
    imported = load_model(qlinear(op, (0.5, 3), (0.25, -5), (1.0, 5)))
    report = legalise_report(imported)
    assert report.exact
    given_codes = {"a": GRID[0], "b": GRID[1]}
    found = codes(report.cascade, **given_codes)
    assert np.array_equal(found, codes(imported, **given_codes))


def test_near_ties_are_a_named_step_that_can_be_switched_off() -> None:
    imported = load_model(binary("Add", (0.02, 3), (0.03, -5), (0.02, 4)))
    steps = {s.name: s.exact for s in legalise_report(imported).steps if s.changed}
    assert steps["near-ties"] is False
    exact = legalise_report(imported, literal=True)
    assert exact.exact
    given_codes = {"a": GRID[0], "b": GRID[1]}
    assert np.array_equal(codes(exact.cascade, **given_codes), codes(imported, **given_codes))


def test_numbers_for_each_channel_become_one_operation() -> None:
    rng = np.random.default_rng(3)
    scale, shift = rng.uniform(-2, 2, 24), rng.uniform(-1, 1, 24)
    scale[5] = 0.0
    imported = load_model(scaled_channels(scale, shift, (0.019, -3)))
    cheap = cheapen_codes(imported)
    assert calls(cheap) == ["fma"]
    x = np.repeat(np.arange(256, dtype=np.uint8).view(np.int8)[:, None], 24, axis=1)
    assert np.array_equal(codes(cheap, x=x), codes(imported, x=x))


def test_two_constants_are_left_to_constant_folding() -> None:
    constants: dict[str, Array] = {
        "w": np.arange(-8, 8, dtype=np.int8).reshape(4, 4),
        "v": np.arange(16, dtype=np.int8).reshape(4, 4),
        "s": np.array(0.1, np.float32),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["dw"]),
        helper.make_node("DequantizeLinear", ["v", "s"], ["dv"]),
        helper.make_node("Add", ["dw", "dv"], ["c"]),
        helper.make_node("DequantizeLinear", ["x", "s"], ["d"]),
        helper.make_node("Add", ["d", "c"], ["f"]),
        helper.make_node("QuantizeLinear", ["f", "s", "zy"], ["y"]),
    ]
    constants["zy"] = np.array(0, np.int8)
    imported = load_model(model(nodes, {"x": (4, 4)}, (4, 4), constants))
    x = np.arange(16, dtype=np.int8).reshape(4, 4)
    assert np.array_equal(codes(cheapen_codes(imported), x=x), codes(imported, x=x))
