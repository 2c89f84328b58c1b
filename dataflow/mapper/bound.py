"""Cycles below which no program of a network runs on the machine, whatever overlaps.

The bound holds for every legal tiling, not only for those of the mapspace: any tile sizes, loop
orders, feeds, hold depths and residency. It is the work of the busiest engine, each with the least
work that it can have:

- array: a pass over a tile of p x q points takes no less than its steps, its weight lines and the
  least time of a pass. For a number of tiles along an axis equal tiles are best (the sum of a
  convex function), so the distinct ceil-quotients of the mapspace stand for all sizes. Splits of
  the reduction that the mapspace leaves out do not save passes, but may share out the weight lines
  of short passes better: no better than evenly.
- vector: lines and the bubbles of short strips. These are not convex in the tile (a multiple of
  the strip has none), so all tile sizes are looked at.
- bus: every weight, every parameter and every input byte that a window touches, once.

`tests/bench/bound_campaign.py` looks for programs below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from dataflow.layers.axis import Ints, ceil_div
from dataflow.layers.feed import Feed
from dataflow.layers.layer import LayerGraph
from dataflow.machine import Machine
from dataflow.machine.latencies import DEFAULT, Latencies
from dataflow.mapper.tensors import TensorPlan, tensor_plans
from dataflow.tiling.feed import feeds_of, reduction
from dataflow.tiling.grid import plane_of, planes
from dataflow.tiling.shape import LayerShape, shape_of
from dataflow.tiling.weights import reduction_lines
from dataflow.tiling.work import pass_lines, repeats, total_blocks, vector_block


def bound_cycles(
    graph: LayerGraph,
    shapes: Sequence[LayerShape],
    plans: dict[str, TensorPlan],
    machine: Machine,
    latencies: Latencies,
) -> int:
    """The work of the busiest engine, behind the first bytes from DRAM.

    Each engine does its share of every layer after that of the layer before.
    """
    array = sum(least_array(shape, machine, latencies) for shape in shapes)
    vector = sum(least_vector(shape, machine, latencies) for shape in shapes)
    lines = sum(least_weights(shape, machine) for shape in shapes)
    lines += least_inputs(graph, shapes, plans, machine)
    bus = lines * machine.beats_per_line
    return machine.dram_read_latency + max(array, vector, bus)


def bound_in_parts(graph: LayerGraph, machine: Machine, latencies: Latencies = DEFAULT) -> int:
    """The bound for programs that run parts of layers, in any order that data allow.

    Unequal parts may leave fewer bubbles and fuller passes than any tile size does for the whole,
    so there are no bubbles here, and a layer is one tile, whatever the accumulators hold.
    """
    shapes = tuple(shape_of(layer, machine.cols) for layer in graph.layers)
    smooth = replace(machine, vector_latency=1, acc_lines=1 << 30)
    plans = tensor_plans(graph, shapes, machine)
    return bound_cycles(graph, shapes, plans, smooth, latencies)


def busy_cycles(graph: LayerGraph, machine: Machine) -> int:
    """Least work of the busier engine, layer by layer: an estimate that needs no search.

    No bound: neighbouring layers overlap. It tells forms of one network apart.
    """
    shapes = [shape_of(layer, machine.cols) for layer in graph.layers]
    return sum(
        max(least_array(s, machine, DEFAULT), least_vector(s, machine, DEFAULT)) for s in shapes
    )


@lru_cache(maxsize=4096)
def least_array(shape: LayerShape, machine: Machine, latencies: Latencies) -> int:
    """Fewest cycles that the array is busy with a layer."""
    if shape.kind == "vector":
        return 0
    free = replace(latencies, array_tile=0)  # may be hidden behind the tile before
    found = [plane.work.array for plane in planes(shape, machine, free) if len(plane.ip)]
    least = min((int(array.min()) for array in found), default=0)
    if shape.c == 1 or (even := _even_passes(shape, machine, free)) >= least:
        return least
    if shape.c > ALL_SPLITS:
        return even
    for feed in feeds_of(shape, machine.rows, machine.cols, machine.feed_ports):
        for k in range(1, shape.c if feed.group_pack == 1 else 1):
            array = plane_of(shape, feed, k, machine, free).work.array
            least = min(least, int(array.min(initial=least)))
    return least


ALL_SPLITS = 64
"""Reductions up to so many channels are looked at in every split where that could matter."""


def _even_passes(shape: LayerShape, machine: Machine, latencies: Latencies) -> int:
    """Array cycles of the fewest passes with the weight lines shared out evenly, in one tile."""
    taps = shape.taps_r * shape.taps_s
    chunks = shape.taps_r if reduction(shape, Feed(), shape.c).merged else taps
    ports = 1 if shape.stationary_view else machine.feed_ports
    lines = taps * shape.c
    passes = max(ceil_div(lines, machine.rows), ceil_div(chunks, ports))
    points = max(shape.p * shape.q, latencies.array_pass)
    blocks = total_blocks(shape, Feed(), machine.cols) * repeats(shape, machine.cols)
    beside = pass_lines(shape, 0, machine, latencies)
    if shape.stationary_columns:
        return blocks * passes * max(points, beside)
    return blocks * max(passes * points, lines + passes * beside)


@lru_cache(maxsize=4096)
def least_vector(shape: LayerShape, machine: Machine, latencies: Latencies) -> int:
    """Fewest cycles that the vector unit is busy with a layer."""
    p = np.arange(1, shape.p + 1, dtype=np.int64)
    q = np.arange(1, shape.q + 1, dtype=np.int64)
    blocks = repeats(shape, machine.cols) * _least_blocks(shape, machine)
    if not shape.functions and (not shape.depends or machine.vector_latency <= 1):
        return blocks * int(_block_cycles(shape, machine, latencies, p[-1:], q[-1:]).min())
    return blocks * int(_block_cycles(shape, machine, latencies, p, q).min())


def _block_cycles(
    shape: LayerShape, machine: Machine, latencies: Latencies, p: Ints, q: Ints
) -> Ints:
    """Cycles of one column block over all points, for all tiles of p x q points."""
    total = np.zeros((len(p), len(q)), dtype=np.int64)
    p_parts = ((shape.p // p, p), (np.minimum(shape.p % p, 1), shape.p % p))
    q_parts = ((shape.q // q, q), (np.minimum(shape.q % q, 1), shape.q % q))
    for rows, height in p_parts:
        for columns, width in q_parts:
            tiles = np.outer(rows, columns)
            points = np.outer(height, width)
            total += tiles * vector_block(shape, machine, latencies, points)
    return total


def _least_blocks(shape: LayerShape, machine: Machine) -> int:
    if shape.kind == "vector":
        return ceil_div(shape.n, machine.cols)
    feeds = feeds_of(shape, machine.rows, machine.cols, machine.feed_ports)
    return min(total_blocks(shape, feed, machine.cols) for feed in feeds)


@lru_cache(maxsize=4096)
def least_weights(shape: LayerShape, machine: Machine) -> int:
    """Fewest lines of a layer's weights and parameters: each once."""
    if shape.kind == "vector":
        blocks = ceil_div(shape.n, machine.cols)
        return 4 * shape.param_lines * blocks
    found = []
    for feed in feeds_of(shape, machine.rows, machine.cols, machine.feed_ports):
        blocks = total_blocks(shape, feed, machine.cols)
        blocks *= shape.groups if shape.groups > 1 and shape.n > machine.cols else 1
        lines = 0
        if not shape.stationary_view:
            lines = reduction_lines(shape, feed, shape.c, machine.rows)
        found.append(blocks * (lines + 4 * shape.param_lines))
    return min(found)


def least_inputs(
    graph: LayerGraph,
    shapes: Sequence[LayerShape],
    plans: dict[str, TensorPlan],
    machine: Machine,
) -> int:
    """Fewest lines of what lies in DRAM before the first layer: the bytes that a reader needs."""
    total = 0
    for plan in plans.values():
        if not plan.external:
            continue
        bytes_needed = max(
            (
                source_bytes(shapes[access.layer])
                for access in plan.readers
                if access.role == "source" and not graph.layers[access.layer].flat
            ),
            default=0,
        )
        total += ceil_div(bytes_needed, machine.line_bytes)
    return total


def source_bytes(shape: LayerShape) -> int:
    """Bytes of its source that a layer reads at least: rows and columns that a window touches."""
    rows = _touched(
        shape.p, shape.stride_p, shape.taps_r, shape.dilation_r, shape.pad_p, shape.source_y
    )
    columns = _touched(
        shape.q, shape.stride_q, shape.taps_s, shape.dilation_s, shape.pad_q, shape.source_x
    )
    channels = shape.source_channels
    if shape.kind == "array":
        channels = min(channels, shape.groups * shape.c)
    return rows * columns * channels * (shape.batch if shape.source_b else 1)


def _touched(points: int, stride: int, taps: int, dilation: int, pad: int, size: int) -> int:
    """Positions inside [0, size) that some tap of some point reads."""
    at = np.arange(points)[:, None] * stride + np.arange(taps)[None, :] * dilation - pad
    return len(np.unique(at[(at >= 0) & (at < size)]))
