"""Sums of products (convolutions, matrix products, tensor networks) by matrix multiplication.

The factors are contracted in pairs, the pair with the smallest result first.

Integer contractions are computed in floating point where that is exact: every partial sum of K
products of magnitude at most m stays below K*m, so float32 is exact while K*m < 2^24 and float64
while K*m < 2^53. The result is taken modulo 2^32 or 2^64, as integer arithmetic is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import prod

import numpy as np

from dataflow.evaluate.general import store
from dataflow.evaluate.primitives import promoted
from dataflow.evaluate.space import Space, evaluate_expr, view
from dataflow.ir.cascade import Access, Call, Const, Einsum, Expr
from dataflow.ir.expr import access, accesses, map_accesses, variables, walk

Array = np.ndarray

POINTS = 1 << 23
"""Elements of an unfolded operand held at once."""

SMALL = 1 << 18
"""Products of float32 numbers up to which they are summed in float64."""

CHEAP = ("sub", "f32")
"""Operators that keep the zero outside of a tensor a zero once it is unfolded."""


def product(expr: Expr) -> Iterator[Expr]:
    """The factors of a product, left to right."""
    if isinstance(expr, Call) and expr.op == "mul":
        for arg in expr.args:
            yield from product(arg)
    else:
        yield expr


def applies(einsum: Einsum) -> bool:
    """Whether the fast path computes this Einsum to the same bits as the general one.

    Float contractions qualify only before ``legalise`` gives them an order.
    """
    reduction = einsum.reduction
    if reduction is None or reduction.op != "add" or reduction.order != "any":
        return False
    if reduction.base or einsum.output.indirect:
        return False
    uses = [set(variables(f)) for f in product(einsum.expr)]
    return sum(map(bool, uses)) > 1 and set().union(*uses).issuperset(reduction.variables)


@dataclass(frozen=True, eq=False)
class Factor:
    """An array over variables.

    Attributes:
        variables: one for each axis.
        data: the numbers; integers perhaps in a narrower type than they are computed in.
        peak: bound of the magnitude of integers; 0 for floats.
    """

    variables: tuple[str, ...]
    data: Array
    peak: int

    def size(self, names: Iterable[str]) -> int:
        """Number of points of some of its variables."""
        sizes = dict(zip(self.variables, self.data.shape, strict=True))
        return prod(sizes[v] for v in names)


def run(einsum: Einsum, tensors: dict[str, Array], space: Space) -> None:
    """Evaluates a contraction over ``space`` into its output tensor."""
    assert einsum.reduction is not None
    terms = list(product(einsum.expr))
    outer = einsum.output.variables
    inner = einsum.reduction.variables
    fixed = {v: r for v, r in space.ranges.items() if v not in outer + inner}
    reduced = {v: space.ranges[v] for v in inner}
    uses = [set(variables(t)) for t in terms]
    for box in _boxes(space.only(outer), reduced | fixed, uses):
        result = _box(terms, outer, tensors, Space({**box.ranges, **reduced, **fixed}))
        result = result.reshape(result.shape + (1,) * len(fixed))
        store(tensors[einsum.output.tensor], einsum, Space({**box.ranges, **fixed}), result)


def _boxes(
    box: Space, rest: Mapping[str, tuple[int, int]], uses: list[set[str]]
) -> Iterator[Space]:
    """Parts of the output for which no factor has more than `POINTS` elements, if possible."""
    counts = {v: c for v, (_, c) in {**rest, **box.ranges}.items()}
    large = max(uses, key=lambda use: prod(counts[v] for v in use))
    if prod(counts[v] for v in large) > POINTS:
        # Cutting a variable that all factors have repeats no work.
        shared = [v for v in box.ranges if counts[v] > 1 and all(v in u for u in uses if u)]
        own = [v for v in box.ranges if counts[v] > 1 and v in large]
        for variable in (shared or own)[:1]:
            for half in box.halves(variable):
                yield from _boxes(half, rest, uses)
            return
    yield box


def _box(
    terms: list[Expr], outer: tuple[str, ...], tensors: Mapping[str, Array], space: Space
) -> Array:
    """The contraction over one box, with an axis for each output variable."""
    known = {term: _factor(term, tensors, space) for term in dict.fromkeys(terms)}
    factors = [known[term] for term in terms]
    dtype = promoted(np.empty(0, factors[0].data.dtype)).dtype
    while len(factors) > 1:
        first, second = min(
            combinations(range(len(factors)), 2), key=lambda pair: _cost(factors, pair, outer)
        )
        rest = [f for k, f in enumerate(factors) if k not in (first, second)]
        keep = set(outer).union(*(f.variables for f in rest))
        factors = [*rest, _pair(factors[first], factors[second], keep, outer, dtype)]
    last = _summed(factors[0], set(outer), dtype)
    data = last.data.transpose([last.variables.index(v) for v in outer if v in last.variables])
    shape = [space.ranges[v][1] if v in last.variables else 1 for v in outer]
    return np.broadcast_to(data.reshape(shape), [space.ranges[v][1] for v in outer])


def _cost(factors: list[Factor], pair: tuple[int, int], outer: tuple[str, ...]) -> tuple[int, int]:
    """How many more elements a pair's product has than the pair, and its multiplications."""
    rest = [f for k, f in enumerate(factors) if k not in pair]
    keep = set(outer).union(*(f.variables for f in rest))
    a, b = (factors[k] for k in pair)
    points = a.data.size * b.size(v for v in b.variables if v not in a.variables)
    kept = a.size(v for v in a.variables if v in keep)
    kept *= b.size(v for v in b.variables if v in keep and v not in a.variables)
    return kept - a.data.size - b.data.size, points


def _pair(a: Factor, b: Factor, keep: set[str], outer: tuple[str, ...], dtype: np.dtype) -> Factor:
    """The product of two factors, summed over the variables that are not kept."""
    a = _summed(a, keep | set(b.variables), dtype)
    b = _summed(b, keep | set(a.variables), dtype)
    if outer and outer[-1] in a.variables:
        # The columns of the product should be the innermost axis of the output.
        a, b = b, a
    batch = _sorted((v for v in a.variables if v in b.variables and v in keep), outer)
    depth = tuple(v for v in a.variables if v in b.variables and v not in keep)
    left = _sorted((v for v in a.variables if v not in b.variables), outer)
    right = _sorted((v for v in b.variables if v not in a.variables), outer)
    peak = a.peak * b.peak * a.size(depth)
    inside = dtype
    if dtype.kind in "iu":
        inside = np.dtype(np.int64)
        if peak < 1 << 53:
            inside = np.dtype(np.float32 if peak < 1 << 24 else np.float64)
    elif dtype.kind == "f":
        points = a.data.size * b.size(right)
        inside = np.dtype(np.float64 if dtype.itemsize > 4 or points <= SMALL else np.float32)
    rows = _matrix(a, batch, left, depth, inside)
    columns = _matrix(b, batch, right, depth, inside)
    # BLAS kernels look at lanes beyond a matrix's end, which may raise the flag of a NaN there.
    with np.errstate(invalid="ignore" if dtype.kind in "iu" else None):
        result = np.matmul(rows, columns.swapaxes(-1, -2))
    if dtype.kind in "iu":
        # Float results are exact, those in int64 right modulo 2^64.
        wide = np.int32 if peak < 1 << 31 else np.int64
        result = result.astype(wide, copy=False).astype(dtype, copy=False)
        peak = min(peak, 1 << (8 * dtype.itemsize))
    shape = [a.size([v]) for v in batch + left] + [b.size([v]) for v in right]
    return Factor(batch + left + right, result.reshape(shape), peak)


def _sorted(names: Iterable[str], outer: tuple[str, ...]) -> tuple[str, ...]:
    """The variables in the order of the output, others last."""
    return tuple(sorted(names, key=lambda v: outer.index(v) if v in outer else len(outer)))


def _matrix(
    factor: Factor,
    batch: tuple[str, ...],
    own: tuple[str, ...],
    depth: tuple[str, ...],
    dtype: np.dtype,
) -> Array:
    """The factor as matrices [batch, own, depth] that BLAS takes; a copy where it must be."""
    x = factor.data.transpose([factor.variables.index(v) for v in batch + own + depth])
    shape = (factor.size(batch), factor.size(own), factor.size(depth))
    if x.dtype == dtype:
        try:
            flat = np.reshape(x, shape, copy=False)
        except ValueError:
            pass
        else:
            if _blas(flat):
                return flat
    first, last = len(batch), len(batch) + len(own)
    if _contiguity(x, range(first, last)) > _contiguity(x, range(last, x.ndim)):
        # Copied with the rows innermost, where they are what lies together in memory.
        order = (*range(first), *range(last, x.ndim), *range(first, last))
        copy = x.transpose(order).astype(dtype, order="C", copy=False)
        return copy.reshape(shape[0], shape[2], shape[1]).swapaxes(-1, -2)
    return x.astype(dtype, order="C", copy=False).reshape(shape)


def _contiguity(x: Array, axes: range) -> tuple[int, int]:
    """Prefers a small stride of the innermost of the axes, then its length."""
    inner = [k for k in axes if x.shape[k] > 1][-1:]
    if not inner:
        return (-(1 << 62), 0)
    return (-abs(x.strides[inner[0]]), x.shape[inner[0]])


def _blas(x: Array) -> bool:
    """Whether the last two axes are a row-major or column-major matrix."""
    item = x.itemsize
    rows, columns = x.shape[-2:]
    down, across = x.strides[-2:]
    by_rows = (across == item or columns <= 1) and (down >= columns * item or rows <= 1)
    by_columns = (down == item or rows <= 1) and (across >= rows * item or columns <= 1)
    return bool(by_rows or by_columns)


def _summed(factor: Factor, keep: set[str], dtype: np.dtype) -> Factor:
    """The factor summed over its variables that are not kept."""
    gone = tuple(k for k, v in enumerate(factor.variables) if v not in keep)
    if not gone:
        return factor
    count = factor.size(factor.variables[k] for k in gone)
    inside = np.dtype(np.float32) if dtype == np.float16 else dtype
    data = factor.data.sum(axis=gone, dtype=inside)
    names = tuple(v for v in factor.variables if v in keep)
    peak = min(factor.peak * count, 1 << (8 * dtype.itemsize))
    return Factor(names, data, peak)


def _factor(expr: Expr, tensors: Mapping[str, Array], space: Space) -> Factor:
    """A factor over its variables; zero where an access leaves its tensor, so that the product
    contributes nothing there."""
    names = tuple(v for v in space.ranges if v in set(variables(expr)))
    own = space.only(names)
    shape = tuple(c for _, c in own.ranges.values())
    if isinstance(expr, Access) and not expr.indirect:
        data = tensors[expr.tensor]
        return Factor(names, np.broadcast_to(view(data, expr, own), shape), _magnitude(data))
    parts = [p for p in walk(expr) if not isinstance(p, Const)]
    cheap = all(isinstance(p, Access) or (isinstance(p, Call) and p.op in CHEAP) for p in parts)
    reads = accesses(expr)
    if len(reads) == 1 and not reads[0].indirect and cheap:
        data = tensors[reads[0].tensor]
        if data.size <= 2 * own.points:
            # One access: map the tensor once, then unfold, not the other way round.
            axes = tuple(f"d{k}" for k in range(data.ndim))
            whole = Space({v: (0, size) for v, size in zip(axes, data.shape, strict=True)})
            plain = map_accesses(expr, lambda _: access(reads[0].tensor, *axes))
            mapped, _ = evaluate_expr(plain, tensors, whole)
            unfolded = np.broadcast_to(view(mapped, reads[0], own), shape)
            return Factor(names, unfolded, _magnitude(mapped))
    value, mask = evaluate_expr(expr, tensors, own)
    if mask is not None:
        value = np.where(mask, value, np.zeros((), dtype=value.dtype))
    return Factor(names, np.broadcast_to(value, shape), _magnitude(value))


def _magnitude(x: Array) -> int:
    if x.dtype.kind not in "iu" or not x.size:
        return 0
    return max(abs(int(x.max())), abs(int(x.min())))
