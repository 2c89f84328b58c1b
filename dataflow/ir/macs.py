"""Nominal multiply-accumulates."""

from __future__ import annotations

from math import prod

from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Call, Expr, accesses


def contraction_operands(einsum: Einsum) -> tuple[Expr, Expr] | None:
    """The two factors of a contraction, ``mul(a, b) :: add``, or None.

    A contraction has an addition over at least one variable and factors that both read a tensor.
    """
    if einsum.reduction is None or einsum.reduction.op != "add":
        return None
    expr = einsum.expr
    if not (isinstance(expr, Call) and expr.op == "mul"):
        return None
    left, right = expr.args
    return (left, right) if accesses(left) and accesses(right) else None


def nominal_macs(cascade: Cascade, einsum: Einsum) -> int:
    """Multiply-accumulates of one Einsum, padding points included; 0 unless a contraction.

    In the body of a loop those of all steps.
    """
    if contraction_operands(einsum) is None:
        return 0
    around = [cascade.iterations[v] for v in einsum.iterates if v not in einsum.variables]
    steps = prod(i.stop - i.start for i in around)
    return steps * prod(cascade.sizes(einsum).values())


def total_macs(cascade: Cascade) -> int:
    """Sum of the nominal MACs; for an imported model those of its Conv, Gemm, MatMul nodes."""
    return sum(nominal_macs(cascade, e) for e in cascade.einsums)
