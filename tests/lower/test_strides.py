"""Strides, axes and views of accesses, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dataflow.ir.affine import Affine
from dataflow.ir.expr import access
from dataflow.layers.layer import Storage, View
from dataflow.lower.layout import innermost, satisfies
from dataflow.lower.points import NO_AXIS, Points, grid
from dataflow.lower.refusal import CannotFuse
from dataflow.lower.strides import Axis, Strided, axes_of, dim_strides, strided

# C x H x W, channels last: strides 1, 5 * 3, 3
STORAGE = Storage("x", (3, 4, 5), (1, 2, 0), 60, "input")
SIZES = {"c": 3, "p": 2, "q": 5, "o": 1, "b": 4}


def test_strides_follow_the_layout() -> None:
    assert dim_strides(STORAGE) == (1, 15, 3)
    read = strided(access("x", "c", Affine.of(("p", 2), 1), "q"), STORAGE)
    assert read == Strided("x", {"c": 1, "p": 30, "q": 3}, 15)
    assert read.of("b") == 0
    diagonal = strided(access("x", 2, "q", "q"), STORAGE)
    assert diagonal == Strided("x", {"q": 18}, 2)


def test_neighbours_are_one_axis_where_every_access_walks_them_so() -> None:
    dense = Strided("x", {"b": 30, "p": 15, "q": 3, "c": 1}, 0)
    assert axes_of(["b", "p", "o", "q", "c"], SIZES, [dense]) == [Axis(("b", "p", "q", "c"), 120)]
    # One number for each row: its columns cannot be joined with the rows.
    rows = Strided("y", {"b": 2, "p": 1}, 0)
    assert axes_of(["b", "p", "q", "c"], SIZES, [dense, rows]) == [
        Axis(("b", "p"), 8),
        Axis(("q", "c"), 15),
    ]
    assert axes_of(["p", "b"], SIZES, [dense]) == [Axis(("p",), 2), Axis(("b",), 4)]


def points(**fixed: int) -> Points:
    """4 items of 2 rows of 5 columns of 3 channels."""
    axes = {name: Axis((name,), SIZES[name]) for name in "bpqc"}
    return Points(axes["b"], axes["p"], axes["q"], axes["c"], fixed, SIZES)


def test_a_view_has_the_strides_of_the_access() -> None:
    dense = Strided("x", {"b": 30, "p": 15, "q": 3, "c": 1}, 7)
    assert points().view(dense, broadcast=False) == View("x", (4, 2, 5, 3), 30, 15, 3, 7)
    assert points(o=2).offset(Strided("x", {"o": 100}, 7)) == 207


def test_an_operand_that_lacks_an_axis_is_broadcast() -> None:
    rows = Strided("y", {"b": 6, "p": 3, "c": 1}, 0)
    assert points().view(rows, broadcast=True) == View("y", (4, 2, 5, 3), 6, 3, 0)
    splat = Strided("y", {"p": 1}, 0)
    assert points().view(splat, broadcast=True) == View("y", (4, 2, 5, 1), 0, 1, 0, 0, True)
    single = Points(NO_AXIS, Axis(("p",), 2), NO_AXIS, Axis(("c",), 3), {}, SIZES)
    dense = Strided("x", {"p": 3, "c": 1}, 0)
    assert single.view(dense, broadcast=True) == View("x", (1, 2, 1, 3), 0, 3, 0)
    # Coordinates of a first source must differ: axes of one point have a dense step.
    assert single.view(dense, broadcast=False) == View("x", (1, 2, 1, 3), 6, 3, 3)


def test_channels_apart_are_refused() -> None:
    with pytest.raises(CannotFuse, match="do not lie side by side"):
        points().view(Strided("x", {"q": 1, "c": 5}, 0), broadcast=False)


def test_a_constant_over_a_grid_keeps_what_is_fixed() -> None:
    data = np.arange(60).reshape(3, 4, 5)
    found = grid(
        access("x", "c", Affine.of(("p", 2), ("o", 1)), 4), data, ["p", "c"], SIZES, {"o": 1}
    )
    assert found.tolist() == [[data[c, 2 * p + 1, 4] for c in range(3)] for p in range(2)]
    one = points()
    assert one.per_channel(access("x", "c", 0, 0), data) is not None
    assert one.per_channel(access("x", "c", "p", 0), data) is None


def test_layouts_with_dims_innermost() -> None:
    assert innermost(4, (1,)) == (0, 2, 3, 1)
    assert satisfies((0, 2, 3, 1), (1,), (2, 3, 4, 5))
    assert not satisfies((0, 1, 2, 3), (1,), (2, 3, 4, 5))
    assert satisfies((0, 1, 2, 3), (1,), (2, 3, 1, 1))  # nothing of size 1 lies behind
    assert satisfies((0, 1, 2, 3), (1,), (2, 1, 4, 5))  # a wish for a dim of size 1
    assert satisfies((0, 2, 1, 3), (1, 3), (2, 3, 4, 5))
