"""The least capacity: that of another solver, and the bound below it."""

from __future__ import annotations

from hypothesis import given, settings

from dataflow.memory import Buffer, minimise, peak_bytes, validate
from tests.memory.generators import constrained, refilled
from tests.memory.oracle import fits, least_capacity


def test_the_least_capacity_and_its_bound_meet_at_the_optimum() -> None:
    above = 0
    for seed in range(100, 125):
        buffers = refilled(seed)
        found = minimise(buffers, effort=10**7)
        validate(buffers, found.require(), found.top)
        assert found.bound == found.top == least_capacity(buffers)
        above += found.top > peak_bytes(buffers)
    assert above > 2


@given(constrained())
@settings(max_examples=40)
def test_with_constraints_one_byte_less_has_no_offsets(buffers: list[Buffer]) -> None:
    buffers = [b for b in buffers if b.fixed is None or b.fixed % b.align == 0]
    found = minimise(buffers, bank_bytes=4)
    if found.offsets is None:
        assert not fits(buffers, 200, 4)
        return
    validate(buffers, found.offsets, found.top, bank_bytes=4)
    assert found.proven
    assert found.top == 0 or not fits(buffers, found.top - 1, 4)


def test_a_search_cut_short_leaves_a_bound_below() -> None:
    buffers = refilled(3, steps=30)
    found = minimise(buffers, effort=50)
    validate(buffers, found.require(), found.top)
    assert peak_bytes(buffers) <= found.bound < found.top
    assert not found.proven
