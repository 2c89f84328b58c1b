"""The coefficients of the function stage: one quadratic in integers for each piece of a function.

A piece starts at a point of its function's argument and spans ``span`` steps of 2^-23. At ``d``
steps behind its start the stage computes

    P = c0 + floor(((c1 << INNER_SHIFT) + c2 * d) * d / 2^PRODUCT_SHIFT)      in units of 2^-28

Neither product loses a bit before that one floor, so P is monotone in d as soon as the exact
quadratic is: its slope has one sign at both ends of the piece. The quadratic meets the function at
the piece's start, middle and end (half a unit of a coefficient apart), so pieces join without a
step; where the roundings of the coefficients would make a step back, the next best ones are taken.

The rows are read by the NumPy form (`stage`) and printed into SystemVerilog and C++ by
``dataflow.emit.functions``: no coefficient is written down anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from functools import cache

from dataflow.evaluate.functions import series

C0_BITS, C0_FRACTION = 29, 28  # unsigned
C1_BITS, C1_FRACTION = 24, 22  # two's complement
C2_BITS, C2_FRACTION = 12, 10  # two's complement
STEP_BITS = 17  # of d, unsigned
STEP_FRACTION = 23
INNER_SHIFT = C2_FRACTION + STEP_FRACTION - C1_FRACTION
PRODUCT_SHIFT = C2_FRACTION + 2 * STEP_FRACTION - C0_FRACTION
ROWS = 512


class Function(IntEnum):
    """Selector of the stage: the ``function`` field of a micro-operation."""

    IDENTITY = 0
    EXP2 = 1
    RECIPROCAL = 2
    RSQRT = 3
    LOG2 = 4
    ERF = 5


@dataclass(frozen=True)
class Row:
    """Coefficients of a piece, integers."""

    c0: int
    c1: int
    c2: int

    def at(self, d: int) -> int:
        """P at d steps."""
        inner = (self.c1 << INNER_SHIFT) + self.c2 * d
        return self.c0 + ((inner * d) >> PRODUCT_SHIFT)


@dataclass(frozen=True)
class Segment:
    """Consecutive rows of one function.

    Attributes:
        base: its first row.
        rows: number of pieces.
        span: steps of a piece: 2^17, or 2^16 where twice the pieces share the same range. How far
            a step goes in the function's argument is the affair of ``value``.
        value: the tabulated function at ``t`` in [0, 1], the place among the pieces, as an integer
            of ``series.BITS`` fraction bits.
    """

    function: Function
    base: int
    rows: int
    span: int
    value: Callable[[Fraction], int]


FULL = 1 << STEP_BITS

# A function's first row is a multiple of their number: hardware puts row and function side by side.
SEGMENTS = (
    Segment(Function.EXP2, 0, 64, FULL, series.exp2),
    Segment(Function.LOG2, 64, 64, FULL, lambda t: series.log2(1 + t)),
    # Significands of even exponents, then of odd ones: [1, 2), [2, 4).
    Segment(Function.RSQRT, 128, 64, FULL, lambda t: series.rsqrt(1 + t)),
    Segment(Function.RSQRT, 192, 64, FULL, lambda t: series.rsqrt(2 * (1 + t))),
    # The strongest curvature, and the one that the other functions are made with.
    Segment(Function.RECIPROCAL, 256, 128, FULL // 2, lambda t: series.fixed(1 / (1 + t))),
    # Fine pieces where it bends: those of [0, 1) are 1/64 wide, of [1, 2) 1/32, of [2, 4) 1/16.
    Segment(Function.ERF, 384, 64, FULL, series.erf),
    Segment(Function.ERF, 448, 32, FULL, lambda t: series.erf(1 + t)),
    Segment(Function.ERF, 480, 32, FULL, lambda t: series.erf(2 + 2 * t)),
)


def base(function: Function) -> int:
    """First row of a function."""
    return min(segment.base for segment in SEGMENTS if segment.function == function)


@cache
def table() -> tuple[Row, ...]:
    """All rows of the stage's table."""
    rows: list[Row] = []
    for segment in SEGMENTS:
        assert segment.base == len(rows)
        rows += (piece(segment, index) for index in range(segment.rows))
    assert len(rows) == ROWS
    return tuple(rows)


def piece(segment: Segment, index: int) -> Row:
    """The row of a piece: the c2 nearest to interpolation that keeps it monotone, c1 for it."""
    start, middle, end = (
        Fraction(segment.value(Fraction(2 * index + half, 2 * segment.rows)), series.ONE)
        for half in range(3)
    )
    width = Fraction(segment.span, 1 << STEP_FRACTION)
    curvature = (2 * start - 4 * middle + 2 * end) / width**2 * 2**C2_FRACTION
    first, last = (round(value * 2**C0_FRACTION) for value in (start, end))
    for c2 in sorted({0, *(round(curvature) + k for k in range(-4, 5))}, key=_distance(curvature)):
        bend = Fraction(c2, 2**C2_FRACTION) * width**2
        slope = (end - Fraction(first, 2**C0_FRACTION) - bend) / width * 2**C1_FRACTION
        nearest = round(slope)
        for c1 in (nearest, nearest - 1, nearest + 1):
            row = Row(first, c1, c2)
            if monotone(row, segment.span, last):
                return row
    raise AssertionError(f"{segment.function.name}: no monotone coefficients of piece {index}")


def monotone(row: Row, span: int, next_c0: int) -> bool:
    """Whether P runs one way from c0 to the next piece's c0, both included."""
    up = next_c0 >= row.c0
    slopes = [(row.c1 << INNER_SHIFT) + 2 * row.c2 * d for d in (0, span)]
    if up:
        return min(slopes) >= 0 and row.at(span - 1) <= next_c0
    return max(slopes) <= 0 and row.at(span - 1) >= next_c0


def _distance(target: Fraction) -> Callable[[int], Fraction]:
    return lambda candidate: abs(target - candidate)
