"""The search of one Einsum on one path: exact within its mapspace, or with a bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dataflow.search.chains import PERFECT, QUOTIENTS, Ints
from dataflow.search.frame import Frame, Known, build
from dataflow.search.join import EDP, ENERGY, LATENCY, branch_and_bound
from dataflow.search.problem import Problem
from dataflow.search.skeleton import Skeleton, skeletons
from dataflow.search.tables import MOST_ROWS, Chain

BUDGET = 50_000_000
"""Boxes that a search looks at, at most."""
KEYS = {"energy": ENERGY, "latency": LATENCY, "edp": EDP}


@dataclass(frozen=True)
class Solution:
    """The best mapping found for one objective.

    Attributes:
        skeleton: where its holds stand.
        chains: tiles at each place, by variable.
        energy_pj, latency_cycles: its cost.
        bound: no mapping of the mapspace has a lower first objective.
        looked: boxes that were looked at.
        slack: what is left of each constraint, by name (bits, where it is a memory).
    """

    skeleton: Skeleton
    chains: dict[str, Chain]
    energy_pj: float
    latency_cycles: float
    bound: float
    looked: int
    slack: Mapping[str, float] = field(default_factory=dict)


def order_of(objectives: Sequence[str]) -> tuple[int, int]:
    """The two keys that a lexicographic list of objectives stands for; ties beyond are none."""
    keys = [KEYS[name] for name in dict.fromkeys(objectives)]
    rest = [k for k in (LATENCY, ENERGY) if k not in keys]
    return tuple((keys + rest)[:2])  # type: ignore[return-value]


def frame(
    problem: Problem, factors: int, most: int = MOST_ROWS, made: Known | None = None
) -> Frame:
    """The columns and forms of a problem over all skeletons; shared by all objectives.

    ``most`` and ``made`` as in :func:`dataflow.search.frame.build`.
    """
    return build(problem, tuple(skeletons(problem)), factors, most, made)


def search(
    posed: Frame,
    objectives: Sequence[str],
    budget: int = BUDGET,
    known: Solution | None = None,
    *,
    roots: Ints | None = None,
    reserved: Mapping[str, float] | None = None,
    price: float = 0.0,
    inner: bool = False,
) -> tuple[Solution | None, float, bool]:
    """The best mapping of a frame.

    Args:
        objectives: lexicographic.
        budget: boxes to look at, at most; a larger one never ends worse.
        known: a solution to beat.
        roots: boxes to search (skeletons x groups) instead of the whole tables.
        reserved: bits of levels that are taken by others.
        inner: leaves the accesses of the outermost level out of the energy.
        price: added to the energy for each cycle, while searching (the solution is without it).

    Returns:
        (the best, None when nothing fits or beats ``known``; a lower bound of the first objective
        over the mapspace, infinite when nothing fits; whether the search came to its end).
    """
    f = posed.forms
    order = np.array(order_of(objectives), np.int64)
    values = [np.inf] * 4
    if known is not None:
        spent = known.energy_pj + price * known.latency_cycles
        numbers = (spent, known.latency_cycles, spent * known.latency_cycles)
        values = [numbers[order[0]], numbers[order[1]], numbers[0], numbers[1]]
    best = np.array(values)
    limit = f.room_limit
    if reserved:
        taken = np.array([reserved.get(name, 0.0) for name in posed.rooms])
        limit = limit - taken
    found = np.full(len(posed.groups) + 1, -1, np.int64)
    b = posed.boxes
    looked, bound = branch_and_bound(
        b.low,
        b.first,
        b.last,
        b.rows,
        posed.roots if roots is None else roots,
        posed.columns,
        f.inner if inner else f.energy,
        f.inner_fixed if inner else f.energy_fixed,
        f.time,
        f.time_fixed,
        f.room,
        limit,
        f.leakage + price,
        order,
        best,
        found,
        budget,
    )
    complete = bool(np.isinf(bound))
    least = float(min(bound, best[0]))
    if found[0] < 0:
        return None, least, complete
    s = int(found[0])
    parts: dict[str, Chain] = {}
    for g in range(len(posed.groups)):
        parts.update(posed.chain(s, g, int(found[g + 1])))
    solution = Solution(
        posed.skeletons[s],
        parts,
        float(best[2] - price * best[3]),
        float(best[3]),
        least,
        int(looked),
        posed.slack(s, [int(row) for row in found[1:]]),
    )
    return solution, least, complete


__all__ = ["PERFECT", "QUOTIENTS", "Solution", "frame", "order_of", "search"]
