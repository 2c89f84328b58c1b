"""Divisions in two operations: right for every significand of the dividend, or not claimed."""

from __future__ import annotations

import numpy as np
import pytest

from dataflow.evaluate.single import fma32
from dataflow.lower.division import reciprocal

DIVISORS = (3.0, 0.02, 0.03, 1e-3, 16777213.0, 1.2739596)


def by_two_operations(x: np.ndarray, pair: tuple[float, float]) -> np.ndarray:
    """fma(x, high, x * low) in float32."""
    high, low = (np.float32(part) for part in pair)
    return fma32(x, np.asarray(high), np.asarray(x * low, dtype=np.float32))


@pytest.mark.parametrize("divisor", DIVISORS)
def test_no_dividend_is_rounded_wrongly(divisor: float) -> None:
    divisor = float(np.float32(divisor))
    pair = reciprocal(divisor)
    assert pair is not None
    for start in range(1 << 23, 1 << 24, 1 << 21):
        x = np.arange(start, start + (1 << 21)).astype(np.float32)
        assert np.array_equal(by_two_operations(x, pair), x / np.float32(divisor))


def test_a_pair_is_claimed_exactly_where_a_plain_one_would_fail() -> None:
    # The nearest low part is wrong for this divisor, its neighbour is right.
    divisor = np.float32(0.03)
    high = np.float32(1) / divisor
    low = np.float32(1 / float(divisor) - float(high))
    pair = reciprocal(float(divisor))
    assert pair is not None
    assert np.float32(pair[1]) != low
    x = np.arange(1 << 23, 1 << 24).astype(np.float32)
    assert (by_two_operations(x, (float(high), float(low))) != x / divisor).any()


def test_most_divisors_have_a_pair_and_the_others_none() -> None:
    rng = np.random.default_rng(0)
    divisors = rng.uniform(0.5, 2.0, 400).astype(np.float32)
    pairs = [reciprocal(float(d)) for d in divisors]
    assert sum(p is not None for p in pairs) > 390
    assert reciprocal(float(np.float32(1.8474982976913452))) is None


def test_scaling_a_divisor_by_two_scales_its_pair() -> None:
    pair, half = reciprocal(float(np.float32(0.1))), reciprocal(float(np.float32(0.05)))
    assert pair is not None
    assert half == (2 * pair[0], 2 * pair[1])
