"""Columns: the part of a product that one group of variables contributes in one skeleton."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dataflow.search.chains import Floats
from dataflow.search.problem import Operand, Problem
from dataflow.search.products import (
    NOWHERE,
    UNIT,
    Done,
    DoneTile,
    Fans,
    First,
    Moved,
    Product,
    Steps,
    Tile,
    Trips,
)
from dataflow.search.skeleton import Places
from dataflow.search.tables import TIME, Key, Table, rank_total

ONE: Key = ("one",)
ZERO: Key = ("zero",)


class Columns:
    """Names columns by :data:`Key` and evaluates them on tables."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.operands: dict[str, Operand] = {o.name: o for o in problem.operands}
        self._carriers: dict[str, Fans] = {
            v: frozenset(
                i
                for i, part in enumerate(problem.path)
                if v in getattr(part, "variables", ()) and getattr(part, "size", 1) > 1
            )
            for v in problem.sizes
        }

    def static(self, product: Product, group: tuple[str, ...]) -> float | None:
        """The group's factor where it is the same in every skeleton, otherwise None."""
        size = 1.0
        match product:
            case Trips(fan, _):
                return None if any(fan in self._carriers[v] for v in group) else 1.0
            case Done(tensor) | DoneTile(tensor):
                del tensor
                return None
            case Tile(tensor, _):
                operand = self.operands[tensor]
                return None if any(v in operand.variables for v in group) else 1.0
            case First(tensor, _, _, lanes, each):
                for v in group:
                    mine = bool(lanes & self._carriers[v])
                    if v in self.operands[tensor].variables:
                        if each and mine:
                            return None
                        size *= self.problem.sizes[v]
                    elif not each and mine:
                        return None
                return size
            case Steps(fans):
                once, shared, tensor, child = fans, NOWHERE, "", UNIT
            case Moved(tensor, _, child, once, shared):
                pass
        operand = self.operands.get(tensor, Operand("", ()))
        for v in group:
            inside = v in operand.variables
            if (once | (NOWHERE if inside else shared)) & self._carriers[v]:
                return None
            if child != UNIT and (not inside or operand.overlaps(v)):
                return None
            if inside and operand.padded(v):
                return None
            size *= self.problem.sizes[v]
        return size

    def key(
        self,
        product: Product,
        group: tuple[str, ...],
        by_variable: Mapping[str, Places],
        nodes: Mapping[tuple[str, int], int],
    ) -> Key:
        """The column of a group in a skeleton.

        Args:
            product: one that the skeleton has.
            group: the variables.
            by_variable: their places.
            nodes: node of each (tensor, level).
        """
        match product:
            case Trips(fan, least):
                spots = tuple(
                    by_variable[v].fans.index(fan) if fan in by_variable[v].fans else -1
                    for v in group
                )
                return ("trips", least, spots)
            case Tile(tensor, level):
                return ("tile", tensor, self._tiles(group, by_variable, nodes[tensor, level]))
            case DoneTile(tensor, parent, child, adding):
                tiles = (
                    self._tiles(group, by_variable, nodes[tensor, parent])
                    if parent
                    else tuple(("own", -1) for _ in group)
                )
                ends = self._spots(group, by_variable, child, nodes, tensor)
                return ("done tile", ("tile", tensor, tiles), tensor, ends, adding)
            case First(tensor, _, _, lanes, each):
                used = tuple(
                    (i, v in self.operands[tensor].variables)
                    for i, v in enumerate(group)
                    if (v in self.operands[tensor].variables) or not each
                )
                return ("first", lanes, used, each)
            case Steps(fans):
                return ("moved", "", tuple(len(by_variable[v].free) for v in group), fans, NOWHERE)
            case Moved(tensor, _, child, once, shared):
                spots = self._spots(group, by_variable, child, nodes, tensor)
                return ("moved", tensor, spots, once, shared)
            case Done(tensor, _, child, once, shared, adding):
                spots = self._spots(group, by_variable, child, nodes, tensor)
                return ("done", ("moved", tensor, spots, once, shared), tensor, spots, adding)

    def _tiles(
        self, group: tuple[str, ...], by_variable: Mapping[str, Places], node: int
    ) -> tuple[tuple[str, int], ...]:
        """Where the tile of each variable at a node is read."""
        found = []
        for v in group:
            own = by_variable[v].own[node]
            found.append(("own", own) if own is not None else ("next", by_variable[v].above[node]))
        return tuple(found)

    def _spots(
        self,
        group: tuple[str, ...],
        by_variable: Mapping[str, Places],
        child: int,
        nodes: Mapping[tuple[str, int], int],
        tensor: str,
    ) -> tuple[int, ...]:
        """The place after whose loops a holder stands, for each variable."""
        if child == UNIT:
            return tuple(len(by_variable[v].free) for v in group)
        node = nodes[tensor, child]
        found = []
        for v in group:
            own = by_variable[v].own[node]
            found.append(own if own is not None else by_variable[v].above[node] - 1)
        return tuple(found)

    def masks(self, table: Table, key: Key) -> list[tuple[int, tuple[bool, ...]]]:
        """The walks that a column needs."""
        group = table.structure.variables
        if key[0] == "first":
            others = _others(table, key[1])
            return [
                table.mask(i, key[1] if inside else others)
                for i, inside in key[2]
                if key[3] or not inside
            ]
        if key[0] in ("done", "done tile"):
            ends = [table.mask(i, key[4]) for i in range(len(group))]
            return ends + self.masks(table, key[1])
        if key[0] != "moved":
            return []
        inside = self.operands[key[1]].variables if key[1] else frozenset()
        return [
            table.mask(i, key[3] if v in inside else key[3] | key[4]) for i, v in enumerate(group)
        ]

    def evaluate(self, table: Table, key: Key) -> Floats:
        """Values of a column, one for each row."""
        if key == ZERO:
            return np.zeros(table.rows)
        result = np.ones(table.rows)
        if key == ONE:
            return result
        match key[0]:
            case "trips":
                for i, place in enumerate(key[2]):
                    if place >= 0:
                        result = result * table.trips(i, place)
                return result
            case "first":
                return self._first(table, key, result)
            case "done" | "done tile":
                _, inner, tensor, spots, adding = key
                for i, v in enumerate(table.structure.variables):
                    if v not in self.operands[tensor].variables:
                        result = result * (table.steps(i, spots[i], adding) == 1)
                return result * self.evaluate(table, inner)
            case "tile":
                return self._tile(table, key, result)
        return self._moved(table, key, result)

    def _first(self, table: Table, key: Key, result: Floats) -> Floats:
        _, lanes, used, each = key
        for i, inside in used:
            if inside and each:
                result = result * table.total(i, len(table.structure.free[i]), lanes)
            elif inside:
                result = result * float(table.structure.sizes[i])
            else:  # lanes in use while the loops over time stand at their first iteration
                result = result * table.steps(
                    i, len(table.structure.free[i]), _others(table, lanes)
                )
        return result

    def _tile(self, table: Table, key: Key, result: Floats) -> Floats:
        _, tensor, spots = key
        operand = self.operands[tensor]
        tiles = {
            v: table.tile(i, spots[i])
            for i, v in enumerate(table.structure.variables)
            if v in operand.variables
        }
        for number, rank in enumerate(operand.ranks):
            if rank[0][0] in tiles:
                extent = np.ones(table.rows)
                most = operand.gathered(number)
                for v, a in rank:
                    extent = extent * tiles[v] if most else extent + abs(a) * (tiles[v] - 1)
                if most:
                    result = result * np.minimum(extent, most)
                    continue
                bound = operand.bound(number)
                result = result * (extent if bound is None else np.minimum(extent, bound[1]))
        return result

    def _moved(self, table: Table, key: Key, result: Floats) -> Floats:
        _, tensor, spots, once, shared = key
        operand = self.operands[tensor] if tensor else Operand("", ())
        steps, total = {}, {}
        for i, v in enumerate(table.structure.variables):
            if v in operand.variables:
                steps[v] = table.steps(i, spots[i], once)
                total[v] = table.total(i, spots[i], once)
            else:
                result = result * table.steps(i, spots[i], once | shared)
        for number, rank in enumerate(operand.ranks):
            if rank[0][0] not in total:
                continue
            bound, most = operand.bound(number), operand.gathered(number)
            at = [table.structure.variables.index(v) for v, _ in rank]
            ends = [spots[i] for i in at]
            if most:
                result = result * table.gathered(at, ends, once, most)
            elif bound is None:
                result = result * rank_total(rank, steps, total)
            else:
                result = result * table.inside(at, [a for _, a in rank], ends, once, bound)
        return result


def _others(table: Table, lanes: frozenset[int]) -> frozenset[int]:
    """What a walk of these lanes alone follows once: other fan-outs, and the loops over time."""
    fans = {fan for fans in table.structure.fans for fan in fans}
    return frozenset(fans - lanes | {TIME})
