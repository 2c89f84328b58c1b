"""The heuristic for very large problems: valid, near what is alive, said to be unproven."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.memory import Buffer, minimise, pack, peak_bytes, validate
from dataflow.memory.offsets import large
from tests.memory.generators import problems, trace


@given(problems(12), st.sampled_from([1, 3, 16]), st.integers(0, 5))
def test_its_offsets_are_valid(buffers: list[Buffer], align: int, gap: int) -> None:
    buffers = [replace(b, align=2 if i % 3 else 4, gap=gap) for i, b in enumerate(buffers)]
    found = large.large(buffers, align)
    offsets = {b.name: int(o) for b, o in zip(buffers, found.offsets, strict=True)}
    validate(buffers, offsets, found.top, align)


def test_long_lives_lie_below_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "LONG", 20)
    buffers = trace(3, 3000)
    found = large.large(buffers, 64)
    offsets = {b.name: int(o) for b, o in zip(buffers, found.offsets, strict=True)}
    validate(buffers, offsets, found.top, 64)
    assert found.load == peak_bytes(buffers)


def test_a_trace_of_many_buffers_stays_within_five_percent() -> None:
    buffers = trace(1, 21_000)
    found = minimise(buffers)
    validate(buffers, found.require(), found.top)
    assert found.bound == peak_bytes(buffers)
    assert found.top <= 1.05 * found.bound
    assert pack(buffers, found.top).offsets == found.offsets
    less = pack(buffers, found.bound - 1)
    assert (less.offsets, less.proven) == (None, True)
    if found.top > found.bound:
        tight = pack(buffers, found.bound)
        assert (tight.offsets, tight.proven) == (None, False)
        assert "too many for the exact search" in tight.reason
