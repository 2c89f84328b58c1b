"""Lines of the weight ring that a scope of a layer's tile loops needs."""

from __future__ import annotations

from dataflow.layers.axis import ceil_div
from dataflow.layers.passes import Feed
from dataflow.tiling.feed import pass_kinds
from dataflow.tiling.shape import LayerShape


def block_lines(shape: LayerShape, feed: Feed, k: int, rows: int) -> int:
    """Weight-ring lines of one column block over one tile of `k` reduction channels."""
    return sum(
        kind.times * (kind.lines + shape.zero_lines) for kind in pass_kinds(shape, feed, k, rows)
    )


def reduction_lines(shape: LayerShape, feed: Feed, k: int, rows: int) -> int:
    """Weight-ring lines of one column block over the whole reduction in tiles of `k`."""
    full, rest = divmod(shape.c, k)
    lines = full * block_lines(shape, feed, k, rows)
    return lines + (block_lines(shape, feed, rest, rows) if rest else 0)


def k_sizes(shape: LayerShape, rows: int) -> tuple[int, ...]:
    """Tile sizes of k of the mapspace: whole array rows, one for each number of trips."""
    blocks = ceil_div(shape.c, rows)
    sizes = {shape.c}
    trips = 1
    while trips < blocks:
        trips += 1
        sizes.add(min(shape.c, ceil_div(blocks, trips) * rows))
    return tuple(sorted(sizes))
