"""Placement options of a layer's operands for a plane of tiles: traffic, buffers and waiting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dataflow.layers.axis import Ints, ceil_div
from dataflow.layers.feed import Feed
from dataflow.layers.layer import Dim
from dataflow.machine import Machine
from dataflow.tiling.dma import cycles_of, segment_ticks, store_beats
from dataflow.tiling.feed import conflict_free_pitch
from dataflow.tiling.grid import Plane
from dataflow.tiling.shape import LayerShape

Order = tuple[Dim, ...]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Traffic:
    """What one operand costs, for every tile of a plane.

    Attributes:
        cycles: of the DRAM bus over the whole layer.
        bytes: moved over the whole layer.
        tile_bytes: of one buffer slot (0: resident).
        tile_cycles: of the first tile's transfer.
        fires: tile transfers.
        valid: tiles for which the option exists.
    """

    cycles: Ints
    bytes: Ints
    tile_bytes: Ints
    tile_cycles: Ints
    fires: Ints
    valid: Mask


def undominated(options: list[tuple[int, Traffic]], slots: int) -> list[tuple[int, Traffic]]:
    """The depths with, at each tile, those ruled out that another depth beats in every respect.

    Another depth with fewer fires must still have `slots` of them, or as many as this one.
    """
    kept: list[tuple[int, Traffic]] = []
    for i, (depth, one) in enumerate(options):
        valid = one.valid.copy()
        for j, (_, other) in enumerate(options):
            if i == j:
                continue
            beaten = (
                other.valid
                & (other.cycles <= one.cycles)
                & (other.tile_bytes <= one.tile_bytes)
                & (other.tile_cycles <= one.tile_cycles)
                & (other.fires <= one.fires)
                & ((other.fires >= slots) | (other.fires == one.fires))
            )
            if i < j:  # of equal ones the shallower stays
                beaten &= (
                    (other.cycles < one.cycles)
                    | (other.tile_bytes < one.tile_bytes)
                    | (other.tile_cycles < one.tile_cycles)
                    | (other.fires < one.fires)
                )
            valid &= ~beaten
        if valid.any():
            kept.append((depth, replace(one, valid=valid)))
    return kept


def fires(order: Order, depth: int, trips: dict[Dim, Ints]) -> Ints:
    """Times a reference of `depth` fires."""
    total = np.ones_like(trips["p"])
    for dim in order[:depth]:
        total = total * trips[dim]
    return total


def depths(order: Order, trips: dict[Dim, Ints]) -> tuple[int, ...]:
    """Depths that differ somewhere: a dim that never has trips adds none."""
    useful = [0]
    for i, dim in enumerate(order):
        if int(trips[dim].max(initial=1)) > 1:
            useful.append(i + 1)
    return tuple(useful)


def _mask(plane: Plane, dims: frozenset[Dim], depth_dims: tuple[Dim, ...]) -> Mask:
    """1 where all of `dims` that have trips stand among `depth_dims`."""
    trips = plane.trips
    valid = np.ones(len(plane.ip), dtype=bool)
    for dim in sorted(dims - set(depth_dims)):
        valid = valid & (trips[dim] == 1)
    if plane.shape.batch > 1 and "b" not in depth_dims:
        # A tile of all items may be cut along one dim only.
        cut = sum(((trips[dim] > 1).astype(np.int64) for dim in depth_dims), start=0 * trips["b"])
        valid = valid & (cut <= 1)
    return valid


def channel_tiles(
    plane: Plane, by_block: bool, by_group: bool, by_k: bool
) -> tuple[Ints, list[tuple[int, int]]]:
    """Bytes of a source point in a tile for each block size, and (size, times) of all its parts.

    The list is empty where the parts follow from the block size.

    Args:
        by_block: tiles of the block dim have their own channels.
        by_group: so do wide groups, by_k: k tiles.
    """
    shape = plane.shape
    count = len(plane.block_sizes)
    groups = shape.groups if by_group else 1
    if by_k and plane.k < shape.c:
        full, rest = divmod(shape.c, plane.k)
        splits = [(plane.k, full * groups)] + ([(rest, groups)] if rest else [])
        return np.full(count, plane.k, dtype=np.int64), splits
    if by_group:
        return np.full(count, shape.c, dtype=np.int64), [(shape.c, groups)]
    whole = shape.source_channels
    if not by_block:
        return np.full(count, whole, dtype=np.int64), [(whole, 1)]
    unit = plane.channels if shape.kind == "vector" else shape.c * plane.feed.group_pack
    return np.minimum(np.array(plane.block_sizes, dtype=np.int64) * unit, whole), []


@dataclass(frozen=True)
class _SourceTiles:
    """What source tiles cost by the dims that cut them, one value for each tile of the plane.

    Attributes:
        row_ticks: bus ticks of one source row; `first` of one row of the first tile.
        columns: columns loaded of a row in all; `pitch` bytes between rows of a tile, 0 where
            banks would conflict.
    """

    row_ticks: Ints
    first: Ints
    columns: Ints
    pitch: Ints


def source_traffic(plane: Plane, order: Order, depth: int, machine: Machine) -> Traffic:
    """The first source, streamed: its tile is loaded again whenever one of order[:depth] steps."""
    shape = plane.shape
    seen = order[:depth]
    trips = plane.trips
    block_relevant = shape.kind == "vector" or plane.block_dim == "g"
    by_block = plane.block_dim in seen and block_relevant
    wide = shape.groups > 1 and plane.block_dim == "n"
    by_group = wide and "g" in seen
    must: set[Dim] = {"b"} if shape.source_b else set()
    if plane.k < shape.c and "k" in seen and wide:
        must.add("g")
    valid = _mask(plane, frozenset(must), seen)
    total_rows, tile_rows = _row_counts(plane, "p" in seen)
    tiles = _source_tiles(plane, "q" in seen, by_block, by_group, "k" in seen, machine)
    repeat = np.ones_like(plane.ip)
    for dim in seen:
        if dim == "b":
            repeat = repeat * (trips["b"])
        elif (
            dim not in ("p", "q", "k")
            and not (dim == plane.block_dim and by_block)
            and not (dim == "g" and by_group)
        ):
            repeat = repeat * trips[dim]
    loaded = repeat * total_rows
    line = machine.line_bytes
    return Traffic(
        cycles=cycles_of(machine, loaded * tiles.row_ticks),
        bytes=loaded * tiles.columns * shape.source_channels,
        tile_bytes=-(-tile_rows * tiles.pitch // line) * line,
        tile_cycles=cycles_of(machine, tile_rows * tiles.first),
        fires=fires(order, depth, trips),
        valid=valid & (tiles.pitch > 0),
    )


def _row_counts(plane: Plane, tiled: bool) -> tuple[Ints, Ints]:
    """Rows loaded in all and rows of a tile, one for each tile of the plane."""
    key = ("rows", tiled)
    if key not in plane.memo:
        total, tile = _rows(plane.shape, tiled, plane.p_sizes)
        plane.memo[key] = total[plane.ip], tile[plane.ip]
    found: tuple[Ints, Ints] = plane.memo[key]
    return found


def _source_tiles(
    plane: Plane, tiled: bool, by_block: bool, by_group: bool, by_k: bool, machine: Machine
) -> _SourceTiles:
    """The tables of a choice of cutting dims: columns (`tiled`), blocks, wide groups, k."""
    by_k = by_k and plane.k < plane.shape.c
    key = ("source", tiled, by_block, by_group, by_k)
    if key not in plane.memo:
        sizes, splits = channel_tiles(plane, by_block, by_group, by_k)
        row_ticks, cols, col_sum = _row_tables(plane, sizes, splits, tiled, machine)
        iq, ib = plane.iq, plane.ib
        plane.memo[key] = _SourceTiles(
            row_ticks[iq, ib],
            _first_row(plane, sizes, cols, machine)[iq, ib],
            col_sum[iq],
            _pitch_table(plane, sizes, cols, machine)[iq, ib],
        )
    found: _SourceTiles = plane.memo[key]
    return found


def _rows(shape: LayerShape, tiled: bool, sizes: tuple[int, ...]) -> tuple[Ints, Ints]:
    """Rows loaded in all and rows of a tile, for each p size: all of them where p is not cut."""
    whole, window = shape.source_y, shape.window("p")

    def loaded(tile: int) -> int:
        return int(window.clipped_runs(whole, shape.p, tile).sum())

    cut = [tiled and tile < shape.p for tile in sizes]
    total = [loaded(tile) if own else whole for own, tile in zip(cut, sizes, strict=True)]
    extent = [window.span(tile) if own else whole for own, tile in zip(cut, sizes, strict=True)]
    return np.array(total, dtype=np.int64), np.array(extent, dtype=np.int64)


@lru_cache(maxsize=4096)
def _column_runs(shape: LayerShape, tile: int) -> tuple[tuple[int, int], ...]:
    runs = shape.window("q").clipped_runs(shape.source_x, shape.q, tile)
    values, counts = np.unique(runs, return_counts=True)
    return tuple((int(v), int(c)) for v, c in zip(values, counts, strict=True))


def _row_tables(
    plane: Plane, sizes: Ints, splits: list[tuple[int, int]], tiled: bool, machine: Machine
) -> tuple[Ints, Ints, Ints]:
    """Ticks of all segments of a row [q, block], tile columns [q], columns loaded [q]."""
    shape = plane.shape
    cycles = np.zeros((len(plane.q_sizes), len(plane.block_sizes)), dtype=np.int64)
    cols = np.zeros(len(plane.q_sizes), dtype=np.int64)
    loaded = np.zeros(len(plane.q_sizes), dtype=np.int64)
    for i, tile in enumerate(plane.q_sizes):
        whole = not tiled or tile >= shape.q
        runs = ((shape.source_x, 1),) if whole else _column_runs(shape, tile)
        cols[i] = shape.source_x if whole else shape.window("q").span(tile)
        loaded[i] = sum(run * times for run, times in runs)
        for j, size in enumerate(sizes):
            parts = splits or _block_splits(shape.source_channels, int(size))
            cycles[i, j] = sum(
                times * count * row_segment_ticks(shape, run, channels, whole, machine)
                for run, times in runs
                for channels, count in parts
            )
    return cycles, cols, loaded


def _block_splits(whole: int, size: int) -> list[tuple[int, int]]:
    full, rest = divmod(whole, size)
    return [(size, full)] + ([(rest, 1)] if rest else [])


def row_segment_ticks(
    shape: LayerShape, columns: int, channels: int, whole: bool, machine: Machine
) -> int:
    """Bus ticks of one source row of a tile: one segment when contiguous, else one a column."""
    line = machine.line_bytes
    if channels == shape.source_channels and shape.x_bytes == channels:
        size = columns * channels
        rows_aligned = shape.y_bytes % line == 0 and shape.offset % line == 0
        aligned = size % line == 0 and rows_aligned and (whole or shape.x_bytes % line == 0)
        return segment_ticks(machine, size, aligned)
    aligned = channels % line == 0 and shape.x_bytes % line == 0 and shape.offset % line == 0
    return columns * segment_ticks(machine, channels, aligned)


def _pitch_table(plane: Plane, sizes: Ints, cols: Ints, machine: Machine) -> Ints:
    """Row pitch of a streamed source tile [q, block]; 0 where banks would conflict."""
    if plane.shape.kind == "vector" or plane.feed.ports == 1:
        return -(-np.outer(cols, sizes) // machine.line_bytes) * machine.line_bytes
    return _outer(
        cols,
        sizes,
        lambda columns, channels: tile_pitch(
            plane.shape, plane.feed, plane.k, columns, channels, machine
        ),
    )


def _outer(rows: Ints, columns: Ints, value: Callable[[int, int], int]) -> Ints:
    """The table of `value`, asked once for each pair of equal arguments."""
    left, at_left = np.unique(rows, return_inverse=True)
    right, at_right = np.unique(columns, return_inverse=True)
    table = np.array([[value(int(a), int(b)) for b in right] for a in left], dtype=np.int64)
    found: Ints = table[np.ix_(at_left, at_right)]
    return found


@lru_cache(maxsize=65536)
def tile_pitch(
    shape: LayerShape, feed: Feed, k: int, columns: int, channels: int, machine: Machine
) -> int:
    """Row pitch of a streamed tile of `columns` points of `channels` bytes; 0: impossible."""
    if shape.kind == "vector" or feed.ports == 1:
        return ceil_div(columns * channels, machine.line_bytes) * machine.line_bytes
    pitch = conflict_free_pitch(
        shape,
        feed,
        k,
        columns * channels,
        channels,
        machine.line_bytes,
        machine.act_banks,
        machine.rows,
    )
    return pitch or 0


def _first_row(plane: Plane, sizes: Ints, cols: Ints, machine: Machine) -> Ints:
    """Bus ticks of one row of the first tile [q, block]."""
    shape = plane.shape
    return _outer(
        cols,
        sizes,
        lambda columns, channels: row_segment_ticks(
            shape, columns, channels, columns >= shape.source_x, machine
        ),
    )


def output_traffic(plane: Plane, order: Order, machine: Machine) -> Traffic:
    """The output, stored tile by tile."""
    if "sink" not in plane.memo:
        plane.memo["sink"] = _output_traffic(plane, machine)
    found: Traffic = plane.memo["sink"]
    return replace(found, fires=fires(order, len(order) - 1, plane.trips))


def _output_traffic(plane: Plane, machine: Machine) -> Traffic:
    """`output_traffic` without its fires, which alone depend on the loop order."""
    shape = plane.shape
    whole = shape.n * shape.groups
    sizes = np.minimum(np.array(plane.block_sizes, dtype=np.int64) * plane.channels, whole)
    if shape.groups > 1 and plane.block_dim == "n":
        sizes = np.minimum(sizes, shape.n)
    shape_q = (len(plane.q_sizes), len(plane.block_sizes))
    cycles, first = np.zeros(shape_q, dtype=np.int64), np.zeros(shape_q, dtype=np.int64)
    for i, tile in enumerate(plane.q_sizes):
        tiles = _block_splits(shape.q, tile)
        for j, size in enumerate(sizes):
            parts = _block_splits(whole, int(size))
            cycles[i, j] = sum(
                times * count * _store_row(shape, points, channels, machine)
                for points, times in tiles
                for channels, count in parts
            )
            first[i, j] = _store_row(shape, tile, int(size), machine)
    line = machine.line_bytes
    pitch = -(-plane.q * sizes[plane.ib] // line) * line
    return Traffic(
        cycles=shape.batch * shape.p * cycles[plane.iq, plane.ib],
        bytes=np.full_like(plane.ip, shape.batch * shape.p * shape.q * whole),
        tile_bytes=plane.p * pitch,
        tile_cycles=plane.p * first[plane.iq, plane.ib],
        fires=np.zeros_like(plane.ip),
        valid=np.ones(len(plane.ip), dtype=bool),
    )


def _store_row(shape: LayerShape, points: int, channels: int, machine: Machine) -> int:
    """W beats of one output row of a tile."""
    line, whole = machine.line_bytes, shape.n * shape.groups
    if channels == whole and shape.output_contiguous:
        size = points * channels
        return store_beats(machine, size, 1, size % line == 0 and whole % line == 0)
    aligned = channels % line == 0 and whole % line == 0
    return store_beats(machine, channels, points, aligned)


def second_traffic(plane: Plane, order: Order, depth: int, machine: Machine) -> Traffic:
    """The second source, streamed."""
    shape = plane.shape
    second = shape.second
    assert second is not None, "asked for the traffic of a second source that is not there"
    seen = order[:depth]
    trips = plane.trips
    one = np.ones_like(plane.ip)
    must: set[Dim] = {"b"} if second.b else set()
    valid = _mask(plane, frozenset(must), seen)
    if "k" in seen and not shape.stationary_view:
        valid = valid & (trips["k"] == 1)  # the vector unit takes it once, behind the reduction
    rows, cols, size = one, one, one * second.channel_bytes
    if shape.stationary_view:
        k = plane.k if "k" in seen else shape.c
        n = plane.tile_blocks * machine.cols if plane.block_dim in seen else one * shape.n
        n = np.minimum(n, shape.n)
        rows, size = (one * k, n) if second.channel_bytes == shape.n else (n, one * k)
    else:
        if second.p:
            rows = plane.p if "p" in seen else one * shape.p
        if second.q:
            cols = plane.q if "q" in seen else one * shape.q
        if second.n and plane.block_dim in seen:
            size = np.minimum(plane.tile_blocks * plane.channels, second.channel_bytes)
    times = fires(order, depth, trips)
    contiguous = (size == second.channel_bytes) & second.row_contiguous
    seg = np.where(contiguous, cols * size, size)
    count = np.where(contiguous, rows, rows * cols)
    lookup = {
        int(v): segment_ticks(machine, int(v), int(v) % machine.line_bytes == 0)
        for v in np.unique(seg)
    }
    seg_ticks = np.array([lookup[int(v)] for v in seg], dtype=np.int64)
    line = machine.line_bytes
    pitch = -(-cols * size // line) * line
    # Ragged last tiles are charged as full ones: exact where sizes divide.
    return Traffic(
        cycles=cycles_of(machine, times * count * seg_ticks),
        bytes=times * rows * cols * size,
        tile_bytes=rows * pitch,
        tile_cycles=cycles_of(machine, count * seg_ticks),
        fires=times,
        valid=valid,
    )
