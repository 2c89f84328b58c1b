"""The search of one Einsum against golden energies and against all rows of its tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dataflow.search import PERFECT, QUOTIENTS, Problem, frame, search
from dataflow.search.frame import Frame
from tests.search.machines import CONV, CONV_14, cube, golden

GOLDEN = {
    "G1": (golden(cube(64), 4096), 3301376.0, 262144.0),
    "G2": (golden(cube(256), 65536, 8), 71696384.0, 727040.0),
    "G6": (golden(cube(256), 65536, 8, register=True), 39115161.6, 262144.0),
    "G8": (golden(CONV_14, 65536, 8, register=True, operands=CONV), 1214886.4, 7056.0),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_least_energy_over_perfect_factors_is_the_golden_one(name: str) -> None:
    problem, energy, _ = GOLDEN[name]
    found, _, proven = search(frame(problem, PERFECT), ["energy"])
    assert proven
    assert found is not None
    assert found.energy_pj <= energy * (1 + 1e-9)
    if name != "G8":  # there other nests reach less than the golden one
        assert found.energy_pj == pytest.approx(energy, rel=1e-9)
    assert found.bound == pytest.approx(found.energy_pj, rel=1e-9)


@pytest.mark.parametrize("objective", ["energy", "latency", "edp"])
def test_imperfect_factors_are_never_worse(objective: str) -> None:
    for name in ("G1", "G2", "G6"):
        problem = GOLDEN[name][0]
        bounds = []
        for factors in (PERFECT, QUOTIENTS):
            found, _, _ = search(frame(problem, factors), [objective])
            assert found is not None
            bounds.append(found.bound)
        assert bounds[1] <= bounds[0] * (1 + 1e-12)


def test_a_prime_matmul_uses_the_whole_array() -> None:
    found, _, _ = search(frame(golden(cube(257), 65536, 8, register=True), QUOTIENTS), ["latency"])
    assert found is not None
    assert found.latency_cycles == 33 * 33 * 257


def every_value(posed: Frame) -> list[tuple[float, float]]:
    """(energy, latency) of every row of every skeleton that fits."""
    values = []
    f = posed.forms
    low, first, last = posed.boxes.low, posed.boxes.first, posed.boxes.last

    def rows(box: int) -> list[int]:
        if first[box] < 0:
            return [box]
        return [row for child in range(first[box], last[box]) for row in rows(child)]

    for s, roots in enumerate(posed.roots):
        if roots[0] < 0:
            continue
        products = np.ones((1, len(f.energy)))
        for g, root in enumerate(roots):
            table = low[rows(int(root))][:, posed.columns[s, g]]
            products = (products[:, None, :] * table[None, :, :]).reshape(-1, len(f.energy))
        fits = (products @ f.room.T <= f.room_limit[s] + 1e-6).all(axis=1)
        latency = (f.time_fixed[s] + products @ f.time.T).max(axis=1)
        energy = f.energy_fixed[s] + products @ f.energy + f.leakage * latency
        values += list(zip(energy[fits].tolist(), latency[fits].tolist(), strict=True))
    return values


@pytest.mark.parametrize("factors", [PERFECT, QUOTIENTS])
def test_branch_and_bound_finds_the_least_of_all_rows(factors: int) -> None:
    posed = frame(golden({"m": 6, "n": 4, "k": 5}, 24, 2, register=True), factors)
    values = every_value(posed)
    keys: dict[str, Callable[[tuple[float, float]], tuple[float, float]]] = {
        "energy": lambda v: (v[0], v[1]),
        "latency": lambda v: (v[1], v[0]),
        "edp": lambda v: (v[0] * v[1], v[1]),
    }
    for objective, key in keys.items():
        found, _, _ = search(posed, [objective])
        assert found is not None
        best = min(values, key=key)
        assert key((found.energy_pj, found.latency_cycles)) == pytest.approx(key(best), rel=1e-9)


def test_nothing_fits_a_buffer_of_two_words() -> None:
    assert search(frame(golden(cube(4), 2), PERFECT), ["energy"])[0] is None


def test_a_small_budget_gives_a_bound_below_and_more_is_never_worse() -> None:
    problem: Problem = golden(cube(60), 2048, 8, register=True)
    posed = frame(problem, QUOTIENTS)
    best, _, proven = search(posed, ["edp"])
    assert proven
    assert best is not None
    before = np.inf
    for budget in (500, 2000, 8000, 10**8):
        found, bound, _ = search(posed, ["edp"], budget)
        assert found is not None
        value = found.energy_pj * found.latency_cycles
        assert bound <= best.bound * (1 + 1e-9)
        assert value <= before * (1 + 1e-12)
        before = value
