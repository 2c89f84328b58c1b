"""Primitive operators against exact arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.evaluate.primitives import FUNCTIONS, compute, lookup
from dataflow.evaluate.single import fma32, rint32
from dataflow.ir.ops import OPS


def singles(values: Sequence[float | np.float32]) -> np.ndarray:
    """A float32 array."""
    return np.array(values, dtype=np.float32)


SINGLES = st.floats(width=32, allow_nan=False, allow_infinity=False)


def nearest_single(value: Fraction) -> np.float32:
    """A rational number rounded to float32, nearest even, by comparing neighbours exactly."""
    with np.errstate(all="ignore"):
        guess = np.float32(float(value))
        ends = singles([np.inf, -np.inf])
        candidates = [guess, *np.nextafter(guess, ends)]
    finite = [c for c in candidates if np.isfinite(c)]
    best = min(abs(Fraction(float(c)) - value) for c in finite)
    close = [c for c in finite if abs(Fraction(float(c)) - value) == best]
    even = [c for c in close if not int(c.view(np.uint32)) & 1]
    return np.float32((even or close)[0])


@given(SINGLES, SINGLES, SINGLES)
@settings(max_examples=500)
def test_fma_rounds_once(a: float, b: float, c: float) -> None:
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    got = fma32(singles([a]), singles([b]), singles([c]))[0]
    if abs(exact) > Fraction(float(np.finfo(np.float32).max)):
        assert abs(got) >= np.finfo(np.float32).max
        return
    assert got == nearest_single(exact)


@given(st.integers(0, 2**23 - 1), st.integers(0, 2**23 - 1), st.integers(-80, 2))
@settings(max_examples=500)
def test_fma_is_right_next_to_ties(a: int, b: int, shift: int) -> None:
    """A product of 48 bits plus a tiny addend: where rounding twice goes wrong."""
    x, y = np.float32(2**23 + a), np.float32(2**23 + b)
    z = np.float32(2.0**shift)
    for first, addend in product((x, -x), (z, -z)):
        exact = Fraction(float(first)) * Fraction(float(y)) + Fraction(float(addend))
        got = fma32(singles([first]), singles([y]), singles([addend]))[0]
        assert got == nearest_single(exact)


def test_fma_differs_from_rounding_twice() -> None:
    # The product lies on a tie between two float32 numbers; the addend decides.
    x = singles([1 + 2**-12])
    tie = np.float32(1 + 2**-11)
    tiny = singles([2.0**-60])
    assert fma32(x, x, -tiny)[0] == tie
    assert fma32(x, x, tiny)[0] == np.nextafter(tie, np.float32(2))
    assert fma32(-x, x, tiny)[0] == -tie
    assert fma32(-x, x, -tiny)[0] == np.nextafter(-tie, np.float32(-2))


def test_rint_rounds_to_even_and_saturates() -> None:
    x = singles([0.5, 1.5, -0.5, -2.5, 3e9, -3e9, np.inf, -np.inf, np.nan])
    limit = 1 << 30
    expected = [0, 2, 0, -2, limit, -limit, limit, -limit, -limit]
    assert rint32(x).tolist() == expected


def test_lookup_takes_the_raw_byte() -> None:
    table = np.arange(256, dtype=np.uint8)
    assert lookup(np.array([-1, -128, 0, 127], np.int8), table).tolist() == [255, 128, 0, 127]


def test_narrow_integers_are_computed_in_int32() -> None:
    result = compute("sub", [np.array([-128], np.int8), np.array([255], np.uint8)])
    assert result.dtype == np.int32
    assert result.tolist() == [-383]


def test_int32_wraps() -> None:
    big = np.array([2**31 - 1], np.int32)
    assert compute("add", [big, np.array([1], np.int32)]).tolist() == [-(2**31)]


@pytest.mark.parametrize("name", sorted(OPS))
def test_each_operator_has_a_meaning(name: str) -> None:
    assert name in FUNCTIONS


WHOLE = [-(2**31), -9, -7, -2, -1, 0, 1, 2, 7, 9, 2**31 - 1]


def test_integer_division_is_towards_zero() -> None:
    a, b = (np.array(x, np.int32) for x in ([-7, 7, -7, 7, -8, 0, -1], [2, -2, -2, 2, 4, -3, 9]))
    assert compute("idiv", [a, b]).tolist() == [-3, -3, 3, 3, -2, 0, 0]
    for x in WHOLE[1:]:
        for y in (n for n in WHOLE[1:] if n):
            found = compute("idiv", [np.array([x], np.int64), np.array([y], np.int64)])
            assert found.tolist() == [int(Fraction(x, y))]


def test_negative_powers_of_integers_are_truncated() -> None:
    a = np.array([-1, -1, 1, 2, -2, 0, 3], np.int32)
    b = np.array([-3, -4, -5, -1, -1, -1, 2], np.int32)
    assert compute("pow", [a, b]).tolist() == [-1, 1, 1, 0, 0, 0, 9]


def test_four_bit_codes_are_the_low_bits() -> None:
    x = np.array([-9, -8, -1, 0, 7, 8, 15, 16], np.int32)
    assert compute("s4", [x]).tolist() == [7, -8, -1, 0, 7, -8, -1, 0]
    assert compute("u4", [x]).tolist() == [7, 8, 15, 0, 7, 8, 15, 0]


def test_modulo_has_the_sign_of_the_divisor_and_remainder_that_of_the_dividend() -> None:
    a, b = np.array([-7, 7, -7, 7], np.int32), np.array([3, -3, -3, 3], np.int32)
    assert compute("mod", [a, b]).tolist() == [2, -2, -1, 1]
    assert compute("fmod", [a, b]).tolist() == [-1, 1, -1, 1]
