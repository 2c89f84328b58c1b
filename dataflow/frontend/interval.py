"""Bounds of what an expression over codes can be, from the types, clips and sums that made it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from math import prod

import numpy as np

from dataflow.frontend.builder import Builder
from dataflow.ir.cascade import Einsum
from dataflow.ir.expr import Access, Call, Const, Expr

Interval = tuple[float, float]

RISING: dict[str, Callable[[float], float]] = {
    "f32": float,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "round": np.rint,
    "rint": np.rint,
}
ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
}
ROUNDED = 2.0**-23
"""Relative bound of what an operation rounds in float32, twice over."""
DEPTH = 64
"""Einsums that are looked through, one behind the other."""


def interval(builder: Builder, expr: Expr) -> Interval | None:
    """Lowest and highest value of an expression; None where nothing bounds it.

    Tensors of codes are bounded by their clip or type, sums of windows by their points. What an
    operation may round widens the bounds.
    """
    writers: dict[str, list[Einsum]] = {}
    for einsum in builder.einsums:
        writers.setdefault(einsum.output.tensor, []).append(einsum)
    return _Reach(builder, writers).of(expr, DEPTH)


class _Reach:
    """Walks expressions and what wrote the tensors that they read."""

    def __init__(self, builder: Builder, writers: dict[str, list[Einsum]]) -> None:
        self.builder, self.writers = builder, writers

    def of(self, expr: Expr, depth: int) -> Interval | None:
        """Bounds of an expression."""
        if isinstance(expr, Const):
            return float(expr.value), float(expr.value)
        if isinstance(expr, Access):
            inside = self._tensor(expr.tensor, depth)
            # What lies outside of a tensor is zero.
            return None if inside is None else (min(0.0, inside[0]), max(0.0, inside[1]))
        if not isinstance(expr, Call):
            return None
        parts = [self.of(arg, depth) for arg in expr.args]
        if expr.op == "clip":
            return _clipped(parts)
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        if expr.op in RISING:
            low, high = (float(RISING[expr.op](end)) for end in known[0])
            return low, high
        if expr.op in ARITHMETIC:
            a, b = known
            if expr.op == "div" and b[0] <= 0 <= b[1]:
                return None
            ends = [ARITHMETIC[expr.op](x, y) for x in a for y in b]
            if not np.isfinite(ends).all():
                return None
            slack = 0.0 if _exact(expr.op, *b) else ROUNDED * max(abs(end) for end in ends)
            return min(ends) - slack, max(ends) + slack
        return None

    def _tensor(self, name: str, depth: int) -> Interval | None:
        tensor = self.builder.tensors[name]
        if name in self.builder.constants:
            data = np.asarray(self.builder.constants[name], np.float64)
            return (float(data.min()), float(data.max())) if np.isfinite(data).all() else None
        kind = tensor.dtype
        codes = None
        if kind.is_int and kind.bits <= 8:
            codes = float(kind.lowest), float(kind.highest)
        einsums = self.writers.get(name, ())
        if not einsums or not depth or any(e.iterates or e.output.indirect for e in einsums):
            return codes
        # A tensor may be written in pieces.
        parts = [self._written(e, self.of(e.expr, depth - 1)) for e in einsums]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return codes
        return min(low for low, _ in known), max(high for _, high in known)

    def _written(self, einsum: Einsum, one: Interval | None) -> Interval | None:
        """Bounds of a result whose points lie in an interval."""
        fold = einsum.reduction
        if one is None or fold is None:
            return one
        if fold.op == "max" and not fold.base:
            return one
        if fold.op != "add" or fold.base:
            return None
        sizes = self.builder.rank_sizes
        points = prod(sizes[v.upper()] for v in fold.variables)
        slack = 1 + points * 2.0**-22  # of the float sum, and of the products in it
        return min(0.0, one[0]) * points * slack, max(0.0, one[1]) * points * slack


def _exact(op: str, low: float, high: float) -> bool:
    """Whether an operation with this right operand rounds nothing."""
    if op in ("add", "sub"):
        return low == high == 0.0
    return low == high and abs(np.frexp(low)[0]) == 0.5


def _clipped(parts: list[Interval | None]) -> Interval | None:
    inner, low, high = parts
    if low is None or high is None:
        return None
    first, last = low[0], high[1]
    if inner is not None:
        first, last = (min(max(end, low[0]), high[1]) for end in inner)
    return first, last
