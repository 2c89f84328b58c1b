"""Some Einsums in turn on bands of rows, instead of one after the other on whole tensors. Exact.

The first layers of a convolutional network have the largest results, and they need not be there as
a whole: when all of these layers are computed for some rows of the last one's result before the
next rows begin, each tensor between them is a band of rows. A band begins with those rows of the
one before that its readers need again; they are copied, nothing is computed twice. What is read
behind the bands, or leaves the network, stays a whole tensor, which every band writes its rows of.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from dataflow.errors import DataflowError
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Cascade, Einsum, Tensor
from dataflow.ir.expr import Access, accesses, map_accesses, substitute, substitute_access
from dataflow.rewrite.stage import neighbours, part_name

Rows = tuple[int, int]
"""Half-open range of coordinates along the dimension that is cut."""


def band_rows(cascade: Cascade, names: Iterable[str], bands: int | Sequence[int]) -> Cascade:
    """The Cascade with some Einsums on bands of rows, one band after the other.

    Rows are the last dimension but one of what the last of these Einsums makes, the last one where
    it has no more than two.

    Args:
        names: neighbouring Einsums.
        bands: how many, as equal as can be; or the rows of each.

    Raises:
        DataflowError: the Einsums are not neighbours, one of them needs all rows of what another
            one makes, writes its result in another way than row by row, or makes what is read both
            by one of them and by others; or these are not its rows.
    """
    first, behind = neighbours(cascade, names, "bands")
    stage = cascade.einsums[first:behind]
    made = _Bands(cascade, stage).cut(bands)
    einsums = (*cascade.einsums[:first], *made.einsums, *cascade.einsums[behind:])
    tensors = {n: t for n, t in cascade.tensors.items() if n not in made.gone} | made.tensors
    return replace(cascade, einsums=einsums, tensors=tensors, rank_sizes=made.sizes)


def _wrong(what: str, fix: str) -> DataflowError:
    return DataflowError("bands", what, fix)


@dataclass(frozen=True)
class _Axis:
    """The dimension of a tensor that is cut."""

    dim: int
    extent: int


@dataclass(frozen=True)
class _Piece:
    """Where the rows ``[low, high)`` of a tensor are."""

    name: str
    low: int
    high: int


@dataclass
class _Bands:
    """A stage that is being cut.

    Attributes:
        axes: of every tensor whose rows are told apart.
        done: rows of each tensor that are there.
        pieces: where the newest rows of a tensor are.
        einsums, tensors, sizes: what comes of it: new Einsums, new tensors, all ranks.
    """

    cascade: Cascade
    stage: Sequence[Einsum]
    axes: dict[str, _Axis] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    pieces: dict[str, _Piece] = field(default_factory=dict)
    einsums: list[Einsum] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sizes = dict(self.cascade.rank_sizes)
        self.made = {e.output.tensor for e in self.stage}
        inside = {e.name for e in self.stage}
        others = [e for e in self.cascade.einsums if e.name not in inside]
        outside = {a.tensor for e in others for a in e.inputs} | set(self.cascade.outputs)
        if any(e.output.tensor in self.made for e in others):
            raise _wrong("others write a tensor of theirs too", "take those in")
        self.whole = self.made & outside
        both = sorted(self.whole & {a.tensor for e in self.stage for a in e.inputs})
        if both:
            raise _wrong(f"{both[0]} is read by them and behind them", "take all its readers in")
        self.gone = self.made - self.whole
        self.names = {e.name for e in self.cascade.einsums}
        self.known = set(self.cascade.tensors)
        self._follow()

    def _follow(self) -> None:
        """Finds the dimension that is cut of every tensor, from the last one back."""
        last = self.stage[-1].output.tensor
        shape = self.cascade.tensors[last].shape
        if not shape:
            raise _wrong(f"{last} has no dimension", "end before it")
        dim = len(shape) - (2 if len(shape) > 2 else 1)
        self.axes[last] = _Axis(dim, shape[dim])
        for einsum in reversed(self.stage):
            if einsum.iterates or einsum.output.indirect:
                raise _wrong(f"{einsum.name} is no plain Einsum", "take it out")
            if einsum.output.tensor not in self.axes:
                raise _wrong(
                    f"nothing in them reads rows of {einsum.output.tensor}", "take its reader in"
                )
            variable = self._variable(einsum)
            for access in einsum.inputs:
                self._axis_of(einsum, access, variable)

    def _variable(self, einsum: Einsum) -> str:
        """The variable that counts the rows of a result."""
        axis = self.axes[einsum.output.tensor]
        index = einsum.output.indices[axis.dim]
        others = [i for k, i in enumerate(einsum.output.indices) if k != axis.dim]
        if len(index.terms) == 1 and index.terms[0][1] == 1:
            variable = index.terms[0][0]
            whole = index.offset == 0 and self.cascade.size(variable) == axis.extent
            if whole and not any(variable in i.variables for i in others):
                return variable
        raise _wrong(f"{einsum.name} does not write row by row", "take it out")

    def _axis_of(self, einsum: Einsum, access: Access, variable: str) -> None:
        """Takes the dimension of an operand that follows the rows of the result."""
        name = access.tensor
        if any(variable in a.variables for _, part in access.indirect for a in accesses(part)):
            raise _wrong(f"{einsum.name} gathers rows of {name}", "take it out")
        dims = [k for k, index in enumerate(access.indices) if variable in index.variables]
        inside = name in self.made
        if not dims and not inside:
            return
        if len(dims) != 1 or access.indices[dims[0]].coefficient(variable) < 0:
            raise _wrong(f"{einsum.name} needs all rows of {name}", "end before it")
        if not inside:
            return
        axis = _Axis(dims[0], self.cascade.tensors[name].shape[dims[0]])
        if self.axes.setdefault(name, axis) != axis:
            raise _wrong(f"the readers of {name} disagree about its rows", "end before them")

    def cut(self, bands: int | Sequence[int]) -> _Bands:
        """Makes the bands."""
        extent = self.axes[self.stage[-1].output.tensor].extent
        if isinstance(bands, int):
            if not 1 <= bands <= extent:
                raise _wrong(f"{bands} bands of {extent} rows", f"use 1 to {extent}")
            bands = [extent * (n + 1) // bands - extent * n // bands for n in range(bands)]
        if sum(bands) != extent or min(bands, default=0) < 1:
            asked = ", ".join(str(rows) for rows in bands)
            raise _wrong(f"bands of {asked} rows", f"use bands of {extent} rows together")
        high = 0
        for rows in bands:
            high += rows
            self._band(high, last=high == extent)
        return self

    def _band(self, high: int, *, last: bool) -> None:
        """The Einsums of the band that ends at row ``high`` of the last result."""
        ends = {self.stage[-1].output.tensor: high}
        if last:
            ends |= {name: self.axes[name].extent for name in self.whole}
        starts: dict[str, int] = {}
        run: list[tuple[Einsum, Rows]] = []
        for einsum in reversed(self.stage):
            name = einsum.output.tensor
            done, end = self.done.get(name, 0), ends.get(name, 0)
            if done == self.axes[name].extent:
                continue
            rows = done, done + 1  # not now, but then it needs what it needs for the next row
            if end > done:
                rows = done if name in self.whole else max(done, starts.get(name, 0)), end
                run.append((einsum, rows))
            for access in einsum.inputs:
                if access.tensor in self.made:
                    first, behind = self._needed(einsum, access, rows)
                    starts[access.tensor] = min(starts.get(access.tensor, first), first)
                    if end > done:
                        ends[access.tensor] = max(ends.get(access.tensor, 0), behind)
        begun: set[str] = set()
        for einsum, rows in reversed(run):
            name = einsum.output.tensor
            if name not in begun:
                begun.add(name)
                self._begin(name, (starts.get(name, rows[0]), rows[1]))
            self.einsums.append(self._rows(einsum, rows))
        for einsum, (_, end) in run:
            self.done[einsum.output.tensor] = end

    def _needed(self, einsum: Einsum, access: Access, rows: Rows) -> Rows:
        """Rows of an operand that some rows of the result reach."""
        variable = self._variable(einsum)
        axis = self.axes[access.tensor]
        index = access.indices[axis.dim].substitute({variable: Affine.of(variable, rows[0])})
        sizes = {v: self.cascade.size(v) for v in index.variables} | {variable: rows[1] - rows[0]}
        low, high = index.bounds(sizes)
        return min(max(low, 0), axis.extent), max(min(high + 1, axis.extent), 0)

    def _begin(self, name: str, rows: Rows) -> None:
        """A new piece of a tensor, with the rows of the last one that are needed again."""
        if name in self.whole:
            self.pieces[name] = _Piece(name, 0, self.axes[name].extent)
            return
        low, high = rows
        dim = self.axes[name].dim
        old = self.cascade.tensors[name]
        count = high - low
        shape = (*old.shape[:dim], count, *old.shape[dim + 1 :])
        ranks = (*old.ranks[:dim], self._rank(old.ranks[dim], count), *old.ranks[dim + 1 :])
        fresh = self._fresh(name, self.known)
        self.tensors[fresh] = replace(old, name=fresh, shape=shape, ranks=ranks, label=fresh)
        before, done = self.pieces.get(name), self.done.get(name, 0)
        self.pieces[name] = _Piece(fresh, low, high)
        if before is not None and low < done:
            self._copy(name, before, self.pieces[name], done - low)

    def _copy(self, name: str, before: _Piece, after: _Piece, count: int) -> None:
        """The last rows of one piece as the first ones of the next."""
        old = self.cascade.tensors[name]
        if old.dtype.bits != 8:
            raise _wrong(
                f"rows of {name}, which is no tensor of codes, are read twice", "end before it"
            )
        dim = self.axes[name].dim
        ranks = [*old.ranks]
        ranks[dim] = self._rank(ranks[dim], count)
        places = [Affine.of(rank.lower()) for rank in ranks]
        source = list(places)
        source[dim] = places[dim] + (after.low - before.low)
        self.einsums.append(
            Einsum(
                self._fresh(f"{name}_again", self.names),
                Access(after.name, tuple(places)),
                Access(before.name, tuple(source)),
            )
        )

    def _rows(self, einsum: Einsum, rows: Rows) -> Einsum:
        """An Einsum that makes some rows of its result, from the pieces that are there."""
        variable = self._variable(einsum)
        rank = self._rank(variable.upper(), rows[1] - rows[0])
        values = {variable: Affine.of(rank.lower(), rows[0])}

        def moved(access: Access) -> Access:
            piece = self.pieces.get(access.tensor) if access.tensor in self.made else None
            if piece is None:
                return access
            dim = self.axes[access.tensor].dim
            indices = list(access.indices)
            indices[dim] = indices[dim] + -piece.low
            return replace(access, tensor=piece.name, indices=tuple(indices))

        reduction = einsum.reduction
        if reduction is not None and reduction.base in self.made:
            raise _wrong(f"{einsum.name} goes on from {reduction.base}", "take it out")
        return replace(
            einsum,
            name=self._fresh(einsum.name, self.names),
            output=moved(substitute_access(einsum.output, values)),
            expr=map_accesses(substitute(einsum.expr, values), moved),
        )

    def _rank(self, rank: str, count: int) -> str:
        """A rank of so many rows."""
        name = f"{rank}_{count}ROWS"
        if self.sizes.setdefault(name, count) != count:
            raise _wrong(f"{name} is a rank of another size", "rename it")
        return name

    def _fresh(self, name: str, known: set[str]) -> str:
        made = part_name(name, "band", known)
        known.add(made)
        return made
