"""Live footprint over a fibre: what must be held on chip when one rank streams by.

Each Einsum runs in the earliest traversal of the fibre that its barriers allow (an Einsum of
operands that nobody else needs earlier runs with its consumer). A tensor that is touched in
two traversals is live over the whole fibre: it is buffered (space grows with the rank) or read
again (traffic grows with it). For the others one tile is enough: one coordinate of the outermost
rank of the fibre with all of the inner ones (fusemax.md, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

from dataflow.analysis.fibre import carried_by, is_view, outermost_first, root_place
from dataflow.analysis.passes import FibreOrder, analyse_fibre
from dataflow.ir.cascade import Access, Cascade

Kind = Literal["whole", "tile", "slice", "apart"]


@dataclass(frozen=True)
class Live:
    """What of a tensor is live at once.

    Attributes:
        tensor: name; views (renamed elements) count with the tensor they read.
        kind: ``whole`` fibres; one ``tile``; one ``slice`` of an iterative tensor; or a tensor
            that does not carry the rank (``apart``).
        elements: number of live elements.
        symbolic: the same as a product of ranks, ``M0*P``.
    """

    tensor: str
    kind: Kind
    elements: int
    symbolic: str


@dataclass(frozen=True)
class Footprint:
    """Live elements of the tensors around a fibre.

    Attributes:
        grows: whether some tensor is live over the whole fibre.
        elements: sum over the tensors, whole ones buffered.
        tensors: in program order of first use.
    """

    grows: bool
    elements: int
    tensors: tuple[Live, ...]

    @property
    def whole(self) -> tuple[str, ...]:
        """Tensors that are live over the whole fibre."""
        return tuple(t.tensor for t in self.tensors if t.kind == "whole")


def footprint(cascade: Cascade, tensor: str, ranks: tuple[str, ...]) -> Footprint:
    """The footprint over the fibres ``ranks`` (outer first) of ``tensor``.

    The tensors counted are those that the Einsums along the fibre read and write. Raises
    DataflowError when there is no such fibre.
    """
    place = root_place(cascade, tensor, ranks)
    return _Walk(cascade, analyse_fibre(cascade, tensor, place)).result()


class _Walk:
    """The Einsums that walk a fibre, by which variable, and in which traversal."""

    def __init__(self, cascade: Cascade, fibre: FibreOrder) -> None:
        self.cascade = cascade
        self.walking = _walking(cascade, fibre)
        self.alias = {
            e.output.tensor: e.expr.tensor
            for k, e in enumerate(cascade.einsums)
            if k in self.walking and is_view(e) and isinstance(e.expr, Access)
        }
        self.levels = list(fibre.order.barriers)
        self._run_late()

    def result(self) -> Footprint:
        names: dict[str, None] = {}
        for k in sorted(self.walking):
            einsum = self.cascade.einsums[k]
            for item in (*einsum.inputs, einsum.output):
                names[self.root(item.tensor)] = None
        live = tuple(self.live(name) for name in names)
        grows = any(t.kind == "whole" for t in live)
        return Footprint(grows, sum(t.elements for t in live), live)

    def root(self, name: str) -> str:
        while name in self.alias:
            name = self.alias[name]
        return name

    def touches(self, name: str) -> list[tuple[int, Access]]:
        """(Einsum, access) pairs of a tensor and its views; the views themselves left out."""
        return [
            (k, item)
            for k, e in enumerate(self.cascade.einsums)
            if not (k in self.walking and e.output.tensor in self.alias)
            for item in (*e.inputs, e.output)
            if self.root(item.tensor) == name
        ]

    def live(self, name: str) -> Live:
        tensor = self.cascade.tensors[name]
        dims = dict(enumerate(zip(tensor.ranks, tensor.shape, strict=True)))
        touches = self.touches(name)
        along = [(k, a) for k, a in touches if self.walked_dim(k, a) is not None]
        if not along:
            return _sized(name, "apart", dims)
        kind: Kind = "tile"
        if self._generated(name):
            kind = "slice"
        elif len({self.levels[k] for k, _ in along}) > 1:
            return _sized(name, "whole", dims)
        for k, e in enumerate(self.cascade.einsums):
            for item in (*e.inputs, e.output):
                dim = self.walked_dim(k, item) if item.tensor == name else None
                if dim is not None:
                    dims[dim] = self._inner(k, item, dim)
        return _sized(name, kind, dims)

    def walked_dim(self, number: int, item: Access) -> int | None:
        """The dimension of an access that the fibre's outermost variable walks."""
        variable = self.walking.get(number)
        if variable is None:
            return None
        return next((d for d, i in enumerate(item.indices) if i.coefficient(variable)), None)

    def _inner(self, number: int, item: Access, dim: int) -> tuple[str, int]:
        """What is left of a dimension at one coordinate of the outermost variable."""
        names = outermost_first(self.cascade, item.indices[dim])
        inner = [v for v in names if v != self.walking[number]]
        return "*".join(v.upper() for v in inner), prod(self.cascade.size(v) for v in inner)

    def _generated(self, name: str) -> bool:
        """Whether a loop along the fibre generates the tensor slice after slice."""
        for k, e in enumerate(self.cascade.einsums):
            dim = self.walked_dim(k, e.output) if e.output.tensor == name else None
            if dim is not None and self.walking[k] in e.iterates and e.output.indices[dim].offset:
                return True
        return False

    def _run_late(self) -> None:
        """Moves Einsums whose operands are needed by nobody earlier to their first consumer."""
        einsums = self.cascade.einsums
        for k in sorted(self.walking, reverse=True):
            readers = [
                j
                for j in self.walking
                if j > k and any(a.tensor == einsums[k].output.tensor for a in einsums[j].inputs)
            ]
            later = min((self.levels[j] for j in readers), default=self.levels[k])
            folds = self.walked_dim(k, einsums[k].output) is None
            if later <= self.levels[k] or einsums[k].iterates or folds:
                continue
            others = [
                self.levels[j]
                for item in einsums[k].inputs
                if self.walked_dim(k, item) is not None
                for j, other in self.touches(self.root(item.tensor))
                if j != k and self.walked_dim(j, other) is not None
            ]
            if all(level >= later for level in others):
                self.levels[k] = later


def _walking(cascade: Cascade, fibre: FibreOrder) -> dict[int, str]:
    """The Einsums that walk the fibre, with the outermost variable each walks it by.

    Besides the readers of the lineage these are the producers, along the fibre, of what the
    readers combine it with (the tiles of V, when the fibre is that of K).
    """
    found = {r.einsum: r.variables[0] for r in fibre.outer.readings}
    for number, einsum in enumerate(cascade.einsums):
        for variable in einsum.iterates:
            if variable in found.values():
                found.setdefault(number, variable)
    grown = True
    while grown:
        grown = False
        places: Mapping[str, set[int]] = _walked_dims(cascade, found)
        for number, einsum in enumerate(cascade.einsums):
            dims = places.get(einsum.output.tensor, set())
            for dim in dims if number not in found else ():
                names = einsum.output.indices[dim].variables
                if names and carried_by(einsum.output, names[:1]):
                    found[number] = outermost_first(cascade, einsum.output.indices[dim])[0]
                    grown = True
    return found


def _walked_dims(cascade: Cascade, walking: Mapping[int, str]) -> dict[str, set[int]]:
    places: dict[str, set[int]] = {}
    for number, variable in walking.items():
        for item in cascade.einsums[number].inputs:
            for dim, index in enumerate(item.indices):
                if index.coefficient(variable):
                    places.setdefault(item.tensor, set()).add(dim)
    return places


def _sized(name: str, kind: Kind, dims: dict[int, tuple[str, int]]) -> Live:
    symbols = [rank for rank, _ in dims.values() if rank]
    return Live(name, kind, prod(size for _, size in dims.values()), "*".join(symbols) or "1")
