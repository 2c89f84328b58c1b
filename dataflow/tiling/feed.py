"""Which feeds a layer can have on the array, and whether their reads hit different banks.

The passes themselves are enumerated in `dataflow.layers.passes`.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd

from dataflow.layers import passes
from dataflow.layers.passes import (
    Feed,
    PassKind,
    Reduction,
    banks_disjoint,
    enumerate_passes,
    merges_columns,
    port_reads,
    reduction_of,
)
from dataflow.tiling.shape import LayerShape


def reduction(shape: LayerShape, feed: Feed, k: int) -> Reduction:
    """The reduction of a column block over `k` channels of each of its groups.

    Kernel columns are merged into the segment when that run is contiguous and k is not split.
    """
    merged = k == shape.c and merges_columns(
        shape.groups, shape.taps_s, shape.dilation_s, shape.x_bytes, shape.c
    )
    return reduction_of(feed, shape.taps_r, shape.taps_s, k * feed.group_pack, merged)


def pass_kinds(shape: LayerShape, feed: Feed, k: int, rows: int) -> tuple[PassKind, ...]:
    """The passes of a column block over `k` channels of each group, equal ones together."""
    return passes.pass_kinds(reduction(shape, feed, k), feed, rows)


def fir_stride(shape: LayerShape, feed: Feed) -> int:
    """Feed steps from output point to output point."""
    return passes.fir_stride(
        feed, shape.stride_p, shape.dilation_r, shape.stride_q, shape.dilation_s
    )


def feeds_of(shape: LayerShape, rows: int, cols: int, ports: int) -> tuple[Feed, ...]:
    """All feeds of the mapspace for an array layer, those that cannot differ left out."""
    found: list[Feed] = []
    for pack in _packs(shape, cols):
        segment = shape.c * pack
        # Full rows leave no lane for a second tap; a stationary activation has a single tap.
        single = segment % rows == 0 or shape.stationary_view
        most = 1 if single else min(ports, shape.taps_r * shape.taps_s)
        found += [Feed("flat", count, 1, False, pack) for count in range(1, most + 1)]
    if shape.depthwise:
        pack = min(cols, shape.groups)
        for swap in (False, True):
            a, b = (shape.taps_s, shape.taps_r) if swap else (shape.taps_r, shape.taps_s)
            stride, dilation = (
                (shape.stride_p, shape.dilation_r) if swap else (shape.stride_q, shape.dilation_s)
            )
            for count in range(1, min(ports, a) + 1):
                most = min(b, rows // count) if stride % dilation == 0 else 1
                found += [Feed("fir", count, t, swap, pack) for t in range(1, most + 1)]
    return tuple(found)


def _packs(shape: LayerShape, cols: int) -> tuple[int, ...]:
    """Groups side by side: every number that fits.

    None can be left out: 9 groups of 2 columns on 16 need two blocks from 5 groups up, but 5 leave
    the lanes of a row to another tap where 8 do not.
    """
    if shape.groups == 1 or shape.n > cols:
        return (1,)
    return tuple(range(1, min(cols // shape.n, shape.groups) + 1))


def conflict_free(
    shape: LayerShape,
    feed: Feed,
    k: int,
    pitch: int,
    x_step: int,
    origin: int,
    line_bytes: int,
    banks: int,
    rows: int,
) -> bool:
    """Whether the feed reads of one cycle always fall into different banks.

    A read of `line_bytes` bytes touches one line, or two neighbours when unaligned.

    Args:
        pitch, x_step: bytes from row to row and from column to column where the source stands.
        origin: byte address of the first tap of the first point, modulo the line.
    """
    if feed.ports == 1:
        return True
    row, col = shape.dilation_r * pitch, shape.dilation_s * x_step
    grid = gcd(line_bytes, shape.stride_p * pitch, shape.stride_q * x_step)
    grid = gcd(grid, shape.c * feed.group_pack if shape.groups > 1 else 0)
    if k != shape.c:
        grid = gcd(grid, k)
    a_step, b_step = (col, row) if feed.swap else (row, col)
    if feed.feed == "fir":
        grid = gcd(grid, b_step)
    residues = [(origin + i * grid) % line_bytes for i in range(line_bytes // grid)]
    return all(
        banks_disjoint([at + read for read in reads], line_bytes, banks)
        for reads in _reads(shape, feed, k, rows, a_step, b_step)
        for at in residues
    )


@lru_cache(maxsize=65536)
def _reads(
    shape: LayerShape, feed: Feed, k: int, rows: int, a_step: int, b_step: int
) -> tuple[tuple[int, ...], ...]:
    """The distinct sets of addresses that several ports read in one cycle."""
    found = {
        tuple(port_reads(one, feed, a_step, b_step))
        for size in {k, shape.c % k or k}
        for one in enumerate_passes(reduction(shape, feed, size), feed, rows)
        if len(one.taps) > 1
    }
    return tuple(sorted(found))


def conflict_free_pitch(
    shape: LayerShape,
    feed: Feed,
    k: int,
    row_bytes: int,
    x_step: int,
    line_bytes: int,
    banks: int,
    rows: int,
) -> int | None:
    """Least row pitch of a streamed tile (whole lines, at least `row_bytes`), or None.

    A tile starts at a whole line; its first tap is there, or before it by the padding when the
    tile covers all columns.
    """
    least = -(-row_bytes // line_bytes) * line_bytes
    for extra in range(banks + 1):
        pitch = least + extra * line_bytes
        if all(
            conflict_free(shape, feed, k, pitch, x_step, origin, line_bytes, banks, rows)
            for origin in {0, -shape.pad_q * x_step}
        ):
            return pitch
    return None
