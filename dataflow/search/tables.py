"""Tables: every chain of a group of rank variables as a row of integer columns.

A group is a set of variables that share a rank of some tensor (``p`` and ``r`` in ``p + r``); a
cost is a sum of products of one column per group. Tables depend on the places of the group's
variables only, so skeletons share them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataflow.search.chains import Floats, Ints, Place, TooManyChainsError, chains, walk
from dataflow.search.padding import gathered, inside
from dataflow.search.problem import Problem


@dataclass(frozen=True)
class Structure:
    """What a table depends on: for each variable, its size, its places and the fan-outs there."""

    variables: tuple[str, ...]
    sizes: tuple[int, ...]
    free: tuple[tuple[Place, ...], ...]
    fans: tuple[tuple[int, ...], ...]


MOST_ROWS = 600_000

TIME = -1
"""Among fan-outs of which one instance is followed: the loops over time."""


@dataclass(frozen=True)
class Chain:
    """One variable's tiles below and above each place, and the trips on it (1 for a hold)."""

    below: tuple[int, ...]
    above: tuple[int, ...]
    trips: tuple[int, ...]


Key = tuple[Any, ...]
"""Names a column of a table; :mod:`dataflow.search.columns` makes and reads it."""


class Table:
    """Rows of a structure and the columns that were asked for.

    Attributes:
        structure: the places.
        rows: how many chains of the group there are (the product over its variables).
    """

    def __init__(self, structure: Structure, factors: int, most: int = MOST_ROWS) -> None:
        self.structure = structure
        self._parts: list[tuple[Ints, Ints, Ints]] = [
            chains(size, free, factors, most)
            for size, free in zip(structure.sizes, structure.free, strict=True)
        ]
        self.counts = tuple(len(part[0]) for part in self._parts)
        self.rows = int(np.prod(self.counts))
        if self.rows > most:
            raise TooManyChainsError
        self._walks: dict[tuple[int, tuple[bool, ...]], tuple[Floats, Floats]] = {}

    def prepare(self, masks: Iterable[tuple[int, tuple[bool, ...]]]) -> None:
        """Walks the chains for (variable, which places count one instance) pairs, together."""
        wanted: dict[int, list[tuple[bool, ...]]] = {}
        for variable, mask in sorted(set(masks)):
            if (variable, mask) not in self._walks:
                wanted.setdefault(variable, []).append(mask)
        for variable, several in wanted.items():
            below, above, _ = self._parts[variable]
            spatial = np.array([f >= 0 for f in self.structure.fans[variable]] + [False])
            once = np.array(several)
            steps, total = walk(self.structure.sizes[variable], below, above, spatial, once)
            for m, mask in enumerate(several):
                self._walks[variable, mask] = steps[m], total[m]

    def mask(self, variable: int, fans: frozenset[int]) -> tuple[int, tuple[bool, ...]]:
        """The key of a walk in which the fan-outs count one instance, with TIME loops one trip."""
        return variable, (*(f in fans for f in self.structure.fans[variable]), TIME in fans)

    def _expand(self, variable: int, values: Floats) -> Floats:
        """A variable's column over the rows of the group."""
        inner = int(np.prod(self.counts[variable + 1 :]))
        outer = int(np.prod(self.counts[:variable]))
        if inner != 1:
            values = np.repeat(values, inner)
        return np.tile(values, outer) if outer != 1 else values

    def steps(self, variable: int, spot: int, fans: frozenset[int]) -> Floats:
        """Iterations above a spot (-1: before all places; places: after all loops)."""
        if spot < 0:
            return np.ones(self.rows)
        return self._expand(variable, self._walks[self.mask(variable, fans)][0][spot])

    def total(self, variable: int, spot: int, fans: frozenset[int]) -> Floats:
        """Sum of the extents over those iterations."""
        if spot < 0:
            return np.full(self.rows, float(self.structure.sizes[variable]))
        return self._expand(variable, self._walks[self.mask(variable, fans)][1][spot])

    def inside(
        self,
        variables: list[int],
        steps: list[int],
        spots: list[int],
        once: frozenset[int],
        bound: tuple[int, int],
    ) -> Floats:
        """Sum over all tiles of the elements of an index that lie inside the tensor.

        Args:
            variables, steps: of the index, with their coefficients.
            spots: the places down to which each is cut.
            once: fan-outs of which one instance is followed; it is charged without padding.
            bound: offset of the index, elements of the dimension.
        """
        cuts = self._cuts(variables, spots, once)
        scales = [*steps, 0]
        flat = (*cuts[0], scales[0], *cuts[1], scales[1], *bound)
        values = inside(*flat)
        return self._joint(variables, values)

    def gathered(
        self, variables: list[int], spots: list[int], once: frozenset[int], most: int
    ) -> Floats:
        """Elements that data index: sum over all tiles of their points, ``most`` of a tile.

        Args:
            variables: of the index, at most two.
            spots: the places down to which each is cut.
            once: fan-outs of which one instance is followed.
        """
        cuts = self._cuts(variables, spots, once)
        flat = (*cuts[0], *cuts[1], most)
        return self._joint(variables, gathered(*flat))

    def _cuts(
        self, variables: list[int], spots: list[int], once: frozenset[int]
    ) -> list[tuple[Any, ...]]:
        """How the loops above some spots cut one or two variables (the second of one value)."""
        assert len(variables) <= 2
        none, flags = np.ones((1, 0), np.int64), np.zeros(0, bool)
        found: list[tuple[Any, ...]] = []
        for v, spot in zip(variables, spots, strict=True):
            below, above, _ = self._parts[v]
            fans = self.structure.fans[v]
            spatial = np.array([f >= 0 for f in fans], bool)
            first = np.array([f in once for f in fans], bool)
            end = spot >= len(fans)
            places = min(spot + 1, len(fans))
            found.append((self.structure.sizes[v], below, above, spatial, first, places, end))
        return [*found, (1, none, none, flags, flags, 0, False)]

    def _joint(self, variables: list[int], values: Floats) -> Floats:
        """Values of one or two variables' chains, the first's outermost, over the group's rows."""
        grid = values.reshape([self.counts[v] for v in variables])
        if list(variables) != sorted(variables):
            grid = grid.T
        shape = [n if v in variables else 1 for v, n in enumerate(self.counts)]
        return np.broadcast_to(grid.reshape(shape), self.counts).reshape(-1)

    def trips(self, variable: int, place: int) -> Floats:
        """Trips of the spatial loop at a place."""
        return self._expand(variable, self._parts[variable][2][:, place].astype(float))

    def tile(self, variable: int, spot: tuple[str, int]) -> Floats:
        """Tile at a node: ("own", place) is the tile below a place, ("next", place) above it."""
        kind, place = spot
        if kind == "own" and place < 0:
            return np.full(self.rows, float(self.structure.sizes[variable]))
        if kind == "next" and place >= len(self.structure.free[variable]):
            return np.ones(self.rows)
        part = self._parts[variable][0 if kind == "own" else 1]
        return self._expand(variable, part[:, place].astype(float))

    def chain(self, row: int) -> dict[str, Chain]:
        """(tiles below, tiles above, trips) of each variable in a row."""
        at = np.unravel_index(row, self.counts)
        found = {}
        for i, name in enumerate(self.structure.variables):
            below, above, trips = (tuple(int(x) for x in a[at[i]]) for a in self._parts[i])
            found[name] = Chain(below, above, trips)
        return found


def groups(problem: Problem) -> tuple[tuple[str, ...], ...]:
    """Variables joined by shared ranks, in the order of the problem's sizes."""
    leader = {variable: variable for variable in problem.sizes}

    def find(variable: str) -> str:
        while leader[variable] != variable:
            variable = leader[variable]
        return variable

    for operand in problem.operands:
        for rank in operand.ranks:
            first, *others = (find(v) for v, _ in rank)
            for other in others:
                leader[other] = first
    found: dict[str, list[str]] = {}
    for variable in problem.sizes:
        found.setdefault(find(variable), []).append(variable)
    return tuple(tuple(members) for members in found.values())


def rank_total(
    rank: tuple[tuple[str, int], ...], steps: Mapping[str, Floats], total: Mapping[str, Floats]
) -> Floats:
    """Sum of a rank's extent ``sum |a| (e - 1) + 1`` over the joint iterations of its variables."""
    product: Floats | None = None
    for v, _ in rank:
        product = steps[v] if product is None else product * steps[v]
    assert product is not None
    result = product * (1 - sum(abs(a) for _, a in rank))
    for v, a in rank:
        part = total[v] * abs(a)
        for w, _ in rank:
            if w != v:
                part = part * steps[w]
        result = result + part
    return result
