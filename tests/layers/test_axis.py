"""Tile sizes and halos of an axis against enumeration."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataflow.layers.axis import Window, tile_sizes


def test_tile_sizes_of_ten() -> None:
    assert tile_sizes(10) == (1, 2, 3, 4, 5, 10)


@given(st.integers(1, 3000))
def test_tile_sizes_are_all_ceil_quotients(extent: int) -> None:
    assert tile_sizes(extent) == tuple(sorted({-(-extent // t) for t in range(1, extent + 1)}))


def test_halo_of_a_3x3_window_with_padding_is_clipped_at_both_ends() -> None:
    # outputs 0..3 in tiles of 2 read rows -1..2 and 1..4 of a tensor of 4 rows
    assert Window(taps=3, pad=1).clipped_runs(4, 4, 2).tolist() == [3, 3]


@given(
    st.integers(1, 30),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(0, 6),
)
def test_clipped_runs_are_the_spans_of_the_positions_read(
    size: int, points: int, tile: int, stride: int, taps: int, dilation: int, pad: int
) -> None:
    axis = Window(taps, stride, dilation, pad)
    runs = axis.clipped_runs(size, points, tile)
    expected = []
    for start in range(0, points, tile):
        last = min(start + tile, points) - 1
        window = range(start * stride - pad, last * stride - pad + (taps - 1) * dilation + 1)
        expected.append(sum(0 <= at < size for at in window))
    assert runs.tolist() == expected
    highest = (tile - 1) * stride - pad + (taps - 1) * dilation
    assert axis.prefix_need(size, tile) == max(0, min(size, highest + 1))
