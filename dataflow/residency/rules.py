"""Plans by simpler rules, to compare with."""

from __future__ import annotations

from dataflow.residency.flows import Effort, Rules, flows
from dataflow.residency.profile import Profile, Profiles
from dataflow.residency.schedule import Machine, Schedule
from dataflow.residency.words import padded, profiles_of

NODES = 200
"""Branches of the solver for the best plan by a rule."""


def best_fit(schedule: Schedule, machine: Machine) -> Profiles:
    """What production compilers do: tensors in the order of the program, the largest of a step
    first, into the least hole that takes them whole for their whole life; what finds none stays in
    DRAM and is streamed, double-buffered."""
    lives, word = schedule.lives(), machine.word
    count = len(schedule.steps)
    alive: list[tuple[int, int, int]] = []  # (offset, bytes, end)
    found: dict[str, Profile] = {}
    tried: set[str] = set()
    for u, step in enumerate(schedule.steps):
        alive = [a for a in alive if a[2] > u]
        fresh = [n for n in (*step.writes, *(a.tensor for a in step.reads)) if n not in tried]
        tried |= set(fresh)
        for name in sorted(fresh, key=lambda n: (-schedule.tensors[n].bytes, n)):
            tensor = schedule.tensors[name]
            end = count if tensor.output else lives[name].last + 1
            size = -(-tensor.bytes // word) * word
            offset = _hole(alive, size, machine.room)
            if offset is None:
                continue
            alive.append((offset, size, end))
            span = end - u
            kept = 0 if tensor.output or lives[name].made < 0 else tensor.bytes
            found[name] = Profile(u, (tensor.bytes,) * span, (kept,) * span)
    return found


def _hole(alive: list[tuple[int, int, int]], size: int, room: int) -> int | None:
    """The offset of the least hole that takes ``size`` bytes."""
    best: tuple[int, int] | None = None
    at = 0
    for offset, taken, _ in [*sorted(alive), (room, 0, 0)]:
        if offset - at >= size and (best is None or offset - at < best[0]):
            best = offset - at, at
        at = max(at, offset + taken)
    return None if best is None else best[1]


def double_buffering(schedule: Schedule, machine: Machine) -> Profiles:
    """The best plan of whole tensors whose operands are loaded during the step before, at the
    earliest."""
    return _by(schedule, machine, Rules(whole=True, window=1, share=False))


def compiled(schedule: Schedule, machine: Machine) -> Profiles:
    """The best plan by what the compiler of the RTL machine does: activations stay whole for a
    first part of their reads and never come back; weights pass a ring of a quarter of the memory,
    into which the next step's are loaded ahead."""
    ring = machine.room // 4 // machine.word * machine.word
    rules = Rules(whole=True, window=1, reload=False, ring=ring, share=False)
    return _by(schedule, machine, rules)


def _by(schedule: Schedule, machine: Machine, rules: Rules) -> Profiles:
    sized = padded(schedule, machine)
    found = flows(sized, machine, rules, Effort(tidy=True, nodes=NODES))
    return profiles_of(schedule, machine, found)


RULES = {
    "best fit": best_fit,
    "double buffering": double_buffering,
    "compiled": compiled,
}
"""Plans to compare with, by name."""
