"""What follows from the one definition of each elementwise function."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dataflow.frontend.functions import FUNCTIONS, Unary, apply, monotone
from dataflow.ir.dtype import F32
from dataflow.ir.expr import single
from dataflow.ir.verify import expr_type

NUMBERS = np.linspace(-6, 6, 241).astype(np.float32)


@pytest.mark.parametrize("op", FUNCTIONS)
def test_each_function_has_a_numpy_form(op: str) -> None:
    values = apply(Unary(op), NUMBERS)
    assert values.dtype == np.float32
    assert values.shape == NUMBERS.shape
    assert np.isfinite(values).all()
    assert len(np.unique(values)) > 1


def test_the_numpy_form_is_the_function() -> None:
    x = NUMBERS.astype(np.float64)
    expected = {
        "Sigmoid": 1 / (1 + np.exp(-x)),
        "Tanh": np.tanh(x),
        "Mish": x * np.tanh(np.log1p(np.exp(x))),
        "HardSwish": x * np.clip(x / 6 + 0.5, 0, 1),
    }
    for op, values in expected.items():
        assert apply(Unary(op), NUMBERS) == pytest.approx(values, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("function", "bounds"),
    [
        (Unary("Relu"), (0.0, math.inf)),
        (Unary("Clip", (("max", 6.0), ("min", -1.0))), (-1.0, 6.0)),
        (Unary("Clip", (("min", 2.0),)), (2.0, math.inf)),
        (Unary("Clip", (("max", 1.0), ("min", 3.0))), (1.0, 1.0)),  # the upper bound wins
        (Unary("Clip"), (-math.inf, math.inf)),
        (Unary("Sigmoid"), None),
        (Unary("HardSwish"), None),
    ],
)
def test_bounds_are_read_off_the_expression(
    function: Unary, bounds: tuple[float, float] | None
) -> None:
    assert function.clamps == bounds


@pytest.mark.parametrize(
    ("function", "never_falls"),
    [
        (Unary("Relu"), True),
        (Unary("Sigmoid"), True),
        (Unary("Elu"), True),
        (Unary("LeakyRelu", (("alpha", -0.5),)), False),
        (Unary("HardSwish"), False),
        (Unary("Gelu"), False),
        (Unary("HardSigmoid", (("alpha", -0.2),)), False),
        (Unary("ThresholdedRelu"), True),
    ],
)
def test_whether_a_function_falls_is_tried(function: Unary, never_falls: bool) -> None:
    assert monotone((function,), NUMBERS) is never_falls


def test_a_chain_may_rise_where_its_parts_fall() -> None:
    falling = Unary("LeakyRelu", (("alpha", -1.0),))
    assert not monotone((falling,), NUMBERS)
    assert monotone((Unary("Relu"), falling), NUMBERS)


def test_expressions_are_float32() -> None:
    for op in FUNCTIONS:
        assert expr_type({}, Unary(op).expression(single(1.5))) == F32
