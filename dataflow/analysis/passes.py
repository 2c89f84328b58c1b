"""Pass counts: how often the elements of a fibre must be traversed, under every mapping.

Definition: FuseMax (arXiv 2406.10491), section 3. Suppose fibres of a rank are read in two
Einsums and stand for the same data. If all elements must have been read in the first before any
can be read again in the second, the pair forces one more pass; a chain of N such pairs forces
N + 1 passes. Einsums of one pass may be fused tile by tile along the rank, those of different
passes may not.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dataflow.analysis.fibre import Lineage, Place, follow, is_view, root_place
from dataflow.analysis.order import Order, forced_order
from dataflow.ir.cascade import Cascade


@dataclass(frozen=True)
class Passes:
    """The pass count of a fibre.

    Attributes:
        tensor, ranks: the fibre, outer rank first.
        passes: 0 when nobody reads the fibre.
        chain: names of Einsums, one for each pass; each must have read all of the fibre before
            the next may start.
        levels: for each reader the pass (from 1) in which it can read at the earliest.
    """

    tensor: str
    ranks: tuple[str, ...]
    passes: int
    chain: tuple[str, ...]
    levels: dict[str, int]


@dataclass(frozen=True)
class FibreOrder:
    """What the analyses of one fibre share: lineages of the fibre and of its outermost rank."""

    whole: Lineage
    outer: Lineage
    order: Order


def analyse_fibre(cascade: Cascade, tensor: str, place: Place) -> FibreOrder:
    """Lineages and order of a fibre."""
    whole = follow(cascade, tensor, place)
    outer = follow(cascade, tensor, place, outermost=True)
    return FibreOrder(whole, outer, forced_order(cascade, outer))


def count_passes(cascade: Cascade, tensor: str, ranks: tuple[str, ...]) -> Passes:
    """The pass count over the fibres ``ranks`` (outer first) of ``tensor``.

    Raises DataflowError when there is no such fibre.
    """
    return count_at(cascade, tensor, root_place(cascade, tensor, ranks), ranks)


def count_at(
    cascade: Cascade,
    tensor: str,
    place: Place,
    ranks: tuple[str, ...] = (),
    among: Collection[str] | None = None,
) -> Passes:
    """The pass count over the fibres at ``place`` of ``tensor``.

    ``ranks`` only names them. With ``among``, only the readings of these Einsums count: the
    passes that a part of a network makes.
    """
    fibre = analyse_fibre(cascade, tensor, place)
    readers = sorted({r.einsum for r in fibre.whole.readings})
    readers = [k for k in readers if not is_view(cascade.einsums[k])]
    if among is not None:
        readers = [k for k in readers if cascade.einsums[k].name in among]
    best: dict[int, tuple[int, int | None]] = {}
    for k in readers:
        earlier = [j for j in best if fibre.order.before(j, k)]
        last = max(earlier, key=lambda j: (best[j][0], -j), default=None)
        best[k] = (1, None) if last is None else (best[last][0] + 1, last)
    chain: list[str] = []
    link = max(best, key=lambda k: (best[k][0], -k), default=None)
    while link is not None:
        chain.append(cascade.einsums[link].name)
        link = best[link][1]
    levels = {cascade.einsums[k].name: level for k, (level, _) in best.items()}
    return Passes(tensor, ranks, len(chain), tuple(reversed(chain)), levels)
