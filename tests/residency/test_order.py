"""Orders of steps: none has a lower peak than what the exact search finds; the beam comes close."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from dataflow.errors import DataflowError
from dataflow.residency import Access, Schedule, Step, Tensor
from dataflow.residency.order import least_peak, peak, reordered


def network(seed: int, steps: int) -> Schedule:
    """A random graph with much freedom."""
    rng = random.Random(seed)
    tensors = {"x": Tensor("x", rng.randint(1, 30), "input")}
    found: list[Step] = []
    for u in range(steps):
        old = rng.sample(list(tensors), min(len(tensors), rng.randint(1, 2)))
        new = f"y{u}"
        size = tensors[old[0]].bytes if rng.random() < 0.3 else rng.randint(1, 30)
        tensors[new] = Tensor(new, size, "activation")
        pairs = ((new, old[0]),) if size == tensors[old[0]].bytes else ()
        found.append(Step(f"s{u}", 1, tuple(Access(n) for n in old), (new,), pairs))
    read = {a.tensor for s in found for a in s.reads}
    for name, tensor in tensors.items():
        output = name not in read and tensor.kind == "activation"
        tensors[name] = Tensor(name, tensor.bytes, tensor.kind, output)
    return Schedule(f"graph{seed}", tensors, tuple(found))


def orders(schedule: Schedule, done: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """All orders in which steps run behind what they read."""
    if len(done) == len(schedule.steps):
        yield done
        return
    made = {name for i in done for name in schedule.steps[i].writes}
    for i, step in enumerate(schedule.steps):
        ready = all(
            schedule.tensors[a.tensor].kind != "activation" or a.tensor in made for a in step.reads
        )
        if i not in done and ready:
            yield from orders(schedule, (*done, i))


def brute_peak(schedule: Schedule) -> int:
    """The peak of a schedule, counted step by step from first and last accesses."""
    accesses: dict[str, list[int]] = {}
    for u, step in enumerate(schedule.steps):
        for name in (*step.writes, *(a.tensor for a in step.reads)):
            accesses.setdefault(name, []).append(u)
    last = len(schedule.steps) - 1
    ends = {n: last if schedule.tensors[n].output else us[-1] for n, us in accesses.items()}
    most = 0
    for u, step in enumerate(schedule.steps):
        alive = {n for n, us in accesses.items() if us[0] <= u <= ends[n]}
        total = sum(schedule.tensors[n].bytes for n in alive)
        taken: set[str] = set()
        for new, old in step.in_place:
            if ends[old] == u and not schedule.tensors[old].output and not {new, old} & taken:
                taken |= {new, old}
                total -= schedule.tensors[old].bytes
        most = max(most, total)
    return most


@pytest.mark.parametrize("seed", range(60))
def test_the_exact_search_finds_the_least_peak(seed: int) -> None:
    schedule = network(seed, 3 + seed % 5)
    least = min(brute_peak(reordered(schedule, order)) for order in orders(schedule))
    found = least_peak(schedule)
    assert found.proven
    assert found.peak == least == brute_peak(reordered(schedule, found.steps))


@pytest.mark.parametrize("seed", range(20))
def test_the_beam_is_close_and_never_worse_than_the_given_order(seed: int) -> None:
    schedule = network(seed, 14)
    best = least_peak(schedule)
    beam = least_peak(schedule, states=0, beam=30)
    assert best.proven and not beam.proven
    assert best.peak <= beam.peak <= min(peak(schedule), 1.1 * best.peak)
    assert peak(reordered(schedule, beam.steps)) == beam.peak


def test_wide_graphs_end_in_time() -> None:
    schedule = network(7, 120)
    found = least_peak(schedule, states=2000, beam=20)
    assert found.peak <= peak(schedule) == brute_peak(schedule)


def test_an_order_that_reads_too_early_is_refused() -> None:
    schedule = network(1, 5)
    with pytest.raises(DataflowError, match="before it is made"):
        reordered(schedule, tuple(reversed(range(5))))
