"""The sweep: what it finds is judged, what it calls impossible is tried in all ways."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.memory import Buffer, validate
from dataflow.memory.offsets.arrays import Ints, Part, Terms, parts
from dataflow.memory.offsets.exact import exact
from dataflow.memory.offsets.portfolio import find
from dataflow.memory.offsets.share import NONE, SOLVED, share
from dataflow.memory.offsets.sweep import suits, sweep
from tests.memory.generators import near_full, refilled


def _named(part: Part, offsets: Ints) -> dict[str, int]:
    return {b.name: int(o) * part.unit for b, o in zip(part.buffers, offsets, strict=True)}


@pytest.mark.parametrize("backwards", [False, True])
def test_a_full_memory_is_filled_in_both_directions(backwards: bool) -> None:
    buffers, capacity = near_full(100006, 100)
    (part,) = parts(buffers, Terms())
    offsets, spent = sweep(part, capacity, 0, 100, 50_000, backwards)
    assert spent > 0
    again, _ = sweep(part, capacity, 0, 100, 50_000, backwards)
    # A sweep may give up; forwards this one does not.
    assert backwards or offsets is not None
    if offsets is not None:
        validate(buffers, _named(part, offsets), capacity)
        assert again is not None
        assert np.array_equal(offsets, again)


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=30, deadline=None)
def test_what_a_sweep_finds_is_valid(seed: int, backwards: bool) -> None:
    buffers = refilled(seed)
    (part, *_) = parts(buffers, Terms())
    offsets, _ = sweep(part, 104, seed, 20, 500, backwards)
    if offsets is not None:
        validate(part.buffers, _named(part, offsets), 104)


def test_the_sweep_solves_what_the_exact_search_does_not_with_more_effort() -> None:
    buffers, capacity = near_full(200000, 200)
    (part,) = parts(buffers, Terms())
    assert exact(part, capacity, 0, 200_000).offsets is None
    found = find(part, capacity, 0, 200_000)
    assert found.offsets is not None
    validate(buffers, _named(part, found.offsets), capacity)


@pytest.mark.parametrize(
    "odd", [Buffer("f", 4, 0, 2, fixed=0), Buffer("h", 4, 0, 3, holes=((1, 2),))]
)
def test_constraints_that_the_sweep_does_not_know_are_left_to_the_exact_search(
    odd: Buffer,
) -> None:
    (part,) = parts([odd, Buffer("a", 4, 0, 3)], Terms())
    assert not suits(part)


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.integers(0, 6),
    st.integers(0, 3),
)
@settings(max_examples=300, deadline=None)
def test_shares_agree_with_every_assignment(
    gaps: list[int], sizes: list[int], spare: int, attempt: int
) -> None:
    slack = sum(gaps) - sum(sizes)
    slack = max(slack, 0) if slack >= 0 else spare  # too much to come: there is no way
    status, bins = _shared(gaps, sizes, slack, attempt)
    possible = sum(gaps) - sum(sizes) <= slack and any(
        all(
            sum(size for size, to in zip(sizes, where, strict=True) if to == g) <= gap
            for g, gap in enumerate(gaps)
        )
        for where in product(range(len(gaps)), repeat=len(sizes))
    )
    if sum(sizes) <= sum(gaps):
        assert status == (SOLVED if possible else NONE)
    if status == SOLVED:
        for gap, members in zip(gaps, bins, strict=True):
            assert sum(sizes[i] for i in members) <= gap
        assert sum(gaps) - sum(sizes[i] for members in bins for i in members) <= slack


def _shared(
    gaps: list[int], sizes: list[int], slack: int, attempt: int
) -> tuple[int, list[list[int]]]:
    n, m = len(gaps), len(sizes)
    chosen = np.zeros((n + 1, m + 2), dtype=np.int64)
    taken = np.zeros(n + 1, dtype=np.int64)
    status = share(
        n,
        np.arange(n),
        np.array(gaps),
        np.ones(n),
        np.ones(n),
        np.arange(m),
        m,
        np.array(sizes),
        np.ones(m),
        1.0,
        slack,
        attempt,
        0.0,
        100_000,
        np.array([7]),
        np.zeros(2, dtype=np.int64),
        np.zeros(m, dtype=np.int64),
        np.zeros((n + 1, m + 2), dtype=np.int64),
        np.zeros((n + 1, m + 2), dtype=np.int64),
        np.zeros(n + 1, dtype=np.int64),
        chosen,
        np.zeros((n + 1, m + 2), dtype=np.int64),
        taken,
        np.zeros(n + 1, dtype=np.int64),
    )
    return status, [[int(i) for i in chosen[g, : taken[g]]] for g in range(n)]
