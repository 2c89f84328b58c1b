"""Float sums of dequantised codes as integer sums: windows and whole axes, then a quantiser.

``clip(rint(f(sum of (x - z) * s)) + zero)`` depends on the integer sum of the codes alone, but for
the roundings of the float sum. Those are bounded; the integer sum has few values. Where no value
comes so near to a tie that the bound could change the code, the integer form is the same function,
whatever the order of the float sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from dataflow.evaluate.primitives import compute
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.dtype import F32, S32
from dataflow.ir.expr import Expr, call, integer
from dataflow.rewrite import fit, fit_channels
from dataflow.rewrite.cone import Array, Cone, Editor, codes_of, elementwise, is_codes
from dataflow.rewrite.monotone import monotone
from dataflow.rewrite.quantisers import literal_kernel, quantiser, rounding

INPUTS = 1 << 22
"""Most sums (times sets of parameters) that are tried."""

EXACT = 1 << 24
"""Integers below this are float32 numbers."""


def integer_sums(cascade: Cascade) -> Cascade:
    """The cascade with float sums of codes in front of a quantiser as integer sums. Exact."""
    return _rewritten(cascade, ties=False)


def integer_sums_near_ties(cascade: Cascade) -> Cascade:
    """The same where the written sum's roundings decide a tie: rounded to even. Inexact.

    Changes the code by one, where the real result is a tie but for those roundings.
    """
    return _rewritten(cascade, ties=True)


def _rewritten(cascade: Cascade, *, ties: bool) -> Cascade:
    editor = Editor(cascade)
    for einsum in cascade.einsums:
        if ties and literal_kernel(einsum):
            continue
        found = _sum_of_codes(editor, einsum)
        if found is not None:
            _replace(editor, found, ties)
    return editor.finished()


@dataclass(frozen=True, eq=False)
class Sum:
    """A quantiser and the float sum of codes that it reads.

    Attributes:
        tip: cone of the quantiser; its only leaf is the sum.
        body: cone of the sum; its only leaf is a tensor of codes.
        points: codes in a sum, at most.
        step, zero: a code adds (code - zero) * step, rounded.
    """

    tip: Cone
    body: Cone
    points: int
    step: float
    zero: int

    def values(self) -> Array:
        """All integer sums, int64, ascending."""
        codes = codes_of(self.body.cascade.tensors[self.body.leaves[0].tensor]).astype(np.int64)
        low = min(0, int(codes.min()) - self.zero) * self.points
        high = max(0, int(codes.max()) - self.zero) * self.points
        return np.arange(low, high + 1, dtype=np.int64)

    def error(self) -> float:
        """Bound of the float sum's roundings (Higham, Accuracy and Stability, 4.2)."""
        codes = codes_of(self.body.cascade.tensors[self.body.leaves[0].tensor]).astype(np.int64)
        most = float(np.abs(codes - self.zero).max()) * self.step * self.points
        unit = self.points * 2.0**-24
        return abs(most) * unit / (1 - unit) if unit < 0.5 else np.inf


def _sum_of_codes(editor: Editor, einsum: Einsum) -> Sum | None:
    cascade = editor.cascade
    if not is_codes(cascade.tensors[einsum.output.tensor]) or not elementwise(cascade, einsum):
        return None
    tip = Cone(editor, einsum)
    if len(tip.leaves) != 1 or rounding(einsum.expr) is None or not monotone(tip):
        return None
    (leaf,) = tip.leaves
    fold = editor.writer(leaf.tensor)
    if fold is None or not tip.private(leaf.tensor):
        return None
    reduction = fold.reduction
    if reduction is None or reduction.op != "add" or reduction.base or fold.iterates:
        return None
    if fold.output.indirect or cascade.tensors[leaf.tensor].dtype != F32:
        return None
    body = Cone(editor, fold)
    if len(body.leaves) != 1 or body.constants or not _same_points(body):
        return None
    line = line_of_codes(body)
    points = prod(cascade.size(v) for v in reduction.variables)
    return None if line is None else Sum(tip, body, points, *line)


def _same_points(body: Cone) -> bool:
    """Whether the codes are skipped at the same points as what is summed now."""
    cascade = body.cascade
    sizes = cascade.sizes(body.tip)
    (leaf,) = body.leaves
    shape = cascade.tensors[leaf.tensor].shape
    kept = list(zip(leaf.indices, shape, strict=True))
    for access in (leaf, *body.parts):
        own = zip(access.indices, cascade.tensors[access.tensor].shape, strict=True)
        for index, size in own:
            low, high = index.bounds(sizes)
            if (low < 0 or high >= size) and (index, size) not in kept:
                return False
    outer = [a for a in body.parts if a in body.tip.inputs] or [leaf]
    first = list(zip(outer[0].indices, cascade.tensors[outer[0].tensor].shape, strict=True))
    return all(
        (index, size) in first
        for index, size in kept
        if index.bounds(sizes)[0] < 0 or index.bounds(sizes)[1] >= size
    )


def line_of_codes(body: Cone) -> tuple[float, int] | None:
    """(step, zero) where a code adds (code - zero) * step, correctly rounded."""
    (leaf,) = body.leaves
    tensor = body.cascade.tensors[leaf.tensor]
    if not is_codes(tensor) or leaf.tensor in body.cascade.constants:
        return None
    codes = codes_of(tensor)
    values = np.broadcast_to(body.value(body.tip.expr, {leaf: codes}), codes.shape)
    if values.dtype != np.float32 or not np.isfinite(values).all():
        return None
    zeros = codes[values == 0].astype(np.int64)
    if len(zeros) != 1:
        return None
    zero = int(zeros[0])
    away = codes.astype(np.int64) - zero
    step = float(values[np.argmax(np.abs(away) == 1)]) * int(away[np.argmax(np.abs(away) == 1)])
    exact = np.array_equal((away * np.float64(step)).astype(np.float32), values)
    return (step, zero) if exact else None


def _replace(editor: Editor, found: Sum, ties: bool) -> None:
    """The integer sum and its quantiser, where that gives the same codes."""
    names = tuple(dict.fromkeys(v for a in found.tip.constants for v in a.variables))
    sums = found.values()
    channels = prod(editor.cascade.size(v) for v in names)
    if sums.size * channels > INPUTS or np.abs(sums).max() >= EXACT:
        return
    expr = _quantised(editor, found, sums, names, ties)
    if expr is None:
        return
    (code,) = found.body.leaves
    fold = found.body.tip
    assert fold.reduction is not None
    reduction = replace(fold.reduction, order="any")
    less = call("sub", code, integer(found.zero))
    editor.replace_sum(replace(fold, expr=less, reduction=reduction), S32)
    editor.set_expr(found.tip.tip.name, expr)


def _quantised(
    editor: Editor, found: Sum, sums: Array, names: tuple[str, ...], ties: bool
) -> Expr | None:
    """The quantiser of an integer sum, or None where it is not the same function."""
    tip = found.tip
    (leaf,) = tip.leaves
    parts = rounding(tip.tip.expr)
    assert parts is not None
    real, zero = parts
    known = {a: tip.along(a, names) for a in tip.constants}
    exact = sums.astype(np.float64)[:, None] * found.step
    error = found.error()

    def at(expr: Expr, shift: float) -> Array:
        value = tip.value(expr, {**known, leaf: (exact + shift).astype(np.float32)})
        return np.broadcast_to(value, (sums.size, value.shape[-1]))

    codes = at(tip.tip.expr, 0.0).astype(np.int64)
    # A little more than the bound, for the rounding of the bounds themselves.
    ends = [at(tip.tip.expr, sign * error * (1 + 1e-3)).astype(np.int64) for sign in (-1, 1)]
    sure = ends[0] == ends[1]
    if not (ties or sure.all()) or codes.min() == codes.max():
        return None
    low, high = int(codes.min()), int(codes.max())
    unrounded = at(real, 0.0).astype(np.float64)

    def right(scale: Array, offset: Array) -> Array:
        numbers = compute("fma", [sums.astype(np.float32)[:, None], scale, offset])
        made = np.clip(compute("rint", [numbers]).astype(np.int64) + zero, low, high)
        return np.asarray((made == codes) | (~sure & (np.abs(made - codes) <= 1)))

    fitted = _fitted(sums, unrounded, codes, zero, right)
    if fitted is None:
        return None
    near = f"{tip.tip.output.tensor}_parameter"
    scale, offset = (editor.parameter(near, np.asarray(part), names) for part in fitted)
    return quantiser(call("fma", call("f32", leaf), scale, offset), zero, low, high)


def _fitted(
    sums: Array, unrounded: Array, codes: Array, zero: int, right: Callable[[Array, Array], Array]
) -> tuple[Array, Array] | None:
    """(scale, offset) of the sum, one for all or one for each set of parameters."""
    inputs = sums.astype(np.float64)
    if codes.shape[1] > 1:
        target = fit_channels.Channels(inputs, unrounded, codes, zero)
        return fit_channels.fitted(target, lambda s, o: np.asarray(right(s, o).all(axis=0)))
    features = np.stack([inputs, np.ones(sums.size)], axis=1)
    one = fit.Target(features, unrounded[:, 0], codes[:, 0], zero)

    def good(theta: Array) -> bool:
        return bool(right(theta[0], theta[1]).all())

    theta = fit.fitted(one, good)
    if theta is None:
        theta = fit.between_steps(one, good)
    return None if theta is None else (theta[:1], theta[1:])
