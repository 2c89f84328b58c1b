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
def _arrange(logs):  # type: ignore[no-untyped-def]
    """An order of the rows in which every aligned run of a power of two is alike: split again and
    again along the column that varies most."""
    many, width = logs.shape
    order = np.arange(many)
    stack = [(0, many)]
    while len(stack):
        start, end = stack.pop()
        if end - start <= 2:
            continue
        wide, widest = 0, -1.0
        for c in range(width):
            least = most = logs[order[start], c]
            for i in range(start + 1, end):
                value = logs[order[i], c]
                least, most = min(least, value), max(most, value)
            if most - least > widest:
                wide, widest = c, most - least
        if widest <= 0.0:
            continue
        half = 1
        while 2 * half < end - start:
            half *= 2
        middle = start + half
        left, right = start, end - 1  # quickselect: the smallest in front of middle
        while left < right:
            pivot = logs[order[(left + right) // 2], wide]
            i, j = left, right
            while i <= j:
                while logs[order[i], wide] < pivot:
                    i += 1
                while logs[order[j], wide] > pivot:
                    j -= 1
                if i <= j:
                    order[i], order[j] = order[j], order[i]
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
def _tree(table, sign, numbers, base, ways, width):  # type: ignore[no-untyped-def]
    """Boxes of a tree over the rows of a table, root last: (low, first, last, rows).

    Every layer has the boxes of runs of ``ways`` consecutive boxes of the one below; the boxes are
    numbered from ``base``, the rows with ``numbers``.
    """
    order = _arrange(np.log(table + 1.0))
    total = layer = len(table)
    while layer > 1:
        layer = (layer + ways - 1) // ways
        total += layer
    low = np.zeros((total, width))
    first, last = np.full(total, -1, np.int64), np.empty(total, np.int64)
    rows = np.ones(total, np.int64)
    for i in range(len(table)):
        last[i] = numbers[order[i]]
        for c in range(table.shape[1]):
            low[i, c] = table[order[i], c]
    start, end, at = 0, len(table), len(table)
    while end - start > 1:
        for i in range(start, end, ways):
            stop = min(end, i + ways)
            first[at], last[at], rows[at] = base + i, base + stop, 0
            for j in range(i, stop):
                rows[at] += rows[j]
            for c in range(table.shape[1]):
                value = low[i, c] * sign[c]
                for j in range(i + 1, stop):
                    value = min(value, low[j, c] * sign[c])
                low[at, c] = value * sign[c]
            at += 1
        start, end = end, at
    return low, first, last, rows


class _Grower:
    """Appends trees of boxes."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.low: list[Floats] = []
        self.first: list[Ints] = []
        self.last: list[Ints] = []
        self.rows: list[Ints] = []
        self.size = 0

    def append(self, low: Floats, first: Ints, last: Ints, rows: Ints) -> None:
        """Boxes of one layer."""
        padded = np.zeros((len(low), self.width))
        padded[:, : low.shape[1]] = low
        self.low.append(padded)
        self.first.append(first)
        self.last.append(last)
        self.rows.append(rows)
        self.size += len(low)

    def tree(self, table: Floats, sign: Floats, numbers: Ints) -> int:
        """A tree over rows with these numbers; returns its root."""
        made = _tree(table, sign, numbers, self.size, WAYS, self.width)
        self.low.append(made[0])
        self.first.append(made[1])
        self.last.append(made[2])
        self.rows.append(made[3])
        self.size += len(made[0])
        return self.size - 1

    def forest(
        self, table: Floats, sign: Floats, rows: Ints, apart: list[list[int]]
    ) -> tuple[int, dict[float, int]]:
        """A tree over rows that is split by the values of some columns first, and again by those
        of further ones. Returns its root, and the box of each value of the first column."""
        if not apart or (len(apart) == 1 and len(rows) <= WAYS):
            return self.tree(table[rows], sign, rows), {}
        columns, *inner = apart
        if not columns:
            return self.forest(table, sign, rows, inner)[0], {}
        values, label = np.unique(table[rows][:, columns], axis=0, return_inverse=True)
        label = label.reshape(-1)
        if len(values) == 1 or len(values) >= (MOST if inner else FEW):
            root, _ = self.forest(table, sign, rows, inner)
            return root, {float(values[0, 0]): root} if len(values) == 1 else {}
        roots, at = [], []
        for i in range(len(values)):
            roots.append(self.forest(table, sign, rows[label == i], inner)[0])
            at.append(len(self.low) - 1)
        base = self.size
        low = np.stack([self.low[i][-1] for i in at])
        self.append(
            low,
            np.array([self.first[i][-1] for i in at], np.int64),
            np.array([self.last[i][-1] for i in at], np.int64),
            np.array([self.rows[i][-1] for i in at], np.int64),
        )
        whole = (low * _pad(sign, self.width)).min(axis=0) * _pad(sign, self.width)
        self.append(
            whole[None, :],
            np.array([base], np.int64),
            np.array([base + len(roots)], np.int64),
            np.array([_FIRST * len(apart) + len(rows)], np.int64),
        )
        found = {float(v[0]): base + i for i, v in enumerate(values)}
        return self.size - 1, found


_FIRST = 1 << 40
"""Added to the rows of a box that is to be split before all others."""


def _pad(sign: Floats, width: int) -> Floats:
    return np.concatenate([sign, np.ones(width - len(sign))])


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
    grower = _Grower(max(table.shape[1] for table in tables))
    roots, parts = [], []
    for table, sign, columns in zip(tables, signs, apart, strict=True):
        root, part = grower.forest(table, sign, np.arange(len(table)), columns)
        roots.append(root)
        parts.append(part)
    boxes = Boxes(
        np.concatenate(grower.low),
        np.concatenate(grower.first),
        np.concatenate(grower.last),
        np.concatenate(grower.rows),
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
