"""Which variables a fused Einsum is written in: by hand."""

from __future__ import annotations

from dataflow.ir.cascade import Cascade, Einsum, Tensor
from dataflow.ir.dtype import F32, S8
from dataflow.ir.expr import Access, Expr, access, call
from dataflow.lower.groups import followed, single_group

SIZES = {"N": 1, "C": 4, "M": 1, "D": 4}


def fused(read: Access, target: Access, head: Expr) -> tuple[Expr, Access]:
    """``t[n, c]``, of ``head``, and an Einsum that reads it as ``read`` and writes ``target``."""
    tensors = [
        Tensor("x", ("N", "C"), (1, 4), F32, "input"),
        Tensor("k", ("N",), (1,), F32, "weight"),
        Tensor("t", ("N", "C"), (1, 4), F32, "intermediate"),
        Tensor("y", ("D",) * len(target.indices), (4,) * len(target.indices), S8, "output"),
    ]
    made = Einsum("t", access("t", "n", "c"), head)
    reader = Einsum("y", target, call("relu", read))
    cascade = Cascade("two", SIZES, {t.name: t for t in tensors}, (made, reader))
    group = followed(single_group(made, cascade), reader, "t", cascade)
    assert group is not None
    return group.expr, group.output


PRODUCT = call("mul", access("x", "n", "c"), access("k", "n"))


def test_a_reader_that_names_a_dimension_of_one_keeps_its_variable() -> None:
    expr, output = fused(access("t", "m", "d"), access("y", "m", "d"), PRODUCT)
    assert output == access("y", "n", "c")
    assert expr == call("relu", PRODUCT)


def test_a_reader_that_leaves_a_dimension_of_one_out_leaves_no_variable_behind() -> None:
    expr, output = fused(access("t", 0, "d"), access("y", "d"), PRODUCT)
    assert output == access("y", "c")
    assert expr == call("relu", call("mul", access("x", 0, "c"), access("k", 0)))
