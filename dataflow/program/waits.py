"""Waits: events of tiles, retired instructions of engines, and what each instruction needs.

A read of a resident tensor waits for the very tiles that it reads (`Stamps`); everything else
that crosses layers, reuse of memory above all, waits for retired instructions (`Hazards`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dataflow.layers.layer import View
from dataflow.machine.isa import Event, Unit, Value

Array = np.ndarray

RETIRED_FIELD = {
    Unit.LOAD: "load",
    Unit.ARRAY: "array",
    Unit.VECTOR: "vector",
    Unit.STORE: "store",
}


def wait(event: Event, base: int, step: int, cap: int) -> dict[str, Value]:
    """A WAIT group."""
    return {"event": int(event), "base": base, "step": step, "cap": cap}


def each_tile(event: Event, before: int, count: int) -> dict[str, Value]:
    """Fire t waits for event number t of this layer (``before`` = events of earlier layers)."""
    return wait(event, before + 1, 256, before + count)


def free_slot(event: Event, before: int, count: int, slots: int) -> dict[str, Value]:
    """Fire t waits until the tile that held its slot before has been released."""
    return wait(event, before + 1 - slots, 256, before + count)


def fitted(event: Event, needs: Sequence[int]) -> dict[str, Value]:
    """The line under a cap that is never below ``needs`` and above them as little as possible.

    ``needs[t]`` is the event count that fire t must see. A first tile that starts late costs
    more than the others, so ties go to the smaller base.
    """
    need = np.asarray(needs, dtype=np.int64)
    cap = int(need.max())
    t = np.arange(1, len(need))
    best: tuple[int, int, int] | None = None
    first = int(need[0])
    for base in dict.fromkeys([*range(first, min(first + 8, cap) + 1), cap]):
        step = 0
        if len(t):
            short = np.maximum(need[1:] - base, 0) * 256
            step = int((-(-short // t)).max())
        if step >= 1 << 24:
            continue
        value = np.minimum(cap, base + (np.arange(len(need)) * step >> 8))
        assert (value >= need).all()
        cost = int((value - need).sum())
        if best is None or cost < best[0]:
            best = (cost, base, step)
    assert best is not None, "base = cap always fits"
    return wait(event, best[1], best[2], cap)


@dataclass
class Stamps:
    """Which event count makes each byte of a resident tensor readable.

    Attributes:
        event: VECTOR_OUT, LOAD_I or LOAD_R; the counter that the stamps refer to.
        counts: int64 per dense byte of the tensor.
    """

    event: Event
    counts: Array

    def box(
        self, view: View, y: tuple[int, int], x: tuple[int, int], c: tuple[int, int], b: int
    ) -> Array:
        """Writable window on the stamps of rows y, columns x, channels c (half-open) of item b."""
        low = view.offset + b * view.b_bytes + y[0] * view.y_bytes + x[0] * view.x_bytes + c[0]
        shape = tuple(end - start for start, end in (y, x, c))
        return np.lib.stride_tricks.as_strided(
            self.counts[low:], shape, (view.y_bytes * 8, view.x_bytes * 8, 8)
        )


@dataclass(frozen=True)
class Touch:
    """A region that an instruction reads or writes."""

    unit: Unit
    number: int  # instructions of this unit up to and with this one
    layer: int
    space: str  # act or dram
    low: int
    high: int
    write: bool


@dataclass
class Hazards:
    """Every region touched so far, and the running totals of events and instructions."""

    events: Counter[Event] = field(default_factory=Counter)
    issued: Counter[Unit] = field(default_factory=Counter)
    touches: list[Touch] = field(default_factory=list)

    def issue(self, unit: Unit) -> int:
        """Counts an instruction of a unit."""
        self.issued[unit] += 1
        return self.issued[unit]

    def touch(
        self, unit: Unit, layer: int, space: str, region: tuple[int, int], *, write: bool
    ) -> None:
        """Records a region of the instruction of ``unit`` that was issued last."""
        number = self.issued[unit]
        self.touches.append(Touch(unit, number, layer, space, region[0], region[1], write))

    def conflicts(
        self,
        unit: Unit,
        layer: int,
        space: str,
        region: tuple[int, int],
        *,
        write: bool,
        read_after_write: bool = True,
    ) -> Counter[Unit]:
        """Instructions of other units and earlier layers that must have retired first."""
        need: Counter[Unit] = Counter()
        for t in self.touches:
            if t.unit == unit or t.layer == layer or t.space != space:
                continue
            if t.low >= region[1] or region[0] >= t.high:
                continue
            if write or (t.write and read_after_write):
                need[t.unit] = max(need[t.unit], t.number)
        return need


def retired(*needs: Counter[Unit]) -> dict[str, Value]:
    """A RETIRED group: the largest need of each unit."""
    return {name: max((n[unit] for n in needs), default=0) for unit, name in RETIRED_FIELD.items()}
