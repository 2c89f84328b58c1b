"""Array passes: which kernel taps and channels stand on which array rows.

The one enumeration of passes. The weight image, the array's instruction, the search over tilings,
the cycle model and the access counts all ask here; the RTL sequencer walks the same order.

A pass loads one weight line per lane and streams all points of the tile. The reduction of a
column block is ``taps_a`` x ``taps_b`` taps (a outer) of ``segment`` bytes each.

*flat*: lanes are filled tap after tap, at most ``ports`` taps and ``rows`` lanes a pass; a tap
that does not fit goes on in the next pass at its byte ``offset``. Lane l of the pass is byte
``offset + l - first lane`` of its tap, so that the read address of a port is
``tap address + offset - first lane`` and no bytes are rotated.

*fir* (depthwise): ports take consecutive taps_a; port j feeds ``fir_taps`` taps of b on rows
j * fir_taps + s. Groups of taps_a are the inner loop, groups of taps_b the outer one, and the
last group of taps_b may be short (each port then has fewer rows).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

from dataflow.layers.axis import Ints

Points = TypeVar("Points", int, Ints)
"""A number of output points, or an array of them."""


@dataclass(frozen=True)
class Feed:
    """How the array is fed: the spatial choice of a tiling.

    Attributes:
        feed: ``flat``, or ``fir`` for depthwise layers.
        ports: source reads of one cycle.
        fir_taps: taps that each port feeds (fir).
        swap: the inner feed loop walks rows (p) instead of columns (q).
        group_pack: groups side by side on the array's columns.
    """

    feed: Literal["flat", "fir"] = "flat"
    ports: int = 1
    fir_taps: int = 1
    swap: bool = False
    group_pack: int = 1


@dataclass(frozen=True)
class Reduction:
    """The reduction of one column block as the feed walks it.

    Attributes:
        taps_a, taps_b: kernel loops, a outer (the ports' axis).
        segment: contiguous bytes of a tap.
        merged: the segment holds all kernel columns (taps_s x c bytes), taps_b = 1.
    """

    taps_a: int
    taps_b: int
    segment: int
    merged: bool = False


@dataclass(frozen=True)
class Pass:
    """One pass.

    Attributes:
        lanes: weight lines loaded = array rows used.
        taps: (a, b, offset, count) for each port: count lanes from byte ``offset`` of tap (a, b);
            fir: count rows for taps (a, b), (a, b + 1), ..., offset 0.
    """

    lanes: int
    taps: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True)
class PassKind:
    """Passes of a column block that cost the same.

    Attributes:
        times: how many.
        lines: weight lines of each, zero-point line not counted.
        ports: source reads of a feed step.
        taps: FIR taps of each port (flat: 1).
    """

    times: int
    lines: int
    ports: int
    taps: int


@lru_cache(maxsize=4096)
def enumerate_passes(reduction: Reduction, feed: Feed, rows: int) -> tuple[Pass, ...]:
    """All passes of a column block, in the order in which the array runs them."""
    return _fir(reduction, feed) if feed.feed == "fir" else _flat(reduction, feed.ports, rows)


def _flat(reduction: Reduction, ports: int, rows: int) -> tuple[Pass, ...]:
    result: list[Pass] = []
    part: list[tuple[int, int, int, int]] = []
    used = 0
    for a in range(reduction.taps_a):
        for b in range(reduction.taps_b):
            offset = 0
            while offset < reduction.segment:
                if used == rows or len(part) == ports:
                    result.append(Pass(used, tuple(part)))
                    part, used = [], 0
                count = min(rows - used, reduction.segment - offset)
                part.append((a, b, offset, count))
                used, offset = used + count, offset + count
    result.append(Pass(used, tuple(part)))
    return tuple(result)


def _fir(reduction: Reduction, feed: Feed) -> tuple[Pass, ...]:
    result = []
    for b in range(0, reduction.taps_b, feed.fir_taps):
        count = min(feed.fir_taps, reduction.taps_b - b)
        for a in range(0, reduction.taps_a, feed.ports):
            ports = min(feed.ports, reduction.taps_a - a)
            taps = tuple((a + j, b, 0, count) for j in range(ports))
            result.append(Pass(ports * count, taps))
    return tuple(result)


@lru_cache(maxsize=65536)
def pass_kinds(reduction: Reduction, feed: Feed, rows: int) -> tuple[PassKind, ...]:
    """The passes of a column block, equal ones together, most lines first."""
    count: Counter[tuple[int, int, int]] = Counter()
    if feed.feed == "flat" and (feed.ports == 1 or reduction.segment % rows == 0):
        # Each tap has passes of its own: no need to list them.
        taps = reduction.taps_a * reduction.taps_b
        whole, rest = divmod(reduction.segment, rows)
        count[rows, 1, 1] += whole * taps
        count[rest, 1, 1] += taps if rest else 0
    else:
        for one in enumerate_passes(reduction, feed, rows):
            count[one.lanes, len(one.taps), one.taps[0][3] if feed.feed == "fir" else 1] += 1
    return tuple(
        PassKind(times, *kind) for kind, times in sorted(count.items(), reverse=True) if times
    )


def feed_steps(feed: Feed, taps: int, stride: int, outer: Points, inner: Points) -> Points:
    """Feed steps of a pass over ``outer`` rows of ``inner`` points.

    Args:
        taps: FIR taps of each port in this pass (flat: unused).
        stride: feed steps from point to point, `fir_stride`.
    """
    return outer * inner if feed.feed == "flat" else outer * ((inner - 1) * stride + taps)


def port_reads(one: Pass, feed: Feed, a_step: int, b_step: int) -> list[int]:
    """Byte addresses that the ports read in one cycle, from the first tap of the point."""
    lane, reads = 0, []
    for a, b, offset, count in one.taps:
        # Bytes are not rotated: a port reads so that its first byte comes to its lane.
        shift = 0 if feed.feed == "fir" else offset - lane
        reads.append(a * a_step + b * b_step + shift)
        lane += count
    return reads


def banks_disjoint(addresses: Sequence[int], line_bytes: int, banks: int) -> bool:
    """Whether reads of ``line_bytes`` bytes at these addresses fall into different banks.

    A read touches one line, or two neighbours when it is unaligned.
    """
    seen: set[int] = set()
    for address in addresses:
        touched = {address // line_bytes % banks, (address + line_bytes - 1) // line_bytes % banks}
        if touched & seen:
            return False
        seen |= touched
    return True


def reduction_of(
    feed: Feed, taps_r: int, taps_s: int, channels: int, merged_columns: bool
) -> Reduction:
    """The reduction of a column block over ``channels`` bytes of each tap, packed groups included.

    Args:
        merged_columns: `merges_columns` holds and the channels are not split.
    """
    a, b = (taps_s, taps_r) if feed.swap else (taps_r, taps_s)
    if feed.feed == "fir":
        return Reduction(a, b, 1)
    if merged_columns:
        return Reduction(taps_r, 1, taps_s * channels, merged=True)
    return Reduction(a, b, channels)


def merges_columns(groups: int, taps_s: int, dilation_s: int, x_bytes: int, channels: int) -> bool:
    """Whether kernel columns and channels form one contiguous run of bytes in the source."""
    return groups == 1 and taps_s > 1 and dilation_s == 1 and x_bytes == channels


def fir_stride(feed: Feed, stride_p: int, dilation_r: int, stride_q: int, dilation_s: int) -> int:
    """Feed steps from output point to output point; with several FIR taps a step is one tap."""
    if feed.feed == "flat" or feed.fir_taps == 1:
        return 1
    return stride_p // dilation_r if feed.swap else stride_q // dilation_s
