"""Join: one row of each group's table such that the objective is least, by branch and bound.

The tables are trees of boxes; a box knows the least value of each column over its rows (the
greatest, for the columns that enter with a negative sign), so the cost of a tuple of boxes is a
lower bound of all that is in it, and exact when each box is one row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from dataflow.search.chains import Floats, Ints

ENERGY, LATENCY, EDP = 0, 1, 2
WAYS, MOST, FEW = 4, 256, 32
"""Children of a box; of one whose children are parts of a table that are kept apart, where that
is needed, and where it is for speed."""
SAMPLE = 64
"""Rows by which the column that varies most is told, about."""


@dataclass(frozen=True)
class Boxes:
    """Trees of all tables, one after the other.

    Attributes:
        low: boxes x columns.
        first, last: the children of a box (first -1: a row, numbered last).
        rows: rows below a box.
        root: the root of each table.
    """

    low: Floats
    first: Ints
    last: Ints
    rows: Ints
    root: Ints


@njit(cache=True)
def _arrange(table, chosen, ways):  # type: ignore[no-untyped-def]
    """An order of some rows in which every aligned run of a power of two, from ``ways`` on, is
    alike: split again and again along the column that varies by the greatest factor in a sample of
    the run."""
    width = table.shape[1]
    many = len(chosen)
    order = chosen.copy()
    value = np.empty(many)
    stack = [(0, many)]
    while len(stack):
        start, end = stack.pop()
        if end - start <= ways:
            continue
        wide, widest = 0, 0.0
        step = max(1, (end - start) // SAMPLE)
        for c in range(width):
            least = most = table[order[start], c]
            for i in range(start + step, end, step):
                one = table[order[i], c]
                least, most = min(least, one), max(most, one)
            if most + 1.0 > widest * (least + 1.0):
                wide, widest = c, (most + 1.0) / (least + 1.0)
        if widest <= 1.0:
            continue
        half = 1
        while 2 * half < end - start:
            half *= 2
        middle = start + half
        for i in range(start, end):
            value[i] = table[order[i], wide]
        left, right = start, end - 1  # quickselect: the smallest in front of middle
        while left < right:
            pivot = value[(left + right) // 2]
            i, j = left, right
            while i <= j:
                while value[i] < pivot:
                    i += 1
                while value[j] > pivot:
                    j -= 1
                if i <= j:
                    order[i], order[j] = order[j], order[i]
                    value[i], value[j] = value[j], value[i]
                    i += 1
                    j -= 1
            if middle <= j:
                right = j
            elif middle >= i:
                left = i
            else:
                break
        stack.append((start, middle))
        stack.append((middle, end))
    return order


@njit(cache=True)
def _tree(table, sign, chosen, base, ways, low, first, last, rows):  # type: ignore[no-untyped-def]
    """Boxes of a tree over some rows of a table, from number ``base`` on, root last; returns their
    end.

    Every layer has the boxes of runs of ``ways`` consecutive boxes of the one below.
    """
    width = table.shape[1]
    order = _arrange(table, chosen, ways)
    start, at = base, base
    for row in order:
        first[at], last[at], rows[at] = -1, row, 1
        for c in range(width):
            low[at, c] = table[row, c]
        at += 1
    end = at
    while end - start > 1:
        for i in range(start, end, ways):
            stop = min(end, i + ways)
            first[at], last[at], rows[at] = i, stop, 0
            for j in range(i, stop):
                rows[at] += rows[j]
            for c in range(width):
                value = low[i, c] * sign[c]
                for j in range(i + 1, stop):
                    value = min(value, low[j, c] * sign[c])
                low[at, c] = value * sign[c]
            at += 1
        start, end = end, at
    return end


class _Grower:
    """Trees of boxes, one after the other.

    Attributes:
        low, first, last, rows: as those of :class:`Boxes`, with room for more.
        size: boxes so far.
    """

    def __init__(self, width: int, rows: int, tables: int) -> None:
        # A tree over n rows has fewer than 2 n boxes, its parts are copied once more; memory that
        # is never touched costs nothing.
        most = 4 * rows + 2 * tables
        self.low = np.zeros((most, width))
        self.first, self.last, self.rows = (np.empty(most, np.int64) for _ in range(3))
        self.size = 0

    def tree(self, table: Floats, sign: Floats, chosen: Ints) -> int:
        """A tree over some rows; returns its root."""
        arrays = (self.low, self.first, self.last, self.rows)
        self.size = _tree(table, sign, chosen, self.size, WAYS, *arrays)
        return self.size - 1

    def forest(
        self, table: Floats, sign: Floats, rows: Ints, apart: list[list[int]]
    ) -> tuple[int, dict[float, int]]:
        """A tree over rows that is split by the values of some columns first, and again by those
        of further ones. Returns its root, and the box of each value of the first column."""
        if not apart or (len(apart) == 1 and len(rows) <= WAYS):
            return self.tree(table, sign, rows), {}
        columns, *inner = apart
        if not columns:
            return self.forest(table, sign, rows, inner)[0], {}
        values, label = np.unique(table[rows[:, None], columns], axis=0, return_inverse=True)
        label = label.reshape(-1)
        if len(values) == 1 or len(values) >= (MOST if inner else FEW):
            root, _ = self.forest(table, sign, rows, inner)
            return root, {float(values[0, 0]): root} if len(values) == 1 else {}
        roots = np.array(
            [self.forest(table, sign, rows[label == i], inner)[0] for i in range(len(values))]
        )
        base, root = self.size, self.size + len(roots)
        for array in (self.low, self.first, self.last, self.rows):
            array[base:root] = array[roots]
        width = table.shape[1]
        self.low[root, :width] = (self.low[base:root, :width] * sign).min(axis=0) * sign
        self.first[root], self.last[root] = base, root
        self.rows[root] = _FIRST * len(apart) + len(rows)
        self.size = root + 1
        return root, {float(v[0]): base + i for i, v in enumerate(values)}


_FIRST = 1 << 40
"""Added to the rows of a box that is to be split before all others."""


def grow(
    tables: list[Floats], signs: list[Floats], apart: list[list[list[int]]]
) -> tuple[Boxes, list[dict[float, int]]]:
    """Boxes of tables.

    Args:
        tables: rows x columns of each.
        signs: for each column 1.0, or -1.0 where the greatest value bounds.
        apart: two sets of columns (of few values) for each table; its rows are split by the first,
            then by the second.

    Returns:
        (the boxes; for each table the box of each value of its first column in ``apart``).
    """
    rows = sum(len(table) for table in tables)
    grower = _Grower(max(table.shape[1] for table in tables), rows, len(tables))
    roots, parts = [], []
    for table, sign, columns in zip(tables, signs, apart, strict=True):
        root, part = grower.forest(table, sign, np.arange(len(table)), columns)
        roots.append(root)
        parts.append(part)
    end = grower.size
    boxes = Boxes(
        grower.low[:end],
        grower.first[:end],
        grower.last[:end],
        grower.rows[:end],
        np.array(roots, np.int64),
    )
    return boxes, parts


@dataclass(frozen=True)
class Forms:
    """The cost as linear forms over products of columns.

    Attributes:
        energy: coefficient of each product; ``energy_fixed`` for each skeleton.
        inner, inner_fixed: the same without the accesses of the outermost level.
        time: channels x products; ``time_fixed`` skeletons x channels. Latency is the maximum.
        room: constraints x products; each must not exceed ``room_limit`` (skeletons x constraints).
        leakage: energy of a cycle.
    """

    energy: Floats
    energy_fixed: Floats
    inner: Floats
    inner_fixed: Floats
    time: Floats
    time_fixed: Floats
    room: Floats
    room_limit: Floats
    leakage: float


@njit(cache=True, inline="always")
def _keys(energy, time, order):  # type: ignore[no-untyped-def]
    edp = energy * time
    first = energy if order[0] == 0 else time if order[0] == 1 else edp
    second = energy if order[1] == 0 else time if order[1] == 1 else edp
    return first, second


@njit(cache=True)
def _cost(p, s, energy, efix, time, tfix, room, limit, leakage):  # type: ignore[no-untyped-def]
    """(energy, latency); infinite where a constraint cannot be met."""
    many = len(p)
    for i in range(room.shape[0]):
        total = 0.0
        for j in range(many):
            total += room[i, j] * p[j]
        if total > limit[s, i] * (1 + 1e-12) + 1e-9:
            return np.inf, np.inf
    spent = efix[s]
    for j in range(many):
        spent += energy[j] * p[j]
    longest = 0.0
    for i in range(time.shape[0]):
        total = tfix[s, i]
        for j in range(many):
            total += time[i, j] * p[j]
        longest = max(longest, total)
    return spent + leakage * longest, longest


@njit(cache=True)
def _worse(first, second, best):  # type: ignore[no-untyped-def]
    """Whether nothing at or above these bounds can beat the best known."""
    if first > best[0] * (1 + 1e-12):
        return True
    return first >= best[0] * (1 - 1e-12) and second >= best[1] * (1 - 1e-12)


@njit(cache=True)
def branch_and_bound(  # type: ignore[no-untyped-def]
    low,
    first,
    last,
    rows,
    root,
    columns,
    energy,
    efix,
    time,
    tfix,
    room,
    limit,
    leakage,
    order,
    best,
    found,
    budget,
):
    """Depth first, skeletons in the order of their bounds; updates ``best`` and ``found``.

    Args:
        root: skeletons x groups: box of the whole table, -1 for a skeleton without mappings.
        columns: skeletons x groups x products.
        order: the two keys of the objective (ENERGY, LATENCY, EDP).
        best: (first key, second key, energy, latency) of the best known; in and out.
        found: skeleton and rows of the best; skeleton -1 while nothing was found; in and out.
        budget: boxes to look at, at most.

    Returns:
        (boxes looked at, lower bound of the first key over all that was not searched).
    """
    many_s, many_g = root.shape
    many = columns.shape[2]
    p, rest = np.empty(many), np.empty(many)
    size = 1024
    stack, keys = np.empty((size, many_g + 1), np.int64), np.empty((size, 2))
    starts = np.full((many_s, 2), np.inf)
    looked = 0
    bound = np.inf
    here = np.empty(many_g, np.int64)
    picks = np.empty(MOST, np.int64)
    picked = np.empty((MOST, 2))
    for s in range(many_s):  # bounds, and one dive each for a first solution
        if root[s, 0] < 0:
            continue
        for g in range(many_g):
            here[g] = root[s, g]
        level = True
        while True:
            if level:
                for j in range(many):
                    p[j] = 1.0
                    for g in range(many_g):
                        p[j] *= low[here[g], columns[s, g, j]]
                e, t = _cost(p, s, energy, efix, time, tfix, room, limit, leakage)
                looked += 1
                starts[s, 0], starts[s, 1] = _keys(e, t, order)
                level = False
                if e == np.inf or _worse(starts[s, 0], starts[s, 1], best):
                    break
            wide, widest = -1, 0
            for g in range(many_g):
                if first[here[g]] >= 0 and rows[here[g]] > widest:
                    wide, widest = g, rows[here[g]]
            if wide < 0:
                for j in range(many):
                    p[j] = 1.0
                    for g in range(many_g):
                        p[j] *= low[here[g], columns[s, g, j]]
                e, t = _cost(p, s, energy, efix, time, tfix, room, limit, leakage)
                if e < np.inf:
                    a, b = _keys(e, t, order)
                    if not _worse(a, b, best):
                        best[0], best[1], best[2], best[3] = a, b, e, t
                        found[0] = s
                        for g in range(many_g):
                            found[g + 1] = last[here[g]]
                break
            chosen, a0, b0 = -1, np.inf, np.inf
            for child in range(first[here[wide]], last[here[wide]]):
                for j in range(many):
                    p[j] = low[child, columns[s, wide, j]]
                    for g in range(many_g):
                        if g != wide:
                            p[j] *= low[here[g], columns[s, g, j]]
                e, t = _cost(p, s, energy, efix, time, tfix, room, limit, leakage)
                looked += 1
                a, b = _keys(e, t, order)
                if e < np.inf and (a < a0 or (a == a0 and b < b0)):
                    chosen, a0, b0 = child, a, b
            if chosen < 0:
                break
            here[wide] = chosen
    order_s = np.arange(many_s)
    for i in range(1, many_s):  # by bound, stable
        s, j = order_s[i], i - 1
        while j >= 0 and starts[order_s[j], 0] > starts[s, 0]:
            order_s[j + 1] = order_s[j]
            j -= 1
        order_s[j + 1] = s
    for s in order_s:
        if starts[s, 0] == np.inf or _worse(starts[s, 0], starts[s, 1], best):
            continue
        if looked >= budget:
            bound = min(bound, starts[s, 0])
            continue
        stack[0, 0] = s
        for g in range(many_g):
            stack[0, g + 1] = root[s, g]
        keys[0] = starts[s]
        top = 1
        while top:
            top -= 1
            if _worse(keys[top, 0], keys[top, 1], best):
                continue
            if looked >= budget:
                bound = min(bound, keys[top, 0])
                continue
            wide, widest = -1, 0
            for g in range(many_g):
                here[g] = stack[top, g + 1]
                if first[here[g]] >= 0 and rows[here[g]] > widest:
                    wide, widest = g, rows[here[g]]
            if wide < 0:
                for j in range(many):
                    p[j] = 1.0
                    for g in range(many_g):
                        p[j] *= low[here[g], columns[s, g, j]]
                e, t = _cost(p, s, energy, efix, time, tfix, room, limit, leakage)
                a, b = _keys(e, t, order)
                best[0], best[1], best[2], best[3] = a, b, e, t
                found[0] = s
                for g in range(many_g):
                    found[g + 1] = last[here[g]]
                continue
            for j in range(many):
                rest[j] = 1.0
                for g in range(many_g):
                    if g != wide:
                        rest[j] *= low[here[g], columns[s, g, j]]
            count = 0
            for child in range(first[here[wide]], last[here[wide]]):
                spent = efix[s]
                for j in range(many):
                    p[j] = rest[j] * low[child, columns[s, wide, j]]
                    spent += energy[j] * p[j]
                if order[0] == 0 and spent > best[0] * (1 + 1e-12):
                    looked += 1  # too much without leakage
                    continue
                e, t = _cost(p, s, energy, efix, time, tfix, room, limit, leakage)
                looked += 1
                if e == np.inf:
                    continue
                a, b = _keys(e, t, order)
                if _worse(a, b, best):
                    continue
                at = count  # worst first, so that the best is on top
                while at > 0 and (
                    picked[at - 1, 0] < a or (picked[at - 1, 0] == a and picked[at - 1, 1] < b)
                ):
                    picks[at] = picks[at - 1]
                    picked[at] = picked[at - 1]
                    at -= 1
                picks[at], picked[at, 0], picked[at, 1] = child, a, b
                count += 1
            if top + count > size:
                wider = np.empty((2 * size, many_g + 1), np.int64)
                wider[:size] = stack
                stack = wider
                longer = np.empty((2 * size, 2))
                longer[:size] = keys
                keys = longer
                size *= 2
            for i in range(count):
                stack[top, 0] = s
                for g in range(many_g):
                    stack[top, g + 1] = here[g]
                stack[top, wide + 1] = picks[i]
                keys[top] = picked[i]
                top += 1
    return looked, bound
