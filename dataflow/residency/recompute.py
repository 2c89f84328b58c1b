"""Results that are computed again in front of a later use, where that costs less than to keep them.

A clone of the step that makes a tensor runs in front of one of its later readers, which take the
clone's result. What the step reads has to live on until then. The bound of such a schedule holds
for the plans of that schedule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dataflow.residency.flows import Effort, Rules, flows
from dataflow.residency.least import COLUMNS, columns
from dataflow.residency.schedule import Access, Life, Machine, Schedule, Step, Tensor

TRIES = 60
"""Clones that are looked at, at most."""
_LEAST_GAIN = 1.0
"""Cycles."""


@dataclass(frozen=True)
class Clone:
    """A step that runs again in front of a reader of what it makes.

    Attributes:
        step: its name.
        before: the name of the reader; it and later readers take the clone's results.
    """

    step: str
    before: str


def recomputed(
    schedule: Schedule, machine: Machine, steady: bool = False, tries: int = TRIES
) -> tuple[Schedule, tuple[Clone, ...]]:
    """The schedule with the clones that save cycles, one after the other, the best first.

    Each is judged by the optimum over any amounts of bytes, which plans reach nearly.
    """
    found: tuple[Clone, ...] = ()
    if columns(schedule) > COLUMNS:
        return schedule, found
    least = _optimum(schedule, machine, steady)
    while tries > 0:
        best: tuple[float, Clone, Schedule] | None = None
        for clone in candidates(schedule, machine)[:tries]:
            tries -= 1
            other = cloned(schedule, clone, len(found))
            cycles = _optimum(other, machine, steady)
            if cycles < least - _LEAST_GAIN and (best is None or cycles < best[0]):
                best = cycles, clone, other
        if best is None:
            break
        least, clone, schedule = best
        found = (*found, clone)
    return schedule, found


def _optimum(schedule: Schedule, machine: Machine, steady: bool) -> float:
    return flows(schedule, machine, Rules(steady=steady), Effort()).bound


def candidates(schedule: Schedule, machine: Machine) -> list[Clone]:
    """Clones that may pay, the most promising first: the tensor is read with steps between, the
    step's cycles are fewer than those of moving it, and it reads less than it makes."""
    lives = schedule.lives()
    ranked: list[tuple[float, int, int, Clone]] = []
    for life in lives.values():
        if life.made < 0:
            continue
        step = schedule.steps[life.made]
        if len(step.writes) > 1 or step.cycles >= machine.cycles(2 * life.tensor.bytes):
            continue
        for before, use in zip((life.made, *life.uses), life.uses, strict=False):
            if use - before > 1:
                clone = Clone(step.name, schedule.steps[use].name)
                ranked.append((_promise(schedule, lives, life), life.made, use, clone))
    ranked.sort(key=lambda item: item[:3])
    return [clone for _, _, _, clone in ranked]


def _promise(schedule: Schedule, lives: dict[str, Life], life: Life) -> float:
    """Bytes that the maker reads for each byte that it makes; less is better."""
    step = schedule.steps[life.made]
    return sum(lives[a.tensor].tensor.bytes for a in step.reads) / life.tensor.bytes


def cloned(schedule: Schedule, clone: Clone, number: int) -> Schedule:
    """The schedule with one step more; ``number`` tells clones of one step apart."""
    names = [step.name for step in schedule.steps]
    maker = schedule.steps[names.index(clone.step)]
    at = names.index(clone.before)
    (old,) = maker.writes
    new = f"{old}+{number}"
    tensor = schedule.tensors[old]
    tensors = {**schedule.tensors, new: Tensor(new, tensor.bytes, "activation")}
    again = replace(maker, name=f"{maker.name}+{number}", writes=(new,), in_place=())
    later = [_reading(step, old, new) for step in schedule.steps[at:]]
    if tensor.kind == "activation" and not tensor.output and not _read(schedule, old, at):
        return schedule  # the clone would be the only one: nothing is gained
    return Schedule(schedule.name, tensors, (*schedule.steps[:at], again, *later))


def _read(schedule: Schedule, name: str, before: int) -> bool:
    return any(a.tensor == name for step in schedule.steps[:before] for a in step.reads)


def _reading(step: Step, old: str, new: str) -> Step:
    reads = tuple(Access(new, a.reads) if a.tensor == old else a for a in step.reads)
    pairs = tuple((made, new if read == old else read) for made, read in step.in_place)
    return replace(step, reads=reads, in_place=pairs)
