"""Lines of the rings in closed form against the builder's blocks and a walk of the loops."""

from __future__ import annotations

import random
from itertools import product

from dataflow.arch import load_architecture
from dataflow.layers.axis import ceil_div
from dataflow.layers.legality import param_block_lines, weight_block_lines
from dataflow.layers.tiled import TiledLayer
from dataflow.machine import machine_of
from dataflow.machine.latencies import DEFAULT
from dataflow.tiling.grid import orders, planes
from dataflow.tiling.rings import param_ring, weight_ring
from dataflow.tiling.shape import shape_of
from dataflow.tiling.weights import k_sizes
from tests.mapper.graphs import Builder
from tests.mapper.layers import random_array_layer
from tests.tiling.tiles import tiled_of

EDGE8 = machine_of(load_architecture("edge8"))


def loaded(tiled: TiledLayer, depth: int, *, weights: bool) -> int:
    """Lines that all scopes of a ring load: loops outside the scope that change nothing repeat."""
    order, total, layer = tiled.tiling.order, 0, tiled.layer
    own = [d for d in order if d in ("g", "n", "k") or d in order[:depth]]
    for index in product(*(range(tiled.trips(d)) for d in own)):
        last = {d: at == tiled.trips(d) - 1 for d, at in zip(own, index, strict=True)}
        cut = [d for d in order if d in ("g", "n") and tiled.columns.level == order.index(d)]
        blocks = tiled.columns.blocks[any(last[d] for d in cut)]
        if weights:
            total += blocks * tiled.weight_lines(tiled.ragged("k")[last.get("k", False)])
        elif last.get("k", True):
            total += blocks * len(layer.params)
    return total


def test_ring_lines_are_those_of_the_builder_and_of_a_walk() -> None:
    rng = random.Random(5)
    seen = wide = 0
    for _ in range(120):
        layer = random_array_layer(rng)
        shape = shape_of(layer, EDGE8.cols)
        plane = rng.choice([p for p in planes(shape, EDGE8, DEFAULT) if len(p.ip)])
        order = rng.choice(orders(shape, plane))
        row, depth = rng.randrange(len(plane.ip)), rng.randrange(len(order) + 1)
        tiled, own = tiled_of(layer, plane, order, row, depth, EDGE8)
        ring = weight_ring(plane, order, depth, EDGE8)
        assert int(ring.lines[row]) == weight_block_lines(tiled)
        assert int(ring.total[row]) == loaded(tiled, own, weights=True)
        assert int(ring.scopes[row]) == tiled.fires(own)
        if "k" not in order[:depth]:
            params = param_ring(plane, order, depth)
            assert int(params.lines[row]) == param_block_lines(tiled)
            assert int(params.total[row]) == loaded(tiled, own, weights=False)
        seen += own > 0
        wide += plane.block_dim == "n" and layer.groups > 1
    assert seen > 20
    assert wide > 5


def test_k_tiles_are_whole_rows_one_for_each_number_of_trips() -> None:
    net = Builder("deep", 1, 1, 75)
    net.conv("a", "input", 8, 1)
    shape = shape_of(net.graph().layers[0], EDGE8.cols)
    # 10 blocks of 8 rows in 1, 2, 3, 4, 5 and 10 trips; the last block has 3 channels.
    expected = {min(75, 8 * ceil_div(10, trips)) for trips in range(1, 11)}
    assert k_sizes(shape, 8) == tuple(sorted(expected)) == (8, 16, 24, 32, 40, 75)
