"""How much of each tensor is on chip, step by step, and what that costs.

What is on chip of a tensor is always its first bytes, so numbers say it all. Loads extend them,
drops shorten them; of what is on chip the first bytes are the ones that are not in DRAM yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dataflow.residency.schedule import Life, Machine, Schedule

Move = Literal["load", "write back", "stream in", "stream out"]
"""Between DRAM and scratchpad, and between DRAM and the array past it."""


@dataclass(frozen=True)
class Profile:
    """What is on chip of a tensor.

    Attributes:
        first: the step of the first entries.
        held: for each step, bytes ``[0, held)`` are on chip while it runs. Those of a load arrive
            when it ends; a step that reads the tensor may use them as they pass.
        dirty: for each step, bytes ``[0, dirty)`` are not in DRAM when it begins; in the step that
            makes the tensor, when it ends.
    """

    first: int
    held: tuple[int, ...]
    dirty: tuple[int, ...]

    @property
    def end(self) -> int:
        """The step behind the last entry."""
        return self.first + len(self.held)

    def held_at(self, step: int) -> int:
        """Bytes on chip during a step."""
        return self.held[step - self.first] if self.first <= step < self.end else 0

    def dirty_at(self, step: int) -> int:
        """Bytes not in DRAM at a step."""
        return self.dirty[step - self.first] if self.first <= step < self.end else 0


Profiles = Mapping[str, Profile]


@dataclass(frozen=True)
class Transfer:
    """Bytes ``[low, high)`` of a tensor that cross the port during a step, so many times."""

    step: int
    tensor: str
    move: Move
    low: int
    high: int
    times: int = 1

    @property
    def bytes(self) -> int:
        """Bytes that cross."""
        return (self.high - self.low) * self.times


def transfers(life: Life, profile: Profile | None, steps: int | None = None) -> list[Transfer]:
    """What crosses the port of one tensor, in order of steps.

    Args:
        profile: None: it is never on chip.
        steps: of the network, if it runs again and again: what is held of a weight at the end is
            there at the beginning.
    """
    name, size = life.tensor.name, life.tensor.bytes
    held = profile or Profile(0, (), ())
    found: list[Transfer] = []

    def add(step: int, move: Move, low: int, high: int, times: int = 1) -> None:
        if low < high:
            found.append(Transfer(step, name, move, low, high, times))

    reads = dict(zip(life.uses, life.reads, strict=True))
    stays = steps is not None and held.first == 0 and life.tensor.kind == "weight"
    before = held.held_at(steps - 1) if steps is not None and stays else 0
    begin = min([held.first] * bool(held.held) + list(reads) + [life.made] * (life.made >= 0))
    for u in range(begin, max([held.end, *(r + 1 for r in reads), life.made + 1])):
        now = held.held_at(u)
        if u == life.made:
            dirty = held.dirty_at(u)
            add(u, "write back", dirty, now)
            if life.uses or life.tensor.output:
                add(u, "stream out", now, size)
        else:
            add(u, "load", min(before, now), now)
            if u < life.last or life.tensor.output:
                add(u, "write back", held.dirty_at(u + 1), held.dirty_at(u))
            if u in reads:
                add(u, "stream in", now, size, reads[u])
        before = now
    return found


@dataclass(frozen=True)
class Costs:
    """What a plan costs.

    Attributes:
        moved: bytes that cross the port in each step.
        cycles: of each step.
    """

    moved: tuple[int, ...]
    cycles: tuple[int, ...]

    @property
    def total(self) -> int:
        """Cycles of all steps."""
        return sum(self.cycles)


def costs(schedule: Schedule, machine: Machine, profiles: Profiles, steady: bool = False) -> Costs:
    """Cycles and bytes of what is on chip when."""
    moved = [0] * len(schedule.steps)
    around = len(schedule.steps) if steady else None
    for name, life in schedule.lives().items():
        if life.made < 0 and not life.uses:
            continue
        for transfer in transfers(life, profiles.get(name), around):
            moved[transfer.step] += transfer.bytes
    times = tuple(
        max(step.cycles, machine.cycles(count))
        for step, count in zip(schedule.steps, moved, strict=True)
    )
    return Costs(tuple(moved), times)
