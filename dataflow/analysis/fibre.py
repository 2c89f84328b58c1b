"""Which tensors carry a fibre of a rank, and which Einsums traverse it.

A fibre is named by a tensor and some of its ranks, as in "the M fibres of K". Other Einsums may
call the same coordinates by other rank variables (imported networks do), or by a pair of them
(``K[e, m1*M0 + m0]``), so the fibre is followed from access to access by dimension, not by name.
"""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.errors import DataflowError
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access, Cascade, Einsum


@dataclass(frozen=True)
class Part:
    """A part of a fibre in a tensor.

    Attributes:
        dim: dimension of the tensor, None for any.
        variable: the rank variable that walks it, None for all variables of that dimension.
    """

    dim: int | None
    variable: str | None = None


Place = tuple[Part, ...]
"""Where a tensor carries a fibre: its parts, outermost first."""


@dataclass(frozen=True)
class Reading:
    """An Einsum that reads a whole fibre; ``variables`` walk it, outermost first."""

    einsum: int
    tensor: str
    variables: tuple[str, ...]


@dataclass(frozen=True)
class Lineage:
    """The tensors that carry a fibre, and who reads it.

    Attributes:
        places: by tensor, where it carries the fibre (several for X times its own transpose).
        readings: in program order.
    """

    places: dict[str, tuple[Place, ...]]
    readings: tuple[Reading, ...]


def root_place(cascade: Cascade, tensor: str, ranks: tuple[str, ...]) -> Place:
    """Where ``tensor`` carries the fibre of ``ranks`` (outer first).

    Raises:
        DataflowError: when the tensor does not exist, or neither has the ranks nor is read with
            rank variables of their names.
    """
    if tensor not in cascade.tensors:
        known = ", ".join(sorted(cascade.tensors)[:12])
        raise DataflowError(f"tensor {tensor!r}", "is not in the cascade", f"use one of {known}")
    if not ranks or len(set(ranks)) != len(ranks):
        raise DataflowError(
            "--rank", f"{','.join(ranks)!r} is not a list of ranks", "as in --rank M1,M0"
        )
    own = cascade.tensors[tensor].ranks
    if all(own.count(rank) == 1 for rank in ranks):
        return tuple(Part(own.index(rank)) for rank in ranks)
    names = [rank.lower() for rank in ranks]
    read = [a for e in cascade.einsums for a in e.inputs if a.tensor == tensor]
    if any(all(n in a.direct for n in names) for a in read):
        return tuple(Part(None, n) for n in names)
    raise DataflowError(
        f"tensor {tensor!r}",
        f"has no fibre of {', '.join(ranks)}",
        f"its ranks are {', '.join(own) or 'none'}; name those, or rank variables that read it",
    )


def outermost_first(cascade: Cascade, index: Affine) -> tuple[str, ...]:
    """The variables of an index, the one that takes the longest steps first."""

    def reach(term: tuple[str, int]) -> tuple[int, int]:
        return -abs(term[1]) * cascade.size(term[0]), -abs(term[1])

    return tuple(v for v, _ in sorted(index.terms, key=reach))


def walked_by(cascade: Cascade, access: Access, place: Place) -> tuple[str, ...]:
    """The variables with which an access walks the fibre, outermost first; () when it does not."""
    found: list[str] = []
    for part in place:
        names: tuple[str, ...]
        if part.variable is not None:
            dims = access.indices if part.dim is None else access.indices[part.dim : part.dim + 1]
            names = (part.variable,) if any(i.coefficient(part.variable) for i in dims) else ()
        else:
            assert part.dim is not None
            if part.dim >= len(access.indices):
                return ()
            names = outermost_first(cascade, access.indices[part.dim])
        if not names:
            return ()
        found += [n for n in names if n not in found]
    return tuple(found)


def carried_by(output: Access, variables: tuple[str, ...]) -> Place | None:
    """Where an output carries the fibre that ``variables`` walk, or None."""
    parts: list[Part] = []
    for variable in variables:
        dim = next((k for k, i in enumerate(output.indices) if i.coefficient(variable)), None)
        if dim is None:
            return None
        others = set(output.indices[dim].variables) - set(variables)
        alone = len(output.indices[dim].terms) == 1
        if alone or others:
            parts.append(Part(dim, None if alone else variable))
        elif not any(p.dim == dim for p in parts):
            parts.append(Part(dim))
    return tuple(parts)


def follow(cascade: Cascade, tensor: str, place: Place, *, outermost: bool = False) -> Lineage:
    """The lineage of a fibre: the tensor, and transitively every output that carries all of it
    and is computed from a tensor of the lineage read with all of it.

    With ``outermost`` only the outermost variable counts: the lineage of the tiles of a fibre.
    """
    places: dict[str, list[Place]] = {tensor: [place]}
    readings: dict[tuple[int, str, tuple[str, ...]], None] = {}
    grown = True
    while grown:  # a second round only when a loop body carries a value backwards
        grown = False
        for number, einsum in enumerate(cascade.einsums):
            for item in einsum.inputs:
                for where in tuple(places.get(item.tensor, ())):
                    names = walked_by(cascade, item, where)
                    names = names[:1] if outermost else names
                    if not names:
                        continue
                    readings[(number, item.tensor, names)] = None
                    there = carried_by(einsum.output, names)
                    known = places.setdefault(einsum.output.tensor, []) if there else []
                    if there is not None and there not in known:
                        known.append(there)
                        grown = True
    ordered = sorted(readings, key=lambda r: r[0])
    return Lineage(
        {name: tuple(found) for name, found in places.items()},
        tuple(Reading(*r) for r in ordered),
    )


def is_view(einsum: Einsum) -> bool:
    """Whether an Einsum only renames elements: no arithmetic, so no traversal of its own."""
    return einsum.reduction is None and isinstance(einsum.expr, Access) and not einsum.iterates
