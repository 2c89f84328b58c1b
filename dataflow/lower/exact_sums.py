"""Float sums that no rounding touches: multiples of a step that stay below 2^24 steps."""

from __future__ import annotations

from math import prod

from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Access, Call, Const, Expr, call
from dataflow.rewrite.multiples import EXACT, as_rounded


def sums_exactly(cascade: Cascade, head: Einsum) -> bool:
    """Whether a float32 sum of integers, or of multiples of a step, is below 2^24 (steps) in any
    part, so that no order changes it."""
    assert head.reduction is not None
    step, peak = 1, _peak(cascade, head.expr)
    rounded = as_rounded(head.expr)
    if rounded is not None:
        step, *factors = rounded
        peak = _peak(cascade, call("mul", *factors))
        peak = None if peak is None or peak >= 2**22 * step else peak + step
    count = prod(cascade.size(v) for v in head.reduction.variables)
    return head.reduction.op == "add" and peak is not None and peak * count <= EXACT * step


def _peak(cascade: Cascade, expr: Expr) -> int | None:
    """The largest magnitude of an expression of codes, whose values are integers; else None."""
    found = _bounds(cascade, expr)
    return None if found is None else max(-found[0], found[1])


def _bounds(cascade: Cascade, expr: Expr) -> tuple[int, int] | None:
    if isinstance(expr, Const):
        return (int(expr.value), int(expr.value)) if expr.dtype.is_int else None
    if isinstance(expr, Access):
        dtype = cascade.tensors[expr.tensor].dtype
        codes = dtype.is_int and dtype.bits == 8
        return (int(dtype.lowest), int(dtype.highest)) if codes else None
    if not isinstance(expr, Call) or expr.op not in ("f32", "add", "sub", "mul"):
        return None
    parts = [_bounds(cascade, arg) for arg in expr.args]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    if expr.op == "f32":
        return known[0]
    (a, b), (c, d) = known
    if expr.op == "mul":
        ends = (a * c, a * d, b * c, b * d)
        return min(ends), max(ends)
    return (a + c, b + d) if expr.op == "add" else (a - d, b - c)
