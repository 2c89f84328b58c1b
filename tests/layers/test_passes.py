"""Array passes: exact cases, and that every reduction byte is fed exactly once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.arch import load_architecture
from dataflow.layers.feed import Feed
from dataflow.layers.layer import Layer, MicroProgram, Stationary, View
from dataflow.layers.passes import Reduction, banks_disjoint, enumerate_passes, pass_kinds
from dataflow.layers.tiled import TiledLayer
from dataflow.layers.tiling import Tiling
from dataflow.machine import machine_of

EDGE16 = machine_of(load_architecture("edge16"))


def layer(**changes: object) -> Layer:
    """A 3 x 3 convolution of 3 channels, 8 x 8 points, 16 output channels."""
    view = View("x", (1, 8, 8, 3), 192, 24, 3)
    base = Layer(
        "conv",
        "array",
        (),
        1,
        1,
        8,
        8,
        16,
        view,
        View("y", (1, 8, 8, 16), 1024, 128, 16),
        MicroProgram((), (), ()),
        taps_r=3,
        taps_s=3,
        c=3,
        stationary=Stationary("w", (0,), True),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def tiling(feed_: Literal["flat", "fir"] = "flat", **changes: object) -> Tiling:
    base = Tiling((), {}, "resident", 0, 0, "none", 0, 0, "resident", 0, 0, 0, feed=feed_)
    return replace(base, **changes)  # type: ignore[arg-type]


def test_kernel_columns_of_a_first_layer_stand_beside_its_channels() -> None:
    shape = TiledLayer(layer(), tiling(ports=3), EDGE16).reduction(3)
    assert (shape.taps_a, shape.taps_b, shape.segment, shape.merged) == (3, 1, 9, True)
    walk = TiledLayer(layer(), tiling(ports=3), EDGE16).passes(3)
    assert [p.lanes for p in walk] == [16, 11]
    assert walk[0].taps == ((0, 0, 0, 9), (1, 0, 0, 7))
    assert walk[1].taps == ((1, 0, 7, 2), (2, 0, 0, 9))


def test_a_single_port_takes_a_tap_a_pass() -> None:
    walk = TiledLayer(layer(), tiling(ports=1), EDGE16).passes(3)
    assert [p.lanes for p in walk] == [9, 9, 9]


def test_dilated_columns_are_not_merged() -> None:
    shape = TiledLayer(layer(dilation_s=2), tiling(), EDGE16).reduction(3)
    assert (shape.taps_a, shape.taps_b, shape.segment, shape.merged) == (3, 3, 3, False)


def test_depthwise_takes_columns_on_rows_and_kernel_rows_on_ports() -> None:
    depthwise = layer(groups=16, n=1, c=1)
    walk = TiledLayer(depthwise, tiling("fir", ports=3, fir_taps=3), EDGE16).passes(1)
    assert [p.lanes for p in walk] == [9]
    assert walk[0].taps == ((0, 0, 0, 3), (1, 0, 0, 3), (2, 0, 0, 3))
    assert TiledLayer(depthwise, tiling("fir", ports=3, fir_taps=3), EDGE16).steps(
        walk[0], 4, 8
    ) == 4 * (7 + 3)


def test_the_last_group_of_fir_taps_is_short() -> None:
    depthwise = layer(groups=16, n=1, c=1, taps_r=2, taps_s=5)
    walk = TiledLayer(depthwise, tiling("fir", ports=1, fir_taps=3), EDGE16).passes(1)
    assert [p.taps for p in walk] == [
        ((0, 0, 0, 3),),
        ((1, 0, 0, 3),),
        ((0, 3, 0, 2),),
        ((1, 3, 0, 2),),
    ]


@pytest.mark.parametrize(("swap", "count", "last_port"), [(False, 2, 2), (True, 3, 4)])
def test_swap_puts_kernel_columns_on_the_ports(swap: bool, count: int, last_port: int) -> None:
    depthwise = layer(groups=16, n=1, c=1, taps_r=3, taps_s=5)
    taps = 3 if swap else 5
    walk = TiledLayer(depthwise, tiling("fir", ports=2, fir_taps=taps, swap=swap), EDGE16).passes(1)
    assert len(walk) == count
    assert max(p.taps[-1][0] for p in walk) == last_port


@pytest.mark.parametrize(
    ("addresses", "free"),
    [
        ((0, 16), True),  # neighbouring lines, aligned: a bank each
        ((1, 16), False),  # the first reaches into the second line
        ((1, 32), True),
        ((0, 64), False),  # 4 banks of 16 bytes: the fifth line is in the first bank
        ((49, 0), False),  # the last bank and, behind it, the first
        ((17, 49), True),  # banks 1 and 2, banks 3 and 0
    ],
)
def test_a_read_takes_the_banks_of_the_lines_that_it_touches(
    addresses: tuple[int, ...], free: bool
) -> None:
    assert banks_disjoint(addresses, 16, 4) == free


@given(
    taps_a=st.integers(1, 5),
    taps_b=st.integers(1, 5),
    segment=st.integers(1, 70),
    ports=st.integers(1, 3),
    rows=st.sampled_from([2, 8, 16, 32]),
)
def test_flat_passes_feed_every_byte_once_in_order(
    taps_a: int, taps_b: int, segment: int, ports: int, rows: int
) -> None:
    reduction, feed = Reduction(taps_a, taps_b, segment), Feed(ports=ports)
    walk = enumerate_passes(reduction, feed, rows)
    fed = [(a, b, offset + i) for p in walk for a, b, offset, count in p.taps for i in range(count)]
    assert fed == [(a, b, i) for a in range(taps_a) for b in range(taps_b) for i in range(segment)]
    for p in walk:
        assert p.lanes == sum(count for *_, count in p.taps) <= rows
        assert len(p.taps) <= ports
    # A pass ends only when it has to: rows or ports are used up, or the reduction ends.
    assert all(p.lanes == rows or len(p.taps) == ports for p in walk[:-1])
    listed = Counter((p.lanes, len(p.taps), 1) for p in walk)
    kinds = pass_kinds(reduction, feed, rows)
    if ports > 1 and segment % rows:
        assert {(k.lines, k.ports, k.taps): k.times for k in kinds} == listed
    # The closed form for taps with passes of their own: each feeds one chunk.
    assert sum(k.times * k.lines for k in kinds) == sum(p.lanes for p in walk)
    assert sum(k.times for k in kinds) == len(walk)
