"""Ragged tiles, column blocks and tile boxes, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dataflow.arch import load_architecture
from dataflow.layers.boxes import TileBox, second_box, sink_box, slot_bytes, source_box
from dataflow.layers.layer import Dim, Layer, View
from dataflow.layers.tiled import NO_LEVEL, Columns, TiledLayer
from dataflow.layers.tiling import Tiling
from dataflow.machine import machine_of
from tests.mapper.graphs import Builder, dense

EDGE8 = machine_of(load_architecture("edge8"))


def conv(groups: int = 1, n: int = 20) -> Layer:
    """A 3 x 3 convolution of 24 channels with padding, stride 2: 11 x 9 rows to 6 x 5."""
    net = Builder("net", 11, 9, 24)
    net.conv("a", "input", n, 3, 2, 1, groups=groups)
    return net.graph().layers[0]


def over(*dims: Dim) -> frozenset[Dim]:
    """The loops that a tile moves with."""
    return frozenset(dims)


def tiled(layer: Layer, tile: dict[Any, int], **changes: Any) -> TiledLayer:
    tiling = Tiling(tuple(tile), tile, "stream", 0, 1, "stream", 0, 1, "stream", 1, 0, 0, **changes)
    return TiledLayer(layer, tiling, EDGE8)


def test_the_last_tile_is_what_is_left_and_never_empty() -> None:
    one = tiled(conv(), {"p": 4, "q": 5, "n": 16})
    assert [one.ragged(dim) for dim in ("p", "q", "n", "k")] == [(4, 2), (5, 5), (16, 4), (24, 24)]
    assert one.level_trips == (2, 1, 2)
    assert tiled(conv(), {"p": 3}).ragged("p") == (3, 3)


@pytest.mark.parametrize(
    ("groups", "n", "tile", "pack", "columns"),
    [
        (1, 20, {"n": 16}, 1, Columns(1, 8, (2, 1), (8, 4), 0)),
        (1, 20, {"p": 2}, 1, Columns(1, 8, (3, 3), (4, 4), NO_LEVEL)),
        # 12 groups of 2 channels, 3 side by side, 8 groups in a tile: 3 blocks, then 2 of 4 groups
        (12, 24, {"g": 8}, 3, Columns(3, 6, (3, 2), (4, 2), 0)),
        (12, 24, {"p": 2, "g": 1}, 1, Columns(1, 2, (1, 1), (2, 2), NO_LEVEL)),
    ],
)
def test_column_blocks_of_full_and_last_tiles(
    groups: int, n: int, tile: dict[Any, int], pack: int, columns: Columns
) -> None:
    assert tiled(conv(groups, n), tile, group_pack=pack).columns == columns


def test_a_source_tile_has_its_halo_and_starts_in_the_padding() -> None:
    one = tiled(conv(), {"p": 4, "q": 2, "k": 8})
    dims = over("p", "q", "k")
    assert source_box(one, 3) == TileBox(1, 9, 5, 8, -1, -1, dims)
    assert source_box(one, 1) == TileBox(1, 9, 9, 24, -1, 0, over("p"))
    assert source_box(one, 0) == TileBox(1, 11, 9, 24, 0, 0, over())


def test_groups_cut_the_channels_of_all_operands() -> None:
    one = tiled(conv(12, 24), {"g": 5}, group_pack=3)
    assert source_box(one, 1).chan == 5 * 2
    assert sink_box(one) == TileBox(1, 6, 5, 5 * 2, 0, 0, over("g"))


def test_a_broadcast_operand_is_held_once() -> None:
    row = View("s", (1, 6, 5, 20), 0, 0, 20)
    layer = replace(conv(), second=row)
    one = tiled(layer, {"p": 4, "q": 2, "n": 16})
    assert second_box(one, 3) == TileBox(1, 1, 2, 16, 0, 0, over("p", "q", "n"))
    point = replace(layer, second=View("s", (1, 6, 5, 20), 0, 0, 0))
    assert second_box(tiled(point, {"p": 4}), 1) == TileBox(1, 1, 1, 20, 0, 0, over("p"))
    whole = replace(layer, second=dense("s", 6, 5, 20))
    assert second_box(tiled(whole, {"p": 4}), 0) == TileBox(1, 6, 5, 20, 0, 0, over())


def test_slots_are_whole_lines() -> None:
    box = TileBox(2, 3, 5, 7, 0, 0, over())
    assert slot_bytes(box, 0, 16) == 224  # 210 bytes
    assert slot_bytes(box, 40, 16) == 240
