"""Einsums that write data-dependent elements, or fold into a base tensor."""

from __future__ import annotations

import numpy as np

from dataflow.errors import DataflowError
from dataflow.evaluate.primitives import compute, identity
from dataflow.evaluate.space import Space, coordinates, evaluate_expr
from dataflow.ir.cascade import Einsum

Array = np.ndarray

FOLDS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def run(einsum: Einsum, tensors: dict[str, Array], space: Space) -> None:
    """Folds every point, in row-major order, into the element that it indexes.

    Elements start from the base tensor, without one from the identity of the reduction. Points
    outside the tensor are skipped.
    """
    assert einsum.reduction is not None
    target = tensors[einsum.output.tensor]
    op = einsum.reduction.op
    if op not in FOLDS and op != "last":
        raise DataflowError(
            f"einsum {einsum.name!r}", f"scatters with {op}", f"use one of {', '.join(FOLDS)}, last"
        )
    if einsum.reduction.base:
        # The base may be the target itself, one iteration earlier.
        np.copyto(target, tensors[einsum.reduction.base])
    else:
        target[...] = 0 if op == "last" else identity(op, target.dtype)
    if not space.points:
        return
    value, mask = evaluate_expr(einsum.expr, tensors, space)
    where, inside = coordinates(einsum.output, target.shape, tensors, space)
    extent = tuple(count for _, count in space.ranges.values())
    keep = np.ones(extent, dtype=bool)
    for part in (mask, inside):
        keep &= True if part is None else part
    flat = tuple(np.broadcast_to(w, extent)[keep] for w in where)
    with np.errstate(all="ignore"):
        values = np.broadcast_to(value, extent)[keep].astype(target.dtype)
        if op == "last":
            target[flat] = values
        elif target.dtype == np.bool_:
            target[flat] = compute(op, [target[flat], values])
        else:
            FOLDS[op].at(target, flat, values)
