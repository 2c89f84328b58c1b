"""Maxima of codes over windows that no memory holds: in turn, over shorter ones. Exact.

::

    Y[n, c] = X[n, c, h, w] :: max(h, w)      R[n, c, h] = X[n, c, h, w] :: max(w)
                                              Y[n, c] = R[n, c, h] :: max(h)

    Y[n] = X[n, r] :: max(r)                  P[n, p] = X[n, p*s + k] :: max(k)
                                              Y[n] = P[n, p] :: max(p)

A tile of the vector unit holds whole windows. The parts of a row overlap where they do not divide
it: a maximum may see an element twice.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Cascade, Einsum, Tensor
from dataflow.ir.expr import substitute
from dataflow.rewrite.cone import whole
from dataflow.rewrite.pieces import fresh
from dataflow.rewrite.volumes import code_read, max_in_turn, replaced, windowed

MOST = 2048
"""Elements of a window that every machine has memory for: half of edge8's, a line each."""


def long_maxima(cascade: Cascade) -> Cascade:
    """The cascade without maxima of codes over more than `MOST` elements."""
    todo = [e.name for e in cascade.einsums]
    while todo:
        name = todo.pop()
        made = _shorter(cascade, name)
        if made is not cascade:
            known = {e.name for e in cascade.einsums}
            todo += [name, *(e.name for e in made.einsums if e.name not in known)]
            cascade = made
    return cascade


def _shorter(cascade: Cascade, name: str) -> Cascade:
    """The same with the Einsum of this name as two; the same object when it is short."""
    einsum = next(e for e in cascade.einsums if e.name == name)
    fold = einsum.reduction
    if fold is None or fold.op != "max" or fold.base or einsum.iterates:
        return cascade
    taps = [v for v in fold.variables if cascade.size(v) > 1]
    if prod(cascade.size(v) for v in taps) <= MOST:
        return cascade
    read = code_read(cascade, einsum)
    if read is None or einsum.expr != read or not whole(cascade, einsum):
        return cascade
    dims = windowed(cascade, einsum, read)
    if len(dims) > 1:
        return max_in_turn(cascade, einsum, read, dims[0])
    return _in_parts(cascade, einsum, taps[-1])


def _in_parts(cascade: Cascade, einsum: Einsum, tap: str) -> Cascade:
    """A maximum over parts of a row, then over the parts."""
    assert einsum.reduction is not None
    size = cascade.size(tap)
    # As few parts as can be: each begins behind the one before, or inside of it, and ends in time.
    count = next(n for n in range(-(-size // MOST), size + 1) if size // n + size % n <= MOST)
    step = size // count
    sizes = dict(cascade.rank_sizes)
    part, inside = fresh("P", set(sizes)), fresh("K", {*sizes, "P"})
    sizes |= {part: count, inside: size - step * (count - 1)}
    others = tuple(v for v in einsum.reduction.variables if v != tap)
    name = fresh(f"{einsum.output.tensor}_parts", set(cascade.tensors))
    own = cascade.tensors[einsum.output.tensor]
    variables = (*einsum.output.variables, part.lower())
    ranks = tuple(v.upper() for v in variables)
    parts = Access(name, tuple(Affine.of(v) for v in variables))
    where = Affine.of((part.lower(), step), inside.lower())
    before = replace(
        einsum,
        name=fresh(f"{einsum.name}_parts", {e.name for e in cascade.einsums}),
        output=parts,
        expr=substitute(einsum.expr, {tap: where}),
        reduction=replace(einsum.reduction, variables=(*others, inside.lower())),
    )
    after = replace(
        einsum, expr=parts, reduction=replace(einsum.reduction, variables=(part.lower(),))
    )
    tensor = Tensor(
        name, ranks, tuple(sizes[r] for r in ranks), own.dtype, quant=own.quant, label=name
    )
    return replaced(cascade, einsum, [before, after], sizes, {name: tensor})
