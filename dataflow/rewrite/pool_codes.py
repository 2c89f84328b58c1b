"""A maximum in front of a quantiser as a maximum of codes. Exact.

::

    M[b, n, p] = X[b, n, p*2 + r] :: max(r)      C[b, n, h] = clip(rint(X[b, n, h] / s) + z, ..)
    Y[b, n, p] = clip(rint(M[b, n, p] / s) ..)   Y[b, n, p] = C[b, n, p*2 + r] :: max(r)

A quantiser never falls, so that it commutes with a maximum. Codes can wait in memory; the numbers
that a convolution or a normalisation hands to the pooling cannot.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Cascade, Einsum, Expr, Tensor
from dataflow.ir.dtype import F32
from dataflow.ir.expr import accesses, map_accesses, substitute
from dataflow.rewrite.cone import Cone, Editor, elementwise, is_codes, whole
from dataflow.rewrite.dead import remove_dead
from dataflow.rewrite.monotone import monotone

LARGE = 1e30
"""A number at which, and at whose opposite, every quantiser is at the ends of its codes."""

POINTS = 1 << 22
"""Most (output, tap) pairs of one dimension that are looked at."""


def pool_codes(cascade: Cascade) -> Cascade:
    """The cascade with each maximum of floats that only a quantiser reads behind it."""
    editor = Editor(cascade)
    for name in [e.name for e in cascade.einsums]:
        if name in editor.einsums:
            made = _moved(editor, editor.einsums[name])
            if made is not cascade:
                cascade, editor = made, Editor(made)
    return cascade


def _moved(editor: Editor, tip: Einsum) -> Cascade:
    """The same for one quantiser."""
    cascade = editor.cascade
    if not is_codes(cascade.tensors[tip.output.tensor]) or not elementwise(cascade, tip):
        return cascade
    cone = Cone(editor, tip)
    if len(cone.leaves) != 1 or not monotone(cone):
        return cascade
    (leaf,) = cone.leaves
    fold = editor.writer(leaf.tensor)
    if fold is None or fold.reduction is None or fold.reduction.op != "max" or fold.iterates:
        return cascade
    if cascade.tensors[leaf.tensor].dtype != F32 or not cone.private(leaf.tensor):
        return cascade
    if not isinstance(fold.expr, Access) or not whole(cascade, fold):
        return cascade
    places = _places(cascade, fold, leaf)
    if places is None or not _rises(cone) or not _whole_tip(cascade, tip):
        return cascade
    expr = _inlined(cone, tip.expr)
    made = _rewritten(cascade, replace(tip, expr=expr), fold, leaf, places)
    return made if made is cascade else remove_dead(made)


def _inlined(cone: Cone, expr: Expr) -> Expr:
    """The expression with what is looked through written out, down to the leaf."""
    return map_accesses(expr, lambda a: _inlined(cone, cone.parts[a]) if a in cone.parts else a)


def _whole_tip(cascade: Cascade, tip: Einsum) -> bool:
    """Whether nobody else writes the codes."""
    return len(cascade.writers[tip.output.tensor]) == 1 and whole(cascade, tip)


def _places(cascade: Cascade, fold: Einsum, leaf: Access) -> dict[str, str | None] | None:
    """For each variable of the quantiser the one of the pooled tensor; None where it is windowed.

    No result where the reads do not correspond, or some window lies outside of the tensor.
    """
    assert isinstance(fold.expr, Access) and fold.reduction is not None
    taps = set(fold.reduction.variables)
    sizes = cascade.sizes(fold)
    plain: set[str] = set()
    for index, size in zip(fold.expr.indices, cascade.tensors[fold.expr.tensor].shape, strict=True):
        if index.variable is not None and index.variable not in taps:
            if sizes[index.variable] != size:
                return None
            plain.add(index.variable)
        elif not _meets(index, size, taps, sizes):
            return None
    found: dict[str, str | None] = {}
    for read, written in zip(leaf.indices, fold.output.indices, strict=True):
        if read.variable is None:
            if read != Affine():
                return None
        elif written.variable is not None:
            found[read.variable] = written.variable if written.variable in plain else None
    return found


def _meets(index: Affine, size: int, taps: set[str], sizes: dict[str, int]) -> bool:
    """Whether each output has a tap inside a dimension of this size."""
    low, high = index.bounds({v: sizes[v] for v in index.variables})
    if low >= 0 and high < size:
        return True
    outs = np.array([index.offset])
    inner = np.array([0])
    for variable, step in index.terms:
        steps = np.arange(sizes[variable]) * step
        if variable in taps:
            inner = (inner[:, None] + steps).reshape(-1)
        else:
            outs = (outs[:, None] + steps).reshape(-1)
        if outs.size * inner.size > POINTS:
            return False
    coordinates = outs[:, None] + inner
    return bool(((coordinates >= 0) & (coordinates < size)).any(axis=1).all())


def _rises(cone: Cone) -> bool:
    """Whether the codes never fall: they move one way, and this is it."""
    (leaf,) = cone.leaves
    names = tuple(dict.fromkeys(v for a in cone.constants for v in a.variables))
    known = {a: cone.along(a, names) for a in cone.constants}
    low, high = (
        cone.value(cone.tip.expr, {**known, leaf: np.full(1, end, np.float32)}).astype(np.int64)
        for end in (-LARGE, LARGE)
    )
    return bool((low <= high).all())


def _rewritten(
    cascade: Cascade, tip: Einsum, fold: Einsum, leaf: Access, places: dict[str, str | None]
) -> Cascade:
    """The quantiser on what is pooled, the pooling on its codes."""
    assert isinstance(fold.expr, Access)
    read = fold.expr
    source = cascade.tensors[read.tensor]
    inner: list[str] = []
    sizes = dict(cascade.rank_sizes)
    taps = set(fold.reduction.variables) if fold.reduction is not None else set()
    for index, size in zip(read.indices, source.shape, strict=True):
        if index.variable is not None and index.variable not in taps:
            inner.append(index.variable)
            continue
        count = 1
        while (rank := f"H{count}") in sizes:
            count += 1
        sizes[rank] = size
        inner.append(rank.lower())
    values = {v: Affine.of(other) for v, other in places.items() if other is not None}
    if any(
        v in places and places[v] is None
        for a in accesses(tip.expr)
        if a != leaf
        for v in a.variables
    ):
        return cascade  # a constant that varies along a window
    codes = tip.output.tensor
    name, count = f"{codes}_inner", 1
    while name in cascade.tensors:
        count += 1
        name = f"{codes}_inner{count}"

    def change(access: Access) -> Expr:
        if access.tensor == leaf.tensor:
            return Access(read.tensor, tuple(Affine.of(v) for v in inner))
        return access

    made = Tensor(
        name,
        tuple(v.upper() for v in inner),
        source.shape,
        cascade.tensors[codes].dtype,
        quant=cascade.tensors[codes].quant,
        label=name,
    )
    quantiser = Einsum(
        f"{tip.name}_inner",
        Access(name, tuple(Affine.of(v) for v in inner)),
        map_accesses(substitute(tip.expr, values), change),
        None,
        tip.source,
        tip.operator,
    )
    pooled = replace(cascade.tensors[leaf.tensor], dtype=made.dtype, quant=made.quant)
    einsums: list[Einsum] = []
    for e in cascade.einsums:
        if e.name == fold.name:
            einsums += [quantiser, replace(fold, expr=Access(name, read.indices))]
        elif e.name == tip.name:
            einsums.append(replace(tip, expr=leaf))
        else:
            einsums.append(e)
    return replace(
        cascade,
        rank_sizes=sizes,
        tensors={**cascade.tensors, name: made, leaf.tensor: pooled},
        einsums=tuple(einsums),
    )
