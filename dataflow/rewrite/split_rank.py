"""Split of a reduced rank into independent parts, merged at the end. Changes rounding.

For decode: with one query there is parallelism only along the keys, so that each part of them
keeps its own maximum, sum and weighted sum, which a log-sum-exp merge then brings to the common
maximum (FlashDecoding). The same holds for every group of reductions with a carried state::

    LM[m1, p]      = QK[m1, m0, p] :: max(m0)
    LD[m1, p]      = sub_exp(QK[m1, m0, p], LM[m1, p]) :: add(m0)
    GM[p]          = LM[m1, p] :: max(m1)
    SD[p]          = LD[m1, p] * sub_exp(LM[m1, p], GM[p]) :: add(m1)

One pass, but what the parts hold grows with their number.
"""

from __future__ import annotations

from dataflow.errors import DataflowError
from dataflow.ir.cascade import Cascade
from dataflow.rewrite.carried.apply import Carried, rewrite_groups, tile_near
from dataflow.rewrite.carried.tree import emit_tree

PARTS = 8
"""Default for the smallest number of parts."""


def split_rank(cascade: Cascade, tile: int | None = None) -> Carried:
    """Splits the rank of every group of dependent reductions over one fibre.

    Args:
        cascade: any.
        tile: elements of a part; the last one has a masked tail where they do not divide the
            rank. None: at least 8 parts.

    Raises:
        DataflowError: for a tile below 1.
    """
    if tile is not None and tile < 1:
        raise DataflowError("--tile", f"{tile} is no tile size", "use 1 or more")

    def elements(size: int) -> int:
        return tile_near(size, size // PARTS) if tile is None else min(tile, size)

    return rewrite_groups(cascade, emit_tree, elements)
