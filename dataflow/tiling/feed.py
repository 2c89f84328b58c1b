"""How the array's feed takes the flattened reduction: passes, weight lines, bank conflicts.

A pass gives each used row of the array one weight line and streams all points of a tile once. In
the flat feed lanes are filled from tap after tap, at most `ports` taps and `rows` lanes a pass;
in the FIR feed (depthwise) the ports take consecutive taps of the outer kernel axis and each
port's line goes to `fir_taps` rows. `docs/design/machine.md` has the same words.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Literal

from dataflow.tiling.shape import LayerShape


@dataclass(frozen=True)
class Feed:
    """A spatial choice for a layer; fields as in `Tiling`."""

    feed: Literal["flat", "fir"] = "flat"
    ports: int = 1
    fir_taps: int = 1
    swap: bool = False
    group_pack: int = 1


@dataclass(frozen=True)
class Taps:
    """The reduction as the feed walks it: `a` taps of `b` taps of `segment` contiguous bytes."""

    a: int
    b: int
    segment: int
    merged: bool


Chunk = tuple[int, int, int]  # tap (b fastest), byte offset in its segment, bytes
"""What one port feeds in one pass."""


def mergeable(shape: LayerShape) -> bool:
    """Kernel columns and channels form one contiguous run of bytes in the source."""
    return (
        shape.kind == "array"
        and shape.groups == 1
        and shape.taps_s > 1
        and shape.dilation_s == 1
        and shape.x_bytes == shape.c
    )


def taps_of(shape: LayerShape, feed: Feed, k: int) -> Taps:
    """Taps of a pass sequence over `k` reduction channels of a group.

    Kernel columns are merged into the segment when that run is contiguous and k is not split.
    """
    if feed.feed == "fir":
        a, b = (shape.taps_s, shape.taps_r) if feed.swap else (shape.taps_r, shape.taps_s)
        return Taps(a, b, feed.group_pack, False)
    if k == shape.c and mergeable(shape):
        return Taps(shape.taps_r, 1, shape.taps_s * shape.c, True)
    return Taps(shape.taps_r, shape.taps_s, k * feed.group_pack, False)


@lru_cache(maxsize=4096)
def flat_passes(taps: int, segment: int, ports: int, rows: int) -> tuple[tuple[Chunk, ...], ...]:
    """Passes of the flat feed: for each the chunks that its ports feed."""
    passes: list[tuple[Chunk, ...]] = []
    current: list[Chunk] = []
    free = rows
    for tap in range(taps):
        offset = 0
        while offset < segment:
            if not free or len(current) == ports:
                passes.append(tuple(current))
                current, free = [], rows
            size = min(free, segment - offset)
            current.append((tap, offset, size))
            free -= size
            offset += size
    passes.append(tuple(current))
    return tuple(passes)


@dataclass(frozen=True)
class PassKind:
    """Passes of a column block that cost the same.

    Attributes:
        times: how many.
        lines: weight lines of each, zero-point line not counted.
        ports: feed reads a step.
        taps: FIR taps of each port (flat: 1).
    """

    times: int
    lines: int
    ports: int
    taps: int


@lru_cache(maxsize=65536)
def pass_kinds(shape: LayerShape, feed: Feed, k: int, rows: int) -> tuple[PassKind, ...]:
    """The passes of a column block over `k` reduction channels, equal ones together."""
    taps = taps_of(shape, feed, k)
    count: Counter[tuple[int, int, int]] = Counter()
    if feed.feed == "fir":
        for b in range(0, taps.b, feed.fir_taps):
            run = min(feed.fir_taps, taps.b - b)
            for a in range(0, taps.a, feed.ports):
                ports = min(feed.ports, taps.a - a)
                count[ports * run, ports, run] += 1
    elif taps.segment % rows == 0 or feed.ports == 1:
        whole, rest = divmod(taps.segment, rows)
        count[rows, 1, 1] = whole * taps.a * taps.b
        if rest:
            count[rest, 1, 1] += taps.a * taps.b
    else:
        for one in flat_passes(taps.a * taps.b, taps.segment, feed.ports, rows):
            count[sum(size for _, _, size in one), len(one), 1] += 1
    return tuple(
        PassKind(times, *kind) for kind, times in sorted(count.items(), reverse=True) if times
    )


def fir_stride(shape: LayerShape, feed: Feed) -> int:
    """Feed steps from output point to output point; with several FIR taps a step is one tap."""
    if feed.feed == "flat" or feed.fir_taps == 1:
        return 1
    if feed.swap:
        return shape.stride_p // shape.dilation_r
    return shape.stride_q // shape.dilation_s


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
    groups: list[list[int]] = []
    if feed.feed == "fir":
        taps = taps_of(shape, feed, k)
        a_step, b_step = (col, row) if feed.swap else (row, col)
        grid = gcd(grid, b_step)
        for start in range(0, taps.a, feed.ports):
            groups.append([a * a_step for a in range(start, min(taps.a, start + feed.ports))])
    else:
        for extent in {k, shape.c % k or k}:
            groups += _flat_reads(taps_of(shape, feed, extent), feed.ports, rows, row, col)
    residues = {(origin + i * grid) % line_bytes for i in range(line_bytes // grid)}
    return all(
        _disjoint([r + address for address in group], line_bytes, banks)
        for group in groups
        if len(group) > 1
        for r in residues
    )


def _flat_reads(taps: Taps, ports: int, rows: int, row: int, col: int) -> list[list[int]]:
    """Addresses that the ports read in each pass, from the first tap of the point."""
    found: list[list[int]] = []
    for one in flat_passes(taps.a * taps.b, taps.segment, ports, rows):
        lane, reads = 0, []
        for tap, offset, size in one:
            # Bytes are not rotated: a port reads so that its first byte comes to its lane.
            reads.append((tap // taps.b) * row + (tap % taps.b) * col + offset - lane)
            lane += size
        found.append(reads)
    return found


def _disjoint(addresses: list[int], line_bytes: int, banks: int) -> bool:
    seen: set[int] = set()
    for address in addresses:
        touched = {address // line_bytes % banks, (address + line_bytes - 1) // line_bytes % banks}
        if touched & seen:
            return False
        seen |= touched
    return True


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
