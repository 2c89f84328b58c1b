"""What an expression makes of words that are read once."""

from __future__ import annotations

import pytest

from dataflow.ir.expr import Access, Expr, access, call, single
from dataflow.lower.epilogue import number_of

WORD, OTHER = access("word", "i"), access("other", "i")
HALF = call("mul", call("f32", WORD), single(0.5))
MORE = call("fma", call("f32", WORD), single(0.5), single(3.0))


@pytest.mark.parametrize(
    ("expr", "number"),
    [
        (call("sub", call("f32", OTHER), HALF), HALF),
        (call("stage_exp", MORE), call("stage_exp", MORE)),
        (call("sub", call("mul", HALF, single(2.0)), HALF), HALF),  # used in two ways
        (call("mul", HALF, HALF), HALF),
        (call("stage_exp", call("f32", WORD)), WORD),  # which reads its operand twice
        (call("sub", call("f32", OTHER), call("f32", WORD)), WORD),  # which any line may convert
        (call("add", HALF, call("mul", call("f32", WORD), single(0.25))), WORD),
        (call("fma", call("f32", WORD), single(0.5), call("f32", OTHER)), WORD),
        (call("fma", single(0.5), call("f32", WORD), single(1.0)), WORD),
    ],
)
def test_only_a_product_reads_a_word_where_it_arrives(expr: Expr, number: Expr) -> None:
    found = number_of(WORD, expr)
    assert found == number
    assert isinstance(found, Access) is (number == WORD)
