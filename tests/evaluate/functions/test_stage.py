"""The function stage in NumPy: special values, exact places, error and order on a seeded sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import special

from dataflow.evaluate.functions import Function, apply, composed
from tests.evaluate.functions.arguments import arguments

Array = np.ndarray
QUIET_NAN = 0x7FC00000
LIMIT = 2.0**-20
INF, NAN = np.inf, np.nan


def stage(function: Function) -> Callable[[Array], Array]:
    return lambda x: apply(function, x)


# Name: function, reference in binary64, has a zero (absolute error below 1/4), falls.
FUNCTIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array], bool, bool]] = {
    "exp2": (stage(Function.EXP2), np.exp2, False, False),
    "reciprocal": (stage(Function.RECIPROCAL), np.reciprocal, False, True),
    "rsqrt": (stage(Function.RSQRT), lambda x: 1 / np.sqrt(x), False, True),
    "log2": (stage(Function.LOG2), np.log2, True, False),
    "erf": (composed.erf, special.erf, True, False),
    "exp": (composed.exp, np.exp, False, False),
    "sigmoid": (composed.sigmoid, special.expit, False, False),
    "tanh": (composed.tanh, np.tanh, True, False),
    "softplus": (composed.softplus, lambda x: np.logaddexp(0, x), True, False),
    "log": (composed.log, np.log, True, False),
    "sqrt": (composed.sqrt, np.sqrt, False, False),
}


SPECIAL: dict[str, list[tuple[float, float]]] = {
    "exp2": [(0, 1), (-0.0, 1), (3, 8), (-149, 2**-149), (-150, 2**-149), (-151, 0), (128, INF)],
    "reciprocal": [(0, INF), (-0.0, -INF), (INF, 0), (-INF, -0.0), (-4, -0.25), (1e-45, INF)],
    "rsqrt": [(0, INF), (-0.0, -INF), (INF, 0), (-INF, NAN), (-1, NAN), (2**-148, 2**74)],
    "log2": [(0, -INF), (-0.0, -INF), (INF, INF), (-1, NAN), (1, 0), (1e-45, -149), (2, 1)],
    "erf": [(0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (4, 1), (1e-45, 0)],
    "exp": [
        (0, 1),
        (-0.0, 1),
        (INF, INF),
        (-INF, 0),
        (89, INF),
        (-104, 0),
        (3e38, INF),
        (-3e38, 0),
    ],
    "sigmoid": [(0, 0.5), (-0.0, 0.5), (INF, 1), (-INF, 0), (89, 1), (-89, 0)],
    "tanh": [(0, 0), (-0.0, 0), (INF, 1), (-INF, -1), (20, 1), (-20, -1)],
    "softplus": [(INF, INF), (-INF, 0), (90, 90), (-90, 0), (2.0**127, 2.0**127)],
    "log": [(0, -INF), (-0.0, -INF), (INF, INF), (-1, NAN), (1, 0)],
    "sqrt": [(0, 0), (-0.0, -0.0), (INF, INF), (-INF, NAN), (-1, NAN), (4, 2), (2**-148, 2**-74)],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values(name: str) -> None:
    x, expected = np.array(SPECIAL[name], np.float32).T
    got = FUNCTIONS[name][0](x).view(np.uint32)
    expected = np.ascontiguousarray(expected)
    bits = np.where(np.isnan(expected), np.uint32(QUIET_NAN), expected.view(np.uint32))
    assert [f"{v:08x}" for v in got] == [f"{v:08x}" for v in bits]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_nan_of_any_sign_gives_the_one_nan(name: str) -> None:
    bits = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFF800001, 0xFFFFFFFF], np.uint32)
    with np.errstate(invalid="ignore"):
        got = FUNCTIONS[name][0](bits.view(np.float32)).view(np.uint32)
    assert set(got.tolist()) == {QUIET_NAN}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_and_order_on_a_sample(name: str) -> None:
    """The campaign says it of all arguments; here a seeded sample, in order."""
    function, reference, zero, falls = FUNCTIONS[name]
    x = np.sort(arguments(np.random.default_rng(7), 20_000))
    x = x[~np.isnan(x)]
    with np.errstate(all="ignore"):
        got, want = function(x), reference(x.astype(np.float64))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    size = np.abs(want)
    finite = size < 3.4e38
    far = finite & (size >= (0.25 if zero else 2.0**-126))
    near = finite & ~far
    error = np.abs(got - np.where(finite, want, 0))
    assert (error[far] <= LIMIT * size[far]).all()
    assert (error[near] <= (LIMIT if zero else 2.0**-127)).all()
    for side in (x < 0, x > 0) if falls else (np.ones(len(x), bool),):
        numbers = got[side & ~np.isnan(got)]
        steps = numbers[1:] >= numbers[:-1]
        assert (numbers[1:] <= numbers[:-1]).all() if falls else steps.all()


@pytest.mark.parametrize("function", [f for f in Function if f != Function.IDENTITY])
def test_order_at_every_end_of_a_piece(function: Function) -> None:
    """Neighbours around all starts of rows, around one."""
    starts = (np.arange(96, 140, dtype=np.uint32)[:, None] << 23 | np.arange(128) << 16).ravel()
    near = (starts[:, None] + np.arange(-3, 4)).astype(np.uint32)
    got = apply(function, near.view(np.float32))
    falls = function in (Function.RECIPROCAL, Function.RSQRT)
    first, second = got[:, :-1], got[:, 1:]
    assert (second <= first if falls else second >= first).all()


def test_scale_is_added_to_the_exponent() -> None:
    x = np.array([0.5, -0.5, 100.25, -100.25], np.float32)[:, None]
    scale = np.arange(-512, 512)
    got = apply(Function.EXP2, x, scale)
    fractions = np.array([0.5, 0.5, 0.25, 0.75], np.float32)[:, None]
    one = apply(Function.EXP2, fractions).astype(np.float64)
    whole = np.array([0, -1, 100, -101])[:, None] + scale
    with np.errstate(over="ignore"):
        want = np.ldexp(one, whole).astype(np.float32)
    normal = whole >= -126
    np.testing.assert_array_equal(got[normal], want[normal])
    # A subnormal result is cut to its round bit before it is rounded.
    assert (np.abs(got[~normal].astype(np.float64) - want[~normal]) <= 2.0**-149).all()
    np.testing.assert_array_equal(apply(Function.EXP2, x, scale + 1024), got)


def test_powers_of_two_are_exact() -> None:
    exponent = np.arange(-126, 128)
    power = np.ldexp(np.float32(1), exponent).astype(np.float32)
    np.testing.assert_array_equal(apply(Function.EXP2, exponent.astype(np.float32)), power)
    np.testing.assert_array_equal(apply(Function.LOG2, power), exponent)
    np.testing.assert_array_equal(apply(Function.RECIPROCAL, power), power[::-1] / 2)
    np.testing.assert_array_equal(
        apply(Function.RSQRT, power[::2]), np.ldexp(1.0, -exponent[::2] // 2)
    )


def test_identity_returns_its_argument() -> None:
    x = np.array([1, np.nan], np.float32)
    assert apply(Function.IDENTITY, x) is x
