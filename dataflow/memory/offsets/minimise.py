"""The least capacity, with a bound below which none will do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dataflow.memory.offsets.arrays import Ints, Part, Terms, parts
from dataflow.memory.offsets.portfolio import find
from dataflow.memory.offsets.search import EFFORT, check, named, quick, spread_out, spread_packing
from dataflow.memory.plan import Buffer, Packing, peak_bytes

ATTEMPTS = 8
"""Parts of the effort: no capacity may take more than one of what is left."""


def minimise(
    buffers: Sequence[Buffer],
    align: int = 1,
    *,
    bank_bytes: int | None = None,
    seed: int = 0,
    effort: int = EFFORT,
) -> Packing:
    """Offsets with the least top that the search finds, and the bound that it proves.

    Arguments and errors as of `pack`. Without offsets the buffers have none in any memory: fixed
    ones share a bank.
    """
    terms = Terms(align, bank_bytes or 1)
    check(buffers, None, align, bank_bytes)
    spread = spread_out(buffers, align)
    if spread is not None:
        return spread_packing(buffers, spread, peak_bytes(buffers))
    offsets: dict[str, int] = {}
    top = bound = nodes = 0
    # The part that needs most sets the capacity; the others need only stay below it.
    for part in sorted(parts(buffers, terms), key=lambda p: -p.bound()[0]):
        found = _least(part, top, seed, effort - nodes)
        nodes += found.nodes
        if found.offsets is None:
            return Packing(
                None, found.proven, "fixed buffers and banks leave no offsets", 0, 0, nodes
            )
        offsets.update(named(part, found.offsets))
        top = max(top, int((found.offsets + part.size).max()) * part.unit)
        bound = max(bound, found.bound)
    return Packing(offsets, top == bound, "", top, bound, nodes)


@dataclass(frozen=True)
class _Least:
    offsets: Ints | None
    proven: bool
    bound: int
    nodes: int


def _least(part: Part, enough: int, seed: int, effort: int) -> _Least:
    """Offsets of a part with the least top, or any top that is not above `enough`."""
    unit = part.unit
    bound = part.bound()[0]
    best = quick(part)
    nodes = 0
    if best is None:
        high = int(part.height.sum() + (part.align + part.bank).sum() + part.least.max()) * unit
        found = find(part, high, seed, effort)
        nodes += found.nodes
        if found.offsets is None:
            return _Least(None, found.refuted, bound, nodes)
        best = found.offsets
    top = _top(part, best) * unit
    low = max(bound, enough) - unit  # the highest capacity that is refuted or given up
    while top > max(bound, enough) and low + unit < top:
        # The bound first, it is nearly always reached; then halves of what is left.
        aim = low + unit if low < max(bound, enough) else (low + top) // (2 * unit) * unit
        found = find(part, aim, seed, max(1, (effort - nodes) // ATTEMPTS))
        nodes += found.nodes
        if found.offsets is not None:
            best = found.offsets
            top = _top(part, best) * unit
        else:
            low = max(aim, low + unit)
            if found.refuted:
                bound = max(bound, low + unit)
    return _Least(best, True, bound, nodes)


def _top(part: Part, offsets: Ints) -> int:
    return int(np.max(offsets + part.size))
