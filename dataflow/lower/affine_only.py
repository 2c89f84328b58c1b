"""What no engine of the machine executes: loops, data-dependent indices, selections."""

from __future__ import annotations

from dataflow.errors import DataflowError
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Access, Index, walk
from dataflow.ir.ops import SELECTORS


def require_affine(cascade: Cascade) -> None:
    """Raises DataflowError that lists every Einsum outside the affine subset of the machine."""
    failures = [
        f"{e.source or e.name} ({e.operator or 'Einsum'} {e.name}): {reason}"
        for e in cascade.einsums
        if (reason := obstacle(e))
    ]
    if failures:
        raise DataflowError(
            f"network {cascade.name}",
            "the machine cannot run\n  " + "\n  ".join(failures),
            "change these operators or run them on the host",
        )


def obstacle(einsum: Einsum) -> str:
    """Why the machine cannot execute an Einsum, or an empty text."""
    if einsum.iterates:
        return "is inside a loop over an iterative rank"
    if einsum.output.indirect:
        return "scatters to data-dependent elements"
    parts = list(walk(einsum.expr))
    if any(isinstance(p, Access) and p.indirect for p in parts):
        return "gathers data-dependent elements"
    if any(isinstance(p, Index) for p in parts):
        return "computes with the value of an index"
    reduction = einsum.reduction
    if reduction is not None and (reduction.base or reduction.op in SELECTORS):
        return f"reduces with {reduction.op}" + (" from a base" if reduction.base else "")
    return ""
