"""Frame: a problem ready for the join, its tables, boxes and linear forms over all skeletons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dataflow.search.chains import Floats, Ints
from dataflow.search.columns import ONE, ZERO, Columns
from dataflow.search.join import Boxes, Forms, grow
from dataflow.search.pareto import undominated
from dataflow.search.problem import Problem
from dataflow.search.products import (
    Costs,
    Done,
    DoneTile,
    First,
    Moved,
    Product,
    Tile,
    Trips,
    costs,
    links_of,
)
from dataflow.search.skeleton import Places, Skeleton, places
from dataflow.search.tables import Chain, Key, Structure, Table, groups

FIRST = 1 << 40
"""Rows of a box that is split before all others, at least."""
FULL = 4000
"""Rows up to which a table is pruned by dominance for each set of columns apart."""


@dataclass(frozen=True)
class Frame:
    """A problem ready for the join.

    Attributes:
        skeletons: those that differ.
        groups: the variables of each group.
        tables: the chains; ``table_of`` (skeletons x groups) says which one is used.
        kept: for each view of a table, the rows that are in its tree; ``view_of`` likewise.
        boxes, columns, forms: see :func:`dataflow.search.join.branch_and_bound`.
        channels, rooms: names of the times and of the constraints.
        frontier_column: for each view, the column of the tile at the frontier (0: none).
    """

    problem: Problem
    skeletons: tuple[Skeleton, ...]
    groups: tuple[tuple[str, ...], ...]
    tables: tuple[Table, ...]
    table_of: Ints
    kept: tuple[Ints, ...]
    view_of: Ints
    boxes: Boxes
    columns: Ints
    forms: Forms
    channels: tuple[str, ...]
    rooms: tuple[str, ...]
    frontier_column: tuple[int, ...]

    @property
    def roots(self) -> Ints:
        """Box of the whole table for each skeleton and group; -1 where a group has no chain."""
        rows = np.array([len(kept) for kept in self.kept])
        good = np.all(rows[self.view_of] > 0, axis=1)
        return np.where(np.reshape(good, (-1, 1)), self.boxes.root[self.view_of], -1)

    def roots_at(self, tiles: Mapping[str, int]) -> Ints:
        """As ``roots``, of the rows with these tiles of walked variables at the frontier."""
        found = np.array(self.roots)
        low, first, last = self.boxes.low, self.boxes.first, self.boxes.last
        for g, group in enumerate(self.groups):
            if group[0] not in tiles:
                continue
            chosen: dict[int, int] = {}
            for s in range(len(self.skeletons)):
                root = int(found[s, g])
                if root < 0:
                    continue
                if root not in chosen:
                    column = self.frontier_column[int(self.view_of[s, g])]
                    boxes = [root]
                    if self.boxes.rows[root] >= FIRST:
                        boxes = list(range(int(first[root]), int(last[root])))
                    match = [b for b in boxes if low[b, column] == tiles[group[0]]]
                    chosen[root] = match[0] if match else -1
                found[s, g] = chosen[root]
        bad = np.min(found, axis=1) < 0
        found[bad] = -1
        return found

    def tiles_at(self, variable: str) -> list[int]:
        """Tiles of a walked variable that the frontier can have."""
        g = next(i for i, group in enumerate(self.groups) if group == (variable,))
        found: set[int] = set()
        for t in set(self.table_of[:, g].tolist()):
            found.update(int(x) for x in self.tables[t].tile(0, ("own", 0)))
        return sorted(found)

    def chain(self, s: int, g: int, row: int) -> dict[str, Chain]:
        """The chains of a group's variables in a row of its view."""
        return self.tables[int(self.table_of[s, g])].chain(
            int(self.kept[int(self.view_of[s, g])][row])
        )


def _has(product: Product, links: set[tuple[str, int, int]], held: set[tuple[str, int]]) -> bool:
    if isinstance(product, Moved | Done | First | DoneTile):
        return (product.tensor, product.parent, product.child) in links
    return not isinstance(product, Tile) or (product.tensor, product.level) in held


def _maximised(key: Key) -> bool:
    """Whether the column enters with a negative sign."""
    return key[0] in ("first", "done", "done tile") or (key[0] == "trips" and bool(key[1]))


class _Layout:
    """Which column each product reads in each skeleton."""

    def __init__(self, problem: Problem, all_skeletons: tuple[Skeleton, ...]) -> None:
        self.problem = problem
        self.groups = groups(problem)
        self.columns = Columns(problem)
        self.links = [links_of(problem.operands, s) for s in all_skeletons]
        self.costs: Costs = costs(problem, {link for links in self.links for link in links})
        forms = (self.costs.energy, *self.costs.times, *self.costs.rooms)
        self.products: list[Product] = sorted({p for f in forms for p in f.terms}, key=repr)
        self.weights = np.array([[f.terms.get(p, 0.0) for p in self.products] for f in forms])
        self.index: dict[Structure, int] = {}
        self.keys: list[dict[Key, int]] = []
        self.factor = np.ones(len(self.products))
        self.moving: list[list[int]] = []  # products of each group that differ between skeletons
        for group in self.groups:
            moving = []
            for j, product in enumerate(self.products):
                static = self.columns.static(product, group)
                if static is None:
                    moving.append(j)
                else:
                    self.factor[j] *= static
            self.moving.append(moving)
        self.skeletons: list[Skeleton] = []
        self.table_of: list[list[int]] = []
        self.read: list[Ints] = []
        self.present: list[list[bool]] = []
        self._add_all(all_skeletons)

    def _add_all(self, all_skeletons: tuple[Skeleton, ...]) -> None:
        seen = set()
        for skeleton, links in zip(all_skeletons, self.links, strict=True):
            nodes = {(node.tensor, node.at): i for i, node in enumerate(skeleton) if node.tensor}
            present = [_has(product, links, set(nodes)) for product in self.products]
            tables = []
            read = np.zeros((len(self.groups), len(self.products)), np.int64)
            for g, group in enumerate(self.groups):
                spots = {v: places(self.problem, self.columns.operands, skeleton, v) for v in group}
                tables.append(self._table(group, spots))
                keys = self.keys[tables[-1]]
                for j in self.moving[g]:
                    if present[j]:
                        key = self.columns.key(self.products[j], group, spots, nodes)
                        read[g, j] = keys.setdefault(key, len(keys))
            mark = (tuple(tables), read.tobytes(), tuple(present))
            if mark in seen:
                continue  # counts the same as one before
            seen.add(mark)
            self.skeletons.append(skeleton)
            self.table_of.append(tables)
            self.read.append(read)
            self.present.append(present)

    def _table(self, group: tuple[str, ...], spots: dict[str, Places]) -> int:
        structure = Structure(
            group,
            tuple(self.problem.sizes[v] for v in group),
            tuple(spots[v].free for v in group),
            tuple(spots[v].fans for v in group),
        )
        t = self.index.setdefault(structure, len(self.index))
        if t == len(self.keys):
            self.keys.append({ONE: 0, ZERO: 1})
        return t


def build(problem: Problem, all_skeletons: tuple[Skeleton, ...], factors: int) -> Frame:
    """The frame of a problem over a list of skeletons (equal ones once)."""
    layout = _Layout(problem, all_skeletons)
    tables: list[Table] = []
    matrices: list[Floats] = []
    signs: list[Floats] = []
    for structure, keys in zip(layout.index, layout.keys, strict=True):
        table = Table(structure, factors)
        tables.append(table)
        table.prepare(mask for key in keys for mask in layout.columns.masks(table, key))
        matrices.append(np.stack([layout.columns.evaluate(table, key) for key in keys], 1))
        signs.append(np.array([-1.0 if _maximised(key) else 1.0 for key in keys]))
    table_of = np.array(layout.table_of, np.int64)
    columns, forms = _forms(layout)
    views: dict[tuple[int, tuple[int, ...]], int] = {}
    view_of = np.zeros_like(table_of)
    for s in range(len(layout.skeletons)):
        for g in range(len(layout.groups)):
            t = int(table_of[s, g])
            small = tables[t].rows <= FULL
            used = tuple(np.unique(columns[s, g])) if small else ()
            view_of[s, g] = views.setdefault((t, used), len(views))
    kept: list[Ints] = []
    values: list[Floats] = []
    for t, used in views:
        chosen = matrices[t]
        rows = np.arange(len(chosen))
        if used and len(chosen) > 1:
            wanted = [c for c in used if c > 1]
            rows = undominated(chosen[:, wanted] * signs[t][wanted])
        kept.append(rows)
        values.append(chosen[rows] if len(rows) else np.ones((1, chosen.shape[1])))
    apart = [
        [
            i
            for key, i in layout.keys[t].items()
            if (key[0] == "trips" and key[1] is False and not problem.frontier)
            or (key[0] == "tile" and key[1] in problem.frontier and len(tables[t].counts) == 1)
        ]
        for t, _ in views
    ]
    boxes = grow(values, [signs[t] for t, _ in views], apart)
    return Frame(
        problem,
        tuple(layout.skeletons),
        layout.groups,
        tuple(tables),
        table_of,
        tuple(kept),
        view_of,
        boxes,
        columns,
        forms,
        tuple(f.name for f in layout.costs.times),
        tuple(f.name for f in layout.costs.rooms),
        tuple(columns_[0] if columns_ and problem.frontier else 0 for columns_ in apart),
    )


def _forms(layout: _Layout) -> tuple[Ints, Forms]:
    """Constant products become constants; those that always read the same columns are added up."""
    present = np.array(layout.present)  # skeletons x products
    read = np.stack(layout.read)  # skeletons x groups x products
    read[:, 0, :] = np.where(present, read[:, 0, :], 1)  # a factor of zero
    moving = np.zeros(len(layout.products), bool)
    for members in layout.moving:
        moving[members] = True
    weights = layout.weights * layout.factor
    fixed = (present[:, ~moving]).astype(float) @ weights[:, ~moving].T
    merged: dict[bytes, list[int]] = {}
    for j in np.flatnonzero(moving):
        apart = isinstance(layout.products[j], First | Trips | Done | DoneTile)
        mark = read[:, :, j].tobytes() + bytes([apart])
        merged.setdefault(mark, []).append(int(j))
    chosen = [members[0] for members in merged.values()]
    summed = (
        np.stack([weights[:, members].sum(axis=1) for members in merged.values()], 1)
        if merged
        else np.zeros((len(weights), 0))
    )
    many = len(layout.costs.times)
    problem = layout.problem
    limits = np.array([f.limit for f in layout.costs.rooms]) - fixed[:, 1 + many :]
    return np.ascontiguousarray(read[:, :, chosen]), Forms(
        summed[0],
        fixed[:, 0] + problem.unit.energy_pj * problem.points,
        summed[1 : 1 + many],
        fixed[:, 1 : 1 + many],
        summed[1 + many :],
        limits,
        problem.leakage_pj,
    )
