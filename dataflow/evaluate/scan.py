"""Plain scans, ``S[t + 1] = S[t] op X[t]``, as one accumulation instead of a step at a time.

The order of the operations is that of the loop, so that the result has the same bits.
"""

from __future__ import annotations

from math import prod

import numpy as np

from dataflow.evaluate.general import POINTS
from dataflow.evaluate.primitives import promoted
from dataflow.evaluate.space import Space, evaluate_expr, view
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Call, Cascade, Einsum, Expr, Iteration
from dataflow.ir.expr import accesses
from dataflow.ir.ops import CASTS

Array = np.ndarray

FOLDS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def applies(cascade: Cascade, einsum: Einsum, step: Iteration) -> bool:
    """Whether the body of the loop ``step``, this one Einsum, is a plain scan."""
    if einsum.reduction is not None or len(einsum.iterates) != 1 or einsum.output.indirect:
        return False
    parts = _parts(einsum)
    if parts is None:
        return False
    _, old, term = parts
    variable = step.variable
    along = [k for k, i in enumerate(einsum.output.indices) if i.coefficient(variable)]
    if len(along) != 1 or einsum.output.indices[along[0]] != Affine.of(variable, 1):
        return False
    before = [*einsum.output.indices]
    before[along[0]] = Affine.of(variable)
    others = [i.variable for k, i in enumerate(before) if k != along[0]]
    state = cascade.tensors[einsum.output.tensor]
    uncast = isinstance(einsum.expr, Call) and einsum.expr.op not in CASTS
    small = prod(cascade.size(v) for v in einsum.output.variables) <= POINTS
    return (
        small
        and old == Access(state.name, tuple(before))
        and all(name is not None for name in others)
        and all(a.tensor != state.name and not a.indirect for a in accesses(term))
        and (uncast or state.dtype.is_int)
    )


def _parts(einsum: Einsum) -> tuple[str, Expr, Expr] | None:
    """Operator, old state and new term."""
    expr = einsum.expr
    if isinstance(expr, Call) and expr.op in CASTS:
        # Sums and products modulo a power of two may be truncated at the end.
        expr = expr.args[0]
        if isinstance(expr, Call) and expr.op not in ("add", "mul"):
            return None
    if not isinstance(expr, Call) or expr.op not in FOLDS:
        return None
    return expr.op, expr.args[0], expr.args[1]


def run(cascade: Cascade, einsum: Einsum, tensors: dict[str, Array], space: Space) -> None:
    """Evaluates all steps; the ranges of ``space`` are those of the whole loop."""
    if not space.points:
        return
    parts = _parts(einsum)
    assert parts is not None
    op, old, term = parts
    assert isinstance(old, Access)
    (variable,) = einsum.iterates
    state = tensors[einsum.output.tensor]
    axis = list(space.ranges).index(variable)
    start, count = space.ranges[variable]
    first = promoted(view(state, old, Space({**space.ranges, variable: (start, 1)})))
    value, mask = evaluate_expr(term, tensors, space)
    assert mask is None  # no access of a map leaves its tensor
    shape = [c for _, c in space.ranges.values()]
    terms = np.broadcast_to(promoted(value), shape)
    with np.errstate(all="ignore"):
        whole = np.concatenate([first, terms], axis=axis)
        sums = FOLDS[op].accumulate(whole, axis=axis, dtype=whole.dtype)
        kept = sums.take(np.arange(1, count + 1), axis=axis)
        view(state, einsum.output, space)[...] = kept.astype(state.dtype, copy=False)
