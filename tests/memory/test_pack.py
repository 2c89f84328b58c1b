"""Offsets: the packer against its judge and against brute force, and the judge's own words."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.errors import DataflowError
from dataflow.memory import Buffer, first_fit, pack, peak_bytes, validate


@st.composite
def problems(draw: st.DrawFn, most: int = 7, size: int = 40) -> list[Buffer]:
    count = draw(st.integers(1, most))
    found = []
    for i in range(count):
        start = draw(st.integers(0, 6))
        end = start + draw(st.integers(1, 4))
        found.append(Buffer(f"b{i}", draw(st.integers(1, size)), start, end))
    return found


def test_two_buffers_that_never_meet_share_their_bytes() -> None:
    assert pack([Buffer("a", 8, 0, 1), Buffer("b", 8, 1, 2)], 8) == {"a": 0, "b": 0}


@given(problems(), st.sampled_from([1, 4, 16]))
def test_what_is_packed_is_valid_and_what_fits_loosely_is_packed(
    buffers: list[Buffer], align: int
) -> None:
    capacity = sum(-(-b.size // align) * align for b in buffers)
    offsets = pack(buffers, capacity, align)
    assert offsets is not None
    validate(buffers, offsets, capacity, align)


@given(problems(5, 4))
@settings(max_examples=40)
def test_tight_packing_agrees_with_brute_force(buffers: list[Buffer]) -> None:
    capacity = peak_bytes(buffers)
    places = [range(capacity - b.size + 1) for b in buffers]
    fits = any(
        all(
            not a.meets(b) or at + a.size <= to or to + b.size <= at
            for i, (a, at) in enumerate(zip(buffers, choice, strict=True))
            for b, to in list(zip(buffers, choice, strict=True))[i + 1 :]
        )
        for choice in product(*places)
    )
    offsets = pack(buffers, capacity)
    assert (offsets is not None) == fits
    if offsets is not None:
        validate(buffers, offsets, capacity)


def test_first_fit_alone_fails_where_the_solver_packs() -> None:
    # Peak 4; every order of first fit that places c and d apart needs 5.
    buffers = [
        Buffer("a", 1, 0, 2),
        Buffer("b", 2, 0, 1),
        Buffer("c", 1, 0, 3),
        Buffer("d", 2, 1, 3),
        Buffer("e", 2, 2, 4),
        Buffer("f", 1, 3, 5),
    ]
    capacity = peak_bytes(buffers)
    offsets = pack(buffers, capacity)
    assert offsets is not None
    validate(buffers, offsets, capacity)
    assert max(first_fit(buffers)[b.name] + b.size for b in buffers) >= capacity


def test_more_live_bytes_than_capacity_is_no_solution() -> None:
    assert pack([Buffer("a", 6, 0, 2), Buffer("b", 6, 1, 3)], 11) is None


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ({"a": 0}, "b has no offset"),
        ({"a": 0, "b": 8}, "b takes bytes 8 to 24 of a memory of 20"),
        ({"a": 0, "b": 2}, "b starts at byte 2, no multiple of 4"),
        (
            {"a": 0, "b": 4},
            "a (bytes 0 to 8, steps 0 to 2) overlaps b (bytes 4 to 20, steps 1 to 3)",
        ),
    ],
)
def test_the_judge_names_what_is_wrong(offsets: dict[str, int], message: str) -> None:
    buffers = [Buffer("a", 8, 0, 2), Buffer("b", 16, 1, 3)]
    with pytest.raises(DataflowError) as error:
        validate(buffers, offsets, 20, 4)
    assert error.value.what == message
