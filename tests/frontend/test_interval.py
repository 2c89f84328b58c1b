"""Bounds of expressions over codes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.evaluate.primitives import compute
from dataflow.frontend.builder import Builder
from dataflow.frontend.interval import interval
from dataflow.frontend.value import stored_value
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Reduction
from dataflow.ir.dtype import F32, U8
from dataflow.ir.expr import Access, Expr, call, integer, single

NODE = ("", "")
NONE: frozenset[int] = frozenset()


def codes(builder: Builder, low: int, high: int) -> Access:
    """A tensor of 12 codes that a clip bounds."""
    ranks = [builder.rank("N", 12)]
    x = builder.tensor("x", ranks, U8, "input")
    value = stored_value(x, ((12,),), U8)
    assert value.expr is not None
    clipped = call("clip", value.expr, integer(low), integer(high))
    made = builder.store("a", value, clipped, U8, NODE)
    assert isinstance(made.expr, Access)
    return made.expr


def sums(builder: Builder, a: Access, points: int) -> Access:
    """Float sums of so many neighbouring codes, each times 0.125."""
    builder.rank_sizes |= {"P": 12 // points, "R": points}
    y = builder.tensor("y", ["P"], F32)
    out = Access(y, (Affine.of("p"),))
    one = Access(a.tensor, (Affine.of("p", points) + Affine.of("r"),))
    body = call("mul", call("f32", one), single(0.125))
    builder.einsum(out, body, Reduction("add", ("r",), "sequential"), NODE, NONE)
    return out


def test_by_hand() -> None:
    """Sums of four codes up to 15, by 0.125; divided and rounded down."""
    builder = Builder()
    y = sums(builder, codes(builder, 0, 15), 4)
    low, high = interval(builder, y) or (-1.0, -1.0)
    assert low == 0.0 and high == pytest.approx(7.5, rel=1e-5)
    code = call("floor", call("div", call("round", call("div", y, single(0.125))), single(16.0)))
    assert interval(builder, code) == (0.0, 3.0)
    assert interval(builder, call("exp", y)) is None
    assert interval(builder, call("clip", call("exp", y), single(0.0), single(4.0))) == (0.0, 4.0)
    assert interval(builder, call("div", single(1.0), y)) is None


def test_a_tensor_written_in_pieces_reaches_what_any_piece_does() -> None:
    builder = Builder()
    low, high = codes(builder, 0, 3), codes(builder, 9, 200)
    builder.rank_sizes["P"] = 24
    y = builder.tensor("y", ["P"], F32)
    for n, part in enumerate((high, low)):
        (index,) = part.indices
        builder.einsum(Access(y, (index + 12 * n,)), call("f32", part), None, NODE, NONE)
    assert interval(builder, Access(y, (Affine.of("p"),))) == (0.0, 200.0)


def test_what_an_operation_rounds_is_counted() -> None:
    """A third of a code is no float32 number; half of one is."""
    builder = Builder()
    a = call("f32", codes(builder, 0, 200))
    assert interval(builder, call("div", a, single(16.0))) == (0.0, 12.5)
    _, high = interval(builder, call("div", a, single(3.0))) or (0.0, 0.0)
    assert float(np.float32(200) / np.float32(3)) <= high <= 200 / 3 * (1 + 1e-6)


def expressions() -> st.SearchStrategy[tuple[str, float]]:
    """Operations with a constant."""
    return st.tuples(
        st.sampled_from(("add", "sub", "mul", "div", "floor", "ceil", "round", "trunc", "clip")),
        st.sampled_from((-3.0, -0.5, 0.25, 2.0, 16.0)),
    )


@given(st.lists(expressions(), max_size=5), st.integers(0, 9), st.integers(10, 20))
def test_every_value_lies_within(steps: list[tuple[str, float]], low: int, high: int) -> None:
    """All codes through chains of operations."""
    builder = Builder()
    a = codes(builder, low, high)
    expr: Expr = call("f32", a)
    values = np.arange(low, high + 1).astype(np.float32)
    for op, number in steps:
        more = {"add": 1, "sub": 1, "mul": 1, "div": 1, "clip": 2}.get(op, 0)
        numbers = [number, number + 20][:more]
        expr = call(op, expr, *(single(n) for n in numbers))
        values = compute(op, [values, *(np.asarray(n, np.float32) for n in numbers)])
    found = interval(builder, expr)
    assert found is not None
    assert found[0] <= values.min() and values.max() <= found[1]


@pytest.mark.parametrize("points", [1, 2, 3, 4, 6])
def test_sums_reach_their_ends(points: int) -> None:
    """The bounds of a sum are those of all its points at their ends, but for the slack."""
    builder = Builder()
    y = sums(builder, codes(builder, 2, 7), points)
    found = interval(builder, y)
    assert found is not None
    every = [sum(p) * 0.125 for p in product((2, 7), repeat=points)]
    assert found[0] == 0.0  # a window may hang over the edge
    assert max(every) <= found[1] <= max(every) * (1 + 1e-4)
