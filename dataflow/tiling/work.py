"""Compute cycles of a layer for many tilings at once: array intervals and vector drains.

A tiling's grid columns are NumPy arrays of equal length; every formula is the sum over full and
ragged tiles of what `docs/design/machine.md` says a tile costs, in exact integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataflow.layers.axis import Ints, ceil_div
from dataflow.layers.feed import Feed
from dataflow.layers.passes import feed_steps
from dataflow.machine import Machine
from dataflow.machine.latencies import Latencies
from dataflow.tiling.feed import pass_kinds
from dataflow.tiling.shape import LayerShape


@dataclass(frozen=True)
class Grid:
    """Tile sizes of many tilings of one layer that share the feed and the k tile.

    Attributes:
        p, q: output points of a tile along each axis.
        blocks: column blocks of a tile (of n, or of packed groups).
        k: reduction channels of a k tile (one value for the whole grid).
    """

    p: Ints
    q: Ints
    blocks: Ints
    k: int


@dataclass(frozen=True)
class Work:
    """Cycles of the compute engines, without waiting for data.

    Attributes:
        array, vector: busy cycles of the whole layer.
        array_first: of the first tile (its k tiles included).
        vector_last: of the last tile, until its bytes can be read.
    """

    array: Ints
    vector: Ints
    array_first: Ints
    vector_last: Ints


def wide_groups(shape: LayerShape, cols: int) -> bool:
    """Groups that need several column blocks each: then a tile has one group."""
    return shape.groups > 1 and shape.n > cols


def total_blocks(shape: LayerShape, feed: Feed, cols: int) -> int:
    """Column blocks of a batch item: of all groups, or of one group when groups are wide."""
    if shape.groups == 1 or wide_groups(shape, cols):
        return ceil_div(shape.n, cols)
    return ceil_div(shape.groups, feed.group_pack)


def repeats(shape: LayerShape, cols: int) -> int:
    """How often the blocks of `total_blocks` are walked: batch items, times wide groups."""
    return shape.batch * (shape.groups if wide_groups(shape, cols) else 1)


def vector_block(shape: LayerShape, machine: Machine, lat: Latencies, points: Ints) -> Ints:
    """Cycles of the vector unit for one column block of `points` output points."""
    strip = machine.vector_strip
    whole, rest = points // strip, points % strip
    bubbles = whole * max(0, machine.vector_latency - strip)
    bubbles = bubbles + np.where(rest > 0, np.maximum(0, machine.vector_latency - rest), 0)
    # A line with a function takes a cycle for each lane of a stage, and the line behind the last
    # one waits for the stage.
    held = points * (machine.function_lanes - 1)
    away = machine.function_extra - machine.function_lanes
    held = held + (whole + (rest > 0)) * (away + 1)
    fixed = lat.vector_block + shape.param_lines * lat.vector_param
    total: Ints = points * shape.lines + bubbles * shape.depends + held * shape.functions + fixed
    return total


def pass_lines(shape: LayerShape, lines: int, machine: Machine, lat: Latencies) -> int:
    """Least cycles of a pass of `lines` array rows for the sake of its stationary lines.

    Columns of a transposed activation: those of the block that has the fewest.
    """
    if not shape.stationary_view:
        return lines + shape.zero_lines
    if shape.stationary_columns:
        return (shape.n % machine.cols or machine.cols) + machine.rows + lat.array_stationary
    return lines + lat.array_stationary


def _intervals(
    shape: LayerShape, feed: Feed, machine: Machine, lat: Latencies, k: int, p: Ints, q: Ints
) -> Ints:
    """Cycles of all passes of a column block."""
    total = np.zeros_like(p)
    stride = feed.point_stride(shape.window("p"), shape.window("q"))
    outer, inner = (q, p) if feed.swap else (p, q)
    for kind in pass_kinds(shape, feed, k, machine.rows):
        least = max(pass_lines(shape, kind.lines, machine, lat), lat.array_pass)
        # A corner that does not occur has no points; its cost is multiplied by 0.
        steps = feed_steps(feed, kind.taps, stride, np.maximum(outer, 1), np.maximum(inner, 1))
        total = total + kind.times * np.maximum(steps, least)
    return total


def work(shape: LayerShape, feed: Feed, machine: Machine, lat: Latencies, grid: Grid) -> Work:
    """Compute cycles of every tiling of `grid`."""
    blocks = total_blocks(shape, feed, machine.cols)
    p_full, q_full = shape.p // grid.p, shape.q // grid.q
    p_rest, q_rest = shape.p % grid.p, shape.q % grid.q
    p_trips, q_trips = p_full + (p_rest > 0), q_full + (q_rest > 0)
    outer = repeats(shape, machine.cols)
    tiles = outer * p_trips * q_trips * -(-blocks // grid.blocks)
    last_p = np.where(p_rest > 0, p_rest, grid.p)
    last_q = np.where(q_rest > 0, q_rest, grid.q)
    rest_blocks = blocks % grid.blocks
    last_blocks = np.where(rest_blocks > 0, rest_blocks, grid.blocks)
    corners = (
        (p_full * q_full, grid.p, grid.q),
        (np.where(p_rest > 0, q_full, 0), p_rest, grid.q),
        (np.where(q_rest > 0, p_full, 0), grid.p, q_rest),
        (np.where((p_rest > 0) & (q_rest > 0), 1, 0), p_rest, q_rest),
    )
    vector = np.zeros_like(grid.p)
    for n, p, q in corners:
        vector = vector + n * vector_block(shape, machine, lat, p * q)
    vector = vector * outer * blocks
    vector_last = last_blocks * vector_block(shape, machine, lat, last_p * last_q)
    vector_last = vector_last + lat.vector_tile + lat.vector_done + machine.vector_latency
    zero = np.zeros_like(grid.p)
    if shape.kind == "vector":
        return Work(zero, vector, zero, vector_last)
    k_full, k_rest = divmod(shape.c, grid.k)
    extents = [(grid.k, k_full)] + ([(k_rest, 1)] if k_rest else [])
    array, first = zero, zero
    for k, times in extents:
        for n, p, q in corners:
            array = array + times * n * _intervals(shape, feed, machine, lat, k, p, q)
        first = first + times * _intervals(shape, feed, machine, lat, k, grid.p, grid.q)
    k_trips = k_full + (k_rest > 0)
    array = array * outer * blocks + tiles * k_trips * lat.array_tile
    first = first * grid.blocks + machine.rows + lat.array_drain
    return Work(array, vector, first, vector_last)
