"""What an expression costs: operations of a vector unit that multiplies and adds at once."""

from __future__ import annotations

import math

from dataflow.ir.expr import Access, Call, Const, Expr
from dataflow.ir.ops import CASTS
from dataflow.rewrite.cone import Cone
from dataflow.rewrite.quantisers import rounding

DIVISION = 2
"""Of a quotient by a known number, correctly rounded."""

TABLE = 2
"""Of a table: the look-up and the sign of its entries; it also takes the unit's only table."""

UNKNOWN = 64
"""Of an operator that no vector operation computes."""


def operations(cone: Cone) -> int:
    """Operations of a cone, each part counted once."""
    seen: set[Expr] = set()

    def cost(expr: Expr) -> int:
        if expr in seen or isinstance(expr, Const):
            return 0
        seen.add(expr)
        if isinstance(expr, Access):
            return cost(cone.parts[expr]) if expr in cone.parts else 0
        if not isinstance(expr, Call):
            return UNKNOWN
        inner = rounding(expr)
        if inner is not None:
            return cost(inner[0]) or 1
        return own(expr) + sum(cost(a) for a in expr.args)

    def own(expr: Call) -> int:
        if expr.op in CASTS:
            return 0
        if expr.op == "sub" and isinstance(expr.args[0], Access):
            return int(expr.args[0] in cone.parts or not isinstance(expr.args[1], Const))
        if expr.op == "div":
            by = expr.args[1]
            return 1 if isinstance(by, Const) and power_of_two(float(by.value)) else DIVISION
        simple = ("add", "sub", "mul", "fma", "max", "min")
        return {**dict.fromkeys(simple, 1), "clip": 2, "lookup": TABLE}.get(expr.op, UNKNOWN)

    return cost(cone.tip.expr)


def power_of_two(value: float) -> bool:
    """Whether a product with the inverse is the same as a division."""
    return abs(math.frexp(value)[0]) == 0.5
