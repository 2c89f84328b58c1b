"""Cycles that no plan of a schedule is below."""

from __future__ import annotations

from itertools import pairwise
from math import ceil

from dataflow.residency.flows import Effort, Rules, flows
from dataflow.residency.schedule import Access, Machine, Schedule, Step, Tensor

COLUMNS = 60_000
"""Of a linear program that is solved in one."""
_TOLERANCE = 1e-9


def columns(schedule: Schedule) -> int:
    """Columns of the schedule's linear program, about."""
    count = 0
    for life in schedule.lives().values():
        if life.made >= 0:
            end = len(schedule.steps) - 1 if life.tensor.output else life.last
            count += 4 * (end - life.made + 1)
        else:
            count += 2 * (life.last + 1)
    return count


def bound(schedule: Schedule, machine: Machine, steady: bool = False) -> int:
    """Cycles that no plan is below: the optimum over any amounts of bytes.

    A schedule too large for one program is cut: each part is a problem of its own, in which all
    that it takes from others may be on chip when it begins, and nothing has to be saved for later.
    """
    if columns(schedule) <= COLUMNS:
        found = flows(schedule, machine, Rules(steady=steady)).bound
        return _cycles(found)
    count, parts = len(schedule.steps), 2
    while max(columns(p) for p in _cut(schedule, parts)) > COLUMNS and parts < count:
        parts *= 2
    rules = Rules(warm=True)
    return _cycles(sum(flows(p, machine, rules, Effort()).bound for p in _cut(schedule, parts)))


def _cycles(value: float) -> int:
    return ceil(value - _TOLERANCE * value - 1e-3)


def _cut(schedule: Schedule, parts: int) -> list[Schedule]:
    """Equal parts of a schedule; what crosses a border is an input of the later part."""
    count = len(schedule.steps)
    ends = [count * i // parts for i in range(parts + 1)]
    return [part(schedule, a, b) for a, b in pairwise(ends) if a < b]


def part(schedule: Schedule, start: int, end: int) -> Schedule:
    """Steps ``[start, end)`` on their own."""
    made: set[str] = set()
    tensors: dict[str, Tensor] = {}
    steps: list[Step] = []
    for step in schedule.steps[start:end]:
        for access in step.reads:
            tensor = schedule.tensors[access.tensor]
            if access.tensor not in made and tensor.kind == "activation":
                tensor = Tensor(tensor.name, tensor.bytes, "input")
            tensors.setdefault(access.tensor, tensor)
        for name in step.writes:
            tensors[name] = schedule.tensors[name]
            made.add(name)
        reads = tuple(Access(a.tensor, a.reads) for a in step.reads)
        steps.append(Step(step.name, step.cycles, reads, step.writes, step.in_place))
    return Schedule(f"{schedule.name}[{start}:{end}]", tensors, tuple(steps))
