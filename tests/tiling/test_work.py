"""Compute cycles in closed form against a walk over every tile, pass and strip."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from dataflow.arch import load_architecture
from dataflow.layers.feed import Feed
from dataflow.layers.layer import Dim, Layer
from dataflow.layers.tiled import TiledLayer
from dataflow.layers.tiling import Tiling
from dataflow.machine import machine_of
from dataflow.machine.latencies import DEFAULT
from dataflow.tiling.feed import feeds_of
from dataflow.tiling.shape import shape_of
from dataflow.tiling.work import Grid, total_blocks, vector_block, wide_groups, work
from tests.mapper.graphs import Builder
from tests.mapper.layers import random_array_layer

EDGE8 = machine_of(load_architecture("edge8"))


def walked(layer: Layer, feed: Feed, p: int, q: int, blocks: int, k: int) -> tuple[int, int]:
    """(array, vector) cycles by visiting every tile."""
    shape = shape_of(layer, EDGE8.cols)
    order: tuple[Dim, ...] = ("k",) if k < layer.c else ()
    tiling = Tiling(
        order,
        {"k": k} if order else {},
        "resident",
        0,
        0,
        "none",
        0,
        0,
        "resident",
        0,
        0,
        0,
        feed.feed,
        feed.ports,
        feed.fir_taps,
        feed.swap,
        feed.group_pack,
    )
    tiled = TiledLayer(layer, tiling, EDGE8)
    zero = shape.zero_lines
    outer = layer.batch * (layer.groups if wide_groups(shape, EDGE8.cols) else 1)
    array = vector = 0
    for _ in range(outer):
        for p0 in range(0, layer.p, p):
            for q0 in range(0, layer.q, q):
                rows, cols = min(p, layer.p - p0), min(q, layer.q - q0)
                whole = total_blocks(shape, feed, EDGE8.cols)
                for b0 in range(0, whole, blocks):
                    count = min(blocks, whole - b0)
                    for k0 in range(0, layer.c, k):
                        array += DEFAULT.array_tile
                        extent = min(k, layer.c - k0)
                        for one in tiled.passes(extent):
                            least = max(DEFAULT.array_pass, one.lanes + zero)
                            array += count * max(tiled.steps(one, rows, cols), least)
                    points = rows * cols
                    for start in range(0, points, EDGE8.vector_strip):
                        lines = min(EDGE8.vector_strip, points - start)
                        bubble = max(0, EDGE8.vector_latency - lines)
                        vector += count * (lines * shape.lines + bubble * shape.depends)
                        # 2 n - 1 cycles in the place of n, then 17 until the next line.
                        vector += count * (lines - 1 + 17) * shape.functions
                    vector += count * shape.param_lines * DEFAULT.vector_param
    return array, vector


def test_closed_form_equals_the_walk() -> None:
    rng = random.Random(5)
    for _ in range(40):
        layer = random_array_layer(rng)
        shape = shape_of(layer, EDGE8.cols)
        feed = rng.choice(feeds_of(shape, EDGE8.rows, EDGE8.cols, EDGE8.feed_ports))
        p, q = rng.randrange(1, layer.p + 1), rng.randrange(1, layer.q + 1)
        blocks = rng.randrange(1, total_blocks(shape, feed, EDGE8.cols) + 1)
        k = layer.c
        if layer.groups == 1 and layer.c > EDGE8.rows and rng.random() < 0.5:
            k = EDGE8.rows
        grid = Grid(np.array([p]), np.array([q]), np.array([blocks]), k)
        found = work(shape, feed, EDGE8, DEFAULT, grid)
        assert (int(found.array[0]), int(found.vector[0])) == walked(layer, feed, p, q, blocks, k)


@pytest.mark.parametrize("latency", [2, 9, 14, 16, 21])
def test_strips_longer_than_the_latency_wait_for_nothing(latency: int) -> None:
    net = Builder("net", 4, 4, 3)
    net.conv("a", "input", 5, 1)
    shape = replace(shape_of(net.graph().layers[0], EDGE8.cols), depends=2)
    machine = replace(EDGE8, vector_latency=latency)
    strip = machine.vector_strip
    points = np.arange(1, 3 * strip + 1)
    found = vector_block(shape, machine, DEFAULT, points)
    fixed = DEFAULT.vector_block + shape.param_lines * DEFAULT.vector_param
    for count, cycles in zip(points.tolist(), found.tolist(), strict=True):
        strips = [min(strip, count - start) for start in range(0, count, strip)]
        waits = sum(max(0, latency - lines) for lines in strips)
        assert cycles == count * shape.lines + 2 * waits + fixed


def test_functions_hold_the_lanes() -> None:
    net = Builder("net", 4, 4, 3)
    net.conv("a", "input", 5, 1)
    shape = shape_of(net.graph().layers[0], EDGE8.cols)
    strip, points = EDGE8.vector_strip, np.arange(1, 40)
    plain = vector_block(shape, EDGE8, DEFAULT, points)
    found = vector_block(replace(shape, functions=3), EDGE8, DEFAULT, points) - plain
    whole, rest = points // strip, points % strip
    # A strip of n lines: 4 (n - 1) + 1 + 19 cycles, of which n are those of any operation.
    assert EDGE8.cols == 4 * EDGE8.functions
    cycles = whole * (3 * strip + 16) + (rest > 0) * (3 * rest + 16)
    assert found.tolist() == (3 * cycles).tolist()


def test_first_and_last_tile_by_hand() -> None:
    # 7 x 5 points in tiles of 3 x 4, 20 output channels in blocks of 8 by twos: the last tile is
    # one row of one column and one block. 12 channels on 8 rows: passes of 8 and of 4 lines.
    net = Builder("net", 7, 5, 12)
    net.conv("a", "input", 20, 1)
    layer = net.graph().layers[0]
    shape = shape_of(layer, EDGE8.cols)
    found = work(
        shape, Feed(), EDGE8, DEFAULT, Grid(np.array([3]), np.array([4]), np.array([2]), 12)
    )
    steps = 3 * 4
    assert steps > 8
    assert int(found.array_first[0]) == 2 * 2 * steps + EDGE8.rows + DEFAULT.array_drain
    line = shape.lines + shape.param_lines * DEFAULT.vector_param
    end = DEFAULT.vector_tile + DEFAULT.vector_done + EDGE8.vector_latency
    assert int(found.vector_last[0]) == line + end


def test_the_first_tile_ends_when_its_last_point_has_drained() -> None:
    rng = random.Random(6)
    for _ in range(40):
        layer = random_array_layer(rng)
        shape = shape_of(layer, EDGE8.cols)
        feed = rng.choice(feeds_of(shape, EDGE8.rows, EDGE8.cols, EDGE8.feed_ports))
        p, q = rng.randrange(1, layer.p + 1), rng.randrange(1, layer.q + 1)
        blocks = rng.randrange(1, total_blocks(shape, feed, EDGE8.cols) + 1)
        grid = Grid(np.array([p]), np.array([q]), np.array([blocks]), layer.c)
        found = work(shape, feed, EDGE8, DEFAULT, grid)
        alone = replace(layer, batch=1, groups=layer.groups if layer.n <= 8 else 1, p=p, q=q)
        one = work(shape_of(alone, EDGE8.cols), feed, EDGE8, DEFAULT, grid)
        # The passes of one tile over one column block, of all its blocks, then the drain.
        whole = total_blocks(shape_of(alone, EDGE8.cols), feed, EDGE8.cols)
        tiles = -(-whole // blocks)
        block = (int(one.array[0]) - tiles * DEFAULT.array_tile) // whole
        drain = EDGE8.rows + DEFAULT.array_drain
        assert int(found.array_first[0]) == block * blocks + drain
