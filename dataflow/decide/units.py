"""Which engine does the work of each Einsum of the imported Cascade."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from dataflow.ir.cascade import Cascade
from dataflow.layers.layer import Layer
from dataflow.lower.refusal import Refused

Unit = Literal["array", "vector", "dma", "host", "none"]
UNITS: tuple[Unit, ...] = ("array", "vector", "dma", "host", "none")


@dataclass(frozen=True)
class Placed:
    """What became of Einsums, by name; those that move no byte have no unit.

    Attributes:
        units: engines that do their work.
        refused: why they are not run.
    """

    units: Mapping[str, frozenset[Unit]]
    refused: Mapping[str, Refused]

    def runs(self, names: Iterable[str]) -> tuple[Unit, ...]:
        """The engines of several Einsums, in the order of `UNITS`."""
        found = {unit for name in names for unit in self.units.get(name, frozenset())}
        return tuple(unit for unit in UNITS if unit in found)


def placed(
    cascades: Sequence[Cascade], layers: Sequence[Layer], refused: Sequence[Refused]
) -> Placed:
    """What became of the Einsums of the first Cascade.

    Args:
        cascades: the imported one, then that after each pass.
        layers: made of the last one.
        refused: Einsums of any of them.
    """
    units: dict[str, frozenset[Unit]] = {}
    for layer in layers:
        for place, name in enumerate(layer.einsums):
            own: Unit = "array" if layer.kind == "array" and place == 0 else "vector"
            units[name] = units.get(name, frozenset()) | {own}
    reasons = {name: r for r in refused for name in r.einsums}
    for before, after in reversed(list(pairwise(cascades))):
        _inherit(before, after, units, reasons)
    return Placed(units, reasons)


def _inherit(
    before: Cascade,
    after: Cascade,
    units: dict[str, frozenset[Unit]],
    reasons: dict[str, Refused],
) -> None:
    """Einsums that a pass took into their readers run, or are refused, where those are.

    What it made of one Einsum beside it (pieces) counts for that one.
    """
    left = {e.name for e in after.einsums}
    _gather_pieces(before, after, units, reasons)
    for einsum in reversed(before.einsums):
        if einsum.name in left or einsum.name in reasons or einsum.iterates:
            continue
        name = einsum.output.tensor
        readers = [e.name for e in before.readers.get(name, ())]
        units[einsum.name] = frozenset().union(*(units.get(r, frozenset()) for r in readers))
        bad = [reasons[r] for r in readers if r in reasons]
        if bad and not units[einsum.name]:
            reasons[einsum.name] = bad[0]


def _gather_pieces(
    before: Cascade,
    after: Cascade,
    units: dict[str, frozenset[Unit]],
    reasons: dict[str, Refused],
) -> None:
    """Einsums that are new count for one that they come from: the same node, the same tensor."""
    known = {e.name for e in before.einsums}
    for new in after.einsums:
        if new.name in known:
            continue
        near = [
            e.name for e in before.einsums if (e.source, e.operator) == (new.source, new.operator)
        ]
        writers = {e.name for e in before.writers.get(new.output.tensor, ())}
        for name in [n for n in near if n in writers][:1] or near[:1]:
            units[name] = units.get(name, frozenset()) | units.get(new.name, frozenset())
            if new.name in reasons:
                reasons.setdefault(name, reasons[new.name])
