"""Loops, bursts and grants of the cycle model, each by hand; without compiling them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.machine.isa import LEVELS
from dataflow.timing import bursts, walk
from dataflow.timing.act import grants
from dataflow.timing.cycles import _layers


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """The Python function behind a compiled one."""
    found: Callable[..., Any] = getattr(function, "py_func", function)
    return found


def test_loops_step_from_the_innermost_level_on() -> None:
    trips = [1] * (LEVELS - 3) + [2, 1, 3]
    index = [0] * LEVELS
    seen, stepped = [tuple(index)], []
    while not plain(walk.ends)(index, trips, 0):
        stepped.append(plain(walk.step)(index, trips))
        seen.append(tuple(index))
    assert seen == list(product(*(range(n) for n in trips)))
    outer, inner = LEVELS - 3, LEVELS - 1
    assert stepped == [inner, inner, outer, inner, inner]


def test_fires_and_ends_look_at_the_levels_inside() -> None:
    trips = [2] * LEVELS
    index = [1] + [0] * (LEVELS - 1)
    assert [plain(walk.fires)(index, depth) for depth in (0, 1, LEVELS)] == [False, True, True]
    index = [0] + [1] * (LEVELS - 1)
    assert [plain(walk.ends)(index, trips, depth) for depth in (0, 1)] == [False, True]
    assert [plain(walk.last)(index, trips, level) for level in (0, 1, 7)] == [0, 1, 0]


def test_waits_rise_in_256ths_up_to_their_cap() -> None:
    wait = SimpleNamespace(base=10, step=384, cap=14)
    assert [plain(walk.wanted)(wait, t) for t in range(5)] == [10, 11, 13, 14, 14]


def test_slots_go_round() -> None:
    tile = SimpleNamespace(slots=3, slot_bytes=64)
    assert [plain(walk.slot)(tile, n) for n in (0, 2, 3, 7)] == [0, 128, 0, 64]
    assert plain(walk.slot)(SimpleNamespace(slots=0, slot_bytes=64), 5) == 0


@given(st.integers(-9, 9), st.integers(0, 9), st.integers(1, 9))
def test_clipping_keeps_the_coordinates_inside(start: int, size: int, count: int) -> None:
    inside = [n for n in range(start, start + count) if 0 <= n < size]
    low, kept = plain(walk.clip)(start, size, count)
    assert max(0, kept) == len(inside)
    if inside:
        assert start + low == inside[0]


SIZES = SimpleNamespace(max_burst=4, line=16, shift=4, banks=4)
WORLD = SimpleNamespace(sizes=SIZES)


@pytest.mark.parametrize(
    ("dram", "left", "size", "beats"),
    [
        (0, 1000, 64, 4),
        (5, 1000, 59, 4),  # from the beat of the first byte on
        (5, 11, 11, 1),
        (5, 12, 12, 2),
        (4096 - 20, 1000, 20, 2),  # to the end of the page
        (4096 - 64, 64, 64, 4),
    ],
)
def test_bursts_end_at_pages_and_at_the_longest(
    dram: int, left: int, size: int, beats: int
) -> None:
    assert plain(bursts.burst_bytes)(WORLD, dram, left) == size
    assert plain(bursts.burst_beats)(WORLD, dram, size) == beats


def test_a_block_is_walked_by_segments_columns_and_rows() -> None:
    s = SimpleNamespace()
    block = SimpleNamespace(x_dram=100, x_local=10, y_dram=1000, y_local=40)
    plain(bursts.begin)(s, 5000, 0, 2, 2, 12)
    seen, done = [], False
    for size in (8, 4) * 4:
        seen.append((s.dram, s.local))
        done = plain(bursts.advance)(s, block, size)
    starts = [(5000, 0), (5100, 10), (6000, 40), (6100, 50)]
    assert seen == [(d + at, n + at) for d, n in starts for at in (0, 8)]
    assert done


@pytest.mark.parametrize(
    ("addresses", "granted"),
    [
        ((0, 16, 32, 48, 64), 0b01111),  # the fifth wants the bank of the first
        ((8, 16, 32, None, None), 0b00101),  # the first takes banks 0 and 1
        ((56, 0, 16, 32, None), 0b01101),  # the first takes banks 3 and 0
        ((None, 8, None, 16, 32), 0b10010),
    ],
)
def test_clients_are_granted_by_priority_where_banks_are_free(
    addresses: tuple[int | None, ...], granted: int
) -> None:
    act = SimpleNamespace(
        valid=[a is not None for a in addresses], address=[a or 0 for a in addresses]
    )
    assert plain(grants)(SimpleNamespace(act=act, sizes=SIZES)) == granted


def test_cycles_of_layers_add_up_and_the_end_belongs_to_the_last() -> None:
    # Layer 1 ends before layer 0; instructions of one layer retire in any order.
    retired = [(0, 1, 30), (0, 0, 50), (1, 0, 40), (1, 2, 80), (2, 3, 70)]
    outcome: Any = SimpleNamespace(retired=retired, cycles=100)
    assert _layers(outcome, 4) == (50, 0, 30, 20)
    assert sum(_layers(outcome, 4)) == 100
