"""The residency states between the layers of a network, and the steps that lead through them.

A state says for every tensor that is read again how many of its leading reads are resident. A step
is a layer in one of its modes that leads from a state to a state and leaves so many bytes for its
stream buffers. A path from start to end is a choice of residency for the whole network.
"""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.mapper.problem import Problem
from dataflow.mapper.ways import State

STATES = 1024
"""States kept behind a layer; beyond, those with the least cycles so far."""


@dataclass(frozen=True)
class Step:
    """A layer in a mode.

    Attributes:
        before, after: positions of the states that it connects.
        mode: position of the mode in the layer's fronts.
        free: bytes left for stream buffers.
    """

    before: int
    after: int
    mode: int
    free: int


@dataclass(frozen=True)
class Walk:
    """All steps of a network, layer by layer.

    Attributes:
        states: the states behind each layer.
        steps: of each layer.
        dropped: least cycles of any choice through a state that was not kept, or None.
    """

    states: tuple[tuple[State, ...], ...]
    steps: tuple[tuple[Step, ...], ...]
    dropped: int | None


def walk(problem: Problem) -> Walk | None:
    """The steps from the first layer to the last, or None when none leads through."""
    fits = [[_Fits(problem, i, m) for m in range(len(f))] for i, f in enumerate(problem.fronts)]
    rest = _rest(fits)
    now: dict[State, int] = {(): 0}
    states: list[tuple[State, ...]] = []
    steps: list[tuple[Step, ...]] = []
    dropped: int | None = None
    ways = problem.ways
    for i, fronts in enumerate(problem.fronts):
        modes = tuple(mode for mode, _ in fronts)
        room = problem.room(i)
        found: list[tuple[State, State, int, int]] = []
        least: dict[State, int] = {}
        for before, spent in now.items():
            for mode, after, used in ways.through(i, modes, before):
                free = room - used
                cycles = fits[i][mode].least(free) if used <= room else None
                if cycles is None:
                    continue
                found.append((before, after, mode, free))
                least[after] = min(least.get(after, 1 << 62), spent + cycles)
        if not found:
            return None
        kept = sorted(least, key=lambda state: (least[state], state))
        for state in kept[STATES:]:
            lost = least[state] + rest[i + 1]
            dropped = lost if dropped is None else min(dropped, lost)
        places = {state: n for n, state in enumerate(kept[:STATES])}
        sources = {state: n for n, state in enumerate(now)}
        steps.append(
            tuple(
                Step(sources[before], places[after], mode, free)
                for before, after, mode, free in found
                if after in places
            )
        )
        states.append(tuple(places))
        now = {state: least[state] for state in places}
    return Walk(tuple(states), tuple(steps), dropped)


class _Fits:
    """Least cycles of a mode by the bytes that its buffers may take."""

    def __init__(self, problem: Problem, layer: int, mode: int) -> None:
        self.stairs: list[tuple[int, int]] = []
        rows = problem.fronts[layer][mode][1]
        for buffer, cycles in sorted((c["buffer"], c["cycles"]) for c in rows):
            if not self.stairs or cycles < self.stairs[-1][1]:
                self.stairs.append((buffer, cycles))

    def least(self, free: int) -> int | None:
        best = None
        for buffer, cycles in self.stairs:
            if buffer > free:
                break
            best = cycles
        return best


def _rest(fits: list[list[_Fits]]) -> list[int]:
    """Least cycles of all layers from each one on."""
    rest = [0]
    for modes in reversed(fits):
        best = min((fit.stairs[-1][1] for fit in modes if fit.stairs), default=0)
        rest.append(rest[-1] + best)
    return rest[::-1]
