"""The coupled choice for a whole network: residency of tensors and tilings of layers, exactly.

A search by labels over the states of residency (`states`): layer after layer, the undominated
labels of each state, those left out that cannot come below the best choice known. What is known
of the rest is a shortest path over the same steps without the waits between layers. Where a state
has more labels than the limit the most promising are kept, and the bound says what that may cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dataflow.layers.axis import Ints
from dataflow.mapper import labels
from dataflow.mapper.problem import Choice, Option, Problem
from dataflow.mapper.states import Step, Walk, walk
from dataflow.tiling.candidates import Candidate
from dataflow.tiling.columns import COLUMN
from dataflow.tiling.pareto import clean, empty_front, pareto_rows

LABELS = (8, 512)
"""Labels kept of a state: in the dive that finds a first choice, and in the search."""

TIE_LABELS = 64
"""Labels kept of a state in the search among choices of equal cycles."""

FAR = 1 << 60


def solve(
    problem: Problem, ties: Sequence[str] = ("dram", "energy"), start: Choice | None = None
) -> Choice | None:
    """The choice with the fewest cycles, ties broken by the columns `ties`; None: nothing fits.

    Args:
        start: a choice that is known, so that only better ones are looked for. It must be one of
            the problem's.
    """
    steps = walk(problem)
    if steps is None:
        return start
    search = _Search(problem, steps, tuple(ties))
    best = start
    bound = FAR
    for most in LABELS:
        found, lost = search.run(FAR if best is None else best.cycles - 1, most, tied=False)
        best = found or best
        bound = lost
    if best is None:
        return None
    bound = min(bound, best.cycles)
    tied, _ = search.run(best.cycles, TIE_LABELS, tied=True)
    best = tied or best
    return Choice(best.options, best.resident_reads, best.cycles, bound)


@dataclass
class _Search:
    problem: Problem
    steps: Walk
    ties: tuple[str, ...]
    tables: dict[tuple[object, ...], tuple[Ints, Ints]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.problem.fronts)
        self.feeds = [bool(self.problem.waits[i]) and i + 1 < count for i in range(count)]
        seen: dict[int, tuple[Ints, Ints]] = {}  # equal layers share their fronts
        self.columns: list[list[tuple[Ints, Ints]]] = []
        for fronts in self.problem.fronts:
            for _, rows in fronts:
                if id(rows) not in seen:
                    seen[id(rows)] = _columns(rows, self.ties)
            self.columns.append([seen[id(rows)] for _, rows in fronts])
        self.rest = self._rest()

    def _options(self, layer: int, step: Step, tied: bool) -> tuple[Ints, Ints]:
        """The options of a step that no other one beats, and their positions in the front."""
        table, buffers = self.columns[layer][step.mode]
        fits = buffers <= step.free
        key = (layer, step.mode, int(fits.sum()), tied)
        if key not in self.tables:
            at = np.flatnonzero(fits)
            seen = table[at].copy()
            if not layer or not self.problem.waits[layer - 1]:
                seen[:, labels.OPTION.index("need")] = 0
            if layer + 1 < len(self.columns) and not self.feeds[layer]:
                seen[:, labels.OPTION.index("withheld")] = 0
                seen[:, labels.OPTION.index("serial")] = 0
            criteria = len(labels.OPTION) + tied
            kept = pareto_rows(seen[:, :criteria], seen[:, criteria:])
            self.tables[key] = np.ascontiguousarray(seen[kept]), at[kept]
        return self.tables[key]

    def _rest(self) -> list[list[tuple[int, int]]]:
        """For each state behind each layer: least cycles of all that follows, from the end of the
        layer and from the moment at which the bus is free."""
        cycles, serial, bus, paced = (labels.OPTION.index(n) for n in labels.OPTION[:4])
        count = len(self.columns)
        found = [[(FAR, FAR)] * len(states) for states in self.steps.states]
        found[-1] = [(0, -FAR)] * len(self.steps.states[-1])
        for i in range(count - 1, 0, -1):
            column = serial if i == count - 1 else cycles
            for step in self.steps.steps[i]:
                table, _ = self._options(i, step, False)
                if not len(table):
                    continue
                rest, bus_rest = found[i][step.after]
                own = int(table[:, column].min()) + rest
                free = max(int(table[:, paced].min()) + rest, int(table[:, bus].min()) + bus_rest)
                old = found[i - 1][step.before]
                found[i - 1][step.before] = min(old[0], own), min(old[1], free)
        return found

    def run(self, most: int, limit: int, tied: bool) -> tuple[Choice | None, int]:
        """The best choice of at most `most` cycles, and the cycles below which none was lost."""
        overhead = self.problem.overhead
        lost = FAR if self.steps.dropped is None else self.steps.dropped + overhead
        now = [np.zeros((1, labels.LABEL), dtype=np.int64)]
        trail: list[list[Ints]] = []
        for i in range(len(self.columns)):
            fronts = self._extended(i, now, most - overhead, tied)
            now, names = [], []
            for front, rest in zip(fronts, self.rest[i], strict=True):
                rows, name, dropped = _kept(front, rest, limit, tied)
                lost = min(lost, dropped + overhead)
                now.append(rows)
                names.append(name)
            trail.append(names)
        return self._read(now, trail, tied), lost

    def _extended(self, i: int, now: list[Ints], most: int, tied: bool) -> list[_Front]:
        """The fronts of labels behind layer `i`, one for each state."""
        problem = self.problem
        fronts: list[_Front] = [(*empty_front(labels.LABEL), 0) for _ in self.steps.states[i]]
        code = sum(problem.code[: i + 1])
        for n, step in enumerate(self.steps.steps[i]):
            if not len(now[step.before]):
                continue
            rest, bus_rest = self.rest[i][step.after]
            layer = labels.Layer(
                first=int(i == 0),
                last=int(i + 1 == len(self.columns)),
                waits=problem.waits[i - 1] if i else 0,
                feeds=int(self.feeds[i]),
                ring=problem.ring,
                code=code,
                rest=rest,
                bus_rest=bus_rest,
                most=most,
                criteria=labels.CRITERIA + tied,
            )
            options, _ = self._options(i, step, tied)
            front = fronts[step.after]
            fronts[step.after] = labels.extend(layer, now[step.before], options, n, *front)
        return fronts

    def _read(self, now: list[Ints], trail: list[list[Ints]], tied: bool) -> Choice | None:
        """The best label behind the last layer, followed back to the first."""
        ends = [
            (*(int(v) for v in row[[labels.END, labels.FIRST, labels.SECOND]]), state, n)
            for state, rows in enumerate(now)
            for n, row in enumerate(rows)
        ]
        if not ends:
            return None
        cycles, _, _, state, n = min(ends)
        options: list[Option] = []
        for i in range(len(trail) - 1, -1, -1):
            before, name = (int(v) for v in trail[i][state][n][:2])
            step = self.steps.steps[i][name >> 32]
            mode, rows = self.problem.fronts[i][step.mode]
            _, at = self._options(i, step, tied)
            place = int(at[name & 0xFFFFFFFF])
            options.append(Option(mode, rows[place], place))
            state, n = step.before, before
        options.reverse()
        cycles += self.problem.overhead
        return Choice(tuple(options), _resident(self.problem, options), cycles, cycles)


_Front = tuple[Ints, Ints, Ints, int]
"""rows, names, recent and size of a front of labels."""


def _kept(front: _Front, rest: tuple[int, int], limit: int, tied: bool) -> tuple[Ints, Ints, int]:
    """The undominated labels of a state, at most `limit`, and the least cycles of those dropped."""
    rows, names, recent, size = front
    size = clean(rows, names, recent, size, labels.CRITERIA + tied)
    rows, names = rows[:size], names[:size]
    if size <= limit:
        return np.ascontiguousarray(rows), names, FAR
    total = np.maximum(rows[:, labels.END] + rest[0], rows[:, labels.BUS] + rest[1])
    # The last key counts first.
    by = (total, rows[:, labels.FIRST]) if tied else (rows[:, labels.END], total)
    order = np.lexsort(by)
    kept, dropped = order[:limit], order[limit:]
    return np.ascontiguousarray(rows[kept]), names[kept], int(total[dropped].min())


def _columns(rows: Sequence[Candidate], ties: tuple[str, ...]) -> tuple[Ints, Ints]:
    """The labels' columns of a front, and its buffers' bytes."""
    names = (*labels.OPTION, *ties)
    at = [COLUMN[name] for name in (*names, "buffer")]
    table = np.array([[c.costs[i] for i in at] for c in rows], dtype=np.int64)
    table = table.reshape(len(rows), len(at))
    return table[:, :-1], table[:, -1]


def _resident(problem: Problem, options: Sequence[Option]) -> dict[str, int]:
    """Leading resident reads of each tensor: as many as the chosen modes ask for."""
    needed = dict.fromkeys(problem.plans, 0)
    for option in options:
        for root, number, value in option.mode.needs:
            if value:
                needed[root] = max(needed[root], number + 1)
    return needed
