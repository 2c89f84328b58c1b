"""First fit in several orders: the quick answer, and the upper bound of the exact search."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.memory.offsets.arrays import Ints, Part, load
from dataflow.memory.offsets.compiled import compiled


def first_fit(part: Part) -> Ints:
    """Offsets in units, of the order of placement with the least top; sizes decide first.

    Gaps and alignments are kept; the part has no fixed buffers, no holes and no bank groups.
    """
    sizes = part.height.astype(float)
    starts = np.array([b.start for b in part.buffers], dtype=float)
    lengths = np.array([b.end - b.start for b in part.buffers], dtype=float)
    arrays = load(part, int(part.height.sum()) * part.unit).arrays
    best: Ints = np.zeros(0, dtype=np.int64)
    least = -1
    for key in (sizes * lengths, sizes, lengths):
        order = np.lexsort((starts, -sizes, -key)).astype(np.int64)
        offsets = np.full(len(order), -1, dtype=np.int64)
        fill(arrays, order, offsets)
        top = int((offsets + part.size).max())
        if least < 0 or top < least:
            best, least = offsets, top
    return best


@compiled
def fill(a: Any, order: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
    """Places the buffers in `order`, each at the lowest offset that is free over its life.

    Those that `offsets` already places (not below 0) stay.
    """
    count = a[1]
    sec_at, secs, buf_at, bufs = a[2], a[3], a[4], a[5]
    height, align = a[6], a[8]
    seen = np.full(count, -1, dtype=np.int64)
    lows = np.empty(count, dtype=np.int64)
    for x in range(order.shape[0]):
        i = order[x]
        if offsets[i] >= 0:
            continue
        found = 0
        for q in range(sec_at[i], sec_at[i + 1]):
            t = secs[q]
            for k in range(buf_at[t], buf_at[t + 1]):
                j = bufs[k]
                if offsets[j] >= 0 and seen[j] != i:
                    seen[j] = i
                    lows[found] = j
                    found += 1
        # Neighbours by offset, then the first space between them.
        near = lows[:found][np.argsort(offsets[lows[:found]])]
        at = 0
        for k in range(found):
            j = near[k]
            if at + height[i] <= offsets[j]:
                break
            at = max(at, offsets[j] + height[j])
            at = (at + align[i] - 1) // align[i] * align[i]
        offsets[i] = at
