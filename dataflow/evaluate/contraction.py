"""Contractions (convolution, matrix products) by matrix multiplication.

Integer contractions are computed in floating point where that is exact: every partial sum of K
products of magnitude at most m stays below K*m, so float32 is exact while K*m < 2^24 and float64
while K*m < 2^53. The result is taken modulo 2^32, as int32 arithmetic is.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from dataflow.evaluate.general import store
from dataflow.evaluate.space import Space, evaluate_expr, split, view
from dataflow.ir.cascade import Access, Call, Const, Einsum, Expr
from dataflow.ir.expr import access, accesses, map_accesses, variables, walk
from dataflow.ir.macs import contraction_operands

Array = np.ndarray

POINTS = 1 << 23
"""Elements of an unfolded operand held at once."""

CHEAP = ("sub", "f32")
"""Operators that keep the zero outside of a tensor a zero once it is unfolded."""


def applies(einsum: Einsum) -> bool:
    """Whether the fast path computes this Einsum to the same bits as the general one.

    Float contractions qualify only before ``legalise`` gives them an order.
    """
    operands = contraction_operands(einsum)
    if operands is None or einsum.reduction is None or einsum.reduction.order != "any":
        return False
    if einsum.reduction.base or einsum.output.indirect:
        return False
    used = set(variables(operands[0])) | set(variables(operands[1]))
    return used.issuperset(einsum.reduction.variables)


def run(einsum: Einsum, tensors: dict[str, Array], space: Space) -> None:
    """Evaluates a contraction over ``space`` into its output tensor."""
    operands = contraction_operands(einsum)
    assert operands is not None and einsum.reduction is not None
    outer = einsum.output.variables
    inner = einsum.reduction.variables
    uses = [set(variables(o)) for o in operands]
    groups = _Groups(
        batch=tuple(v for v in outer if all(v in u for u in uses)),
        left=tuple(v for v in outer if v in uses[0] and v not in uses[1]),
        right=tuple(v for v in outer if v not in uses[0]),
        both=tuple(v for v in inner if all(v in u for u in uses)),
        inner=inner,
    )
    depth = prod(space.ranges[v][1] for v in inner)
    limit = max(1, POINTS // max(1, depth))
    fixed = {v: r for v, r in space.ranges.items() if v not in outer + inner}
    cut = space.only(outer)
    for box in split(cut, groups.batch + groups.left, max(limit, 1) * _extent(cut, groups.right)):
        ranges = {**box.ranges, **{v: space.ranges[v] for v in inner}, **fixed}
        _box(einsum, operands, groups, tensors, Space(ranges), box)


class _Groups:
    """Roles of the variables: in both operands, in one only, contracted."""

    def __init__(
        self,
        batch: tuple[str, ...],
        left: tuple[str, ...],
        right: tuple[str, ...],
        both: tuple[str, ...],
        inner: tuple[str, ...],
    ) -> None:
        self.batch, self.left, self.right, self.both = batch, left, right, both
        self.inner = inner


def _extent(space: Space, names: tuple[str, ...]) -> int:
    return prod(space.ranges[v][1] for v in names)


def _box(
    einsum: Einsum,
    operands: tuple[Expr, Expr],
    groups: _Groups,
    tensors: Mapping[str, Array],
    space: Space,
    box: Space,
) -> None:
    a, a_peak = _operand(operands[0], groups.batch + groups.left, groups, tensors, space)
    b, b_peak = _operand(operands[1], groups.batch + groups.right, groups, tensors, space)
    bound = a_peak * b_peak * _extent(space, groups.both)
    dtype = a.dtype
    if dtype.kind == "i":
        exact = [np.float32, np.float64] if bound < 1 << 24 else [np.float64]
        dtype = np.dtype(exact[0] if bound < 1 << 53 else np.int64)
    batch, left, right, depth = (
        _extent(space, g) for g in (groups.batch, groups.left, groups.right, groups.both)
    )
    unfolded_a = _contiguous(a, dtype).reshape(batch, left, depth)
    unfolded_b = _contiguous(b, dtype).reshape(batch, right, depth)
    result = np.matmul(unfolded_a, unfolded_b.swapaxes(-1, -2))
    if a.dtype.kind == "i":
        wide = np.int32 if bound < 1 << 31 else np.int64
        result = result.astype(wide).astype(np.int32)
    order = groups.batch + groups.left + groups.right
    result = result.reshape([space.ranges[v][1] for v in order])
    axes = [order.index(v) for v in box.ranges]
    fixed = {v: r for v, r in space.ranges.items() if v not in box.ranges and v not in groups.inner}
    value = result.transpose(axes).reshape([c for _, c in box.ranges.values()] + [1] * len(fixed))
    store(tensors[einsum.output.tensor], einsum, Space({**box.ranges, **fixed}), value)


def _contiguous(x: Array, dtype: np.dtype) -> Array:
    return np.asarray(x.astype(dtype, order="C", copy=False), order="C")


def _operand(
    expr: Expr,
    own: tuple[str, ...],
    groups: _Groups,
    tensors: Mapping[str, Array],
    space: Space,
) -> tuple[Array, int]:
    """The operand over own and contracted variables, and its largest magnitude (integers).

    Variables that are reduced but occur in this operand only are summed here.
    """
    used = set(variables(expr))
    kept = own + groups.both
    private = tuple(v for v in space.ranges if v in used and v not in kept)
    sub = space.only(kept + private)
    value, peak = _unfold(expr, tensors, sub)
    if private:
        value = value.sum(axis=tuple(range(len(kept), len(sub.ranges))), dtype=value.dtype)
        peak *= _extent(space, private)
    return np.broadcast_to(value, [space.ranges[v][1] for v in kept]), peak


def _unfold(expr: Expr, tensors: Mapping[str, Array], space: Space) -> tuple[Array, int]:
    """Zero where an access leaves its tensor: the product contributes nothing there."""
    reads = accesses(expr)
    parts = [p for p in walk(expr) if not isinstance(p, Const)]
    cheap = all(isinstance(p, Access) or (isinstance(p, Call) and p.op in CHEAP) for p in parts)
    if len(reads) == 1 and not reads[0].indirect and cheap:
        # One access: map the tensor once, then unfold, not the other way round.
        data = tensors[reads[0].tensor]
        names = tuple(f"d{k}" for k in range(data.ndim))
        whole = Space({v: (0, size) for v, size in zip(names, data.shape, strict=True)})
        plain = map_accesses(expr, lambda _: access(reads[0].tensor, *names))
        mapped, _ = evaluate_expr(plain, tensors, whole)
        value = mapped if mapped.dtype.kind == "f" else mapped.astype(np.int32, copy=False)
        return view(value, reads[0], space), _magnitude(value)
    value, mask = evaluate_expr(expr, tensors, space)
    if mask is not None:
        value = np.where(mask, value, np.zeros((), dtype=value.dtype))
    if value.dtype.kind != "f":
        value = value.astype(np.int32, copy=False)
    return value, _magnitude(value)


def _magnitude(x: Array) -> int:
    return 0 if x.dtype.kind == "f" else max(abs(int(x.max())), abs(int(x.min())))
