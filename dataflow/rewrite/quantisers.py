"""The end of an integer region: ``clip(rint(x) + zero, low, high)``."""

from __future__ import annotations

from dataflow.ir.cascade import Einsum
from dataflow.ir.expr import Call, Const, Expr, call, integer

KERNELS = ("QLinear", "QGemm", "QAttention", "MatMulInteger", "ConvInteger")
"""Operators (by their first letters) that mean what an integer kernel computes, to the bit."""


def literal_kernel(einsum: Einsum) -> bool:
    """Whether an Einsum must keep its roundings: an integer kernel's, or those of a text."""
    return not einsum.operator or einsum.operator.startswith(KERNELS)


def quantiser(real: Expr, zero: int, low: int, high: int) -> Expr:
    """``clip(rint(real) + zero, low, high)``."""
    rounded: Expr = call("rint", real)
    if zero:
        rounded = call("add", rounded, integer(zero))
    return call("clip", rounded, integer(low), integer(high))


def rounding(expr: Expr) -> tuple[Expr, int] | None:
    """(x, zero) of ``clip(rint(x) + zero, low, high)``, None for another expression."""
    if not (isinstance(expr, Call) and expr.op == "clip"):
        return None
    inner, zero = expr.args[0], 0
    if isinstance(inner, Call) and inner.op == "add":
        for one, other in (inner.args, inner.args[::-1]):
            if isinstance(other, Const) and isinstance(one, Call):
                inner, zero = one, int(other.value)
                break
    if isinstance(inner, Call) and inner.op == "rint":
        real = inner.args[0]
        if isinstance(real, Call) and real.op == "round":  # what rint does once more
            real = real.args[0]
        return real, zero
    return None
