"""Some Einsums patch by patch of the last one's result, instead of one after the other. Exact.

As bands of rows (`dataflow.rewrite.bands`) keep what two bands share, a patch computes all that it
needs itself: where kernels reach into a neighbour's patch, elements are computed twice (MCUNetV2,
arXiv 2110.15352). Patches are boxes along the last two dimensions, so each tensor in between has a
small box of its own, whose size does not grow with the width of the network's input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, product

from dataflow.errors import DataflowError
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Cascade, Einsum, Tensor
from dataflow.ir.expr import Access, map_accesses, substitute, substitute_access
from dataflow.rewrite.stage import neighbours, part_name

Range = tuple[int, int]
"""Half-open range of coordinates along a dimension."""
Box = tuple[Range, ...]


def patches(cascade: Cascade, names: Iterable[str], rows: int, cols: int) -> Cascade:
    """The Cascade with some Einsums on rows x cols patches, one after the other, row by row.

    Args:
        names: neighbouring Einsums; what the last of them writes is cut.

    Raises:
        DataflowError: the Einsums are not neighbours, hand on more than the last one's result, do
            not write element by element, or that result has not so many rows and columns.
    """
    first, behind = neighbours(cascade, names, "patches")
    made = _Patches(cascade, cascade.einsums[first:behind])
    made.cut(rows, cols)
    einsums = (*cascade.einsums[:first], *made.einsums, *cascade.einsums[behind:])
    tensors = {n: t for n, t in cascade.tensors.items() if n not in made.gone} | made.tensors
    return replace(cascade, einsums=einsums, tensors=tensors, rank_sizes=made.sizes)


def _wrong(what: str, fix: str) -> DataflowError:
    return DataflowError("patches", what, fix)


@dataclass
class _Patches:
    """A stage that is being cut.

    Attributes:
        last: the tensor that it hands on.
        gone: the tensors between its Einsums.
        einsums, tensors, sizes: what comes of it: new Einsums, new tensors, all ranks.
    """

    cascade: Cascade
    stage: Sequence[Einsum]
    einsums: list[Einsum] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sizes = dict(self.cascade.rank_sizes)
        self.last = self.stage[-1].output.tensor
        self.gone = {e.output.tensor for e in self.stage} - {self.last}
        inside = {e.name for e in self.stage}
        for name in sorted(self.gone | {self.last}):
            writers = self.cascade.writers[name]
            if len(writers) > 1:
                raise _wrong(f"{name} is written in pieces", "end before it")
            outside = [e for e in self.cascade.readers.get(name, ()) if e.name not in inside]
            if name in self.gone and (outside or name in self.cascade.outputs):
                raise _wrong(f"{name} is read behind them too", "end where one tensor is handed on")
        for einsum in self.stage:
            base = einsum.reduction is not None and einsum.reduction.base
            if einsum.iterates or einsum.output.indirect or base:
                raise _wrong(f"{einsum.name} is no plain Einsum", "take it out")

    def cut(self, rows: int, cols: int) -> None:
        """Makes the patches."""
        shape = self.cascade.tensors[self.last].shape
        if len(shape) < 2:
            raise _wrong(f"{self.last} has no two dimensions", "end before it loses them")
        if not (1 <= rows <= shape[-2] and 1 <= cols <= shape[-1]):
            what = f"{rows} x {cols} patches of {shape[-2]} x {shape[-1]} elements"
            raise _wrong(what, "use fewer, at least one")
        whole = tuple((0, size) for size in shape[:-2])
        for row, col in product(_ranges(shape[-2], rows), _ranges(shape[-1], cols)):
            self._patch((*whole, row, col))

    def _patch(self, box: Box) -> None:
        """The Einsums of one patch."""
        needed: dict[str, Box] = {self.last: box}
        run: list[tuple[Einsum, dict[str, Range]]] = []
        for einsum in reversed(self.stage):
            wanted = needed.get(einsum.output.tensor)
            if wanted is None:
                continue
            ranges = self._ranges_of(einsum, wanted)
            run.append((einsum, ranges))
            for access in einsum.inputs:
                if access.tensor in self.gone:
                    reached = self._reached(access, ranges)
                    needed[access.tensor] = _hull(needed.get(access.tensor), reached)
        pieces = {name: self._piece(name, box) for name, box in needed.items() if name in self.gone}
        lows = {name: [low for low, _ in needed[name]] for name in pieces}
        for einsum, ranges in reversed(run):
            self.einsums.append(self._moved(einsum, ranges, pieces, lows))

    def _ranges_of(self, einsum: Einsum, box: Box) -> dict[str, Range]:
        """The range of each variable that a box of the result cuts."""
        found: dict[str, Range] = {}
        shape = self.cascade.tensors[einsum.output.tensor].shape
        for index, size, (low, high) in zip(einsum.output.indices, shape, box, strict=True):
            if (low, high) == (0, size):
                continue
            variable = index.variable
            if variable is None or variable in found or self.cascade.size(variable) != size:
                raise _wrong(f"{einsum.name} does not write element by element", "take it out")
            found[variable] = low, high
        return found

    def _reached(self, access: Access, ranges: Mapping[str, Range]) -> Box:
        """The box of a tensor that an access reaches."""
        if access.indirect:
            raise _wrong(f"{access.tensor} is gathered", "end before it")
        found = []
        shape = self.cascade.tensors[access.tensor].shape
        for index, size in zip(access.indices, shape, strict=True):
            begun = index.substitute({v: Affine.of(v, low) for v, (low, _) in ranges.items()})
            sizes = {v: self.cascade.size(v) for v in index.variables}
            sizes |= {v: high - low for v, (low, high) in ranges.items()}
            low, high = begun.bounds(sizes)
            found.append((min(max(low, 0), size), max(min(high + 1, size), 0)))
        # What only reaches into padding still names the tensor: one element of it.
        return tuple((low, high) if low < high else (0, 1) for low, high in found)

    def _piece(self, name: str, box: Box) -> str:
        """A tensor for a box of another one."""
        old = self.cascade.tensors[name]
        shape = tuple(high - low for low, high in box)
        ranks = tuple(
            rank if size == full else self._rank(rank, size)
            for rank, size, full in zip(old.ranks, shape, old.shape, strict=True)
        )
        fresh = part_name(name, "patch", self.cascade.tensors.keys() | self.tensors.keys())
        self.tensors[fresh] = replace(old, name=fresh, shape=shape, ranks=ranks, label=fresh)
        return fresh

    def _moved(
        self,
        einsum: Einsum,
        ranges: Mapping[str, Range],
        pieces: Mapping[str, str],
        lows: Mapping[str, Sequence[int]],
    ) -> Einsum:
        """An Einsum that makes a box of its result, from boxes of what it reads."""
        values = {}
        for variable, (low, high) in ranges.items():
            rank = self._rank(variable.upper(), high - low)
            values[variable] = Affine.of(rank.lower(), low)

        def own(access: Access) -> Access:
            piece = pieces.get(access.tensor)
            if piece is None:
                return access
            low = lows[access.tensor]
            indices = tuple(i + -start for i, start in zip(access.indices, low, strict=True))
            return replace(access, tensor=piece, indices=indices)

        known = {e.name for e in self.cascade.einsums} | {e.name for e in self.einsums}
        return replace(
            einsum,
            name=part_name(einsum.name, "patch", known),
            output=own(substitute_access(einsum.output, values)),
            expr=map_accesses(substitute(einsum.expr, values), own),
        )

    def _rank(self, rank: str, count: int) -> str:
        """A rank of so many values."""
        name = f"{rank}_{count}OF"
        if self.sizes.setdefault(name, count) != count:
            raise _wrong(f"{name} is a rank of another size", "rename it")
        return name


def _ranges(size: int, count: int) -> list[Range]:
    ends = [size * i // count for i in range(count + 1)]
    return list(pairwise(ends))


def _hull(one: Box | None, other: Box) -> Box:
    if one is None:
        return other
    return tuple((min(a, c), max(b, d)) for (a, b), (c, d) in zip(one, other, strict=True))
