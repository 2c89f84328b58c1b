"""Columns: the numbers that the loops of one variable contribute to all counts.

The iteration space is a Cartesian product, so each count of a mapping is a sum of products of
columns, one for each rank variable; variables that stand in one affine index together (``p`` and
``r`` of ``p + r``) share a column. A column depends on the loops of its variables alone: a search
tabulates it once for each chain of tiles, and a single mapping evaluates it once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from math import prod

import numpy as np

from dataflow.cost.walk import Ints, histogram, tile_list
from dataflow.errors import DataflowError
from dataflow.mapping.workload import Dim

UNBOUNDED = 1 << 62
"""Extent of a dimension that nothing is clipped to."""

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
        wide: lanes that ask for their words at once: loops of ``side`` that are left out where
            nothing cuts the variable again, so that neighbours make up one tile.
        side: variables whose lanes may make up one.
        runs: ranks that a variable flattens are fetched run after run, not as one box.
    """

    variables: tuple[str, ...]
    dims: tuple[Dim, ...]
    upto: int
    once: tuple[Once, ...] = ()
    wide: tuple[Once, ...] = ()
    side: frozenset[str] = frozenset()
    runs: bool = False


@dataclass(frozen=True)
class Cut:
    """A loop of a variable: its place on the path, its tile, its fan-out (None: temporal), and the
    sizes of all its tiles where they differ."""

    at: int
    tile: int
    fanout: str | None
    pieces: tuple[int, ...] = ()


@dataclass(frozen=True)
class Chain:
    """The loops of one variable, outermost first, and its size."""

    size: int
    cuts: tuple[Cut, ...]

    def above(self, upto: int, once: Sequence[Once], wide: Sequence[Once] = ()) -> Walk:
        """The loops above a place, but for the innermost ones that are ``wide``."""
        cuts = [c for c in self.cuts if c.at < upto]
        while cuts and any(w.covers(cuts[-1].at, cuts[-1].fanout) for w in wide):
            cuts.pop()
        flags = [any(o.covers(c.at, c.fanout) for o in once) for c in cuts]
        return Walk(self.size, tuple(cuts), tuple(flags))


@dataclass(frozen=True)
class Walk:
    """Some loops of a variable of ``size`` values, and which of them are followed ``once``."""

    size: int
    cuts: tuple[Cut, ...]
    once: tuple[bool, ...]

    @property
    def uncut(self) -> bool:
        """Whether no loop leaves less than all values."""
        return all(cut.tile >= self.size for cut in self.cuts)

    def table(self) -> list[tuple[int, int]]:
        """(size, number) of the tiles that the loops leave."""
        tiles = [c.tile for c in self.cuts]
        if not self.cuts or not self.cuts[0].pieces:
            return histogram(self.size, tiles, self.once)
        found: dict[int, int] = {}
        for piece in self._pieces():
            for size, number in histogram(piece, tiles[1:], self.once[1:]):
                found[size] = found.get(size, 0) + number
        return list(found.items())

    def tiles(self) -> tuple[Ints, Ints]:
        """First value and size of every tile, in the order of execution."""
        tiles = [c.tile for c in self.cuts]
        if not self.cuts or not self.cuts[0].pieces:
            return tile_list(self.size, tiles, self.once)
        first, parts = 0, []
        for piece in self._pieces():
            starts, sizes = tile_list(piece, tiles[1:], self.once[1:])
            parts.append((starts + first, sizes))
            first += piece
        return np.concatenate([s for s, _ in parts]), np.concatenate([n for _, n in parts])

    def lanes(self) -> list[tuple[Ints, Ints]]:
        """First value and size of the tiles of every lane of the loops that are followed once."""
        found = [(np.zeros(1, np.int64), np.full(1, self.size, np.int64))]
        for cut, once in zip(self.cuts, self.once, strict=True):
            found = [lane for starts, sizes in found for lane in _cut(cut, once, starts, sizes)]
        return found

    def _pieces(self) -> tuple[int, ...]:
        # Followed once: the one that uses most lanes below.
        pieces = self.cuts[0].pieces
        return (max(pieces),) if self.once[0] else pieces


def _cut(cut: Cut, once: bool, starts: Ints, sizes: Ints) -> list[tuple[Ints, Ints]]:
    """The tiles that a loop leaves of some; ``once``: apart for each of its iterations."""
    edges = np.cumsum((0, *cut.pieces)) if cut.pieces else None
    parts: list[list[tuple[int, int]]] = []
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        bounds = list(range(0, size, cut.tile)) if edges is None else edges[:-1].tolist()
        ends = [*bounds[1:], size]
        for k, (low, high) in enumerate(zip(bounds, ends, strict=True)):
            at = k if once else 0
            while len(parts) <= at:
                parts.append([])
            parts[at].append((start + low, high - low))
    tables = [np.array(part, np.int64).reshape(-1, 2) for part in parts]
    return [(table[:, 0], table[:, 1]) for table in tables]


def evaluate(column: Column, chains: Mapping[str, Chain]) -> int:
    """The value of a column, exactly."""
    walks = {
        v: chains[v].above(column.upto, column.once, column.wide if v in column.side else ())
        for v in column.variables
    }
    uncut = {v for v, walk in walks.items() if walk.uncut}
    whole = [d for d in column.dims if d.whole and uncut.issuperset(d.variables)]
    if whole:
        rest = replace(column, dims=tuple(d for d in column.dims if d not in whole))
        return prod(d.lines(d.extent) for d in whole) * evaluate(rest, chains)
    padded = any(_padded(dim, chains) for dim in column.dims)
    split = any(any(walk.once) for walk in walks.values())
    # The first lane may lie in the padding: the busiest one is charged without it.
    clipped = padded and not split
    flat = {d.variable for dim in column.dims for d in dim.digits}
    if not clipped and not flat:
        return _table_sum(column, walks)
    # A lane of a flattened variable may go on to the next rank: the first one is not the busiest.
    split_flat = sorted(v for v in flat if any(walks[v].once))
    choices = product(*([(v, lane) for lane in walks[v].lanes()] for v in split_flat))
    return max(_grid_sum(column, chains, walks, clipped, dict(lanes)) for lanes in choices)


def _table_sum(column: Column, walks: Mapping[str, Walk]) -> int:
    """The sum over all tiles, where their sizes alone matter."""
    tables = [walks[v].table() for v in column.variables]
    total = 0
    for entries in product(*tables):
        extents = {v: e for v, (e, _) in zip(column.variables, entries, strict=True)}
        touched = prod(span(dim, extents) for dim in column.dims)
        total += touched * prod(n for _, n in entries)
    return total


def span(dim: Dim, extents: Mapping[str, int]) -> int:
    """Elements (lines) of a dimension that a tile of these extents touches, padding apart."""
    if dim.indirect:
        return dim.lines(min(dim.extent, prod(extents[v] for v in dim.variables)))
    size = 1 + sum(abs(a) * (extents[v] - 1) for v, a in dim.terms)
    return dim.lines(size if dim.masked else min(dim.extent, size))


def _padded(dim: Dim, chains: Mapping[str, Chain]) -> bool:
    """Whether the index of some point lies outside the tensor."""
    if dim.indirect or dim.masked:
        return False
    reach = [a * (chains[v].size - 1) for v, a in dim.terms]
    reach += [d.coefficient * (d.size - 1) for d in dim.digits]
    low = dim.offset + sum(min(0, r) for r in reach)
    high = dim.offset + sum(max(0, r) for r in reach)
    return low < 0 or high >= dim.extent


def _grid_sum(
    column: Column,
    chains: Mapping[str, Chain],
    walks: Mapping[str, Walk],
    clipped: bool,
    given: Mapping[str, tuple[Ints, Ints]],
) -> int:
    """The sum over all tiles, with their first values where these matter: of variables that
    flatten ranks, and of all where what lies outside the tensor is left out (``clipped``).

    Args:
        given: tiles of some variables, in place of those that their loops leave.
    """
    flat: dict[str, int] = {}  # length of a run of the innermost rank
    for digit in (d for dim in column.dims for d in dim.digits):
        length = digit.divisor * digit.size
        flat[digit.variable] = min(length, flat.get(digit.variable, length))
    lists: dict[str, tuple[Ints, Ints, Ints]] = {}
    for v in column.variables:
        if clipped or v in flat:
            _countable(column, sum(number for _, number in walks[v].table()))
            starts, sizes = given[v] if v in given else walks[v].tiles()
            if column.runs and v in flat:
                starts, sizes = _runs(starts, sizes, flat[v])
            lists[v] = starts, sizes, np.ones_like(sizes)
        else:
            table = np.array(walks[v].table(), np.int64).reshape(-1, 2)
            lists[v] = np.zeros_like(table[:, 0]), table[:, 0], table[:, 1]
    outer = tuple(flat)
    tiles = prod(int(numbers.sum()) for _, _, numbers in lists.values())
    bound = tiles * prod(_reach(dim, chains) for dim in column.dims)
    total: Ints = np.ones((1,) * len(outer), np.int64)
    for v in outer:
        total = total * _placed(lists, outer, v)[2]
    # Given the flattened ones, variables that no index joins are independent.
    for names, dims in _apart(column, outer):
        axes = (*outer, *names)
        grid = prod(len(lists[v][0]) for v in axes)
        _countable(column, grid if bound < UNBOUNDED else bound)
        placed = {v: _placed(lists, axes, v) for v in axes}
        factors: list[Ints] = [placed[v][2] for v in names]
        factors += [dim.lines(_touched(dim, placed, clipped)) for dim in dims]
        value = np.broadcast_to(reduce(np.multiply, factors), tuple(len(lists[v][0]) for v in axes))
        total = total * value.sum(axis=tuple(range(len(outer), len(axes))))
    return int(total.sum())


def _countable(column: Column, tiles: int) -> None:
    """Raises DataflowError when there are more tiles than can be looked at one by one."""
    if tiles > MAX_GRID:
        raise DataflowError(
            f"index over {', '.join(column.variables)}",
            f"has {tiles} tiles that are looked at one by one, as padding or flattened ranks ask",
            f"use larger tiles, {MAX_GRID} at most",
        )


def _placed(
    lists: Mapping[str, tuple[Ints, Ints, Ints]], axes: Sequence[str], variable: str
) -> tuple[Ints, ...]:
    """First values, sizes and numbers of a variable's tiles along its axis of a grid."""
    shape = tuple(-1 if v == variable else 1 for v in axes)
    return tuple(x.reshape(shape) for x in lists[variable])


def _apart(column: Column, outer: Sequence[str]) -> list[tuple[tuple[str, ...], tuple[Dim, ...]]]:
    """Variables other than ``outer`` in groups that no index joins, with their indices."""
    groups: list[tuple[set[str], list[Dim]]] = [({v}, []) for v in column.variables]
    groups = [g for g in groups if not g[0] & set(outer)]
    for dim in column.dims:
        names = set(dim.variables) - set(outer)
        merged: tuple[set[str], list[Dim]] = (names, [dim])
        for g in [g for g in groups if g[0] & names]:
            merged[0].update(g[0])
            merged[1].extend(g[1])
            groups.remove(g)
        groups.append(merged)
    return [(tuple(sorted(names)), tuple(dims)) for names, dims in groups]


def _reach(dim: Dim, chains: Mapping[str, Chain]) -> int:
    """Elements between the least and the greatest index of a dimension, those of it at most."""
    if dim.indirect:
        return dim.extent
    reach = sum(abs(a) * (chains[v].size - 1) for v, a in dim.terms)
    reach += 1 + sum(abs(d.coefficient) * (d.size - 1) for d in dim.digits)
    return reach if dim.masked else min(reach, dim.extent)


def _runs(starts: Ints, sizes: Ints, length: int) -> tuple[Ints, Ints]:
    """Tiles cut where a run of the innermost flattened rank ends."""
    found = [
        (low, min(low - low % length + length, end))
        for start, end in zip(starts, starts + sizes, strict=True)
        for low in (start, *range(start - start % length + length, end, length))
    ]
    table = np.array(found, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1] - table[:, 0]


def _touched(dim: Dim, placed: Mapping[str, tuple[Ints, ...]], clipped: bool) -> Ints:
    """Elements of a dimension that each tile touches."""
    one = np.ones((1,) * len(placed), np.int64)
    if dim.indirect:
        for v in dim.variables:
            one = one * placed[v][1]
        return np.minimum(one, dim.extent)
    low = high = dim.offset * one
    for v, a in dim.terms:
        first, last = placed[v][0], placed[v][0] + placed[v][1] - 1
        low = low + a * (first if a > 0 else last)
        high = high + a * (last if a > 0 else first)
    for d in dim.digits:
        start, extent = placed[d.variable][0], placed[d.variable][1]
        before, behind = start // d.divisor, (start + extent - 1) // d.divisor
        turns = before // d.size != behind // d.size
        least = np.where(turns, 0, before % d.size)
        most = np.where(turns, d.size - 1, behind % d.size)
        low = low + d.coefficient * (least if d.coefficient > 0 else most)
        high = high + d.coefficient * (most if d.coefficient > 0 else least)
    if dim.masked:
        return np.asarray(high - low + 1, np.int64)
    if not clipped:
        return np.asarray(np.minimum(high - low + 1, dim.extent), np.int64)
    inside = np.minimum(high, dim.extent - 1) - np.maximum(low, 0) + 1
    return np.asarray(np.maximum(inside, 0), np.int64)


def components(dims: Iterable[Dim], joint: bool) -> list[tuple[tuple[str, ...], tuple[Dim, ...]]]:
    """Dimensions in groups that share no variable, each with its variables.

    Args:
        dims: of an operand.
        joint: False for an output, whose distinct points are distinct elements: each variable is
            a group of its own.
    """
    if not joint:
        names = dict.fromkeys(v for dim in dims for v in dim.variables)
        return [((v,), (Dim(((v, 1),), 0, UNBOUNDED),)) for v in names]
    groups: list[tuple[set[str], list[Dim]]] = []
    for dim in dims:
        names_of = set(dim.variables)
        if not names_of:
            if dim.whole:
                groups.append((set(), [dim]))
            continue  # one element, always the same
        touching = [g for g in groups if g[0] & names_of]
        merged = (set(names_of), [dim])
        for g in touching:
            merged[0].update(g[0])
            merged[1][:0] = g[1]
            groups.remove(g)
        groups.append(merged)
    return [(tuple(sorted(names)), tuple(dims_of)) for names, dims_of in groups]
