"""What one search is asked: an iteration space, its tensors, a path of levels and fan-outs.

Plain numbers only. :mod:`dataflow.search.pose` makes a Problem from a Cascade and an Architecture;
nothing below this file knows about either, so other machines can pose problems too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Rank = tuple[tuple[str, int], ...]
"""One rank of a tensor: (rank variable, coefficient) pairs of its affine index."""


@dataclass(frozen=True)
class Operand:
    """A tensor of the Einsum.

    Attributes:
        name: unique in the problem.
        ranks: its ranks, outermost first.
        output: whether it is the one that is written.
        resident: the tensor does not come from (or go to) the outermost level: its outermost
            holder below is where it lives (an intermediate of a fused group).
        widening: of the output: width of an unfinished sum over that of a finished one.
        bounds: for each rank, (offset of the index, elements of the tensor) where some index lies
            outside (padding), otherwise None; empty: none does.
        gathers: for each rank that data index, the elements of the tensor: each value of the
            variables touches one, a tile no more than those; 0 for an affine rank; empty: all are.
    """

    name: str
    ranks: tuple[Rank, ...]
    output: bool = False
    resident: bool = False
    widening: float = 1.0
    bounds: tuple[tuple[int, int] | None, ...] = ()
    gathers: tuple[int, ...] = ()

    @property
    def variables(self) -> frozenset[str]:
        """The rank variables that index it."""
        return frozenset(v for rank in self.ranks for v, _ in rank)

    def overlaps(self, variable: str) -> bool:
        """Whether what is moved depends on the tile of ``variable``, not only on its size: the
        variable shares a rank with another one (halos), steps over elements (strides), or meets
        the same ones again (gathers)."""
        return any(
            len(rank) > 1
            or rank[0][1] != 1
            or self.bound(number) is not None
            or self.gathered(number)
            for number, rank in enumerate(self.ranks)
            if any(v == variable for v, _ in rank)
        )

    def padded(self, variable: str) -> bool:
        """Whether an index with the variable can lie outside the tensor."""
        return any(
            self.bound(number) is not None and any(v == variable for v, _ in rank)
            for number, rank in enumerate(self.ranks)
        )

    def bound(self, number: int) -> tuple[int, int] | None:
        """``bounds`` of a rank."""
        return self.bounds[number] if self.bounds else None

    def gathered(self, number: int) -> int:
        """``gathers`` of a rank."""
        return self.gathers[number] if self.gathers else 0


Transfer = tuple[str, str, str]
"""(tensor, ``read`` or ``write``, ``low`` or ``high``: the side of the unit or of the root)."""


@dataclass(frozen=True)
class Channel:
    """A resource whose time is a weighted sum of transfers.

    Attributes:
        name: for reports.
        cycles: of one element, by kind of transfer; of one instance.
    """

    name: str
    cycles: Mapping[Transfer, float]


@dataclass(frozen=True)
class Level:
    """A memory on the path.

    Attributes:
        name: that of the architecture.
        capacity_bits: of one instance; None: unbounded.
        must, may: tensors that it has to hold, and those it can (``must`` within ``may``).
        bits: size of one (finished) element held, by tensor.
        read_pj, write_pj: energy of one element, by tensor.
        channels: its ports.
        order: the tensors that it is asked to hold, outermost hold first; None: any.
    """

    name: str
    capacity_bits: int | None
    must: frozenset[str]
    may: frozenset[str]
    bits: Mapping[str, int]
    read_pj: Mapping[str, float]
    write_pj: Mapping[str, float]
    channels: tuple[Channel, ...] = ()
    order: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Fan:
    """A fan-out on the path.

    Attributes:
        name: that of the architecture.
        size: instances.
        variables: those whose loops may stand here.
        shares: tensors that are multicast, or reduced (the output), over it.
        least: the product of the trips placed here must reach it.
    """

    name: str
    size: int
    variables: frozenset[str]
    shares: frozenset[str]
    least: int = 1


@dataclass(frozen=True)
class Unit:
    """The compute unit at the end of the path.

    Attributes:
        name: that of the architecture.
        cycles: for each point of the iteration space on one instance.
        energy_pj: for each point.
    """

    name: str
    cycles: float
    energy_pj: float


@dataclass(frozen=True)
class Problem:
    """One Einsum on one path of an architecture.

    Attributes:
        sizes: values of each rank variable.
        operands: the tensors.
        path: levels and fan-outs, outermost first; the first is a level.
        unit: what computes.
        leakage_pj: picojoules of each cycle, all instances.
        tiles: tiles that are asked for, by (path index of a level, tensor, variable).
        trips: instances that are asked for, by (path index of a fan-out, variable).
        whole: tensors that the level ``frontier_at`` holds before all loops, whole.
        frontier: tensors that the Einsums of a fused group hand to each other. Loops over the
            ``walked`` variables alone stand above their holds, at the level ``frontier_at``.
    """

    sizes: Mapping[str, int]
    operands: tuple[Operand, ...]
    path: tuple[Level | Fan, ...]
    unit: Unit
    leakage_pj: float = 0.0
    tiles: Mapping[tuple[int, str, str], int] = field(default_factory=dict)
    trips: Mapping[tuple[int, str], int] = field(default_factory=dict)
    whole: tuple[str, ...] = ()
    frontier: tuple[str, ...] = ()
    frontier_at: int = 0
    walked: frozenset[str] = frozenset()

    @property
    def points(self) -> int:
        """Points of the iteration space."""
        total = 1
        for size in self.sizes.values():
            total *= size
        return total
