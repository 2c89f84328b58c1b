"""Sums over normalised rows: the normalised numbers wait in memory as two bytes each.

A mean over the tokens of a transformer reads a normalisation ``F[row, n] = x W[n] + C[n]`` at many
rows, each with words of its own, which no window walks. But k numbers are normalised to between
-sqrt(k) and sqrt(k), so that F has bounds, and

    u = F a + b, from 0 to below 127      H = floor(u)      L = floor((u - H) 256)
    sum of n numbers F = (sum of H + (n / 256) mean(L) - n b) / a

with the mean rounded to a code: F is 2^-14 of its range wrong at most, and so is the mean of any
number of them. Before `norm_words`, which then sees two more readers of its normalisation.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.dtype import F32, S32, U8
from dataflow.ir.expr import Access, Call, Const, Expr, call, integer, map_accesses, single
from dataflow.rewrite.cone import Editor
from dataflow.rewrite.dead import remove_dead
from dataflow.rewrite.fold_constants import without_unused
from dataflow.rewrite.norm_words import Normalisation, normalisation, with_products
from dataflow.rewrite.words import RANGE, byte_of, single32

Array = np.ndarray
HIGH, LOW = 2, 1  # places of the bytes in a word
STEPS = 256.0


def norm_sums(cascade: Cascade) -> Cascade:
    """The cascade with each sum over normalised rows as above."""
    editor = Editor(cascade)
    for power in cascade.einsums:
        one = normalisation(editor, power)
        if one is None:
            continue
        for name in sorted(editor.readers.get(one.root.output.tensor, ())):
            made = editor.einsums[name]
            line = _line(cascade, one, made)
            sums = [] if line is None else _sums(editor, made)
            if line is not None and sums:
                return norm_sums(_replaced(editor, made, line, sums[0], one.count))
    return cascade


Line = tuple[Expr, Access, Access]
"""x, W and C."""


def _line(cascade: Cascade, one: Normalisation, made: Einsum) -> Line | None:
    """F as x W + C with constants W and C."""
    outer = made.expr
    if not isinstance(outer, Call) or outer.op != "add" or made.reduction is not None:
        return None
    product, offset = outer.args
    if not isinstance(product, Call) or product.op != "mul" or not isinstance(offset, Access):
        return None
    x, slope = product.args
    if not isinstance(slope, Access) or with_products(x, one, None) != single(0.0):
        return None
    known = {slope.tensor, offset.tensor} <= cascade.constants.keys()
    return (x, slope, offset) if known else None


def _sums(editor: Editor, made: Einsum) -> list[Einsum]:
    """The float sums of an elementwise Einsum's results alone."""
    cascade, name = editor.cascade, made.output.tensor
    if name not in editor.producers or name in cascade.outputs:
        return []
    readers = [editor.einsums[n] for n in sorted(editor.readers.get(name, ()))]
    return [
        e
        for e in readers
        if e.reduction is not None
        and e.reduction.op == "add"
        and isinstance(e.expr, Access)
        and not e.iterates
        and cascade.tensors[e.output.tensor].dtype == F32
        and e.output.tensor not in cascade.outputs
    ]


def _replaced(editor: Editor, made: Einsum, line: Line, total: Einsum, length: int) -> Cascade:
    cascade, reduction = editor.cascade, total.reduction
    assert reduction is not None and isinstance(total.expr, Access)
    x, slope, offset = line
    slopes, offsets = (np.asarray(cascade.constants[part.tensor]) for part in (slope, offset))
    reach = float(np.sqrt(length) * np.abs(slopes).max())
    least, most = float(offsets.min()) - reach, float(offsets.max()) + reach
    a = (RANGE - 2) / (most - least)
    b = 0.5 - least * a
    number = call(
        "add",
        call("mul", x, _constant(editor, slope, slopes * a)),
        _constant(editor, offset, offsets * a + (b + RANGE + 0.5 / STEPS)),
    )
    cascade = editor.cascade
    tensors = dict(cascade.tensors)

    def new(near: Access, place: str, codes: bool) -> Access:
        name = f"{near.tensor}_{place}"
        while name in tensors:
            name += "_"
        dtype = U8 if codes else F32
        tensors[name] = replace(tensors[near.tensor], name=name, dtype=dtype, label=name)
        return Access(name, near.indices)

    einsums: list[Einsum] = []
    sums: list[Access] = []
    for place, stem in ((LOW, "low"), (HIGH, "high")):
        plane = new(made.output, stem, True)
        source = (None, made.source, made.operator)
        einsums.append(Einsum(plane.tensor, plane, byte_of(place, number), *source))
        own = new(total.output, stem, False)
        code = call("f32", Access(plane.tensor, total.expr.indices))
        einsums.append(replace(total, name=own.tensor, output=own, expr=code))
        sums.append(own)
    count = prod(cascade.size(v) for v in reduction.variables)
    mean = new(total.output, "mean", True)
    rounded = call("rint", call("mul", sums[0], single32(1 / count)))
    code = call("clip", call("add", rounded, integer(0)), Const(0, S32), Const(255, S32))
    einsums.insert(2, Einsum(mean.tensor, mean, code, None, total.source, total.operator))

    def value(access: Access) -> Expr:
        if access.tensor != total.output.tensor:
            return access
        high = Access(sums[1].tensor, access.indices)
        low = call("f32", Access(mean.tensor, access.indices))
        top = call("fma", high, single32(1 / a), single32(-count * b / a))
        return call("fma", low, single32(count / STEPS / a), top)

    result: list[Einsum] = []
    for einsum in cascade.einsums:
        if einsum.name == total.name:
            result += einsums
        else:
            result.append(replace(einsum, expr=map_accesses(einsum.expr, value)))
    del tensors[total.output.tensor]
    return without_unused(remove_dead(replace(cascade, tensors=tensors, einsums=tuple(result))))


def _constant(editor: Editor, near: Access, data: Array) -> Access:
    tensor = editor.cascade.tensors[near.tensor]
    name = editor.weight(f"{near.tensor}_steps", data.astype(np.float32), tensor.ranks)
    return Access(name, near.indices)
