"""Which first steps run in turn on bands of lines, and on how many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dataflow.errors import DataflowError
from dataflow.ir import Cascade
from dataflow.residency.greedy import greedy
from dataflow.residency.least import COLUMNS, columns
from dataflow.residency.network import schedule_of
from dataflow.residency.patches import Patches
from dataflow.residency.planning import Plan, plan
from dataflow.residency.profile import costs
from dataflow.residency.roofline import Array
from dataflow.residency.schedule import Machine, Schedule

BANDS = (2, 4, 7, 8, 14, 16, 28, 32)
"""Bands that are looked at."""
DEEPEST = 40
"""First steps that are looked at, at most."""
FINALISTS = 3
"""Of those that are best without a solver, so many are planned."""


@dataclass(frozen=True)
class Staged:
    """A plan, and the lines that it runs on; None: layer by layer."""

    plan: Plan
    lines: Patches | None


def best_lines(
    cascade: Cascade, array: Array, bits: int | None, machine: Machine, steady: bool = False
) -> Staged:
    """The best plan with the first steps on bands of lines, or layer by layer if none is better.

    All depths at which one tensor is handed on are looked at, each with several numbers of bands.
    """
    whole = schedule_of(cascade, array, bits)
    best = Staged(plan(whole, machine, steady=steady), None)
    ranked: list[tuple[int, int, int, Patches, Schedule]] = []
    for lines, schedule in _choices(cascade, array, bits, len(whole.steps)):
        if columns(schedule) <= COLUMNS:
            quick = costs(schedule, machine, greedy(schedule, machine), steady).total
            ranked.append((quick, lines.steps, lines.rows, lines, schedule))
    ranked.sort(key=lambda item: item[:3])
    for *_, lines, schedule in ranked[:FINALISTS]:
        found = plan(schedule, machine, steady=steady)
        if found.cycles < best.plan.cycles:
            best = Staged(found, lines)
    return best


def _choices(
    cascade: Cascade, array: Array, bits: int | None, count: int
) -> Iterator[tuple[Patches, Schedule]]:
    """Lines that suit the network, with its schedule."""
    for steps in range(2, min(count, DEEPEST) + 1):
        for rows in BANDS:
            lines = Patches(steps, rows, lines=True)
            try:
                schedule = schedule_of(cascade, array, bits, lines)
            except DataflowError:
                break  # not at this depth, or not in so many bands
            yield lines, schedule
