"""Which Einsum must have seen a whole fibre before another may start (fusemax.md, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.analysis.fibre import Lineage
from dataflow.ir.cascade import Access, Cascade, Einsum


@dataclass(frozen=True)
class Order:
    """The relation "forced before" between Einsums, by position.

    Attributes:
        forced: for each Einsum the bit set of those that are forced before it.
        barriers: for each Einsum the largest number of barriers on a path to it.
    """

    forced: tuple[int, ...]
    barriers: tuple[int, ...]

    def before(self, first: int, second: int) -> bool:
        """Whether all of the fibre must be read in ``first`` before any of it in ``second``."""
        return bool(self.forced[second] >> first & 1)


def forced_order(cascade: Cascade, outer: Lineage) -> Order:
    """The relation for the fibre whose outermost rank has the lineage ``outer``.

    u is forced before v when some path u -> .. -> v of reads has a barrier: an Einsum that walks
    the outermost rank while its output no longer carries it, or an iterative tensor of which
    only a fixed slice is read. Edges that point backwards in program order (the carries of a
    loop) do not count.
    """
    einsums = cascade.einsums
    folds = _folding(cascade, outer)
    writers: dict[str, list[int]] = {}
    reach: list[int] = []
    forced: list[int] = []
    barriers: list[int] = []
    for number, einsum in enumerate(einsums):
        seen = behind = count = 0
        for item in einsum.inputs:
            for source in writers.get(item.tensor, ()):
                chain = reach[source] | 1 << source
                seen |= chain
                behind |= forced[source]
                step = barriers[source]
                fixed = _final_slice(einsums[source], item, einsum, outer)
                if source in folds or fixed:
                    behind |= chain
                    step += 1
                count = max(count, step)
        reach.append(seen)
        forced.append(behind)
        barriers.append(count)
        writers.setdefault(einsum.output.tensor, []).append(number)
    return Order(tuple(forced), tuple(barriers))


def _folding(cascade: Cascade, outer: Lineage) -> set[int]:
    """Einsums that walk the outermost rank and whose output does not carry it."""
    found = set()
    for reading in outer.readings:
        einsum = cascade.einsums[reading.einsum]
        variable = reading.variables[0]
        if variable not in einsum.output.variables and variable not in einsum.iterates:
            found.add(reading.einsum)
    return found


def _final_slice(writer: Einsum, item: Access, reader: Einsum, outer: Lineage) -> bool:
    """Whether a tensor generated along the outermost rank is read at one fixed slice of it."""
    for place in outer.places.get(writer.output.tensor, ()):
        dim = place[0].dim
        if dim is None or dim >= len(writer.output.indices):
            continue
        walked = set(writer.output.indices[dim].variables) & set(writer.iterates)
        if walked and not walked & set(reader.iterates) and not item.indices[dim].variables:
            return True
    return False
