"""The search against every mapping of small mapspaces, three objectives."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dataflow import mapping as mp
from dataflow.cost import cost
from dataflow.search import EVERY, frame, search
from dataflow.search.build import nest
from dataflow.search.pose import pose, units_for
from tests.search.brute import case, values


def check(seed: int) -> None:
    work, arch, mappings = case(seed)
    every = values(work, arch, mappings)
    (unit,) = units_for(work, arch)
    problem = pose(work, arch, unit, EVERY)
    posed = frame(problem, EVERY)
    keys: dict[str, Callable[[tuple[float, float]], float]] = {
        "energy": lambda v: v[0],
        "latency": lambda v: v[1],
        "edp": lambda v: v[0] * v[1],
    }
    for objective, key in keys.items():
        found, _, proven = search(posed, [objective])
        assert proven
        if not every:
            assert found is None
            continue
        assert found is not None, f"seed {seed}: nothing found of {len(every)}"
        mapping = mp.Mapping((mp.Group("g", nest(problem, found, work.name)),))
        counted = cost(mapping, mp.Workload("tiny", (work,)), arch)
        assert float(counted.energy_pj) == pytest.approx(found.energy_pj, rel=1e-9)
        assert float(counted.cycles) == pytest.approx(found.latency_cycles, rel=1e-9)
        best = min(key(v) for v in every)
        mine = key((found.energy_pj, found.latency_cycles))
        assert mine <= best * (1 + 1e-9), f"seed {seed}, {objective}: {mine} above {best}"
        assert mine >= best * (1 - 1e-9), f"seed {seed}, {objective}: {mine} is not in the space"


@pytest.mark.parametrize("seed", [*range(8), 1027])  # 1027: a hold that fits no element
def test_no_mapping_of_a_small_mapspace_is_better(seed: int) -> None:
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 1500, 50))
def test_no_mapping_of_500_small_mapspaces_is_better(start: int) -> None:
    for seed in range(start, start + 50):
        check(seed)
