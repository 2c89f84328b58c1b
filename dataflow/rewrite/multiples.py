"""Products of integers, rounded to multiples of a power of two: float32 sums of them are exact."""

from __future__ import annotations

from dataflow.ir.dtype import F32
from dataflow.ir.expr import Call, Const, Expr, call, single

EXACT = 2**24
"""Float32 holds the multiples of a step up to so many steps."""


def rounded_to(step: int, a: Expr, b: Expr) -> Expr:
    """a b for float32 integers, rounded to the nearest multiple of ``step``, a power of two.

    The product is below 2^22 steps: behind 3/4 EXACT steps no float32 number is nearer.
    """
    far = single(0.75 * EXACT * step)
    return call("sub", call("fma", a, b, far), far)


def as_rounded(expr: Expr) -> tuple[int, Expr, Expr] | None:
    """The step and the factors of what `rounded_to` has made; None for others."""
    if not (isinstance(expr, Call) and expr.op == "sub"):
        return None
    product, far = expr.args
    if not (isinstance(product, Call) and product.op == "fma" and isinstance(far, Const)):
        return None
    a, b, added = product.args
    step = int(far.value / (0.75 * EXACT)) if far.dtype == F32 else 0
    if step < 1 or step & (step - 1) or added != far or far != single(0.75 * EXACT * step):
        return None
    return step, a, b
