"""What leads from a residency state through a layer, whatever it costs.

The search for a network's mapping is run many times with other cycles: what the judge has measured,
what a layer must leave free. Which states a layer leads to does not depend on cycles, so it is
found once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

from dataflow.mapper.modes import LayerMode
from dataflow.mapper.tensors import TensorPlan, alive_read, begins

State = tuple[tuple[str, int], ...]
"""(tensor, resident reads) of every tensor that a later layer reads, sorted by name."""

Way = tuple[int, State, int]
"""Position of a mode, the state behind the layer, bytes of the activation memory that it fills."""


KEPT = 1_000_000
"""Ways that are remembered; those beyond are found anew each time."""


@dataclass(eq=False)
class Ways:
    """The ways through the layers of one network.

    Attributes:
        plans: its tensors.
        line: bytes of a line.
        capacity: bytes of the activation memory: no way fills more.
    """

    plans: Mapping[str, TensorPlan]
    line: int
    capacity: int
    _known: dict[tuple[int, tuple[LayerMode, ...], State], tuple[Way, ...]] = field(
        default_factory=dict
    )
    _kept: int = 0
    _states: dict[State, State] = field(default_factory=dict)
    _starts: dict[int, list[str]] = field(default_factory=dict)
    _bytes: dict[str, int] = field(default_factory=dict)
    _last: dict[str, int] = field(default_factory=dict)
    _reads: dict[tuple[str, int], int | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for root, plan in self.plans.items():
            if plan.readers:
                self._starts.setdefault(begins(plan), []).append(root)
                self._bytes[root] = plan.resident_bytes(self.line)
                self._last[root] = plan.readers[-1].layer

    def through(self, layer: int, modes: tuple[LayerMode, ...], before: State) -> tuple[Way, ...]:
        """Every way through a layer from a state, in any of the modes."""
        key = layer, modes, before
        if key in self._known:
            return self._known[key]
        found = tuple(self._found(layer, modes, before))
        if self._kept < KEPT:
            self._kept += len(found)
            self._known[key] = found
        return found

    def _found(self, layer: int, modes: tuple[LayerMode, ...], before: State) -> Iterator[Way]:
        known = dict(before)
        for position, mode in enumerate(modes):
            allowed = self._allowed(layer, mode, known)
            if allowed is None:
                continue
            names = list(allowed)
            for counts in product(*allowed.values()):
                state = known | dict(zip(names, counts, strict=True))
                used = 0
                for root, count in state.items():
                    read = self._read(root, layer)
                    if read is not None and count > read:
                        used += self._bytes[root]
                if used > self.capacity:
                    continue
                later = [(r, count) for r, count in state.items() if self._last[r] > layer]
                after = tuple(sorted(later))
                yield position, self._states.setdefault(after, after), used

    def _read(self, root: str, layer: int) -> int | None:
        key = root, layer
        if key not in self._reads:
            self._reads[key] = alive_read(self.plans[root], layer)
        return self._reads[key]

    def _allowed(
        self, layer: int, mode: LayerMode, known: Mapping[str, int]
    ) -> dict[str, range] | None:
        """Resident reads that a mode allows for each tensor that comes up here; None: not so."""
        limits: dict[str, tuple[int, int]] = {
            root: (0, len(self.plans[root].readers))
            for root in self._starts.get(layer, ())
            if root not in known
        }
        for root, number, value in mode.needs:
            low, high = limits.get(root, (0, len(self.plans[root].readers)))
            limits[root] = (max(low, number + 1), high) if value else (low, min(high, number))
        for root, (low, high) in limits.items():
            if low > high or (root in known and not low <= known[root] <= high):
                return None
        return {r: range(low, high + 1) for r, (low, high) in limits.items() if r not in known}
