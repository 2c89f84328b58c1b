"""Nominal multiply-accumulates."""

from __future__ import annotations

from math import prod

from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Call, Expr, accesses

_CONVOLUTIONS = ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv")
_PRODUCTS = ("Gemm", "QGemm", "MatMul", "MatMulInteger", "QLinearMatMul", "Einsum")
_OTHERS = ("FusedMatMul", "TransposeMatMul", "MatMulNBits", "CausalConvWithState")
_DYNAMIC = ("MatMulIntegerToFloat", "DynamicQuantizeMatMul")
_ATTENTION = ("Attention", "MultiHeadAttention", "GroupQueryAttention", "FlexAttention")
_RECURRENT = ("LSTM", "GRU", "RNN", "LinearAttention")

NOMINAL = frozenset((*_CONVOLUTIONS, *_PRODUCTS, *_OTHERS, *_DYNAMIC, *_ATTENTION, *_RECURRENT))
"""Operators of imported models whose multiply-accumulates count for utilisation."""


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

    Inside loops those of all steps.
    """
    if contraction_operands(einsum) is None:
        return 0
    steps = {v: cascade.iterations[v].stop - cascade.iterations[v].start for v in einsum.iterates}
    reduced = einsum.reduction.variables if einsum.reduction else ()
    sizes = cascade.sizes(einsum)
    return prod({**sizes, **{v: n for v, n in steps.items() if v not in reduced}}.values())


def counted_macs(cascade: Cascade, einsum: Einsum) -> int:
    """``nominal_macs``, where the Einsum comes from an operator of ``NOMINAL`` or from text."""
    counts = not einsum.operator or einsum.operator in NOMINAL
    return nominal_macs(cascade, einsum) if counts else 0


def total_macs(cascade: Cascade) -> int:
    """Nominal MACs of a network: for an imported model those of its operators in ``NOMINAL``."""
    return sum(counted_macs(cascade, e) for e in cascade.einsums)
