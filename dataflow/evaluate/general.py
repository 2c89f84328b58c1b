"""Any Einsum, by broadcasting over boxes of its iteration space."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import prod

import numpy as np

from dataflow.evaluate import scatter, selection
from dataflow.evaluate.primitives import compute, identity, promoted
from dataflow.evaluate.space import Space, evaluate_expr, split, view
from dataflow.ir.cascade import Einsum, Reduction
from dataflow.ir.ops import SELECTORS

Array = np.ndarray

POINTS = 1 << 20
"""Iteration points held at once: bounds the memory of a step to some tens of MiB."""

FOLDS = ("add", "mul", "max", "min")
"""Reductions with an identity, which are the same in any order but for rounding."""

FEW = 32
"""Reductions of at most so many steps go step by step, whole outputs at once."""


def run(einsum: Einsum, tensors: dict[str, Array], space: Space) -> None:
    """Evaluates one Einsum over the box ``space`` into ``tensors[einsum.output.tensor]``."""
    target = tensors[einsum.output.tensor]
    if not target.size:
        return
    if einsum.output.indirect or (einsum.reduction is not None and einsum.reduction.base):
        scatter.run(einsum, tensors, space)
        return
    outer = einsum.output.variables
    inner = einsum.reduction.variables if einsum.reduction else ()
    # The variable of an iteration, at its present value.
    fixed = {v: r for v, r in space.ranges.items() if v not in outer + inner}
    if einsum.reduction is None:
        for box in split(space.only(outer), outer, POINTS):
            whole = Space({**box.ranges, **fixed})
            value, mask = evaluate_expr(einsum.expr, tensors, whole)
            store(target, einsum, whole, value, mask)
        return
    if einsum.reduction.op in SELECTORS:
        selection.run(einsum, tensors, space)
        return
    steps = prod(space.ranges[v][1] for v in inner)
    limit = max(1, POINTS // steps) if _blocked(einsum.reduction, steps) else POINTS
    for box in split(space.only(outer), outer, limit):
        ranges = {**box.ranges, **{v: space.ranges[v] for v in inner}, **fixed}
        value = fold(einsum, einsum.reduction, tensors, Space(ranges), len(outer))
        store(target, einsum, Space({**box.ranges, **fixed}), value)


def _blocked(reduction: Reduction, steps: int) -> bool:
    """Whether whole blocks of a reduction are folded at once, in any order."""
    free = reduction.order == "any" and reduction.op in FOLDS
    return free and steps > FEW


def store(
    target: Array, einsum: Einsum, box: Space, value: Array, mask: Array | None = None
) -> None:
    """Writes the values over ``box`` to the output access, where the mask holds."""
    place = view(target, einsum.output, box)
    value = value.reshape(value.shape + (1,) * (place.ndim - value.ndim))
    # Values beyond the output's axes are constant: the box of a reduction was folded.
    value = value.reshape(value.shape[: place.ndim]) if value.ndim > place.ndim else value
    with np.errstate(all="ignore"):
        value = value.astype(target.dtype, copy=False)
    if mask is None:
        place[...] = value
    else:
        np.copyto(place, value, where=np.broadcast_to(mask, place.shape))


def fold(
    einsum: Einsum, reduction: Reduction, tensors: Mapping[str, Array], space: Space, outer: int
) -> Array:
    """The reduction over all but the first ``outer`` variables, in the stated order."""
    shape = tuple(c for _, c in list(space.ranges.values())[:outer])
    if not space.points:
        dtype = tensors[einsum.output.tensor].dtype
        return np.broadcast_to(identity(reduction.op, dtype), shape)
    if reduction.order.startswith("tree") and reduction.op in FOLDS:
        return _tree(einsum, reduction, tensors, space, outer)
    steps = prod(space.ranges[v][1] for v in reduction.variables)
    if _blocked(reduction, steps):
        return _blockwise(einsum, reduction, tensors, space, outer)
    return _stepwise(einsum, reduction, tensors, space, outer)


def _masked(value: Array, mask: Array | None, op: str) -> Array:
    neutral = identity(op, value.dtype)
    return value if mask is None else np.where(mask, value, neutral)


def _combine(op: str, left: Array, right: Array) -> Array:
    if op == "last":
        return right
    if op in ("max", "min") and left.dtype == right.dtype:
        return np.asarray((np.maximum if op == "max" else np.minimum)(left, right))
    return compute(op, [left, right])


def _points(reduction: Reduction, space: Space) -> list[dict[str, tuple[int, int]]]:
    axes = [range(s, s + c) for s, c in (space.ranges[v] for v in reduction.variables)]
    return [
        {v: (k, 1) for v, k in zip(reduction.variables, point, strict=True)}
        for point in product(*axes)
    ]


def _point_values(
    einsum: Einsum,
    reduction: Reduction,
    tensors: Mapping[str, Array],
    space: Space,
    outer: int,
    point: dict[str, tuple[int, int]],
) -> Array:
    box = Space({**space.ranges, **point})
    value, mask = evaluate_expr(einsum.expr, tensors, box)
    value = _masked(value, mask, reduction.op)
    shape = tuple(c for _, c in list(space.ranges.values())[:outer])
    # The reduced variables and those of loops have extent 1.
    return np.broadcast_to(value.reshape(value.shape[:outer]), shape)


def _stepwise(
    einsum: Einsum, reduction: Reduction, tensors: Mapping[str, Array], space: Space, outer: int
) -> Array:
    """Point after point of the reduction; without a stated order floats count in float64."""
    total: Array | None = None
    wide = reduction.order == "any" and reduction.op in ("add", "mul")
    for point in _points(reduction, space):
        value = _point_values(einsum, reduction, tensors, space, outer, point)
        own = value.dtype
        if wide and own.kind == "f":
            value = value.astype(np.float64)
        if total is None and reduction.op in FOLDS:
            total = np.broadcast_to(identity(reduction.op, value.dtype), value.shape)
        # A user operator has no identity: the fold starts from the first point.
        total = value if total is None else _combine(reduction.op, total, value)
    assert total is not None
    with np.errstate(over="ignore"):
        return total.astype(own) if own.kind == "f" else total


def _tree(
    einsum: Einsum, reduction: Reduction, tensors: Mapping[str, Array], space: Space, outer: int
) -> Array:
    count = int(reduction.order[len("tree(") : -1])
    lanes: list[Array] = []
    for position, point in enumerate(_points(reduction, space)):
        value = _point_values(einsum, reduction, tensors, space, outer, point)
        if position < count:
            lanes.append(_combine(reduction.op, identity(reduction.op, value.dtype), value))
        else:
            lane = position % count
            lanes[lane] = _combine(reduction.op, lanes[lane], value)
    while len(lanes) > 1:
        pairs = [lanes[k : k + 2] for k in range(0, len(lanes), 2)]
        lanes = [_combine(reduction.op, p[0], p[1]) if len(p) == 2 else p[0] for p in pairs]
    return lanes[0]


def _blockwise(
    einsum: Einsum, reduction: Reduction, tensors: Mapping[str, Array], space: Space, outer: int
) -> Array:
    """Whole blocks of the reduction at once; only for reductions of any order."""
    shape = tuple(c for _, c in list(space.ranges.values())[:outer])
    total: Array | None = None
    for box in split(space, reduction.variables, POINTS):
        value, mask = evaluate_expr(einsum.expr, tensors, box)
        extent = tuple(c for _, c in box.ranges.values())
        value = np.broadcast_to(_masked(promoted(value), mask, reduction.op), extent)
        axes = tuple(range(outer, len(extent)))
        if reduction.op in ("max", "min"):
            part = (np.max if reduction.op == "max" else np.min)(value, axis=axes)
        else:
            wide = np.float64 if value.dtype.kind == "f" else value.dtype
            add = reduction.op == "add"
            part = (np.add if add else np.multiply).reduce(value, axis=axes, dtype=wide)
        total = part if total is None else _combine(reduction.op, total, part)
    assert total is not None
    if value.dtype.kind == "f":
        with np.errstate(over="ignore"):
            total = total.astype(value.dtype)
    return np.broadcast_to(total, shape)
