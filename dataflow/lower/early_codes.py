"""Floats that are rearranged in front of a quantiser: they are quantised first, then rearranged.

A copy that joins dimensions (``T[a*4 + b] = x[a, b]``) cannot be read through: its reader names
``T[c + 2]``, for which no a and b are affine. A float32 tensor cannot wait in memory; codes can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Access, accesses, map_accesses
from dataflow.lower.groups import followed, is_code, single_group
from dataflow.rewrite.dead import remove_dead


def early_codes(cascade: Cascade) -> Cascade:
    """The Cascade with the quantiser of each such reader in front of the copy."""
    for einsum in cascade.einsums:
        readers = cascade.readers.get(einsum.output.tensor, ())
        if _rearranges(cascade, einsum) and any(_asks(cascade, einsum, e) for e in readers):
            return early_codes(_quantised(cascade, einsum, readers))
    return cascade


def _rearranges(cascade: Cascade, einsum: Einsum) -> bool:
    """Whether a float tensor is written once, at places that are no variables alone."""
    name = einsum.output.tensor
    if einsum.reduction is not None or name in cascade.outputs:
        return False
    if not cascade.tensors[name].dtype.is_float or not isinstance(einsum.expr, Access):
        return False
    if len(cascade.writers[name]) > 1:
        return False
    return any(index.variable is None and index.variables for index in einsum.output.indices)


def _asks(cascade: Cascade, copy: Einsum, reader: Einsum) -> bool:
    """Whether a reader is a quantiser of one float that it cannot follow through the copy."""
    name = copy.output.tensor
    if reader.reduction is not None or not is_code(cascade, reader.output.tensor):
        return False
    reads = {a for a in accesses(reader.expr) if a.tensor == name}
    others = [a for a in accesses(reader.expr) if a.tensor != name]
    if len(reads) != 1 or any(a.tensor not in cascade.constants for a in others):
        return False
    if any(cascade.tensors[a.tensor].elements > 1 for a in others):
        return False
    return followed(single_group(copy, cascade), reader, name, cascade) is None


def _quantised(cascade: Cascade, copy: Einsum, readers: Sequence[Einsum]) -> Cascade:
    name = copy.output.tensor
    tensors = dict(cascade.tensors)
    einsums: list[Einsum] = []
    for einsum in cascade.einsums:
        if einsum not in readers or not _asks(cascade, copy, einsum):
            einsums.append(einsum)
            continue
        codes = f"{einsum.output.tensor}_codes"
        while codes in tensors:
            codes += "_"
        kind = tensors[einsum.output.tensor].dtype
        tensors[codes] = replace(tensors[name], name=codes, dtype=kind, label=codes)
        (read,) = {a for a in accesses(einsum.expr) if a.tensor == name}
        expr = map_accesses(einsum.expr, lambda a: copy.expr if a.tensor == name else a)
        own = Access(codes, copy.output.indices)
        einsums.append(Einsum(codes, own, expr, None, einsum.source, einsum.operator))
        einsums.append(replace(einsum, expr=Access(codes, read.indices)))
    made = remove_dead(replace(cascade, tensors=tensors, einsums=tuple(einsums)))
    used = {a.tensor for e in made.einsums for a in (*e.inputs, e.output)}
    kept = {n: t for n, t in made.tensors.items() if n in used or n != name}
    return replace(made, tensors=kept)
