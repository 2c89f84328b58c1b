"""State that all engines of the interpreter share, and the walk over tile loops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from dataflow.machine import Machine
from dataflow.machine.decode import Fields
from dataflow.machine.isa import Event, Unit

Array = np.ndarray
MASK = (1 << 24) - 1
POISON = 0xA5


class InterpretError(Exception):
    """The program does something that the machine forbids, or waits for ever."""


@dataclass
class State:
    """Memories and counters.

    Attributes:
        act: activation memory, bytes.
        dram: DRAM image, bytes, offset 0 = tensor base pointer.
        weights, params: rings, (lines, bytes of a line).
        acc: (2, acc_lines, cols) int32.
        events: event counters.
        done: retired instructions of each unit.
        written, freed: ring lines by ring name.
        macs, read_bytes, write_bytes: what the performance counters would show.
    """

    machine: Machine
    act: Array
    dram: Array
    weights: Array
    params: Array
    acc: Array
    events: Counter[Event] = field(default_factory=Counter)
    done: Counter[Unit] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    freed: Counter[str] = field(default_factory=Counter)
    macs: int = 0
    read_bytes: int = 0
    write_bytes: int = 0

    def progress(self) -> tuple[int, ...]:
        """Sums of all counters that a wait can look at: equal when nothing has happened."""
        kinds = (self.events, self.done, self.written, self.freed)
        return tuple(sum(counter.values()) for counter in kinds)

    def reached(self, wait: Fields, t: int) -> bool:
        """The condition of a WAIT group for fire t."""
        if wait["event"] == Event.NONE:
            return True
        target = min(wait["cap"], wait["base"] + ((t * wait["step"]) >> 8))
        return bool(self.events[Event(wait["event"])] >= target)

    def all_retired(self, need: Fields) -> bool:
        """The condition of a RETIRED group."""
        return bool(
            self.done[Unit.LOAD] >= need["load"]
            and self.done[Unit.ARRAY] >= need["array"]
            and self.done[Unit.VECTOR] >= need["vector"]
            and self.done[Unit.STORE] >= need["store"]
        )

    def read(self, addresses: Array) -> Array:
        """Bytes of the activation memory; poison outside it."""
        at = addresses & MASK
        inside = at < len(self.act)
        return np.where(inside, self.act[np.where(inside, at, 0)], POISON)


@dataclass
class Position:
    """An iteration of the tile loops."""

    index: tuple[int, ...]
    trips: tuple[int, ...]

    def fires(self, depth: int) -> bool:
        return not any(self.index[depth:])

    def ends(self, depth: int) -> bool:
        """Whether the scope of depth ``depth`` ends here."""
        pairs = zip(self.index[depth:], self.trips[depth:], strict=True)
        return all(i == n - 1 for i, n in pairs)

    def last(self, level: int) -> bool:
        """Whether a level stands at its last index (7: no level, never)."""
        return level < len(self.index) and self.index[level] == self.trips[level] - 1

    def pick(self, pair: list[int], level: int) -> int:
        """The ragged element that applies here."""
        return pair[1] if self.last(level) else pair[0]

    def offset(self, strides: list[int]) -> int:
        """Sum of index times stride."""
        return sum(i * s for i, s in zip(self.index, strides, strict=True))


def walk(trips: list[int]) -> Iterator[Position]:
    """All iterations, innermost level fastest."""
    for index in product(*(range(n) for n in trips)):
        yield Position(index, tuple(trips))


@dataclass
class Reference:
    """A TILE group while an instruction runs."""

    fields: Fields
    t: int = 0
    address: int = 0

    @property
    def enabled(self) -> bool:
        return bool(self.fields["enable"])

    def fires(self, at: Position) -> bool:
        return self.enabled and at.fires(self.fields["depth"])

    def ends(self, at: Position) -> bool:
        return self.enabled and at.ends(self.fields["depth"])

    def place(self, at: Position) -> int:
        """Tile address of this iteration, during fire t - 1 (call after `fired`)."""
        f = self.fields
        slot = (self.t - 1) % f["slots"] * f["slot_bytes"] if f["slots"] else 0
        return (int(f["base"]) + at.offset(f["strides"]) + int(slot)) & MASK


class RingCursor:
    """The next line of a ring while an instruction runs; `pointer` counts lines since the start.

    When a tile loop steps that the lines do not depend on, they are read again.
    """

    def __init__(self, pointer: int, levels: int, irrelevant: int) -> None:
        self.pointer = pointer
        self._irrelevant = irrelevant  # a bit for each loop
        self._marks = [pointer] * levels
        self._previous: Position | None = None

    def begin(self, at: Position) -> None:
        """Sets the pointer for an iteration."""
        if self._previous is not None:
            before = self._previous.index
            stepped = next(lv for lv in range(len(at.index)) if at.index[lv] != before[lv])
            if self._irrelevant >> stepped & 1:
                self.pointer = self._marks[stepped]
            for lv in range(stepped + 1, len(self._marks)):
                self._marks[lv] = self.pointer
        self._previous = at
