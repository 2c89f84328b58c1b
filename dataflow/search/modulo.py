"""Software pipelines over several units as modulo schedules, by CP-SAT.

One iteration starts every ``interval`` cycles. Each task occupies its unit for its duration, so
that modulo the interval no two tasks of a unit overlap; a dependence makes its target start at
least ``latency`` cycles after its source, ``distance`` iterations later. The least interval is
found by going up from the bound of the busiest unit, and of every circle of dependences; each
smaller one has been proved infeasible (Rau 1994; Eichenberger and Davidson 1997).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ortools.sat.python import cp_model

from dataflow.errors import DataflowError

EFFORT = 60.0
"""Deterministic time of one interval."""


@dataclass(frozen=True)
class Task:
    """What occupies ``unit`` for ``cycles`` in every iteration."""

    name: str
    unit: str
    cycles: int


@dataclass(frozen=True)
class Dependence:
    """``target`` starts at least ``latency`` after ``source`` did ``distance`` iterations ago."""

    source: str
    target: str
    latency: int
    distance: int = 0


@dataclass(frozen=True)
class Schedule:
    """A modulo schedule.

    Attributes:
        interval: cycles from one iteration to the next.
        bound: no schedule has a smaller one.
        starts: first cycle of each task of one iteration, from 0.
        length: cycles of one iteration, the least for this interval where ``shortest``.
        shortest: whether that was proved.
    """

    interval: int
    bound: int
    starts: dict[str, int]
    length: int
    shortest: bool

    @property
    def optimal(self) -> bool:
        """Whether the interval is proved to be the least."""
        return self.interval == self.bound

    @property
    def in_flight(self) -> int:
        """Iterations in progress at once."""
        return -(-self.length // self.interval)


def modulo_schedule(tasks: Sequence[Task], dependences: Sequence[Dependence]) -> Schedule:
    """The least interval, and the shortest iteration at it.

    Raises:
        DataflowError: a circle of dependences within one iteration.
    """
    load: dict[str, int] = {}
    for task in tasks:
        load[task.unit] = load.get(task.unit, 0) + task.cycles
    bound = interval = max((*load.values(), 1))
    longest = sum(t.cycles for t in tasks) + sum(d.latency for d in dependences)
    # At this interval iterations need not overlap.
    for interval in range(bound, max(bound, longest) + 1):
        status, starts, length = _solve(tasks, dependences, interval, longest)
        if starts:
            shortest = status == cp_model.OPTIMAL
            return Schedule(interval, bound, starts, length, shortest)
        if status == cp_model.INFEASIBLE and bound == interval:
            bound = interval + 1
    raise DataflowError(
        "schedule", "has a circle of dependences within one iteration", "carry one of them on"
    )


def _solve(
    tasks: Sequence[Task], dependences: Sequence[Dependence], interval: int, longest: int
) -> tuple[cp_model.CpSolverStatus, dict[str, int], int]:
    model = cp_model.CpModel()
    most = longest + interval
    starts = {t.name: model.new_int_var(0, most, t.name) for t in tasks}
    by_unit: dict[str, list[cp_model.IntervalVar]] = {}
    for task in tasks:
        stage = model.new_int_var(0, most // interval + 1, "")
        place = model.new_int_var(0, interval - 1, "")
        model.add(starts[task.name] == interval * stage + place)
        # Twice, an interval apart: what runs beyond the end meets the next iteration's start.
        for shift in (0, interval):
            size = model.new_fixed_size_interval_var(place + shift, task.cycles, "")
            by_unit.setdefault(task.unit, []).append(size)
    for sizes in by_unit.values():
        model.add_no_overlap(sizes)
    for d in dependences:
        model.add(starts[d.target] + d.distance * interval >= starts[d.source] + d.latency)
    end = model.new_int_var(0, most, "end")
    for task in tasks:
        model.add(end >= starts[task.name] + task.cycles)
    model.minimize(end)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = EFFORT
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return status, {}, 0
    return status, {n: solver.value(v) for n, v in starts.items()}, solver.value(end)
