"""Columns: the numbers that the loops of one variable contribute to all counts.

The iteration space is a Cartesian product, so each count of a mapping is a sum of products of
columns, one for each rank variable; variables that stand in one affine index together (``p`` and
``r`` of ``p + r``) share a column. A column depends on the loops of its variables alone: a search
tabulates it once for each chain of tiles, and a single mapping evaluates it once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from math import prod

import numpy as np

from dataflow.cost.walk import Ints, histogram, tile_list
from dataflow.errors import DataflowError
from dataflow.mapping.workload import Dim

MAX_GRID = 1 << 26
"""Most tiles that are looked at one by one, for one index with padding."""


@dataclass(frozen=True)
class Once:
    """Loops of which only the first tile is followed.

    Attributes:
        start, stop: loops with start <= place < stop.
        fanouts: names of the fan-outs whose loops are meant; None: those of all fan-outs.
        temporal: temporal loops are meant, not those over fan-outs.
    """

    start: int
    stop: int
    fanouts: frozenset[str] | None = None
    temporal: bool = False

    def covers(self, at: int, fanout: str | None) -> bool:
        """Whether the loop at this place of the path, over this fan-out, is one of them."""
        if not self.start <= at < self.stop:
            return False
        if fanout is None:
            return self.temporal
        return not self.temporal and (self.fanouts is None or fanout in self.fanouts)


@dataclass(frozen=True)
class Column:
    """What the loops of some variables contribute to a count.

    Attributes:
        variables: one, or those that affine indices join.
        dims: indices whose elements are summed over all tiles; empty: the tiles are counted.
        upto: loops at places below it cut the variables.
        once: which of them are followed for their first tile alone.
    """

    variables: tuple[str, ...]
    dims: tuple[Dim, ...]
    upto: int
    once: tuple[Once, ...] = ()


@dataclass(frozen=True)
class Cut:
    """A loop of a variable: its place on the path, its tile, its fan-out (None: temporal)."""

    at: int
    tile: int
    fanout: str | None


@dataclass(frozen=True)
class Chain:
    """The loops of one variable, outermost first, and its size."""

    size: int
    cuts: tuple[Cut, ...]

    def above(self, upto: int, once: Sequence[Once]) -> tuple[list[int], list[bool]]:
        """Tiles of the loops above a place, and which are followed once."""
        cuts = [c for c in self.cuts if c.at < upto]
        flags = [any(o.covers(c.at, c.fanout) for o in once) for c in cuts]
        return [c.tile for c in cuts], flags


def evaluate(column: Column, chains: Mapping[str, Chain]) -> int:
    """The value of a column, exactly."""
    cuts = {v: chains[v].above(column.upto, column.once) for v in column.variables}
    if column.dims and any(_padded(dim, chains) for dim in column.dims):
        split = any(any(flags) for _, flags in cuts.values())
        # The first lane may lie in the padding: the busiest one is charged without it.
        if not split:
            return _padded_sum(column, chains, cuts)
    tables = [histogram(chains[v].size, *cuts[v]) for v in column.variables]
    total = 0
    for entries in product(*tables):
        extents = {v: e for v, (e, _) in zip(column.variables, entries, strict=True)}
        touched = prod(span(dim, extents) for dim in column.dims)
        total += touched * prod(n for _, n in entries)
    return total


def span(dim: Dim, extents: Mapping[str, int]) -> int:
    """Elements of a dimension that a tile of these extents touches, padding apart."""
    if dim.indirect:
        return min(dim.extent, prod(extents[v] for v in dim.variables))
    return min(dim.extent, 1 + sum(abs(a) * (extents[v] - 1) for v, a in dim.terms))


def _padded(dim: Dim, chains: Mapping[str, Chain]) -> bool:
    """Whether the index of some point lies outside the tensor."""
    if dim.indirect:
        return False
    reach = [a * (chains[v].size - 1) for v, a in dim.terms]
    low = dim.offset + sum(min(0, r) for r in reach)
    high = dim.offset + sum(max(0, r) for r in reach)
    return low < 0 or high >= dim.extent


def _padded_sum(
    column: Column,
    chains: Mapping[str, Chain],
    cuts: Mapping[str, tuple[list[int], list[bool]]],
) -> int:
    """The sum over all tiles of the elements that lie inside the tensor."""
    lists = {v: tile_list(chains[v].size, *cuts[v]) for v in column.variables}
    grid = prod(len(starts) for starts, _ in lists.values())
    bound = grid * prod(dim.extent for dim in column.dims)
    if grid > MAX_GRID or bound >= 1 << 62:
        names = ", ".join(column.variables)
        raise DataflowError(
            f"index over {names}", f"has {grid} tiles beside padding", "use larger tiles"
        )
    shapes = {v: tuple(-1 if u == v else 1 for u in column.variables) for v in column.variables}
    touched: list[Ints] = []
    for dim in column.dims:
        if dim.indirect:
            points = np.ones((1,) * len(column.variables), np.int64)
            for v in dim.variables:
                points = points * lists[v][1].reshape(shapes[v])
            touched.append(np.minimum(points, dim.extent))
            continue
        low = high = np.full((1,) * len(column.variables), dim.offset, np.int64)
        for v, a in dim.terms:
            first, sizes_v = (x.reshape(shapes[v]) for x in lists[v])
            last = first + sizes_v - 1
            low = low + a * (first if a > 0 else last)
            high = high + a * (last if a > 0 else first)
        inside = np.minimum(high, dim.extent - 1) - np.maximum(low, 0) + 1
        touched.append(np.maximum(inside, 0))
    shape = tuple(len(lists[v][0]) for v in column.variables)
    return int(np.broadcast_to(reduce(np.multiply, touched), shape).sum())


def components(dims: Iterable[Dim], joint: bool) -> list[tuple[tuple[str, ...], tuple[Dim, ...]]]:
    """Dimensions in groups that share no variable, each with its variables.

    Args:
        dims: of an operand.
        joint: False for an output, whose distinct points are distinct elements: each variable is
            a group of its own.
    """
    if not joint:
        names = dict.fromkeys(v for dim in dims for v in dim.variables)
        return [((v,), (Dim(((v, 1),), 0, 1 << 62),)) for v in names]
    groups: list[tuple[set[str], list[Dim]]] = []
    for dim in dims:
        names_of = set(dim.variables)
        if not names_of:
            continue  # one element, always the same
        touching = [g for g in groups if g[0] & names_of]
        merged = (set(names_of), [dim])
        for g in touching:
            merged[0].update(g[0])
            merged[1][:0] = g[1]
            groups.remove(g)
        groups.append(merged)
    return [(tuple(sorted(names)), tuple(dims_of)) for names, dims_of in groups]
