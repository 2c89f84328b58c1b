"""The table of the function stage against what it stands for."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import special

from dataflow.evaluate.functions import Function, Row, series, tables
from dataflow.evaluate.functions.tables import SEGMENTS, Segment, monotone, table


def ids(segment: Segment) -> str:
    return f"{segment.function.name}-{segment.base}"


@pytest.mark.parametrize(
    ("value", "reference", "points"),
    [
        (series.exp2, lambda t: 2.0**t, (0, 1, 63, 128)),
        (series.rsqrt, lambda x: 1 / math.sqrt(x), (64, 128, 200, 511)),
        (series.log2, math.log2, (128, 129, 181, 256)),
        (series.erf, special.erf, (0, 1, 100, 300, 512)),
    ],
)
def test_series_agree_with_binary64(value, reference, points) -> None:  # type: ignore[no-untyped-def]
    for point in points:
        x = Fraction(point, 128)
        assert value(x) / series.ONE == pytest.approx(reference(float(x)), rel=4e-16, abs=1e-27)


def test_known_digits() -> None:
    """Forty digits of constants that the series make."""
    digits = {
        series.exp2(Fraction(1, 2)): "1.41421356237309504880168",
        series.log2(Fraction(3, 2)): "0.58496250072115618145373",
        series.erf(Fraction(1)): "0.84270079294971486934122",
        series.erf(Fraction(4)): "0.99999998458274209971998",
        series.rsqrt(Fraction(3)): "0.57735026918962576450914",
    }
    for value, text in digits.items():
        assert abs(Fraction(value, series.ONE) - Fraction(text)) < Fraction(1, 10**22)


@pytest.mark.parametrize("segment", SEGMENTS, ids=ids)
def test_pieces_meet_the_function_and_each_other(segment: Segment) -> None:
    """Value at the start, error of a fine walk, no step back at an end."""
    rows = table()[segment.base : segment.base + segment.rows]
    error = 0.0
    for index, row in enumerate(rows):
        start = Fraction(index, segment.rows)
        assert abs(row.c0 - Fraction(segment.value(start) << 28, series.ONE)) <= Fraction(1, 2)
        following = rows[index + 1].c0 if index + 1 < segment.rows else row.at(segment.span)
        assert monotone(row, segment.span, following)
        for d in range(0, segment.span, segment.span // 4):
            place = start + Fraction(d, segment.span * segment.rows)
            exact = segment.value(place) / series.ONE
            error = max(error, abs(row.at(d) * 2.0**-28 - exact))
    # Chord error of the cubic term, and roundings of the coefficients.
    assert error < (6e-7 if segment.base == 480 else 3e-7)


@pytest.mark.parametrize("segment", SEGMENTS, ids=ids)
def test_coefficients_fit_their_fields(segment: Segment) -> None:
    for row in table()[segment.base : segment.base + segment.rows]:
        assert 0 <= row.c0 < 1 << tables.C0_BITS
        assert -(1 << (tables.C1_BITS - 1)) <= row.c1 < 1 << (tables.C1_BITS - 1)
        assert -(1 << (tables.C2_BITS - 1)) <= row.c2 < 1 << (tables.C2_BITS - 1)
        for d in (0, segment.span - 1):
            inner = (row.c1 << tables.INNER_SHIFT) + row.c2 * d
            assert -(1 << 34) <= inner < 1 << 34  # InnerW of fp32_function.sv


def test_functions_have_aligned_rows() -> None:
    """Row = first row | place: hardware adds nothing."""
    for function in Function:
        if function != Function.IDENTITY:
            count = sum(s.rows for s in SEGMENTS if s.function == function)
            assert count & (count - 1) == 0
            assert tables.base(function) % count == 0


def test_a_step_back_is_seen() -> None:
    row = Row(1000, 5, 0)
    assert monotone(row, 1 << 17, row.at(1 << 17))
    assert not monotone(row, 1 << 17, row.at((1 << 17) - 1) - 1)
    assert not monotone(Row(1000, 50, -700), 1 << 17, 1000)
    assert monotone(Row(1000, -5, 0), 1 << 17, 900)


def test_exact_places_are_exact() -> None:
    rows = table()
    ones = [tables.base(f) for f in (Function.EXP2, Function.RECIPROCAL, Function.RSQRT)]
    assert [rows[at].c0 for at in ones] == [1 << 28] * 3
    assert [rows[tables.base(f)].c0 for f in (Function.LOG2, Function.ERF)] == [0, 0]
    assert np.array([row.c0 for row in rows]).max() < 1 << 29
