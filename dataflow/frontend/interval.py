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
DEPTH = 64
"""Einsums that are looked through, one behind the other."""


def interval(builder: Builder, expr: Expr) -> Interval | None:
    """Lowest and highest value of an expression; None where nothing bounds it.

    Tensors of codes are bounded by their clip or type, sums of windows by their points. Roundings
    of float sums widen the bounds; those of single operations are not counted.
    """
    writers = {einsum.output.tensor: einsum for einsum in builder.einsums}
    return _Reach(builder, writers).of(expr, DEPTH)


class _Reach:
    """Walks expressions and what wrote the tensors that they read."""

    def __init__(self, builder: Builder, writers: dict[str, Einsum]) -> None:
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
            return (min(ends), max(ends)) if np.isfinite(ends).all() else None
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
        einsum = self.writers.get(name)
        if einsum is None or einsum.iterates or einsum.output.indirect or not depth:
            return codes
        return self._written(einsum, self.of(einsum.expr, depth - 1)) or codes

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


def _clipped(parts: list[Interval | None]) -> Interval | None:
    inner, low, high = parts
    if low is None or high is None:
        return None
    first, last = low[0], high[1]
    if inner is not None:
        first, last = (min(max(end, low[0]), high[1]) for end in inner)
    return first, last
