"""Functions that the machine computes with its function stage, named by that algorithm.

``exp`` of a Cascade is the float64 function, rounded; ``stage_exp`` is float32 arithmetic that is
fixed to the bit. Relative errors are below 2^-20 (``docs/design/functions.md``). What is found:
exp, log, tanh, erf; the sigmoid ``1 / (1 + exp(-x))``, the softplus as the front end writes it or
as ``log(1 + exp(x))``; square roots, and ``1 / sqrt(x)``. Other divisions stay what they are, but
for those of a result that may be infinite by a number: the machine's division has no infinities,
and such a quotient becomes a product with the inverse.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from dataflow.ir.cascade import Cascade
from dataflow.ir.dtype import F32, DType
from dataflow.ir.expr import Access, Call, Const, Expr, call, single, walk
from dataflow.ir.ops import STAGE
from dataflow.ir.verify import expr_type

PLAIN = ("exp", "log", "tanh", "erf", "sqrt")

UNBOUNDED = frozenset(STAGE + name for name in ("exp", "log", "rsqrt", "reciprocal"))
"""Functions that are infinite for some numbers."""


def stage_functions(cascade: Cascade) -> Cascade:
    """The cascade with float32 functions as operators ``stage_...``."""

    def float32(expr: Expr) -> bool:
        dtype: DType = expr_type(cascade.tensors, expr)
        return dtype == F32

    def change(expr: Expr) -> Expr:
        if not isinstance(expr, Call):
            return expr
        found = _named(expr)
        if found is not None and float32(found[1]):
            name, argument = found
            return call(STAGE + name, change(argument))
        args = tuple(change(arg) for arg in expr.args)
        unbounded = expr.op == "div" and infinite(args[0], large)
        inverse = _inverse_of(args[1]) if unbounded else None
        if inverse is not None and float32(expr):
            return call("mul", args[0], inverse)
        return expr if args == expr.args else replace(expr, args=args)

    large: set[str] = set()
    einsums = []
    for einsum in cascade.einsums:
        made = replace(einsum, expr=change(einsum.expr))
        einsums.append(made)
        if infinite(made.expr, large) and cascade.tensors[made.output.tensor].dtype.is_float:
            large.add(made.output.tensor)
    if tuple(einsums) == cascade.einsums:
        return cascade
    return replace(cascade, einsums=tuple(einsums))


def infinite(expr: Expr, large: Collection[str] = ()) -> bool:
    """Whether a function in an expression may make it infinite, or one of the tensors ``large``."""
    return any(
        part.op in UNBOUNDED if isinstance(part, Call) else part.tensor in large
        for part in walk(expr)
        if isinstance(part, Call | Access)
    )


def _inverse_of(expr: Expr) -> Const | None:
    """1 / a literal, where that is a normal float32 number."""
    if not isinstance(expr, Const) or not expr.value:
        return None
    inverse = float(np.float32(1.0 / expr.value))
    return single(inverse) if 2.0**-126 <= abs(inverse) < 2.0**127 else None


def _named(expr: Call) -> tuple[str, Expr] | None:
    """The function that an expression is, and its argument."""
    for name, argument in (
        ("sigmoid", _sigmoid(expr)),
        ("softplus", _softplus(expr)),
        ("rsqrt", _rsqrt(expr)),
    ):
        if argument is not None:
            return name, argument
    return (expr.op, expr.args[0]) if expr.op in PLAIN else None


def _is(expr: Expr, value: float) -> bool:
    return isinstance(expr, Const) and expr.value == value


def _argument(expr: Expr, op: str) -> Expr | None:
    return expr.args[0] if isinstance(expr, Call) and expr.op == op else None


def _beside(expr: Expr, op: str, value: float) -> Expr | None:
    """The other operand of a commutative operation with a literal."""
    if not isinstance(expr, Call) or expr.op != op:
        return None
    for one, other in (expr.args, expr.args[::-1]):
        if _is(one, value):
            return other
    return None


def _inverse(expr: Expr) -> Expr | None:
    """x of 1 / x."""
    inverted = isinstance(expr, Call) and expr.op == "div" and _is(expr.args[0], 1)
    return expr.args[1] if inverted and isinstance(expr, Call) else None


def _sigmoid(expr: Expr) -> Expr | None:
    inner = _inverse(expr)
    power = None if inner is None else _beside(inner, "add", 1)
    exponent = None if power is None else _argument(power, "exp")
    return None if exponent is None else _argument(exponent, "neg")


def _softplus(expr: Expr) -> Expr | None:
    if isinstance(expr, Call) and expr.op == "log":
        power = _beside(expr.args[0], "add", 1)
        return None if power is None else _argument(power, "exp")
    if not isinstance(expr, Call) or expr.op != "add":
        return None
    for one, other in (expr.args, expr.args[::-1]):
        x = _beside(one, "max", 0)
        if x is not None and other == call("log1p", call("exp", call("neg", call("abs", x)))):
            return x
    return None


def _rsqrt(expr: Expr) -> Expr | None:
    inner = _inverse(expr)
    return None if inner is None else _argument(inner, "sqrt")
