"""Values of the stage's functions at rational points, in integers of `BITS` fraction bits.

No floating point: the tables are the same on every computer. Each value is within 2^-80 of the
function (a root is the exact floor; a series loses less than a unit a term).
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import isqrt

BITS = 96
ONE = 1 << BITS


def fixed(value: Fraction) -> int:
    """A rational number, rounded down."""
    return (value.numerator << BITS) // value.denominator


def exp2(t: Fraction) -> int:
    """2^t for t = i / 2^k >= 0: the floor of the 2^k-th root of 2^i."""
    k = t.denominator.bit_length() - 1
    root = 1 << (t.numerator + (BITS << k))
    for _ in range(k):
        root = isqrt(root)
    return root


def rsqrt(x: Fraction) -> int:
    """1 / sqrt(x) for x > 0."""
    return isqrt((x.denominator << (2 * BITS)) // x.numerator)


def log2(x: Fraction) -> int:
    """log2(x) for 1 <= x <= 2: ln(x) / ln(2)."""
    return (_ln(x) << BITS) // _ln(Fraction(2))


@cache
def _ln(x: Fraction) -> int:
    """ln(x) = 2 artanh((x - 1) / (x + 1))."""
    z = (x - 1) / (x + 1)
    square, power, total, n = z * z, fixed(z), 0, 1
    while power:
        total += power // n
        power = power * square.numerator // square.denominator
        n += 2
    return 2 * total


def erf(x: Fraction) -> int:
    """erf(x) for 0 <= x <= 4: 2 / sqrt(pi) times the Taylor series, whose terms stay below 2^23."""
    square, power, total, k = x * x, fixed(x), 0, 0
    while power:
        total += (-power if k % 2 else power) // (2 * k + 1)
        k += 1
        power = power * square.numerator // (square.denominator * k)
    return 2 * total * ONE // isqrt(_pi() << BITS)


@cache
def _pi() -> int:
    """Machin's formula."""

    def inverse_arctangent(n: int) -> int:
        power, total, k = ONE // n, 0, 0
        while power:
            total += (-power if k % 2 else power) // (2 * k + 1)
            power //= n * n
            k += 1
        return total

    return 4 * (4 * inverse_arctangent(5) - inverse_arctangent(239))
