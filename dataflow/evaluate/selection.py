"""Selections: coordinates of the largest or smallest values along a rank."""

from __future__ import annotations

import numpy as np

from dataflow.evaluate.space import Space, evaluate_expr, view
from dataflow.ir.cascade import Einsum

Array = np.ndarray


def run(einsum: Einsum, tensors: dict[str, Array], space: Space) -> None:
    """Populates the output with the coordinates in order; see ``Reduction``."""
    reduction = einsum.reduction
    assert reduction is not None
    (along,) = reduction.variables
    into = reduction.into
    outer = tuple(v for v in space.ranges if v not in (along, into))
    box = space.only((*outer, along))
    value, _ = evaluate_expr(einsum.expr, tensors, box)
    value = np.broadcast_to(value, [c for _, c in box.ranges.values()])
    count = value.shape[-1]
    if not into and not _has_nan(value):
        # The first extreme needs no sort.
        found = (np.argmin if reduction.op == "arg_bottom" else np.argmax)(value, axis=-1)
        view(tensors[einsum.output.tensor], einsum.output, space.only(outer))[...] = found
        return
    if reduction.op == "arg_bottom":
        order = np.argsort(value, axis=-1, kind="stable")
    else:
        # Stable ascending order of the reversed fibre, reversed: equal values stay in order.
        order = count - 1 - np.argsort(value[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    start, wanted = space.ranges[into] if into else (0, 1)
    chosen = order[..., start : start + wanted]
    names = (*outer, into) if into else outer
    target = space.only(names)
    chosen = chosen if into else chosen[..., 0]
    view(tensors[einsum.output.tensor], einsum.output, target)[...] = chosen


def _has_nan(value: Array) -> bool:
    return value.dtype.kind == "f" and bool(np.isnan(value).any())
