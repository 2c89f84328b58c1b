"""What a tiling withholds from the next layer and needs from the one before, tile by tile."""

from __future__ import annotations

import random
from itertools import product

from dataflow.arch import load_architecture
from dataflow.layers.layer import Dim, Layer
from dataflow.machine import machine_of
from dataflow.machine.latencies import DEFAULT
from dataflow.tiling.grid import Plane, orders, planes
from dataflow.tiling.overlap import common_columns
from dataflow.tiling.shape import shape_of
from tests.mapper.layers import random_array_layer

EDGE8 = machine_of(load_architecture("edge8"))


def written_early(layer: Layer, plane: Plane, order: tuple[Dim, ...], row: int) -> int:
    """Bytes of the output, from its first on, that are there before the last outer iteration.

    The outer iteration is that of the outermost loop with more than one trip; only loops over
    whole leading parts (items, rows, points of a single row) leave a prefix behind.
    """
    trips = {dim: int(values[row]) for dim, values in plane.trips.items()}
    outer = next((dim for dim in order if trips[dim] > 1), None)
    channels = layer.groups * layer.n
    whole = layer.batch * layer.p * layer.q * channels
    if outer == "b":
        return whole - layer.p * layer.q * channels
    if outer == "p" and layer.batch == 1:
        rows = [min(int(plane.p[row]), layer.p - at) for at in range(0, layer.p, int(plane.p[row]))]
        return sum(rows[:-1]) * layer.q * channels
    if outer == "q" and layer.batch == layer.p == 1:
        size = int(plane.q[row])
        columns = [min(size, layer.q - at) for at in range(0, layer.q, size)]
        return sum(columns[:-1]) * channels
    return 0


def test_withheld_is_what_the_last_outer_iteration_writes() -> None:
    rng = random.Random(8)
    seen = set()
    for _ in range(25):
        layer = random_array_layer(rng)
        if layer.batch > 1:
            continue
        shape = shape_of(layer, EDGE8.cols)
        whole = layer.p * layer.q * layer.groups * layer.n
        for plane in planes(shape, EDGE8, DEFAULT):
            for order in orders(shape, plane):
                common = common_columns(plane, order, EDGE8)
                for row in range(0, len(plane.ip), 7):
                    early = written_early(layer, plane, order, row)
                    assert int(common.withheld[row]) == whole - early
                    seen.add(early > 0)
    assert seen == {True, False}


def test_need_covers_every_byte_that_the_first_tile_reads() -> None:
    rng = random.Random(9)
    partial = 0
    for _ in range(25):
        layer = random_array_layer(rng)
        if layer.batch > 1:
            continue
        shape = shape_of(layer, EDGE8.cols)
        _, height, width, channels = layer.source.shape
        for plane in planes(shape, EDGE8, DEFAULT):
            for order in orders(shape, plane):
                common = common_columns(plane, order, EDGE8)
                for row in range(0, len(plane.ip), 11):
                    outer = next((d for d in order if int(plane.trips[d][row]) > 1), None)
                    if outer != "p":
                        continue
                    touched = {
                        y
                        for p, r in product(range(int(plane.p[row])), range(layer.taps_r))
                        if (y := p * layer.stride_p + r * layer.dilation_r - layer.pad_p) >= 0
                        if y < height
                    }
                    last = max(touched, default=-1) + 1
                    least = last * width * channels
                    assert least <= int(common.need[row]) <= height * width * channels
                    partial += int(common.need[row]) < height * width * channels
    assert partial
