"""The search over a whole network against every combination of its options."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from dataflow.arch import load_architecture
from dataflow.layers.layer import LayerGraph
from dataflow.machine import machine_of
from dataflow.machine.latencies import DEFAULT
from dataflow.mapper.modes import LayerMode, layer_modes
from dataflow.mapper.problem import Problem
from dataflow.mapper.refine import durations
from dataflow.mapper.solve import solve
from dataflow.mapper.tensors import TensorPlan, alive_read, tensor_plans
from dataflow.tiling.candidates import Candidate, candidates
from dataflow.tiling.shape import shape_of
from tests.mapper.graphs import Builder

EDGE8 = machine_of(load_architecture("edge8"))

Chosen = list[tuple[LayerMode, Candidate]]


def model_end(problem: Problem, chosen: Chosen) -> int:
    """The end of the last layer by the inequalities of the model, each written out in full."""
    ends: list[int] = []
    issued: list[int] = []  # when the loads of a layer are over, if they wait for its tiles
    for i, (_, one) in enumerate(chosen):
        begin = ends[-1] if ends else 0
        end = max(begin + one["cycles"], sum(problem.code[: i + 1]))
        # Everything that layers j to i read comes after the end of j - 1, but for what the ring
        # holds ahead, and after the loads of j - 1.
        for j in range(i + 1):
            between = sum(option["bus"] for _, option in chosen[j:i])
            start = max(ends[j - 1] - problem.ring, issued[j - 1]) if j else 0
            end = max(end, start + between + one["paced"])
        issued.append(end + one["held"])
        size = problem.waits[i]
        last = i + 1 == len(chosen)
        if last or (size and one["withheld"] + chosen[i + 1][1]["need"] > size):
            end = max(end, begin + one["serial"])
        ends.append(end)
    return ends[-1] + problem.overhead


def fits(problem: Problem, chosen: Chosen) -> bool:
    """Whether some residency serves the modes and fits beside the buffers at every layer."""
    plans = [plan for plan in problem.plans.values() if plan.readers]
    for counts in product(*(range(len(plan.readers) + 1) for plan in plans)):
        kept = dict(zip((plan.root for plan in plans), counts, strict=True))
        serves = all(
            (kept[root] > number) == resident
            for mode, _ in chosen
            for root, number, resident in mode.needs
        )
        if serves and all(
            one["buffer"] + held_bytes(problem, plans, kept, i) <= problem.capacity
            for i, (_, one) in enumerate(chosen)
        ):
            return True
    return False


def held_bytes(problem: Problem, plans: list[TensorPlan], kept: dict[str, int], layer: int) -> int:
    """Bytes of the tensors on chip at a layer."""
    total = 0
    for plan in plans:
        read = alive_read(plan, layer)
        if read is not None and kept[plan.root] > read:
            total += plan.resident_bytes(problem.line)
    return total


def combinations(problem: Problem) -> Iterator[Chosen]:
    """Every choice of an option for each layer."""
    for chosen in product(*([(m, c) for m, rows in f for c in rows] for f in problem.fronts)):
        yield list(chosen)


def random_problem(seed: int) -> Problem:
    """Three layers, some with a second reader or operand, a handful of options each."""
    rng = random.Random(seed)
    net = Builder("net", rng.choice((4, 6)), rng.choice((4, 8)), rng.choice((3, 8)))
    a = net.conv("a", "input", rng.choice((8, 16)), 3, 1, 1)
    b = net.conv("b", a, net.shapes[a][2], 3, 1, 1, second=a if rng.random() < 0.5 else None)
    net.conv("c", b, 8, 1, second=None if rng.random() < 0.7 or net.shapes[b][2] != 8 else b)
    return thinned(net.graph(), rng)


def thinned(graph: LayerGraph, rng: random.Random) -> Problem:
    """The graph's problem with few candidates a mode, little memory and little of the ring."""
    shapes = tuple(shape_of(layer, EDGE8.cols) for layer in graph.layers)
    plans = tensor_plans(graph, shapes, EDGE8)
    fronts = []
    for i, shape in enumerate(shapes):
        row = []
        for mode in layer_modes(graph, i, plans, shape, stream=True):
            rows = candidates(shape, EDGE8, DEFAULT, mode.mode)
            row.append((mode, tuple(rng.sample(rows, min(2, len(rows))))))
        fronts.append(tuple(row))
    waits = tuple(rng.choice((0, plans[layer.output.tensor].bytes)) for layer in graph.layers)
    capacity = rng.choice((1 << 20, 1500, 900, 500))
    ring = rng.choice((0, 64, 4096))
    code = tuple(rng.choice((10, 400)) for _ in shapes)
    return Problem(tuple(fronts), plans, waits, capacity, ring, EDGE8.line_bytes, 100, code)


@pytest.mark.parametrize("seed", range(40))
def test_the_best_of_all_combinations_is_found(seed: int) -> None:
    problem = random_problem(seed)
    found = solve(problem)
    ends = [(model_end(problem, one), one) for one in combinations(problem) if fits(problem, one)]
    if not ends:
        assert found is None
        return
    best = min(end for end, _ in ends)
    assert found is not None
    assert (found.cycles, found.bound) == (best, best)
    chosen = [(option.mode, option.candidate) for option in found.options]
    assert fits(problem, chosen)
    assert model_end(problem, chosen) == best
    assert sum(durations(problem, [one for _, one in chosen])) == best
    ties = [sum(one["dram"] for _, one in choice) for end, choice in ends if end == best]
    assert sum(one["dram"] for _, one in chosen) == min(ties)


def test_the_cases_are_telling() -> None:
    problems = [random_problem(seed) for seed in range(40)]
    cycles = [found.cycles for p in problems if (found := solve(p)) is not None]
    assert len(cycles) < len(problems)  # some fit nowhere
    far = [solve(replace(p, ring=1 << 40)) for p in problems]
    free = [solve(replace(p, capacity=1 << 40)) for p in problems]
    assert [f.cycles for f in far if f] != cycles  # what the ring holds ahead matters
    assert [f.cycles for f in free if f] != cycles  # and so does the memory


def test_a_known_choice_is_kept_when_nothing_is_better() -> None:
    problem = random_problem(1)
    known = solve(problem)
    assert known is not None
    again = solve(problem, start=known)
    assert again is not None
    assert (again.cycles, again.bound) == (known.cycles, known.cycles)


def test_energy_decides_between_equal_cycles_when_asked() -> None:
    better = 0
    for seed in range(40):
        problem = random_problem(seed)
        dram, energy = solve(problem, ("dram", "energy")), solve(problem, ("energy", "dram"))
        if dram is None or energy is None:
            continue
        assert dram.cycles == energy.cycles
        spent = [sum(o.candidate["energy"] for o in one.options) for one in (dram, energy)]
        assert spent[1] <= spent[0]
        better += spent[1] < spent[0]
    assert better
