"""The search of one Einsum on one path: exact within its mapspace, or with a bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dataflow.search.chains import PERFECT, QUOTIENTS, Ints
from dataflow.search.frame import Frame, build
from dataflow.search.join import EDP, ENERGY, LATENCY, branch_and_bound
from dataflow.search.problem import Problem
from dataflow.search.skeleton import Skeleton, skeletons
from dataflow.search.tables import Chain

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
    """

    skeleton: Skeleton
    chains: dict[str, Chain]
    energy_pj: float
    latency_cycles: float
    bound: float
    looked: int


def order_of(objectives: Sequence[str]) -> tuple[int, int]:
    """The two keys that a lexicographic list of objectives stands for; ties beyond are none."""
    keys = [KEYS[name] for name in dict.fromkeys(objectives)]
    rest = [k for k in (LATENCY, ENERGY) if k not in keys]
    return tuple((keys + rest)[:2])  # type: ignore[return-value]


def frame(
    problem: Problem, factors: int, allowed: Callable[[Skeleton], bool] = lambda skeleton: True
) -> Frame:
    """The columns and forms of a problem over all skeletons, or those that are ``allowed``; shared
    by all objectives."""
    return build(problem, tuple(filter(allowed, skeletons(problem))), factors)


def search(
    posed: Frame,
    objectives: Sequence[str],
    budget: int = BUDGET,
    known: Solution | None = None,
    *,
    roots: Ints | None = None,
    reserved: Mapping[str, float] | None = None,
) -> tuple[Solution | None, float, bool]:
    """The best mapping of a frame.

    Args:
        objectives: lexicographic.
        budget: boxes to look at, at most; a larger one never ends worse.
        known: a solution to beat.
        roots: boxes to search (skeletons x groups) instead of the whole tables.
        reserved: bits of levels that are taken by others.

    Returns:
        (the best, None when nothing fits or beats ``known``; a lower bound of the first objective
        over the mapspace, infinite when nothing fits; whether the search came to its end).
    """
    f = posed.forms
    order = np.array(order_of(objectives), np.int64)
    values = [np.inf] * 4
    if known is not None:
        numbers = (known.energy_pj, known.latency_cycles, known.energy_pj * known.latency_cycles)
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
        f.energy,
        f.energy_fixed,
        f.time,
        f.time_fixed,
        f.room,
        limit,
        f.leakage,
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
        posed.skeletons[s], parts, float(best[2]), float(best[3]), least, int(looked)
    )
    return solution, least, complete


__all__ = ["PERFECT", "QUOTIENTS", "Solution", "frame", "order_of", "search"]
