"""Traffic of streamed operands in closed form against the regions that the program moves."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from dataflow.arch import load_architecture
from dataflow.layers.boxes import sink_box, slot_bytes, source_box
from dataflow.layers.layer import Layer
from dataflow.layers.tiled import TiledLayer
from dataflow.machine import machine_of
from dataflow.machine.latencies import DEFAULT
from dataflow.program.operands import Touched, regions
from dataflow.tiling.dma import cycles_of
from dataflow.tiling.grid import Plane, orders, planes
from dataflow.tiling.options import output_traffic, row_segment_ticks, source_traffic, tile_pitch
from dataflow.tiling.shape import LayerShape, shape_of
from tests.mapper.layers import random_array_layer
from tests.tiling.tiles import tiled_of

EDGE8 = machine_of(load_architecture("edge8"))


def size(one: Touched) -> int:
    """Bytes of a region."""
    return (one.y[1] - one.y[0]) * (one.x[1] - one.x[0]) * (one.c[1] - one.c[0])


def moved(tiled: TiledLayer, depth: int) -> list[Touched]:
    """All tiles of the source: rows and columns that no loop cuts are moved whole."""
    layer, cut = tiled.layer, tiled.tiling.order[:depth]
    found = []
    for fire in regions(tiled, "source", depth, layer.source):
        for one in fire:
            y = one.y if "p" in cut else (0, layer.source.shape[1])
            x = one.x if "q" in cut else (0, layer.source.shape[2])
            found.append(replace(one, y=y, x=x))
    return found


def ticks(tiles: list[Touched], shape: LayerShape, whole: bool) -> int:
    """Bus time of tiles, row by row."""
    return sum(
        (one.y[1] - one.y[0])
        * row_segment_ticks(shape, one.x[1] - one.x[0], one.c[1] - one.c[0], whole, EDGE8)
        for one in tiles
    )


def check_source(rng: random.Random, layer: Layer, plane: Plane, *, inside: bool) -> int:
    """Compares a random tile under a random order; its depth, 0 where there is no such buffer."""
    shape = plane.shape
    order = rng.choice(orders(shape, plane))
    row = rng.randrange(len(plane.ip))
    depth = len(order) if inside else rng.randrange(len(order) + 1)
    found = source_traffic(plane, order, depth, EDGE8)
    if not found.valid[row]:
        return 0
    tiled, own = tiled_of(layer, plane, order, row, depth, EDGE8)
    assert int(found.fires[row]) == tiled.fires(own)
    tiles = moved(tiled, own)
    assert int(found.bytes[row]) == sum(size(one) for one in tiles)
    spent = ticks(tiles, shape, "q" not in tiled.tiling.order[:own])
    assert int(found.cycles[row]) == int(cycles_of(EDGE8, np.array([spent]))[0])
    box = source_box(tiled, own)
    k = plane.k if "k" in order[:depth] else layer.c
    pitch = tile_pitch(shape, plane.feed, k, box.cols, box.chan, EDGE8)
    assert int(found.tile_bytes[row]) == slot_bytes(box, pitch, EDGE8.line_bytes)
    return own


def test_a_source_moves_the_bytes_of_its_regions() -> None:
    rng = random.Random(3)
    seen = 0
    for _ in range(150):
        layer = random_array_layer(rng)
        found = [p for p in planes(shape_of(layer, EDGE8.cols), EDGE8, DEFAULT) if len(p.ip)]
        seen += check_source(rng, layer, rng.choice(found), inside=False) > 0
    assert seen > 30


def test_wide_groups_cut_along_their_channels_move_each_part_for_each_group() -> None:
    rng = random.Random(4)
    seen = 0
    while seen < 20:
        layer = random_array_layer(rng)
        if layer.groups == 1 or layer.n <= EDGE8.cols or layer.c <= EDGE8.rows:
            continue
        shape = shape_of(layer, EDGE8.cols)
        cut = [p for p in planes(shape, EDGE8, DEFAULT) if len(p.ip) and p.k < layer.c]
        seen += check_source(rng, layer, rng.choice(cut), inside=True) > 0


def test_an_output_moves_each_byte_once_in_slots_of_its_tile() -> None:
    rng = random.Random(4)
    for _ in range(60):
        layer = random_array_layer(rng)
        shape = shape_of(layer, EDGE8.cols)
        plane = rng.choice([p for p in planes(shape, EDGE8, DEFAULT) if len(p.ip)])
        order = rng.choice(orders(shape, plane))
        row = rng.randrange(len(plane.ip))
        tiled, _ = tiled_of(layer, plane, order, row, len(order), EDGE8)
        found = output_traffic(plane, order, EDGE8)
        depth = len(tiled.tiling.order) - ("k" in tiled.tiling.order)
        fires = list(regions(tiled, "sink", depth, layer.output))
        assert int(found.bytes[row]) == sum(size(t) for fire in fires for t in fire)
        assert int(found.fires[row]) == len(fires)
        box = sink_box(tiled)
        pitch = -(-box.row_bytes // EDGE8.line_bytes) * EDGE8.line_bytes
        assert int(found.tile_bytes[row]) == slot_bytes(box, pitch, EDGE8.line_bytes)
