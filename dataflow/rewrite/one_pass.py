"""One pass over a fibre instead of several. Changes rounding.

Before: reductions over one rank of which later ones read earlier ones (softmax: maximum, sum,
weighted sum), so that each traverses the rank again::

    GM[p] = QK[m, p] :: max(m)
    SD[p] = sub_exp(QK[m, p], GM[p]) :: add(m)

After: a loop over tiles of the rank that carries what all of them need, and corrects it when a
reduction on which it depends moves on::

    RGM[m1+1, p] = max(LGM[m1, p], RGM[m1, p])
    RSD[m1+1, p] = LSD[m1, p] + RSD[m1, p] * sub_exp(RGM[m1, p], RGM[m1+1, p])

The derivation is algebra over the expressions (`dataflow.rewrite.carried`), not a pattern for
attention; what has no carried state is refused with the reason.

A running maximum starts from the most negative finite number, so that a fully masked tile gives
no NaN. For a row that is masked everywhere the maximum itself is then that number, not -inf.
"""

from __future__ import annotations

from collections.abc import Callable

from dataflow.errors import DataflowError
from dataflow.ir.cascade import Cascade
from dataflow.rewrite.carried.apply import Carried, corrects, rewrite_groups, tile_near
from dataflow.rewrite.carried.loop import emit_loop

TILE = 128
"""Largest tile where none is asked for."""


def one_pass(cascade: Cascade, tile: int | None = None) -> Carried:
    """Rewrites every group of dependent reductions over one fibre.

    Args:
        cascade: any.
        tile: elements of a tile; the last one has a masked tail where it does not divide the
            rank. None: at most 128, and at least two tiles.

    Raises:
        DataflowError: for a tile below 1.
    """
    return rewrite_groups(cascade, emit_loop, tiling(tile))


def one_pass_norm(cascade: Cascade, tile: int | None = None) -> Carried:
    """The same for groups without exponentials: normalisations, variances, projections of them.

    Mean and variance of a layer normalisation share one traversal (Chan's update), and so does
    a projection of the normalised values, where nothing else reads them.
    """
    return rewrite_groups(
        cascade, emit_loop, tiling(tile), lambda group, state: not corrects(state)
    )


def tiling(tile: int | None) -> Callable[[int], int]:
    """Elements per tile for the size of a rank; ``tile`` as in `one_pass`."""
    if tile is not None and tile < 1:
        raise DataflowError("--tile", f"{tile} is no tile size", "use 1 or more")
    if tile is not None:
        return lambda size: min(tile, size)
    return lambda size: tile_near(size, min(TILE, (size + 1) // 2))
