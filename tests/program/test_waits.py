"""Waits: fitted lines never release too early, and missing ones are caught by the interpreter."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.arch import load_architecture
from dataflow.evaluate import before_machine, run_machine_part
from dataflow.machine import machine_of
from dataflow.machine.isa import Event, Unit
from dataflow.program import residency
from dataflow.program.waits import Hazards, Stamps, each_tile, fitted, free_slot, retired
from tests.program.cases import check_program, lowered, programs
from tests.program.interpret import InterpretError
from tests.program.networks import Net

MACHINE = machine_of(load_architecture("edge16"))


def value(wait: object, t: int) -> int:
    """What fire t waits for, by the words of docs/design/machine.md."""
    assert isinstance(wait, dict)
    return int(min(wait["cap"], wait["base"] + (t * wait["step"] >> 8)))


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=60))
def test_fitted_waits_cover_every_need_and_end_at_the_largest(needs: list[int]) -> None:
    wait = fitted(Event.VECTOR_OUT, needs)
    values = [value(wait, t) for t in range(len(needs))]
    assert all(v >= n for v, n in zip(values, needs, strict=True))
    assert max(values) <= max(needs)


def test_fitted_wait_of_a_sliding_window_is_tight() -> None:
    needs = [5, 7, 9, 11, 13, 14, 14]
    wait = fitted(Event.VECTOR_OUT, needs)
    assert [value(wait, t) for t in range(7)] == needs


def test_slots_are_waited_for_one_round_later() -> None:
    wait = free_slot(Event.ARRAY_I, 100, 10, 3)
    assert [value(wait, t) for t in (0, 2, 3, 9)] == [98, 100, 101, 107]
    assert [value(each_tile(Event.LOAD_I, 100, 10), t) for t in (0, 9)] == [101, 110]


def chain() -> Net:
    """Convolutions in a row, each reading what the last one wrote."""
    net = Net(random.Random(11), side=12)
    net.constants["x0_z"] = np.array(0, net.dtype)
    for _ in range(4):
        net.conv(net.live[-1], 1, 16)
    return net


def test_a_missing_wait_shows_in_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the check: without the waits for resident tiles results are wrong."""
    net = chain()
    cascade, graph = lowered(net.model())
    before = before_machine(cascade, net.inputs)
    values = run_machine_part(cascade, {n: before[n] for n in cascade.inputs})
    check_program(graph, programs(graph, MACHINE, None), MACHINE, values, 3)
    monkeypatch.setattr(residency, "fitted", lambda event, needs: {})
    program = programs(graph, MACHINE, None)
    wrong = 0
    for seed in range(8):
        try:
            check_program(graph, program, MACHINE, values, seed)
        except AssertionError:
            wrong += 1
    assert wrong


def test_a_wait_that_is_never_reached_is_a_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    net = chain()
    cascade, graph = lowered(net.model())
    before = before_machine(cascade, net.inputs)
    values = run_machine_part(cascade, {n: before[n] for n in cascade.inputs})

    def late(event: Event, needs: list[int]) -> dict[str, int]:
        return {"event": int(event), "base": max(needs) + 1, "step": 0, "cap": (1 << 24) - 1}

    monkeypatch.setattr(residency, "fitted", late)
    with pytest.raises(InterpretError, match=r"deadlock: (LOAD|ARRAY)"):
        check_program(graph, programs(graph, MACHINE, None), MACHINE, values, None)


def test_stamps_follow_the_tiles_that_were_written() -> None:
    counts = np.zeros(24, dtype=np.int64)
    stamps = Stamps(Event.VECTOR_OUT, counts)
    from dataflow.layers.layer import View

    view = View("t", (1, 2, 4, 3), 24, 12, 3)
    stamps.box(view, (0, 2), (1, 3), (0, 3), 0)[...] = 5
    assert counts.reshape(2, 4, 3)[:, 1:3].min() == 5
    assert counts.sum() == 5 * 12


def test_hazards_are_overlaps_with_a_write_on_another_unit_of_an_earlier_layer() -> None:
    hazards = Hazards()
    hazards.issue(Unit.VECTOR)
    hazards.touch(Unit.VECTOR, 0, "act", (100, 200), write=True)
    hazards.issue(Unit.VECTOR)
    hazards.touch(Unit.VECTOR, 1, "act", (0, 50), write=False)

    def seen(region: tuple[int, int], write: bool, unit: Unit = Unit.LOAD, layer: int = 2) -> int:
        return hazards.conflicts(unit, layer, "act", region, write=write)[Unit.VECTOR]

    assert [seen(r, False) for r in ((199, 300), (200, 300), (0, 101), (0, 100))] == [1, 0, 1, 0]
    assert (seen((0, 10), False), seen((0, 10), True)) == (0, 2)
    assert seen((0, 300), True) == 2
    assert (seen((0, 300), True, Unit.VECTOR), seen((0, 300), True, layer=1)) == (0, 1)
    assert not hazards.conflicts(Unit.LOAD, 2, "dram", (0, 300), write=True)
    relaxed = hazards.conflicts(
        Unit.LOAD, 2, "act", (100, 200), write=False, read_after_write=False
    )
    assert not relaxed
    needs = hazards.conflicts(Unit.LOAD, 2, "act", (0, 300), write=True)
    assert retired(needs) == {"load": 0, "array": 0, "vector": 2, "store": 0}
