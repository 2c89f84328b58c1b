"""Interpolation of dequantised codes as convolutions with integer weights. Changes rounding.

::

    P[b, n, p, q] = R[b, n, p/2 + t, q] * V[p, t] :: add(t)
    F[b, n, p, q] = P[b, n, p, q/2 + u] * W[q, u] :: add(u)
    Y[b, n, p, q] = clip(rint(F[b, n, p, q] / s) + z, ..)

becomes, for each phase of the outputs (an even and an odd one here),

::

    A[b, n, 2*p, 2*q] = (X[b, n, p + t, q + u] - z) * K[n, t, u] :: add(t, u)
    Y[b, n, p, q] = clip(rint(f32(A[b, n, p, q]) * f / s) + z, ..)

where the weights are integers over a power of two: then the sums are integers, and outputs with the
same weights, a stride apart, are a convolution of each channel. The written form rounds its real
numbers and its sums; the integer form differs from it near ties alone.

Codes that are interpolated as they are (a Resize of int8) are truncated, ``Y = s8(F)``. Their sums
are multiples of a power of two that float32 holds, so that there the integer form is the same
function::

    Y[b, n, p, q] = clip(rint(f32(A) * 2**-k - max(min(f32(A), h), -h)), ..)

where h is half of the largest fraction: what lies above an integer is rounded down to it, and what
lies below one, of negative sums, up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Call, Cascade, Einsum, Reduction, Tensor
from dataflow.ir.dtype import F32, S8, S32, DType
from dataflow.ir.expr import Expr, call, integer, map_accesses, single
from dataflow.rewrite.cone import Array, Cone, Editor, elementwise, is_codes
from dataflow.rewrite.dead import remove_dead
from dataflow.rewrite.integer_sums import line_of_codes
from dataflow.rewrite.monotone import monotone
from dataflow.rewrite.pieces import fresh
from dataflow.rewrite.quantisers import literal_kernel, quantiser, rounding

STRIDES = 16
"""Largest distance of outputs with the same weights that is looked for."""

RUNS = 12
"""Most sets of outputs along one dimension."""

LARGEST = 127
"""Of the integer weights."""

BITS = 7
"""Of the power of two that weights are multiples of, in each dimension."""

CASTS = ("s8", "u8")
"""What truncates numbers to codes."""

SPREAD = 2048.0
"""Codes that the dequantised range spans at most: below it roundings move 1e-3 of a code."""


def integer_filters(cascade: Cascade) -> Cascade:
    """The cascade with interpolations of codes as integer convolutions.

    Inexact in front of quantisers: changes the code by one where the real result lies within 1e-3
    codes of a tie. Exact where codes are interpolated as they are.
    """
    for name in [e.name for e in cascade.einsums]:
        if any(e.name == name for e in cascade.einsums):
            cascade = _replaced(cascade, name)
    return cascade


@dataclass(frozen=True)
class Filter:
    """One dimension: each output as a weighted sum of inputs.

    Attributes:
        dim: of the tensor.
        matrix: float64 [out, in].
    """

    dim: int
    matrix: Array


@dataclass(frozen=True)
class Outputs:
    """Outputs ``first + k*stride`` that read inputs ``start + k*step + t`` with equal weights."""

    first: int
    stride: int
    count: int
    start: int
    step: int
    weights: tuple[int, ...]


def _replaced(cascade: Cascade, name: str) -> Cascade:
    """The same for the quantiser of this name."""
    tip = next(e for e in cascade.einsums if e.name == name)
    parts = rounding(tip.expr)
    cast = tip.expr.args[0] if isinstance(tip.expr, Call) and tip.expr.op in CASTS else None
    if cast is None and (parts is None or literal_kernel(tip)):
        return cascade
    if not elementwise(cascade, tip):
        return cascade
    editor = Editor(cascade)
    cone = Cone(editor, tip)
    if len(cone.leaves) != 1 or cone.constants:
        return cascade
    (leaf,) = cone.leaves
    if cast != leaf if cast is not None else not monotone(cone):
        return cascade
    if not cone.private(leaf.tensor) or leaf.indices != tip.output.indices:
        return cascade
    found = _chain(editor, leaf.tensor)
    if found is None:
        return cascade
    filters, source = found
    shape = cascade.tensors[source].shape
    codes = _codes(editor, source)
    if codes is None:
        return cascade
    cut = [_integers(f.matrix) for f in filters]
    scaled = [c for c in cut if c is not None]
    if len(scaled) < len(cut):
        return cascade
    step, zero, read = codes
    bits = sum(b for _, b in scaled)
    factor = single(float(np.float32(step * 2.0**-bits)))
    if parts is not None:
        reach = np.array([0.0, 255 * abs(step)], np.float32)
        spread = cone.value(parts[0], {leaf: reach}).astype(np.float64)
        if not abs(spread[1] - spread[0]) < SPREAD:
            return cascade
    elif (step, zero) != (1.0, 0) or not all(_averages(f.matrix) for f in filters):
        return cascade
    runs = [_runs(matrix) for matrix, _ in scaled]
    if any(r is None for r in runs):
        return cascade
    plan = {f.dim: r for f, r in zip(filters, runs, strict=True) if r is not None}
    largest = [max(abs(w) for one in r for w in one.weights) for r in plan.values()]
    if np.prod(largest) > LARGEST or len(plan) > 2:
        return cascade
    made = _convolved(cascade, tip, leaf, read, zero, shape, plan)
    if made is None:
        return cascade
    changed, acc = made

    def real(access: Access) -> Expr:
        if access in cone.parts:
            return map_accesses(cone.parts[access], real)
        if access == leaf:
            return call("mul", call("f32", Access(acc, leaf.indices)), factor)
        return access

    kind = cascade.tensors[tip.output.tensor].dtype
    sums = call("f32", Access(acc, leaf.indices))
    expr = map_accesses(tip.expr, real) if parts is not None else _truncation(sums, bits, kind)
    ready = replace(tip, expr=expr)
    einsums = tuple(ready if e.name == tip.name else e for e in changed.einsums)
    return remove_dead(replace(changed, einsums=einsums))


def _averages(matrix: Array) -> bool:
    """Whether no output leaves the range of the inputs."""
    return bool((matrix >= 0).all() and (matrix.sum(axis=1) <= 1).all())


def _truncation(sums: Expr, bits: int, kind: DType) -> Expr:
    """``sums / 2**bits`` without its fraction; each step is exact below 2**24."""
    half = (2**bits - 1) / 2 ** (bits + 1)
    fraction = call("max", call("min", sums, single(half)), single(-half))
    real = call("sub", call("mul", sums, single(2.0**-bits)), fraction)
    return quantiser(real, 0, kind.lowest, kind.highest)


def _chain(editor: Editor, tensor: str) -> tuple[list[Filter], str] | None:
    """The filters that make a tensor, and what the first of them reads."""
    found: list[Filter] = []
    while (one := _filter(editor, tensor)) is not None:
        band, tensor = one
        if any(f.dim == band.dim for f in found):
            return None
        found.append(band)
    return (found, tensor) if found else None


def _filter(editor: Editor, tensor: str) -> tuple[Filter, str] | None:
    """A float sum over one variable of elements times constants along one dimension."""
    cascade = editor.cascade
    fold = editor.writer(tensor)
    if fold is None or fold.reduction is None or cascade.tensors[tensor].dtype != F32:
        return None
    reduction = fold.reduction
    plain = reduction.op == "add" and not reduction.base and len(reduction.variables) == 1
    if not plain or fold.iterates or fold.output.indirect or tensor in cascade.outputs:
        return None
    if len(editor.readers.get(tensor, ())) != 1:
        return None
    if not (isinstance(fold.expr, Call) and fold.expr.op == "mul"):
        return None
    read, weights = fold.expr.args
    if isinstance(read, Call) and read.op == "f32":
        (read,) = read.args
    if not (isinstance(read, Access) and isinstance(weights, Access)):
        return None
    if weights.tensor not in cascade.constants or read.indirect or weights.indirect:
        return None
    (tap,) = reduction.variables
    dims = [k for k, i in enumerate(read.indices) if tap in i.variables]
    if len(dims) != 1 or len(read.indices) != len(fold.output.indices):
        return None
    (dim,) = dims
    for k, (index, written) in enumerate(zip(read.indices, fold.output.indices, strict=True)):
        if k != dim and (index != written or (written.variable is None and index != Affine())):
            return None
    own = {*fold.output.indices[dim].variables, tap}
    if set(weights.variables) - own or set(read.indices[dim].variables) - own:
        return None
    matrix = _matrix(cascade, fold, read, weights, dim, tap)
    return None if matrix is None else (Filter(dim, matrix), read.tensor)


def _matrix(
    cascade: Cascade, fold: Einsum, read: Access, weights: Access, dim: int, tap: str
) -> Array | None:
    """The weight of each input in each output, float64; None where it would be too large."""
    names = [*fold.output.indices[dim].variables, tap]
    sizes = [cascade.size(v) for v in names]
    ins = cascade.tensors[read.tensor].shape[dim]
    outs = cascade.tensors[fold.output.tensor].shape[dim]
    if np.prod(sizes) > 1 << 22 or ins * outs > 1 << 22:
        return None
    places = np.indices(sizes).reshape(len(names), -1)

    def at(index: Affine) -> Array:
        return np.asarray(
            index.offset
            + sum(c * places[names.index(v)] for v, c in index.terms)
            + np.zeros(places.shape[1], np.int64)
        )

    data = np.asarray(cascade.constants[weights.tensor])
    values = data[tuple(at(i) for i in weights.indices)].astype(np.float64)
    source = at(read.indices[dim])
    inside = (source >= 0) & (source < ins)
    matrix = np.zeros((outs, ins))
    target = at(fold.output.indices[dim])
    np.add.at(matrix, (target[inside], source[inside]), values[inside])
    return matrix


def _codes(editor: Editor, tensor: str) -> tuple[float, int, Access] | None:
    """(step, zero, codes) where a tensor is (code - zero) * step, element by element."""
    cascade = editor.cascade
    shape = cascade.tensors[tensor].shape
    ranks = cascade.tensors[tensor].ranks
    names = tuple(Affine.of(r.lower()) for r in ranks)
    if any(cascade.rank_sizes[r] != n for r, n in zip(ranks, shape, strict=True)):
        return None
    whole = Access(tensor, names)
    if is_codes(cascade.tensors[tensor]):
        return 1.0, 0, whole
    cone = Cone(editor, Einsum("", whole, whole))
    line = line_of_codes(cone) if len(cone.leaves) == 1 and not cone.constants else None
    if line is None or not is_codes(cascade.tensors[cone.leaves[0].tensor]):
        return None
    (leaf,) = cone.leaves
    return (*line, leaf) if leaf.indices == names else None


def _integers(matrix: Array) -> tuple[Array, int] | None:
    """The weights times a power of two, as int64, and that power; None where they are no such."""
    for bits in range(BITS + 1):
        scaled = matrix * 2.0**bits
        if (scaled == np.rint(scaled)).all():
            return scaled.astype(np.int64), bits
    return None


def _runs(matrix: Array) -> list[Outputs] | None:
    """The outputs in as few sets as possible; None where these are many."""
    used = matrix != 0
    if not used.any(axis=1).all():
        return None
    low, high = used.argmax(axis=1), matrix.shape[1] - 1 - used[:, ::-1].argmax(axis=1)
    taps = max(int((high - low).max()) + 1, min(2, matrix.shape[1]))
    low = np.minimum(low, matrix.shape[1] - taps)
    rows = [
        (int(first), tuple(int(w) for w in matrix[o, first : first + taps]))
        for o, first in enumerate(low)
    ]
    best: list[Outputs] | None = None
    for stride in range(1, min(STRIDES, len(rows)) + 1):
        found = [one for phase in range(stride) for one in _phase(rows, phase, stride)]
        if best is None or len(found) < len(best):
            best = found
    return best if best is not None and len(best) <= RUNS else None


def _phase(rows: list[tuple[int, tuple[int, ...]]], phase: int, stride: int) -> list[Outputs]:
    """The sets of one phase, from left to right, each as long as possible."""
    found: list[Outputs] = []
    for place in range(phase, len(rows), stride):
        start, weights = rows[place]
        last = found[-1] if found else None
        if last is not None and last.weights == weights:
            step = start - last.start if last.count == 1 else last.step
            if step > 0 and start == last.start + last.count * step:
                found[-1] = replace(last, count=last.count + 1, step=step)
                continue
        found.append(Outputs(place, stride, 1, start, 1, weights))
    return found


def _convolved(
    cascade: Cascade,
    tip: Einsum,
    leaf: Access,
    read: Access,
    zero: int,
    shape: tuple[int, ...],
    plan: dict[int, list[Outputs]],
) -> tuple[Cascade, str] | None:
    """The sums as int32 in pieces: (cascade, their tensor)."""
    sizes = dict(cascade.rank_sizes)
    tensors, constants = dict(cascade.tensors), dict(cascade.constants)
    whole = tensors[leaf.tensor]
    acc = fresh(f"{leaf.tensor}_sum", set(tensors))
    tensors[acc] = replace(whole, name=acc, dtype=S32, label=acc, quant=None)
    plain = [k for k in range(len(shape)) if k not in plan]
    channel = next((k for k in reversed(plain) if shape[k] > 1), None)
    known = {e.name for e in cascade.einsums}
    pieces: list[Einsum] = []

    def rank(letter: str, size: int) -> str:
        name = fresh(letter, set(sizes))
        sizes[name] = size
        return name

    taps = {d: rank("T", len(runs[0].weights)) for d, runs in plan.items()}
    for chosen in product(*plan.values()):
        reads, writes = list(read.indices), list(read.indices)
        kernel = np.ones((), np.int64)
        for (dim, tap), run in zip(taps.items(), chosen, strict=True):
            own = rank("P", run.count).lower()
            reads[dim] = Affine.of((own, run.step), tap.lower(), run.start)
            writes[dim] = Affine.of((own, run.stride), run.first)
            kernel = np.multiply.outer(kernel, np.array(run.weights))
        names = list(taps.values())
        if channel is not None:
            variable = read.indices[channel].variable
            if variable is None:
                return None
            names.insert(0, variable.upper())
            kernel = np.broadcast_to(kernel, (shape[channel], *kernel.shape))
        weight = fresh(f"{acc}_weights", set(tensors))
        tensors[weight] = Tensor(weight, tuple(names), kernel.shape, S8, "weight", label=weight)
        constants[weight] = np.ascontiguousarray(kernel.astype(np.int8))
        factors = (
            call("sub", Access(read.tensor, tuple(reads)), integer(zero)),
            call("sub", Access(weight, tuple(Affine.of(n.lower()) for n in names)), integer(0)),
        )
        name = fresh(acc, known)
        known.add(name)
        pieces.append(
            Einsum(
                name,
                Access(acc, tuple(writes)),
                call("mul", *factors),
                Reduction("add", tuple(t.lower() for t in taps.values())),
                tip.source,
                tip.operator,
            )
        )
    einsums: list[Einsum] = []
    for e in cascade.einsums:
        einsums += [*pieces, e] if e.name == tip.name else [e]
    return (
        replace(
            cascade,
            rank_sizes=sizes,
            tensors=tensors,
            constants=constants,
            einsums=tuple(einsums),
        ),
        acc,
    )
