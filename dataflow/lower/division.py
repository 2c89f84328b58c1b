"""Divisions by known numbers in two operations: fma(x, high, x * low), correctly rounded.

With high = RN(1/d) and low = RN(1/d - high) the sum before the last rounding is off by less than
2^-48 of the quotient. Only dividends whose quotient lies as near to the middle of two float32
numbers can be rounded wrongly; there are a few for each divisor, found by modular inverses and
tried (Brisebarre, Muller and Raina, "Accelerating correctly rounded floating-point division when
the divisor is known in advance", IEEE Transactions on Computers 53(8), 2004).
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from math import ceil

import numpy as np

from dataflow.evaluate.single import fma32

BITS = 24
"""Of a float32 significand."""


@cache
def reciprocal(divisor: float) -> tuple[float, float] | None:
    """(high, low) for a float32 divisor; None where some dividend would be rounded wrongly.

    Holds for every float32 dividend where neither product under- nor overflows.
    """
    mantissa = np.float32(np.frexp(np.float32(divisor))[0] * 2)
    exact = 1 / Fraction(float(mantissa))
    high = np.float32(1) / mantissa
    near = np.float32(exact - Fraction(float(high)))
    exponent = int(np.frexp(np.float32(divisor))[1]) - 1
    for low in (near, np.nextafter(near, -np.float32(1)), np.nextafter(near, np.float32(1))):
        if _right(mantissa, high, low, exact):
            return float(np.ldexp(high, -exponent)), float(np.ldexp(low, -exponent))
    return None


def _right(divisor: np.float32, high: np.float32, low: np.float32, exact: Fraction) -> bool:
    """Whether every dividend that could be rounded wrongly is rounded rightly."""
    parts = Fraction(float(high)) + Fraction(float(low))
    error = abs(parts - exact) / abs(exact) + abs(Fraction(float(low)) / exact) / (1 << BITS)
    integer = abs(int(np.ldexp(np.float64(divisor), BITS - 1)))
    tried = sorted(set(_near_middles(integer, error)))
    dividends = np.array(tried, dtype=np.float64).astype(np.float32)
    if not dividends.size:
        return True
    product = np.asarray(dividends * low, dtype=np.float32)
    found = fma32(dividends, np.asarray(high), product)
    return bool(np.array_equal(found, dividends / divisor))


def _near_middles(divisor: int, error: Fraction) -> Iterator[int]:
    """Significands x whose quotient is within ``error`` of the middle of two float32 numbers.

    x / divisor = (odd + rest / divisor) / 2^shift, with rest = 2^shift x - odd * divisor, and
    shift 24 where the quotient is at least 1, else 25.
    """
    powers = (divisor & -divisor).bit_length() - 1
    odd = divisor >> powers
    for shift in (BITS, BITS + 1):
        most = ceil(error * (1 << (BITS + shift)))
        inverse = pow(1 << (shift - powers), -1, odd) if odd > 1 else 0
        for rest in range(1, most + 1):
            if rest % (1 << powers):
                continue
            for signed in (rest, -rest):
                first = (signed >> powers) * inverse % odd
                start = first + -(-((1 << (BITS - 1)) - first) // odd) * odd
                for x in range(start, 1 << BITS, odd):
                    if ((x << shift) - signed) // divisor % 2:
                        yield x
