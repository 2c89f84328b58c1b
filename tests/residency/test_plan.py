"""Plans of random schedules: legal, counted right, above the bound, no worse than other rules'."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dataflow.residency import (
    Access,
    Machine,
    Schedule,
    Step,
    Tensor,
    bound,
    compare,
    costs,
    document,
    plan,
)
from dataflow.residency.planning import METHODS
from tests.residency.brute import least_cycles
from tests.residency.generators import random_machine, random_schedule
from tests.residency.judge import IllegalError, judge


@pytest.mark.parametrize("seed", range(40))
def test_plans_are_legal_and_their_cycles_right(seed: int) -> None:
    schedule, machine = random_schedule(seed), random_machine(seed)
    for method in ("best", "greedy"):
        for steady in (False, True):
            found = plan(schedule, machine, method=method, steady=steady)
            assert judge(document(found)) == found.cycles
            assert found.bound <= found.cycles


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1500))
def test_many_plans_are_legal_and_their_cycles_right(seed: int) -> None:
    schedule = random_schedule(seed, steps=5 + seed % 40)
    machine = random_machine(seed)
    for steady in (False, True):
        found = plan(schedule, machine, steady=steady)
        assert judge(document(found)) == found.cycles
        assert found.bound <= found.cycles


@pytest.mark.parametrize("seed", range(30))
def test_no_simpler_rule_is_better(seed: int) -> None:
    schedule, machine = random_schedule(seed, ragged=False), random_machine(seed)
    exact = plan(schedule, machine, method="exact").cycles
    assert exact <= min(compare(schedule, machine).values())


@pytest.mark.parametrize("seed", range(25))
def test_exact_plans_are_those_of_brute_force(seed: int) -> None:
    schedule = random_schedule(seed, steps=4, words=2, ragged=False, weights=0.5)
    machine = random_machine(seed, words=1)
    least = least_cycles(schedule, machine)
    found = plan(schedule, machine, method="exact")
    assert judge(document(found)) == found.cycles == least
    assert bound(schedule, machine) <= least


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 400))
def test_many_exact_plans_are_those_of_brute_force(seed: int) -> None:
    test_exact_plans_are_those_of_brute_force(seed)


def test_a_memory_of_no_room_streams_everything() -> None:
    schedule = random_schedule(1)
    found = plan(schedule, Machine(16, 4, 16))
    assert not found.placed.regions
    assert found.cycles == costs(schedule, found.machine, {}).total
    assert 0 <= found.cycles - found.bound <= len(schedule.steps)  # whole cycles in each step


def test_a_weight_is_loaded_while_the_step_before_computes() -> None:
    schedule = Schedule(
        "two",
        {
            "x": Tensor("x", 16, "input"),
            "w": Tensor("w", 160, "weight"),
            "y": Tensor("y", 16, "activation"),
            "z": Tensor("z", 16, "activation", output=True),
        },
        (
            Step("one", 100, (Access("x"),), ("y",)),
            Step("two", 10, (Access("y"), Access("w")), ("z",)),
        ),
    )
    found = plan(schedule, Machine(256, 4))
    assert (found.cycles, found.bound) == (110, 110)
    moves = {(t.step, t.move): t.bytes for t in found.transfers if t.tensor == "w"}
    assert moves[0, "load"] >= 160 - 4 * 10  # the port moves the others while the second computes
    steady = plan(schedule, Machine(256, 4), steady=True)
    assert sum(steady.costs.moved) < sum(found.costs.moved)


def test_a_result_takes_the_place_of_its_operand() -> None:
    tensors = {
        "x": Tensor("x", 16, "input"),
        "a": Tensor("a", 64, "activation"),
        "b": Tensor("b", 64, "activation"),
        "c": Tensor("c", 16, "activation", output=True),
    }

    def steps(in_place: tuple[tuple[str, str], ...]) -> tuple[Step, ...]:
        return (
            Step("one", 1, (Access("x"),), ("a",)),
            Step("two", 1, (Access("a"),), ("b",), in_place),
            Step("three", 1, (Access("b"),), ("c",)),
        )

    machine = Machine(64, 4)
    apart = plan(Schedule("apart", tensors, steps(())), machine)
    shared = plan(Schedule("shared", tensors, steps((("b", "a"),))), machine)
    assert shared.cycles < apart.cycles
    assert {r.offset for r in shared.placed.regions if r.tensor in "ab"} == {0}
    assert judge(document(shared)) == shared.cycles


def test_methods_are_listed() -> None:
    assert METHODS == ("best", "greedy", "exact")


def _document() -> dict[str, Any]:
    schedule, machine = random_schedule(3), Machine(1024, 8, 32)
    found = plan(schedule, machine)
    text = document(found)
    assert judge(text) == found.cycles
    return copy.deepcopy(text)


def test_the_judge_finds_a_wrong_offset() -> None:
    wrong = 0
    text = _document()
    for i, region in enumerate(text["regions"]):
        changed = copy.deepcopy(text)
        others = [r for j, r in enumerate(text["regions"]) if j != i and _meet(region, r)]
        if others:
            changed["regions"][i]["offset"] = others[0]["offset"]
            with pytest.raises(IllegalError):
                judge(changed)
            wrong += 1
    assert wrong > 3


def _meet(one: dict[str, Any], other: dict[str, Any]) -> bool:
    together: bool = one["start"] < other["end"] and other["start"] < one["end"]
    return together and one["offset"] != other["offset"] and one["tensor"] != other["tensor"]


@pytest.mark.parametrize("what", ["transfers", "regions"])
def test_the_judge_finds_what_is_missing(what: str) -> None:
    text = _document()
    for i in range(len(text[what])):
        changed = copy.deepcopy(text)
        del changed[what][i]
        with pytest.raises(IllegalError):
            judge(changed)


def test_the_judge_finds_wrong_cycles() -> None:
    text = _document()
    text["cycles"] += 1
    with pytest.raises(IllegalError, match="the plan says"):
        judge(text)


def test_the_judge_finds_a_region_that_ends_early() -> None:
    text = _document()
    found = 0
    for i, region in enumerate(text["regions"]):
        if region["end"] - region["start"] > 1:
            changed = copy.deepcopy(text)
            changed["regions"][i]["end"] -= 1
            with pytest.raises(IllegalError):
                judge(changed)
            found += 1
    assert found > 3
