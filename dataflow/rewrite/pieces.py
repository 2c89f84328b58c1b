"""Wide numbers that are written in pieces, piece by piece through what follows. Exact.

::

    A[b, n, 2*p]     = X[..] * W[..] :: add      A0[b, n, p] = X[..] * W[..] :: add
    A[b, n, 2*p + 1] = X[..] * V[..] :: add      A1[b, n, p] = X[..] * V[..] :: add
    Y[b, n, q] = quantise(A[b, n, q])            Y[b, n, 2*p]     = quantise(A0[b, n, p])
                                                 Y[b, n, 2*p + 1] = quantise(A1[b, n, p])

A transposed convolution, or a concatenation of floats, is written by several Einsums. Numbers that
are no 8-bit codes cannot wait in memory until the last of them has run; what reads them element by
element can follow each piece at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Cascade, Einsum, Expr
from dataflow.ir.expr import accesses, map_accesses, substitute, substitute_access, variables
from dataflow.rewrite.cone import elementwise, is_codes

MOST = 4096
"""Most Einsums that the readers of one tensor may become."""


def split_pieces(cascade: Cascade) -> Cascade:
    """The cascade with each element-by-element reader of wide pieces as one reader for a piece."""
    for name in dict.fromkeys(e.output.tensor for e in cascade.einsums):
        cascade = _split(cascade, name)
    return cascade


def _split(cascade: Cascade, name: str) -> Cascade:
    """The same for one tensor; the cascade itself where it is not written and read that way."""
    pieces = cascade.writers.get(name, ())
    if len(pieces) < 2 or name in cascade.outputs or is_codes(cascade.tensors[name]):
        return cascade
    readers = cascade.readers.get(name, ())
    if not readers or len(pieces) * len(readers) > MOST or not all(map(_apart, pieces)):
        return cascade
    reads = {e.name: _read(cascade, e, name) for e in readers}
    for reader in readers:
        read = reads[reader.name]
        if read is None:
            return cascade
        kept = {*reader.variables, *variables(reader.expr)} - set(read.variables)
        if any(kept & set(e.output.variables) for e in pieces):
            return cascade
    return _followed(cascade, pieces, {k: r for k, r in reads.items() if r is not None})


def _apart(piece: Einsum) -> bool:
    """Whether a piece can be a tensor of its own."""
    based = piece.reduction is not None and (piece.reduction.base or piece.reduction.into)
    return not (piece.iterates or piece.output.indirect or based) and bool(piece.output.variables)


def _read(cascade: Cascade, reader: Einsum, name: str) -> Access | None:
    """How an elementwise Einsum reads the tensor: once, all of it; None for another reader."""
    found = {a for a in accesses(reader.expr) if a.tensor == name}
    if len(found) != 1 or not elementwise(cascade, reader):
        return None
    (read,) = found
    names = [i.variable for i in read.indices]
    for variable, index, size in zip(names, read.indices, cascade.tensors[name].shape, strict=True):
        if variable is None:
            if size > 1 or index != Affine():
                return None
        elif cascade.size(variable) != size or names.count(variable) > 1:
            return None
    return read


def _followed(cascade: Cascade, pieces: Sequence[Einsum], reads: Mapping[str, Access]) -> Cascade:
    """Each piece as a tensor of its own, and each reader once for each of them."""
    known = {e.name for e in cascade.einsums}
    tensors = dict(cascade.tensors)
    whole = tensors.pop(pieces[0].output.tensor)
    own: dict[str, Access] = {}
    for piece in pieces:
        names = piece.output.variables
        name = fresh(f"{whole.name}_piece", tensors.keys() | {whole.name})
        shape = tuple(cascade.size(v) for v in names)
        ranks = tuple(v.upper() for v in names)
        tensors[name] = replace(whole, name=name, ranks=ranks, shape=shape, label=name)
        own[piece.name] = Access(name, tuple(Affine.of(v) for v in names))
    einsums: list[Einsum] = []
    for einsum in cascade.einsums:
        if einsum.name in own:
            einsums.append(replace(einsum, output=own[einsum.name]))
        elif einsum.name in reads:
            for piece in pieces:
                made = _reader(einsum, reads[einsum.name], piece.output, own[piece.name])
                if piece is not pieces[0]:
                    made = replace(made, name=fresh(f"{einsum.name}_piece", known))
                    known.add(made.name)
                einsums.append(made)
        else:
            einsums.append(einsum)
    return replace(cascade, tensors=tensors, einsums=tuple(einsums))


def _reader(einsum: Einsum, read: Access, written: Access, own: Access) -> Einsum:
    """What a reader does with one piece, over the variables of that piece; 0 for those of a
    dimension of one in which the reader has no variable."""
    places = list(zip(read.indices, written.indices, strict=True))
    values = {v: place for index, place in places if (v := index.variable) is not None}
    single = {
        v: Affine() for index, place in places if index.variable is None for v in place.variables
    }
    of_one = substitute_access(own, single)

    def change(access: Access) -> Expr:
        return of_one if access.tensor == read.tensor else access

    expr = map_accesses(substitute(einsum.expr, values), change)
    indices = tuple(i.substitute(values) for i in einsum.output.indices)
    return replace(einsum, output=Access(einsum.output.tensor, indices), expr=expr)


def fresh(near: str, known: set[str]) -> str:
    """A name that is not known yet: ``near`` with a number."""
    count = 2
    while (name := f"{near}{count}") in known:
        count += 1
    return name
