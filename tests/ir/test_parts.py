"""Types, affine indices, nominal MACs."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.errors import DataflowError
from dataflow.ir import BOOL, F32, F64, S8, S32, U8, Affine, DType, text
from dataflow.ir.expr import Access, accesses, call, integer, walk
from dataflow.ir.ops import result_type
from dataflow.ir.verify import injective_index


@pytest.mark.parametrize("dtype", [S8, U8, S32, F32, F64, BOOL])
def test_type_names_read_back(dtype: DType) -> None:
    assert DType.parse(str(dtype)) == dtype
    assert DType.of_numpy(dtype.numpy) == dtype


def test_unknown_types_are_rejected() -> None:
    with pytest.raises(DataflowError, match="use one of int4, uint4"):
        DType.parse("int7")


def test_integer_ranges() -> None:
    assert (S8.lowest, S8.highest, U8.lowest, U8.highest) == (-128, 127, 0, 255)


affines = st.builds(
    lambda terms, offset: Affine.of(*terms, offset),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(-4, 4)), max_size=4),
    st.integers(-9, 9),
)
SIZES = {"a": 3, "b": 1, "c": 4}


def values(index: Affine) -> list[int]:
    """The index at every point."""
    names = list(SIZES)
    return [
        index.offset + sum(index.coefficient(v) * p for v, p in zip(names, point, strict=True))
        for point in product(*(range(SIZES[v]) for v in names))
    ]


@given(affines)
def test_bounds_are_those_of_all_points(index: Affine) -> None:
    assert index.bounds(SIZES) == (min(values(index)), max(values(index)))


@given(affines, affines)
def test_sum_adds_values(left: Affine, right: Affine) -> None:
    both = [a + b for a, b in zip(values(left), values(right), strict=True)]
    assert values(left + right) == both


@given(affines)
def test_injective_indices_have_no_equal_values(index: Affine) -> None:
    sizes = {v: SIZES[v] for v in index.variables}
    if injective_index(index, sizes):
        assert len(set(values(index))) == len(set(product(*(range(s) for s in sizes.values()))))


def test_types_of_operators() -> None:
    assert result_type("add", (S8, U8)) == S32
    assert result_type("mul", (F32, F32)) == F32
    assert result_type("less", (F32, F32)) == BOOL
    for name, args in [
        ("add", (S8, F32)),
        ("div", (S32, S32)),
        ("rint", (S32,)),
        ("isnan", (S32,)),
    ]:
        with pytest.raises(DataflowError, match="cannot be applied"):
            result_type(name, args)
    with pytest.raises(DataflowError, match="is not known"):
        result_type("frobnicate", (S8,))


def test_walks_go_left_to_right() -> None:
    """Parts after what they are parts of; indices that data gives behind the affine ones."""
    i, x, y = Access("I", (Affine.of("k"),)), Access("X"), Access("Y", (Affine.of("m"),))
    gather = Access("Z", (Affine.of("m"),), ((0, call("add", i, integer(1))),))
    expr = call("fma", x, call("mul", y, gather), y)
    inner = gather.indirect[0][1]
    assert list(walk(expr)) == [
        *(expr, x, expr.args[1], y, gather, inner, i, integer(1), y),
    ]
    assert accesses(expr) == (x, y, gather, i, y)


def test_a_cascade_knows_who_reads_and_writes() -> None:
    """In order, an Einsum once; tensors that nobody reads or writes are not there."""
    cascade = text.loads(
        """
einsum:
  shapes: {N: 4}
  declaration: {A: [N], B: [N], C: [N]}
  expressions: |
    B[n] = A[n] * A[n]
    C[n] = B[n] + A[n]
"""
    )
    first, second = cascade.einsums
    assert cascade.readers == {"A": (first, second), "B": (second,)}
    assert cascade.writers == {"B": (first,), "C": (second,)}
