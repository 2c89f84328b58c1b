"""Gives each float reduction a stated order. Changes rounding where the order was open."""

from __future__ import annotations

from dataclasses import replace

from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.verify import expr_type


def order_reductions(cascade: Cascade, order: str = "sequential") -> Cascade:
    """The cascade with ``order`` on each float add or mul reduction that had none.

    Maxima and minima, and integers modulo 2^32, are the same in any order.
    """

    def ordered(einsum: Einsum) -> Einsum:
        reduction = einsum.reduction
        if reduction is None or reduction.order != "any" or reduction.op not in ("add", "mul"):
            return einsum
        if not expr_type(cascade.tensors, einsum.expr).is_float:
            return einsum
        return replace(einsum, reduction=replace(reduction, order=order))

    return replace(cascade, einsums=tuple(ordered(e) for e in cascade.einsums))
