"""Weight and parameter images: bytes in the exact order in which the engines consume them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from dataflow.layers.layer import Dim, Layer, LayerGraph
from dataflow.layers.passes import Pass
from dataflow.layers.tiled import TiledLayer
from dataflow.machine.isa import LEVELS

Array = np.ndarray

WEIGHT_DIMS: frozenset[Dim] = frozenset(("g", "n", "k"))
PARAM_DIMS: frozenset[Dim] = frozenset(("g", "n"))


@dataclass(frozen=True)
class Ring:
    """A stream into a ring buffer.

    Attributes:
        data: DRAM bytes; block i of the outer levels stands at sum(index * strides).
        strides: DRAM bytes per step of each level.
        lines: lines of a block: [full, last n (or g), last k, both last].
        read_lines: lines read over the whole layer.
    """

    data: bytes
    strides: list[int]
    lines: list[int]
    read_lines: int


def zero_lines(layer: Layer) -> bool:
    """Whether the stationary zero points differ between channels."""
    return layer.stationary is not None and len(set(layer.stationary.zero)) > 1


def tile_lines(tiled: TiledLayer, last: Sequence[bool]) -> int:
    """Weight lines of one array tile; ``last`` = (n or g at its last index, k at its last)."""
    blocks = tiled.columns.blocks[last[0]]
    k = tiled.ragged("k")[last[1]]
    walk = tiled.passes(k)
    return blocks * sum(p.lanes + tiled.zero_lines for p in walk)


def weight_ring(
    graph: LayerGraph, tiled: TiledLayer, line_bytes: int, *, blank: bool = False
) -> Ring:
    """The weights of an array layer with a constant stationary operand; ``blank``: zeros."""
    layer, tiling = tiled.layer, tiled.tiling
    assert layer.stationary is not None
    data = np.asarray(graph.weights[layer.stationary.tensor])
    expected = (layer.groups, layer.taps_r, layer.taps_s, layer.c, layer.n)
    assert data.shape == expected, f"{layer.name}: weights {data.shape}, not {expected}"
    channels = layer.groups * layer.n
    zeros = layer.stationary.zero
    zero = np.broadcast_to(np.asarray(zeros, dtype=np.int64), (channels,))

    def tile(index: dict[Dim, int]) -> Array:
        if blank:
            return np.zeros((_index_lines(tiled, index), line_bytes), dtype=np.uint8)
        return _weight_tile(tiled, data, zero, line_bytes, index)

    return _ring(tiled, tiling.weight_depth, WEIGHT_DIMS, tile, line_bytes)


def _index_lines(tiled: TiledLayer, index: dict[Dim, int]) -> int:
    """Weight lines of the array tile at an index."""
    _, width, count = _channels(tiled, index)
    size = tiled.ragged("k")[0]
    k = min(size, tiled.layer.c - index.get("k", 0) * size)
    return -(-count // width) * sum(one.lanes + tiled.zero_lines for one in tiled.passes(k))


def param_ring(graph: LayerGraph, tiled: TiledLayer, line_bytes: int) -> Ring:
    """The parameters of each column block, one line for each: 32-bit patterns."""
    layer, tiling = tiled.layer, tiled.tiling
    arrays = [_bits(graph.params[name]) for name in layer.params]

    def tile(index: dict[Dim, int]) -> Array:
        first, width, count = _channels(tiled, index)
        blocks = -(-count // width)
        lines = np.zeros((blocks, len(arrays), line_bytes), dtype="<u4")
        for kind, values in enumerate(arrays):
            for block in range(blocks):
                low = first + block * width
                part = values[low : min(low + width, first + count)]
                lines[block, kind, : len(part)] = part
        return lines.view(np.uint8).reshape(-1, 4 * line_bytes)

    return _ring(tiled, tiling.param_depth, PARAM_DIMS, tile, 4 * line_bytes)


def _bits(vector: object) -> Array:
    """The 32-bit patterns of int32 or float32 numbers; what they mean is the program's affair."""
    data = np.asarray(vector)
    assert data.dtype in (np.int32, np.float32), f"a parameter vector is {data.dtype}"
    return data.view(np.uint32)


def _channels(tiled: TiledLayer, index: dict[Dim, int]) -> tuple[int, int, int]:
    """(first output channel, channels of a block, channels) of a tile."""
    layer = tiled.layer
    shape = tiled.columns
    groups, n = tiled.tile("g"), tiled.tile("n")
    g0, n0 = index.get("g", 0) * groups, index.get("n", 0) * n
    if groups == 1:
        return g0 * layer.n + n0, shape.width, min(n, layer.n - n0)
    return g0 * layer.n, shape.width, min(groups, layer.groups - g0) * layer.n


def _weight_tile(
    tiled: TiledLayer,
    data: Array,
    zero: Array,
    line_bytes: int,
    index: dict[Dim, int],
) -> Array:
    """Lines (lines, line_bytes) of one array tile: column block, pass, lanes."""
    layer = tiled.layer
    first, width, count = _channels(tiled, index)
    size = tiled.ragged("k")
    k0 = index.get("k", 0) * size[0]
    k = min(size[0], layer.c - k0)
    walk = tiled.passes(k)
    lanes = np.array([lane for one in walk for lane in one.lanes_of(tiled.feed)]).T
    lines: list[Array] = []
    for low in range(first, first + count, width):
        high = min(low + width, first + count)
        own_zero = zero[low:high]
        matrix = _block_matrix(layer, data, own_zero, low, high, k0, k)
        taps = _lane_taps(tiled, matrix, lanes, k, own_zero)
        block = np.full((len(taps), line_bytes), own_zero[0], dtype=np.int64)
        block[:, : high - low] = taps
        if tiled.zero_lines:
            block = _with_zero_lines(block, walk, own_zero, line_bytes)
        lines.append(block)
    return (np.concatenate(lines) & 255).astype(np.uint8)


def _block_matrix(
    layer: Layer, data: Array, zero: Array, low: int, high: int, k0: int, k: int
) -> Array:
    """(taps_r, taps_s, groups of the block, k, columns): off-diagonal groups hold zero points."""
    g0, g1 = low // layer.n, -(-high // layer.n)
    matrix = np.broadcast_to(
        zero.astype(np.int64), (layer.taps_r, layer.taps_s, g1 - g0, k, high - low)
    ).copy()
    for g in range(g0, g1):
        a, b = max(low, g * layer.n), min(high, (g + 1) * layer.n)
        matrix[:, :, g - g0, :, a - low : b - low] = data[
            g, :, :, k0 : k0 + k, a - g * layer.n : b - g * layer.n
        ]
    return matrix


def _lane_taps(
    tiled: TiledLayer,
    matrix: Array,
    lanes: Array,
    k: int,
    zero: Array,
) -> Array:
    """(lanes of all passes, columns); ``lanes``: their tap and channel, (3, lanes)."""
    layer = tiled.layer
    width = matrix.shape[-1]
    shape = tiled.reduction(k)
    if tiled.feed.per_channel:
        # (taps_r, taps_s, 1, channels): the diagonal of the block-diagonal matrix.
        flat = matrix[:, :, np.arange(width), 0, np.arange(width)][:, :, None]
    elif shape.merged:
        flat = matrix.reshape(shape.taps_a, 1, -1, width)
    else:
        flat = matrix.reshape(layer.taps_r, layer.taps_s, -1, width)
    if tiled.feed.swap and not shape.merged:
        flat = flat.swapaxes(0, 1)
    if flat.shape[2] < shape.segment:  # a last, smaller pack: the lanes beyond multiply by zero
        tail = np.broadcast_to(zero, (*flat.shape[:2], shape.segment - flat.shape[2], width))
        flat = np.concatenate([flat, tail], axis=2)
    a, b, at = lanes
    taps: Array = flat[a, b, at]
    return taps


def _with_zero_lines(block: Array, walk: tuple[Pass, ...], zero: Array, line_bytes: int) -> Array:
    line = np.full((1, line_bytes), zero[0], dtype=np.int64)
    line[0, : len(zero)] = zero
    parts, at = [], 0
    for step in walk:
        parts += [line, block[at : at + step.lanes]]
        at += step.lanes
    return np.concatenate(parts)


def _ring(
    tiled: TiledLayer,
    depth: int,
    relevant: frozenset[Dim],
    tile: object,
    line_bytes: int,
) -> Ring:
    """Blocks of one scope each, at regular strides of a full block."""
    tiling = tiled.tiling
    assert callable(tile)
    count = dict(zip(tiling.order, tiled.level_trips, strict=True))
    outer = [d for d in tiling.order[:depth] if d in relevant]
    inner = [d for d in tiling.order[depth:] if d in relevant]
    blocks: dict[tuple[int, ...], bytes] = {}
    for outside in product(*(range(count[d]) for d in outer)):
        parts = []
        for inside in product(*(range(count[d]) for d in inner)):
            index = dict(zip((*outer, *inner), (*outside, *inside), strict=True))
            parts.append(tile(index))
        blocks[outside] = np.concatenate(parts).tobytes()
    full = len(blocks[(0,) * len(outer)])
    strides, step = [0] * LEVELS, full
    for dim in reversed(outer):
        strides[tiling.order.index(dim)] = step
        step *= count[dim]
    image = bytearray(step if outer else full)
    for position, outside in enumerate(product(*(range(count[d]) for d in outer))):
        image[position * full : position * full + len(blocks[outside])] = blocks[outside]

    def lines(last_n: bool, last_k: bool) -> int:
        chosen = tuple(count[d] - 1 if (last_k if d == "k" else last_n) else 0 for d in outer)
        return len(blocks[chosen]) // line_bytes

    repeats = prod(count[d] for d in tiling.order[:depth] if d not in relevant)
    total = sum(len(b) for b in blocks.values()) // line_bytes * repeats
    return Ring(
        bytes(image),
        strides,
        [lines(False, False), lines(True, False), lines(False, True), lines(True, True)],
        total,
    )
