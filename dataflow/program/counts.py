"""Exact counts of array work: what the performance counters will show."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from dataflow.layers.tiled import NO_LEVEL, TiledLayer


@dataclass(frozen=True)
class ArrayCounts:
    """Work of the array over a whole layer.

    Attributes:
        macs: multiply-accumulates counted (zeros beside the diagonal of packed groups are not).
        passes: loads of the weight registers.
        steps: feed steps.
    """

    macs: int = 0
    passes: int = 0
    steps: int = 0


def array_counts(tiled: TiledLayer) -> ArrayCounts:
    """Counts summed over all tiles, ragged ones included."""
    layer, tiling = tiled.layer, tiled.tiling
    if layer.kind != "array":
        return ArrayCounts()
    shape = tiled.columns
    rows_p, rows_q, rows_k = (tiled.ragged(d) for d in ("p", "q", "k"))
    count: dict[str, int] = {
        str(d): n for d, n in zip(tiling.order, tiled.level_trips, strict=True)
    }
    packed = tiled.tile("g") > 1 and shape.pack > 1 and tiling.feed == "flat"

    def variants(dim: str) -> tuple[tuple[int, int], ...]:
        """(0 full or 1 last, how often) of a dim's tiles."""
        return (0, count.get(dim, 1) - 1), (1, 1)

    cut = tiling.order[shape.level] if shape.level != NO_LEVEL else ""
    others = prod(n for d, n in count.items() if d not in ("p", "q", "k", cut))
    macs = total = walked = 0
    for k, k_times in variants("k"):
        walk = tiled.passes(rows_k[k])
        lanes = sum(one.lanes for one in walk)
        for p, p_times in variants("p"):
            for q, q_times in variants("q"):
                points = rows_p[p] * rows_q[q]
                feed = sum(tiled.steps(one, rows_p[p], rows_q[q]) for one in walk)
                for c, c_times in variants(cut):
                    times = others * c_times * k_times * p_times * q_times
                    width = (shape.blocks[c] - 1) * shape.width + shape.last[c]
                    if packed:
                        width = shape.blocks[c] * layer.n
                    macs += times * points * lanes * width
                    total += times * shape.blocks[c] * len(walk)
                    walked += times * shape.blocks[c] * feed
    return ArrayCounts(macs, total, walked)
