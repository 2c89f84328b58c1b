"""The search of a single Einsum, timed."""

from __future__ import annotations

import time

from dataflow.arch import architecture_path, load_architecture
from dataflow.search import PERFECT, QUOTIENTS, Solution, frame, search
from dataflow.search.pose import pose, units_for
from tests.bench.mapper.cases import Case


def ours(case: Case, machine: str, objective: str, factors: int) -> tuple[float, Solution, bool]:
    """(CPU seconds of posing, tables and join; the solution; whether it is proven)."""
    arch = load_architecture(architecture_path(machine))
    work = case.work()
    unit = units_for(work, arch)[0]
    start = time.process_time()
    known, proven = None, True
    for kind in (PERFECT,) if factors == PERFECT else (PERFECT, QUOTIENTS):
        found, _, proven = search(
            frame(pose(work, arch, unit, kind), kind), [objective], known=known
        )
        known = found or known
    assert known is not None
    return time.process_time() - start, known, proven
