"""Windows over three dimensions: plane by plane, or one dimension after the other. Exact.

The array and the vector unit walk two windowed dimensions. A convolution over three is one over two
for each plane of its result, with the taps of the third dimension as further channels; the codes of
neighbouring planes lie side by side for that. A maximum over three dimensions is one over two, and
then one over the third. A sum of codes over three is a convolution with ones on the diagonal.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Cascade, Einsum, Reduction, Tensor
from dataflow.ir.dtype import S8, S32
from dataflow.ir.expr import call, integer, substitute
from dataflow.ir.macs import contraction_operands
from dataflow.rewrite.cone import whole
from dataflow.rewrite.pieces import fresh, split_pieces

WALKED = 2
"""Windowed dimensions that the machine walks."""

BLOCK = 16
"""Channels of a sum that share a block of the diagonal."""

PLANES = 1024
"""Most planes that one Einsum becomes."""


def split_volumes(cascade: Cascade) -> Cascade:
    """The cascade without windows over more than two dimensions of codes."""
    made = cascade
    for name in [e.name for e in cascade.einsums]:
        made = _walked(made, name)
    return cascade if made is cascade else split_pieces(made)


def _walked(cascade: Cascade, name: str) -> Cascade:
    """The same for the Einsum of this name."""
    einsum = next(e for e in cascade.einsums if e.name == name)
    reduction = einsum.reduction
    if reduction is None or reduction.base or einsum.iterates or einsum.output.indirect:
        return cascade
    read = code_read(cascade, einsum)
    if read is None or len(windowed(cascade, einsum, read)) <= WALKED:
        return cascade
    if reduction.op == "max" and einsum.expr == read and whole(cascade, einsum):
        dims = windowed(cascade, einsum, read)
        return max_in_turn(cascade, einsum, read, dims[0]) if len(dims) == WALKED + 1 else cascade
    if reduction.op != "add" or cascade.tensors[einsum.output.tensor].dtype != S32:
        return cascade
    if contraction_operands(einsum) is None:
        found = _diagonal(cascade, einsum, read)
        if found is None:
            return cascade
        cascade, einsum = found
        read = code_read(cascade, einsum)
        assert read is not None
    return _planes(cascade, einsum, read)


def code_read(cascade: Cascade, einsum: Einsum) -> Access | None:
    """The only activation that an Einsum reads, of codes; None for another one."""
    found = {a for a in einsum.inputs if a.indices and a.tensor not in cascade.constants}
    if len(found) != 1:
        return None
    (read,) = found
    dtype = cascade.tensors[read.tensor].dtype
    return read if dtype.is_int and dtype.bits == 8 and not read.indirect else None


def windowed(cascade: Cascade, einsum: Einsum, read: Access) -> list[int]:
    """Dimensions that cannot be walked as a run: windows, and sums that are no channels."""
    assert einsum.reduction is not None
    taps = {v for v in einsum.reduction.variables if cascade.size(v) > 1}
    product = contraction_operands(einsum) is not None
    # Groups choose channels of both factors: they are no windows.
    groups = {v for a in einsum.inputs if a != read for v in a.variables} - taps
    found = []
    for dim, index in enumerate(read.indices):
        own = {v for v in index.variables if cascade.size(v) > 1}
        if not own & taps:
            continue
        low, high = index.bounds({v: cascade.size(v) for v in index.variables})
        inside = low >= 0 and high < cascade.tensors[read.tensor].shape[dim]
        if not product or own - taps - groups or not inside:
            found.append(dim)
    return found


def max_in_turn(cascade: Cascade, einsum: Einsum, read: Access, first: int) -> Cascade:
    """A maximum of codes over all windowed dimensions but the first, then over that.

    Args:
        read: the whole expression of the Einsum.
        first: the dimension of ``read`` that comes last.

    Returns:
        The same object where a dimension is walked by two variables of the result.
    """
    reduction = einsum.reduction
    assert reduction is not None
    source = cascade.tensors[read.tensor]
    outer = [v for v in read.indices[first].variables if v in reduction.variables]
    inner = tuple(v for v in reduction.variables if v not in outer)
    sizes = dict(cascade.rank_sizes)
    plane = fresh("D", set(sizes))
    sizes[plane] = source.shape[first]
    variables: list[str] = []
    places: list[Affine] = []
    reads = list(read.indices)
    reads[first] = Affine.of(plane.lower())
    for dim, index in enumerate(read.indices):
        kept = [v for v in index.variables if v not in reduction.variables]
        if dim == first:
            variables.append(plane.lower())
            places.append(index)
        elif len(kept) == 1:
            variables.append(kept[0])
            places.append(Affine.of(kept[0]))
        elif kept:
            return cascade
    name = fresh(f"{einsum.output.tensor}_planes", set(cascade.tensors))
    ranks = tuple(v.upper() for v in variables)
    shape = tuple(sizes[r] for r in ranks)
    tensor = Tensor(name, ranks, shape, source.dtype, quant=source.quant, label=name)
    before = replace(
        einsum,
        name=fresh(f"{einsum.name}_planes", {e.name for e in cascade.einsums}),
        output=Access(name, tuple(Affine.of(v) for v in variables)),
        expr=Access(read.tensor, tuple(reads)),
        reduction=replace(reduction, variables=inner),
    )
    after = replace(
        einsum,
        expr=Access(name, tuple(places)),
        reduction=replace(reduction, variables=tuple(outer)),
    )
    return replaced(cascade, einsum, [before, after], sizes, {name: tensor})


def _diagonal(cascade: Cascade, einsum: Einsum, read: Access) -> tuple[Cascade, Einsum] | None:
    """A sum of codes as a product with ones for equal channels; None without channels."""
    reduction = einsum.reduction
    assert reduction is not None
    plain = [i.variable for i in read.indices if i.variable in einsum.output.variables]
    channel = plain[-1] if plain else None
    places = [k for k, i in enumerate(einsum.output.indices) if channel in i.variables]
    if channel is None or len(places) != 1:
        return None
    size = cascade.size(channel)
    block = max(b for b in range(1, BLOCK + 1) if size % b == 0)
    sizes = dict(cascade.rank_sizes)
    names = []
    for letter, count in (("G", size // block), ("N", block), ("C", block)):
        names.append(fresh(letter, set(sizes)))
        sizes[names[-1]] = count
    group, out, inner = (n.lower() for n in names)
    weight = fresh(f"{einsum.output.tensor}_ones", set(cascade.tensors))
    data = np.eye(block, dtype=np.int8)
    tensor = Tensor(weight, (names[1], names[2]), data.shape, S8, "weight", label=weight)
    ones = Access(weight, (Affine.of(out), Affine.of(inner)))
    where = Affine.of((group, block), inner)
    output = Access(
        einsum.output.tensor,
        tuple(
            i.substitute({channel: Affine.of((group, block), out)}) for i in einsum.output.indices
        ),
    )
    made = replace(
        einsum,
        output=output,
        expr=call("mul", substitute(einsum.expr, {channel: where}), call("sub", ones, integer(0))),
        reduction=replace(reduction, variables=(inner, *reduction.variables)),
    )
    changed = replaced(cascade, einsum, [made], sizes, {weight: tensor})
    return replace(changed, constants={**changed.constants, weight: data}), made


def _planes(cascade: Cascade, einsum: Einsum, read: Access) -> Cascade:
    """A product over windows as one for each coordinate of its first windowed dimension."""
    dims = windowed(cascade, einsum, read)
    if len(dims) <= WALKED:
        return cascade
    assert einsum.reduction is not None
    index = read.indices[dims[0]]
    size = cascade.tensors[read.tensor].shape[dims[0]]
    taps = [v for v in index.variables if v in einsum.reduction.variables]
    outs = [v for v in index.variables if v not in einsum.reduction.variables]
    if len(taps) != 1 or len(outs) > 1 or any(cascade.size(v) > PLANES for v in outs):
        return cascade
    (tap,) = taps
    sizes = dict(cascade.rank_sizes)
    known = {e.name for e in cascade.einsums}
    made: list[Einsum] = []
    for plane in range(cascade.size(outs[0]) if outs else 1):
        values = {outs[0]: Affine.of(plane)} if outs else {}
        base = index.offset + (plane * index.coefficient(outs[0]) if outs else 0)
        step = index.coefficient(tap)
        inside = [t for t in range(cascade.size(tap)) if 0 <= base + t * step < size]
        piece = _plane(einsum, tap, values, inside, sizes)
        if made:
            piece = replace(piece, name=fresh(f"{einsum.name}_plane", known))
            known.add(piece.name)
        made.append(piece)
    return replaced(cascade, einsum, made, sizes, {})


def _plane(
    einsum: Einsum, tap: str, values: dict[str, Affine], inside: list[int], sizes: dict[str, int]
) -> Einsum:
    """One plane: the taps that lie inside, 0 where there are none."""
    assert einsum.reduction is not None
    indices = tuple(i.substitute(values) for i in einsum.output.indices)
    output = Access(einsum.output.tensor, indices)
    if not inside:
        return replace(einsum, output=output, expr=integer(0), reduction=None)
    kept = [v for v in einsum.reduction.variables if v != tap]
    if len(inside) == 1:
        values = {**values, tap: Affine.of(inside[0])}
    else:
        rank = next((r for r, n in sizes.items() if r.startswith("TAP") and n == len(inside)), None)
        if rank is None:
            rank = fresh("TAP", set(sizes))
            sizes[rank] = len(inside)
        values = {**values, tap: Affine.of(rank.lower(), inside[0])}
        kept.append(rank.lower())
    reduction: Reduction = replace(einsum.reduction, variables=tuple(kept))
    expr = substitute(einsum.expr, values)
    return replace(einsum, output=output, expr=expr, reduction=reduction)


def replaced(
    cascade: Cascade,
    einsum: Einsum,
    made: list[Einsum],
    sizes: dict[str, int],
    tensors: dict[str, Tensor],
) -> Cascade:
    """The cascade with Einsums in the place of one."""
    einsums: list[Einsum] = []
    for e in cascade.einsums:
        einsums += made if e.name == einsum.name else [e]
    return replace(
        cascade,
        rank_sizes=sizes,
        tensors={**cascade.tensors, **tensors},
        einsums=tuple(einsums),
    )
