"""Array passes of a tile: which kernel taps and channels stand on which array rows.

The one enumeration of passes: the weight image, the array's feed and the cycle model follow it.

A pass loads one weight line per lane and streams all points of the tile. The reduction of a
column block is ``taps_a`` x ``taps_b`` taps (a outer) of ``segment`` bytes each.

*flat*: lanes are filled tap after tap, at most ``ports`` taps and R lanes a pass; a tap that does
not fit goes on in the next pass at its byte ``offset``. Lane l of the pass is byte
``offset + l - first lane`` of its tap, so that the read address of a port is
``tap address + offset - first lane`` and no bytes are rotated.

*fir* (depthwise): ports take consecutive taps_a; port j feeds ``fir_taps`` taps of b on rows
j * fir_taps + s. Groups of taps_a are the inner loop, groups of taps_b the outer one, and the
last group of taps_b may be short (each port then has fewer rows).
"""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.layers.layer import Layer
from dataflow.layers.tiles import NO_LEVEL, columns, level, tile_of
from dataflow.layers.tiling import Tiling


@dataclass(frozen=True)
class Feed:
    """Shape of the flattened reduction of one column block.

    Attributes:
        taps_a, taps_b: kernel loops, a outer (the ports' axis).
        segment: contiguous bytes of a tap.
        merged: the segment holds all kernel columns (taps_s x c bytes), taps_b = 1.
    """

    taps_a: int
    taps_b: int
    segment: int
    merged: bool


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


def feed(layer: Layer, tiling: Tiling, cols: int, k_extent: int) -> Feed:
    """The reduction of a column block over ``k_extent`` channels of each group.

    Kernel columns are merged with the channels when they are contiguous: one group, k untiled,
    no dilation and dense columns.
    """
    outer, inner = (layer.taps_r, layer.taps_s)
    if tiling.feed == "fir":
        return Feed(inner, outer, 1, False) if tiling.swap else Feed(outer, inner, 1, False)
    merged = (
        layer.taps_s > 1
        and layer.groups == 1
        and level(tiling, "k") == NO_LEVEL
        and layer.dilation_s == 1
        and layer.source.x_bytes == layer.c
    )
    if merged:
        return Feed(outer, 1, inner * layer.c, True)
    pack = columns(layer, tiling, cols).pack if tile_of(layer, tiling, "g") > 1 else 1
    segment = pack * k_extent
    return Feed(inner, outer, segment, False) if tiling.swap else Feed(outer, inner, segment, False)


def passes(layer: Layer, tiling: Tiling, rows: int, cols: int, k_extent: int) -> tuple[Pass, ...]:
    """All passes of a column block, in order, over ``k_extent`` reduction channels."""
    shape = feed(layer, tiling, cols, k_extent)
    if tiling.feed == "fir":
        return _fir(shape, tiling)
    return flat_passes(shape.taps_a, shape.taps_b, shape.segment, tiling.ports, rows)


def flat_passes(taps_a: int, taps_b: int, segment: int, ports: int, rows: int) -> tuple[Pass, ...]:
    """Flat passes over taps_a x taps_b taps of ``segment`` bytes."""
    result: list[Pass] = []
    part: list[tuple[int, int, int, int]] = []
    used = 0
    for a in range(taps_a):
        for b in range(taps_b):
            offset = 0
            while offset < segment:
                if used == rows or len(part) == ports:
                    result.append(Pass(used, tuple(part)))
                    part, used = [], 0
                count = min(rows - used, segment - offset)
                part.append((a, b, offset, count))
                used, offset = used + count, offset + count
    result.append(Pass(used, tuple(part)))
    return tuple(result)


def _fir(shape: Feed, tiling: Tiling) -> tuple[Pass, ...]:
    result = []
    for b in range(0, shape.taps_b, tiling.fir_taps):
        count = min(tiling.fir_taps, shape.taps_b - b)
        for a in range(0, shape.taps_a, tiling.ports):
            ports = min(tiling.ports, shape.taps_a - a)
            taps = tuple((a + j, b, 0, count) for j in range(ports))
            result.append(Pass(ports * count, taps))
    return tuple(result)


def fir_stride(layer: Layer, tiling: Tiling) -> int:
    """Feed steps from output point to output point: a feed step moves by one tap (fir)."""
    if tiling.feed == "flat" or tiling.fir_taps == 1:
        return 1
    if tiling.swap:
        return layer.stride_p // layer.dilation_r
    return layer.stride_q // layer.dilation_s


def steps(layer: Layer, tiling: Tiling, one: Pass, p: int, q: int) -> int:
    """Feed steps of a pass over a tile of p x q points."""
    outer, inner = (q, p) if tiling.swap else (p, q)
    if tiling.feed == "flat":
        return outer * inner
    return outer * ((inner - 1) * fir_stride(layer, tiling) + one.taps[0][3])
