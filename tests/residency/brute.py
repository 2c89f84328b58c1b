"""The best plan by trying all: words of each tensor by state, step by step.

Written apart from the planner: it knows no profiles and no prefixes, only how many words of each
tensor are on chip and not in DRAM, and on chip and in DRAM.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from dataflow.residency import Machine, Schedule

State = tuple[tuple[int, int], ...]
"""(dirty, clean) words of each tensor."""
Option = tuple[tuple[int, int], int, int, int]
"""State behind the step; words on chip during it; words moved; words on chip before and during."""


def least_cycles(schedule: Schedule, machine: Machine) -> int:
    """The fewest cycles of any plan whose amounts are whole words; sizes are whole words."""
    names = list(schedule.tensors)
    start: State = tuple((0, 0) for _ in names)
    best: dict[State, int] = {start: 0}
    for u in range(len(schedule.steps)):
        behind: dict[State, int] = {}
        for state, cycles in best.items():
            every = [list(_options(schedule, machine, n, u, state[i])) for i, n in enumerate(names)]
            for chosen in product(*every):
                total = cycles + _cycles(schedule, machine, u, names, chosen)
                if total < cycles:
                    continue
                new = tuple(option[0] for option in chosen)
                if total < behind.get(new, 1 << 60) and _fits(schedule, machine, u, names, chosen):
                    behind[new] = total
        best = behind
    done = [
        cycles
        for state, cycles in best.items()
        if all(not schedule.tensors[n].output or not state[i][0] for i, n in enumerate(names))
    ]
    return min(done)


def _options(
    schedule: Schedule, machine: Machine, name: str, u: int, state: tuple[int, int]
) -> Iterator[Option]:
    """What may happen to a tensor in a step."""
    tensor, step = schedule.tensors[name], schedule.steps[u]
    size = tensor.bytes // machine.word
    later = any(a.tensor == name for s in schedule.steps[u + 1 :] for a in s.reads)
    if name in step.writes:
        if not later and not tensor.output:
            yield (0, 0), 0, 0, 0
            return
        for dirty in range(size + 1):
            for clean in range(size - dirty + 1):
                yield (dirty, clean), dirty + clean, size - dirty, 0
        return
    read = [a.reads for a in step.reads if a.tensor == name]
    exists = tensor.kind != "activation" or any(name in s.writes for s in schedule.steps[:u])
    if not exists or not (read or later or (tensor.output and state[0])):
        yield (0, 0), 0, 0, 0
        return
    dirty, clean = state
    for kept in range(clean + 1):
        for loaded in range(size - dirty - kept + 1):
            for written in range(dirty + 1):
                held = dirty + kept + loaded
                moved = loaded + written + sum(read) * (size - held)
                after = (dirty - written, kept + loaded + written)
                if not later and not tensor.output:
                    after = 0, 0
                yield after, held, moved, dirty + kept


def _cycles(
    schedule: Schedule, machine: Machine, u: int, names: list[str], chosen: tuple[Option, ...]
) -> int:
    moved = sum(option[2] for option in chosen) * machine.word
    return max(schedule.steps[u].cycles, -(-moved // machine.port_bytes))


def _fits(
    schedule: Schedule, machine: Machine, u: int, names: list[str], chosen: tuple[Option, ...]
) -> bool:
    held = {name: option[1] for name, option in zip(names, chosen, strict=True)}
    there = {name: option[3] for name, option in zip(names, chosen, strict=True)}
    total = sum(held.values())
    for new, old in schedule.steps[u].in_place:
        later = any(a.tensor == old for s in schedule.steps[u + 1 :] for a in s.reads)
        if not later and not schedule.tensors[old].output:
            total -= min(held[new], there[old])
    return total * machine.word <= machine.room
