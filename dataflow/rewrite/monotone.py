"""Functions that move one way only with their operand: two are the same when their steps are."""

from __future__ import annotations

from dataflow.ir.expr import Access, Call, Const, Expr
from dataflow.rewrite.cone import Cone

MONOTONE = {
    *("mul", "div", "add", "sub", "fma", "max", "min", "clip", "rint", "f32"),
    *("floor", "ceil", "round", "trunc"),
}
"""Operators that keep or reverse the order of one operand, each rounding included."""


def monotone(cone: Cone) -> bool:
    """Whether the tip moves one way only with its leaf, which it reads once."""
    reads = 0

    def visit(expr: Expr) -> bool:
        nonlocal reads
        if isinstance(expr, Access):
            if expr in cone.parts:
                return visit(cone.parts[expr])
            reads += expr in cone.leaves
            return True
        if isinstance(expr, Call):
            return expr.op in MONOTONE and all(visit(a) for a in expr.args)
        return isinstance(expr, Const)

    return visit(cone.tip.expr) and reads == 1
