"""The search against every mapping of small mapspaces, three objectives."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dataflow import mapping as mp
from dataflow.arch import Architecture
from dataflow.cost import cost
from dataflow.ir.text import loads
from dataflow.search import EVERY, frame, search
from dataflow.search.build import nest
from dataflow.search.pose import UnsupportedError, pose, units_for
from tests.search.brute import ACCESSES, case, mappings, two_fan_outs, values


def check(seed: int) -> None:
    compare(*case(seed), f"seed {seed}")


def compare(work: mp.Work, arch: Architecture, mappings: list[mp.Mapping], name: str) -> None:
    """The search's optima against the best of all mappings, and against its own one counted."""
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
        assert found is not None, f"{name}: nothing found of {len(every)}"
        mapping = mp.Mapping((mp.Group("g", nest(problem, found, work.name)),))
        counted = cost(mapping, mp.Workload("tiny", (work,)), arch)
        assert float(counted.energy_pj) == pytest.approx(found.energy_pj, rel=1e-9)
        assert float(counted.cycles) == pytest.approx(found.latency_cycles, rel=1e-9)
        best = min(key(v) for v in every)
        mine = key((found.energy_pj, found.latency_cycles))
        assert mine <= best * (1 + 1e-9), f"{name}, {objective}: {mine} above {best}"
        assert mine >= best * (1 - 1e-9), f"{name}, {objective}: {mine} is not in the space"


@pytest.mark.parametrize("seed", [*range(8), 1027])  # 1027: a hold that fits no element
def test_no_mapping_of_a_small_mapspace_is_better(seed: int) -> None:
    check(seed)


@pytest.mark.parametrize("seed", range(8))
def test_gathers_and_tensors_in_two_roles_are_searched_whole(seed: int) -> None:
    compare(*case(seed, ACCESSES), f"seed {seed}")


@pytest.mark.parametrize("adding", [("y",), ("x",), ("y", "x"), ()])
def test_sums_over_two_fan_outs_of_which_some_add_up(adding: tuple[str, ...]) -> None:
    work, arch = two_fan_outs(adding)
    compare(work, arch, list(mappings(work, arch)), f"adding {adding}")


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 1500, 50))
def test_no_mapping_of_500_small_mapspaces_is_better(start: int) -> None:
    for seed in range(start, start + 50):
        check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 1200, 50))
def test_200_gathers_and_tensors_in_two_roles_are_searched_whole(start: int) -> None:
    for seed in range(start, start + 50):
        compare(*case(seed, ACCESSES), f"seed {seed}")


def test_an_operand_that_is_read_in_its_padding_alone_is_refused() -> None:
    # C[p] = A[p + r - 1] * B[r] at one point: the index is -1. Fallbacks give such a mapping.
    (work,) = mp.workload_of(
        loads(
            "einsum:\n"
            "  name: padding\n"
            "  shapes: {P: 1, R: 1, H: 3}\n"
            "  declaration: {A: [H], B: [R]}\n"
            "  types: {A: int8, B: int8, C: int32}\n"
            "  expressions: |\n"
            "    C[p] = A[p + r - 1] * B[r]\n"
        )
    ).works
    _, arch, _ = case(0)
    (unit,) = units_for(work, arch)
    with pytest.raises(UnsupportedError, match="reads nothing of A but its padding, which the"):
        pose(work, arch, unit, EVERY)
