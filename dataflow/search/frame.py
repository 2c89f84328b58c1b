"""Frame: a problem ready for the join, its tables, boxes and linear forms over all skeletons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from dataflow.search.tables import MOST_ROWS, Chain, Key, Structure, Table, groups

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
        values: the columns of the kept rows of each view.
        channels, rooms: names of the times and of the constraints.
        frontier_boxes: for each view, the box of each tile at the frontier.
    """

    problem: Problem
    skeletons: tuple[Skeleton, ...]
    groups: tuple[tuple[str, ...], ...]
    tables: tuple[Table, ...]
    table_of: Ints
    kept: tuple[Ints, ...]
    view_of: Ints
    values: tuple[Floats, ...]
    boxes: Boxes
    columns: Ints
    forms: Forms
    channels: tuple[str, ...]
    rooms: tuple[str, ...]
    frontier_boxes: tuple[Mapping[float, int], ...]

    @property
    def roots(self) -> Ints:
        """Box of the whole table for each skeleton and group; -1 where a group has no chain."""
        rows = np.array([len(kept) for kept in self.kept])
        good = np.all(rows[self.view_of] > 0, axis=1)
        return np.where(np.reshape(good, (-1, 1)), self.boxes.root[self.view_of], -1)

    def roots_at(self, tiles: Mapping[str, int]) -> Ints:
        """As ``roots``, of the rows with these tiles of walked variables at the frontier."""
        found = np.array(self.roots)
        for g, group in enumerate(self.groups):
            at = [tile for v, tile in tiles.items() if v in group]
            if at:
                boxes = np.array([part.get(at[0], -1) for part in self.frontier_boxes])
                found[:, g] = np.where(found[:, g] < 0, -1, boxes[self.view_of[:, g]])
        found[np.min(found, axis=1) < 0] = -1
        return found

    def slack(self, s: int, rows: Sequence[int]) -> dict[str, float]:
        """What rows of a skeleton leave of each constraint."""
        product = np.ones(self.columns.shape[2])
        for g, row in enumerate(rows):
            product *= self.values[int(self.view_of[s, g])][row, self.columns[s, g]]
        left = self.forms.room_limit[s] - self.forms.room @ product
        return dict(zip(self.rooms, left.tolist(), strict=True))

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
        costed = self.costs
        forms = (costed.energy, *costed.times, *costed.rooms, costed.inner)
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


class Known:
    """Tables and columns that frames of the same Einsum on the same path have made."""

    def __init__(self) -> None:
        self._tables: dict[tuple[Structure, int], Table] = {}
        self._columns: dict[tuple[Structure, int, Key], Floats] = {}

    def table(self, structure: Structure, factors: int, most: int) -> Table:
        """The table of a structure."""
        at = (structure, factors)
        if at not in self._tables:
            self._tables[at] = Table(structure, factors, most)
        return self._tables[at]

    def matrix(self, columns: Columns, table: Table, factors: int, keys: Sequence[Key]) -> Floats:
        """Columns of a table."""
        missing = [k for k in keys if (table.structure, factors, k) not in self._columns]
        table.prepare(mask for key in missing for mask in columns.masks(table, key))
        for key in missing:
            self._columns[table.structure, factors, key] = columns.evaluate(table, key)
        return np.stack([self._columns[table.structure, factors, k] for k in keys], 1)


def build(
    problem: Problem,
    all_skeletons: tuple[Skeleton, ...],
    factors: int,
    most: int = MOST_ROWS,
    known: Known | None = None,
) -> Frame:
    """The frame of a problem over a list of skeletons (equal ones once).

    Args:
        most: rows of a table. Raises TooManyChainsError where there are more.
        known: what earlier frames of the Einsum have made.
    """
    layout = _Layout(problem, all_skeletons)
    known = known or Known()
    tables: list[Table] = []
    matrices: list[Floats] = []
    signs: list[Floats] = []
    for structure, keys in zip(layout.index, layout.keys, strict=True):
        table = known.table(structure, factors, most)
        tables.append(table)
        matrices.append(known.matrix(layout.columns, table, factors, list(keys)))
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
            shown = chosen[:, wanted] * signs[t][wanted]
            given = _frontier_columns(layout, tables[t], layout.keys[t])
            # Which tile the frontier has is not for one Einsum to decide.
            rows = undominated(np.hstack([shown, -chosen[:, given]]))
        kept.append(rows)
        if len(rows) == len(chosen) > 0:
            values.append(chosen)
        else:
            values.append(chosen[rows] if len(rows) else np.ones((1, chosen.shape[1])))
    apart = [
        [
            _frontier_columns(layout, tables[t], layout.keys[t]),
            [i for key, i in layout.keys[t].items() if key[0] == "trips" and key[1] is False],
        ]
        for t, _ in views
    ]
    boxes, parts = grow(values, [signs[t] for t, _ in views], apart)
    return Frame(
        problem,
        tuple(layout.skeletons),
        layout.groups,
        tuple(tables),
        table_of,
        tuple(kept),
        view_of,
        tuple(values),
        boxes,
        columns,
        forms,
        tuple(f.name for f in layout.costs.times),
        tuple(f.name for f in layout.costs.rooms),
        tuple(parts),
    )


def _frontier_columns(layout: _Layout, table: Table, keys: Mapping[Key, int]) -> list[int]:
    """The column of the walked variable's tile at the frontier, if the group has one.

    It is that of a tensor that no other variable of the group indexes.
    """
    problem, group = layout.problem, table.structure.variables
    for key, i in keys.items():
        if key[0] == "tile" and key[1] in problem.frontier:
            mine = [v for v in group if v in layout.columns.operands[key[1]].variables]
            spots = dict(zip(group, key[2], strict=True))  # levels below hold tiles of it too
            if len(mine) == 1 and mine[0] in problem.walked and spots[mine[0]] == ("own", 0):
                return [i]
    return []


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
    limits = np.array([f.limit for f in layout.costs.rooms]) - fixed[:, 1 + many : -1]
    operations = problem.unit.energy_pj * problem.points
    return np.ascontiguousarray(read[:, :, chosen]), Forms(
        summed[0],
        fixed[:, 0] + operations,
        summed[-1],
        fixed[:, -1] + operations,
        summed[1 : 1 + many],
        fixed[:, 1 : 1 + many],
        summed[1 + many : -1],
        limits,
        problem.leakage_pj,
    )
