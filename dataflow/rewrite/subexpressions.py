"""Common-subexpression removal: Einsums that compute the same tensor. Exact."""

from __future__ import annotations

from dataclasses import replace

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Cascade, Einsum, Tensor
from dataflow.ir.expr import map_accesses, substitute, substitute_access
from dataflow.rewrite.dead import remove_dead


def share_subexpressions(cascade: Cascade) -> Cascade:
    """The cascade with each distinct Einsum computed once.

    Two Einsums are the same when they differ in the names of rank variables only. Tensors that
    several Einsums write, outputs and loop bodies stay.
    """
    written = [e.output.tensor for e in cascade.einsums]
    instead: dict[str, str] = {}
    first: dict[object, str] = {}
    kept = []
    for einsum in cascade.einsums:
        einsum = _renamed(einsum, instead)
        tensor = cascade.tensors[einsum.output.tensor]
        alone = written.count(tensor.name) == 1 and not einsum.iterates
        if alone and not einsum.output.indirect:
            key = (_key(cascade, einsum), tensor.shape, tensor.dtype)
            known = first.setdefault(key, tensor.name)
            if known != tensor.name and tensor.role == "intermediate":
                instead[tensor.name] = known
                continue
        kept.append(einsum)
    if not instead:
        return cascade
    return remove_dead(replace(cascade, einsums=tuple(kept), tensors=_left(cascade, instead)))


def _left(cascade: Cascade, instead: dict[str, str]) -> dict[str, Tensor]:
    return {n: t for n, t in cascade.tensors.items() if n not in instead}


def _renamed(einsum: Einsum, instead: dict[str, str]) -> Einsum:
    def change(item: Access) -> Access:
        return replace(item, tensor=instead.get(item.tensor, item.tensor))

    reduction = einsum.reduction
    if reduction is not None and reduction.base in instead:
        reduction = replace(reduction, base=instead[reduction.base])
    output = replace(
        einsum.output,
        indirect=tuple((k, map_accesses(p, change)) for k, p in einsum.output.indirect),
    )
    return replace(
        einsum, expr=map_accesses(einsum.expr, change), reduction=reduction, output=output
    )


def _key(cascade: Cascade, einsum: Einsum) -> object:
    """The Einsum with rank variables numbered, output ones first, and their sizes."""
    names = einsum.variables
    values = {v: Affine.of(f"@{k}") for k, v in enumerate(names)}
    reduction = einsum.reduction
    folded = None
    if reduction is not None:
        places = tuple(names.index(v) for v in reduction.variables)
        into = names.index(reduction.into) if reduction.into else -1
        folded = (reduction.op, places, reduction.order, reduction.base, into)
    return (
        substitute_access(einsum.output, values).indices,
        substitute(einsum.expr, values),
        folded,
        tuple(cascade.size(v) for v in names),
    )
