"""Computing again: taken where it saves cycles, never otherwise; plans stay legal."""

from __future__ import annotations

import pytest

from dataflow.residency import Access, Machine, Schedule, Step, Tensor, bound, document, plan
from dataflow.residency.recompute import Clone, cloned, recomputed
from tests.residency.generators import random_machine, random_schedule
from tests.residency.judge import judge


def wide() -> Schedule:
    """A small input is widened; the wide result is read at once and at the end, and what runs
    between fills the memory."""
    tensors = {
        "x": Tensor("x", 64, "input"),
        "wide": Tensor("wide", 1024, "activation"),
        "a": Tensor("a", 32, "activation"),
        "b": Tensor("b", 1024, "activation"),
        "c": Tensor("c", 32, "activation"),
        "z": Tensor("z", 16, "activation", output=True),
    }
    steps = (
        Step("widen", 8, (Access("x"),), ("wide",)),
        Step("first", 4, (Access("wide"),), ("a",)),
        Step("fill", 4, (Access("a"),), ("b",)),
        Step("drain", 4, (Access("b"),), ("c",)),
        Step("last", 4, (Access("wide"), Access("c")), ("z",)),
    )
    return Schedule("wide", tensors, steps)


def test_what_is_cheap_to_make_is_made_again() -> None:
    schedule, machine = wide(), Machine(1200, 4)
    other, clones = recomputed(schedule, machine)
    assert clones == (Clone("widen", "last"),)
    before, after = plan(schedule, machine), plan(other, machine)
    assert judge(document(after)) == after.cycles < before.cycles
    assert [s.name for s in other.steps][-2:] == ["widen+0", "last"]


def test_a_large_memory_needs_it_not() -> None:
    schedule, machine = wide(), Machine(4096, 4)
    assert recomputed(schedule, machine) == (schedule, ())


@pytest.mark.parametrize("seed", range(12))
def test_it_is_never_worse(seed: int) -> None:
    schedule, machine = random_schedule(seed, steps=8), random_machine(seed)
    other, clones = recomputed(schedule, machine, tries=10)
    if clones:
        assert bound(other, machine) < bound(schedule, machine)
    found = plan(other, machine)
    assert judge(document(found)) == found.cycles


def test_later_readers_take_the_clone() -> None:
    other = cloned(wide(), Clone("widen", "last"), 3)
    assert [a.tensor for a in other.steps[-1].reads] == ["wide+3", "c"]
    assert [a.tensor for a in other.steps[1].reads] == ["wide"]
