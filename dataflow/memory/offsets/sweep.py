"""A sweep through time for memories that are nearly full: the best states are kept (a beam).

The search from below (`exact`) meets a full memory late: only the last levels show that what is
left does not fit. A sweep meets it in every section: what begins must fill what has ended. States
in which a later section, as far as it is known, cannot be filled are dropped; of the others those
are kept whose free intervals will be few. Where no state is left, the section that was to blame
counts more from now on, and the sweep goes back a number of sections that doubles until a new one
is reached. It finds placements; it proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflow.memory.offsets import columns
from dataflow.memory.offsets.arrays import Ints, Part
from dataflow.memory.offsets.share import PRIME
from dataflow.memory.offsets.wishes import Foresight

FADE = 0.95
"""Weight of a section against that of the one before it."""

SHARP = 0.02
"""Share of the memory: a section with so much free counts half of a full one."""

TRIES = 4
"""Ways that are looked for from each state."""

STEPS = 500
"""Decisions of one way."""

ALIKE = 0.05
"""Share of the beam that may have the same free intervals in the next section."""

HORIZON = 3
"""Sections ahead that are looked at."""

SHUFFLE = 0.5
"""Chance in the order of what begins together, as a part of worth."""

WIDEST = 8
"""The beam after failures, in widths."""

HEAVIEST = 64.0
"""Most that a section weighs."""

TABLE = 1 << 18
"""Rows of what is known of free intervals."""

UNITS = 200
"""Decisions of ways that take as long as one node of the exact search."""

SPREAD = 4
"""Ways looked for in all, as a multiple of the width, where few states are left."""

MOST_TRIES = 400
"""Most ways that are looked for from one state."""

LOVE = 10.0
"""What the chance of a joint counts beside the cost of neighbours."""

FARTHEST = 32
"""Sections that the sweep goes back at most: before that it starts again with one."""

CALL = 50
"""What a way costs beside its decisions."""


@dataclass(frozen=True)
class _Beam:
    """States of one section.

    Attributes:
        ids, lows, highs: what is alive and the block of each, by offset: (states, most alive).
        counts: how many are alive.
        parent: the state of the section before.
    """

    ids: Ints
    lows: Ints
    highs: Ints
    counts: Ints
    parent: Ints


def suits(part: Part) -> bool:
    """Whether the sweep knows all constraints of a part."""
    free = not any(part.partners) and not (part.fixed >= 0).any()
    return part.plain and free and int(part.align.max()) == 1


def sweep(
    part: Part, capacity: int, seed: int, width: int, effort: int, backwards: bool
) -> tuple[Ints | None, int]:
    """(offsets in units below `capacity` bytes, or None; effort spent in nodes of `exact`).

    Args:
        width: states kept of a section.
        effort: in nodes of `exact`, which take about as long.
        backwards: from the last section to the first.
    """
    return _Sweep(part, capacity // part.unit, seed, backwards).run(width, effort)


class _Sweep:
    """One sweep: the part's sections in its direction, and what was learnt of them."""

    def __init__(self, part: Part, units: int, seed: int, backwards: bool) -> None:
        self.height = part.height
        self.units = units
        self.sections = part.sections[::-1] if backwards else part.sections
        self.spans = len(self.sections)
        count = len(part.buffers)
        self.first = np.full(count, self.spans, dtype=np.int64)
        self.last = np.full(count, -1, dtype=np.int64)
        for s, members in enumerate(self.sections):
            at = np.array(members)
            self.first[at] = np.minimum(self.first[at], s)
            self.last[at] = s
        self.new = [np.flatnonzero(self.first == s) for s in range(self.spans)]
        loads = [int(part.height[list(members)].sum()) for members in self.sections]
        self.room = units - np.array(loads, dtype=np.int64)
        self.most = max(len(members) for members in self.sections)
        self.weight: NDArray[np.float64] = 1.0 / (1.0 + self.room / (SHARP * units))
        self.seed = np.array([seed % (PRIME - 2) + 1], dtype=np.int64)
        self.work = np.zeros(1, dtype=np.int64)
        self.kills = np.zeros(HORIZON + 1, dtype=np.int64)
        self.table = np.full((TABLE, 2), -1, dtype=np.int64)
        self.rows = np.zeros(1, dtype=np.int64)
        self.foresight = Foresight(self.sections, self.room, self.height, self.seed)

    def run(self, width: int, effort: int) -> tuple[Ints | None, int]:
        """Offsets, or None after the effort; what was spent."""
        if (self.room < 0).any():
            return None, 0
        none = np.zeros((1, self.most), dtype=np.int64)
        one = np.zeros(1, dtype=np.int64)
        beams = [_Beam(none, none, none, one, one)]
        front = spent = failures = 0
        while len(beams) <= self.spans:
            if spent >= effort * UNITS:
                return None, spent // UNITS
            s = len(beams) - 1
            wide = min(width << (failures // 2), WIDEST * width)
            tries = (
                max(TRIES, min(MOST_TRIES, SPREAD * wide // len(beams[-1].counts)))
                if s
                else 4 * wide
            )
            found = self._step(beams[-1], s, wide, tries)
            spent += int(self.work[0]) + CALL * len(beams[-1].counts) * tries
            if len(found.counts):
                beams.append(found)
                continue
            blame = min(self.spans - 1, s + int(np.argmax(self.kills)))
            self.weight[blame] = min(HEAVIEST, 2.0 * self.weight[blame])
            self.foresight.blame(blame)
            if s > front:
                front, failures = s, 0
            back = min(s, 1 << failures)
            failures = failures + 1 if back < min(s, FARTHEST) else 0
            beams = beams[: s - back + 1]
        return self._read(beams), spent // UNITS

    def _read(self, beams: list[_Beam]) -> Ints:
        """The offsets of the best state of the last section and of those that led to it.

        The members of a block get offsets when it shrinks: those that stay are at its ends then, in
        blocks of their own, those that have ended lie between.
        """
        path = [0]
        for beam in beams[:1:-1]:
            path.append(int(beam.parent[path[-1]]))
        offsets = np.full(len(self.height), -1, dtype=np.int64)
        open_: dict[tuple[int, int], list[int]] = {}
        for beam, state in zip(beams[1:], path[::-1], strict=True):
            n = beam.counts[state]
            rows = zip(
                beam.ids[state, :n].tolist(),
                beam.lows[state, :n].tolist(),
                beam.highs[state, :n].tolist(),
                strict=True,
            )
            where = {i: (low, high) for i, low, high in rows}
            for (low, high), members in open_.items():
                to = {where[i] for i in members if i in where}
                if (low, high) in to:
                    for i in members:
                        where[i] = (low, high)
                    continue
                at = next((end for begin, end in to if begin == low), low)
                for i in members:
                    if i not in where:
                        offsets[i] = at
                        at += int(self.height[i])
            open_ = {}
            for i, block in where.items():
                open_.setdefault(block, []).append(i)
        for (low, _), members in open_.items():
            for i in members:
                offsets[i] = low
                low += int(self.height[i])
        return offsets

    def _worth(self, s: int) -> NDArray[np.float64]:
        """The weight of the sections after `s` in which each buffer lives."""
        after = np.arange(self.spans - s - 1)
        total = np.cumsum(self.weight[s + 1 :] * FADE**after)
        worth = np.concatenate((np.zeros(s + 1), total))[self.last]
        return np.asarray(np.where(self.last >= s, worth, 0.0))

    def _step(self, beam: _Beam, s: int, width: int, tries: int) -> _Beam:
        """The states of section `s` that follow those of the section before."""
        new = self.new[s]
        limit = len(beam.counts) * tries
        parent = np.empty(limit, dtype=np.int64)
        ids = np.empty((limit, self.most), dtype=np.int64)
        lows, highs = np.empty_like(ids), np.empty_like(ids)
        counts = np.empty(limit, dtype=np.int64)
        costs = np.empty(limit)
        names = np.empty(limit, dtype=np.int64)
        signs = np.empty(limit, dtype=np.int64)
        ahead = self.sections[s + 1 : s + 1 + HORIZON]
        looks = [[i for i in members if self.first[i] > s] for members in ahead]
        wishes = self.foresight.at(s)
        self.kills[:] = 0
        self.work[:] = 0
        count = columns.children(
            beam.ids,
            beam.lows,
            beam.highs,
            beam.counts,
            s,
            new,
            np.array([i for one in looks for i in one], dtype=np.int64),
            np.cumsum([0, *(len(one) for one in looks)]).astype(np.int64),
            self.room[s + 1 : s + 1 + HORIZON],
            self.last,
            self.height,
            self._worth(s),
            self.units,
            tries,
            STEPS,
            SHUFFLE,
            self.seed,
            parent,
            ids,
            lows,
            highs,
            counts,
            costs,
            names,
            signs,
            self.table,
            self.rows,
            self.kills,
            self.work,
            wishes.slot,
            wishes.want,
            wishes.base,
            wishes.power,
            wishes.sum,
            LOVE,
        )
        kept = _kept(costs[:count], names[:count], signs[:count], width)
        return _Beam(ids[kept], lows[kept], highs[kept], counts[kept], parent[kept])


def _kept(costs: NDArray[np.float64], names: Ints, signs: Ints, width: int) -> Ints:
    """The `width` cheapest states of different names, few of one sign first."""
    _, once = np.unique(names, return_index=True)
    order = once[np.argsort(costs[once], kind="stable")]
    if not len(order):
        return order
    by = np.lexsort((np.arange(len(order)), signs[order]))
    begins = np.flatnonzero(np.diff(signs[order][by], prepend=-1) != 0)
    rank = np.empty(len(order), dtype=np.int64)
    rank[by] = np.arange(len(by)) - np.repeat(begins, np.diff([*begins, len(by)]))
    few = rank < max(4, int(width * ALIKE))
    return np.concatenate((order[few], order[~few]))[:width]
