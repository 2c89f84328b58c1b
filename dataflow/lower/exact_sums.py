"""Float sums that no rounding touches: integers that stay below 2^24."""

from __future__ import annotations

from math import prod

from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Access, Call, Const, Expr
from dataflow.lower.micro import EXACT_FLOAT


def sums_exactly(cascade: Cascade, head: Einsum) -> bool:
    """Whether a float32 sum of integers is below 2^24 in any part, so that no order changes it."""
    assert head.reduction is not None
    peak = _integers(cascade, head.expr)
    count = prod(cascade.size(v) for v in head.reduction.variables)
    return head.reduction.op == "add" and peak is not None and peak * count <= EXACT_FLOAT


def _integers(cascade: Cascade, expr: Expr) -> int | None:
    """The largest magnitude of an expression of codes, whose values are integers; else None."""
    if isinstance(expr, Const):
        return abs(int(expr.value)) if expr.dtype.is_int else None
    if isinstance(expr, Access):
        dtype = cascade.tensors[expr.tensor].dtype
        return max(-dtype.lowest, dtype.highest) if dtype.is_int and dtype.bits == 8 else None
    if not isinstance(expr, Call) or expr.op not in ("f32", "add", "sub", "mul"):
        return None
    parts = [_integers(cascade, arg) for arg in expr.args]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return prod(known) if expr.op == "mul" else sum(known)
