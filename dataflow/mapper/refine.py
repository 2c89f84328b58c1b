"""The best of several mappings by a judge who sees more than the mapper's model.

The model leaves out what depends on addresses and moments: banks that collide, engines that wait
in turn. A judge (the cycle model of the machine) measures each layer of a mapping. What a layer
lasts longer than the model said is added to the candidate that was chosen, and in proportion to
those of the same structure, which the model misjudges for the same reason until they are measured
themselves; then the network is solved again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from dataflow.layers.plan import NetworkMapping
from dataflow.layers.tiling import Tiling
from dataflow.mapper.problem import OUTSIDE, Choice, Front, Problem
from dataflow.tiling.candidates import Candidate
from dataflow.tiling.columns import COLUMN, Mode
from dataflow.tiling.shape import LayerShape

Judge = Callable[[NetworkMapping], tuple[int, ...]]
"""Cycles of each layer of a mapping; together those of the network."""


@dataclass(frozen=True)
class Judged:
    """A mapping that a judge has seen.

    Attributes:
        key: its cycles, then the sums that break ties: less is better.
        measured: cycles of each layer.
    """

    key: tuple[int, ...]
    choice: Choice
    measured: tuple[int, ...]
    mapping: NetworkMapping


ROUNDS = 24
"""Most mappings that a judge is shown."""

JUDGED_LAYERS = 640
JUDGED_CYCLES = 130_000_000
"""Layers and cycles that a judge runs in all, unless two mappings need more: what limits the effort
for large networks, the same on every computer."""

NUDGE = 64
"""When the judge's measurements suggest nothing new, the chosen candidate of a layer is taken for
one part in so many slower."""

Fronts = tuple[tuple[Front, ...], ...]
_Key = tuple[LayerShape, Mode]


def rounds(layers: int, cycles: int) -> int:
    """Mappings of so many layers and about so many cycles that a judge is shown."""
    return max(2, min(ROUNDS, JUDGED_LAYERS // layers, JUDGED_CYCLES // max(1, cycles)))


def durations(problem: Problem, chosen: Sequence[Candidate]) -> list[int]:
    """Cycles of each layer of a choice in the model, from the end of the layer before."""
    ends: list[int] = []
    start = code = free = 0
    for i, one in enumerate(chosen):
        begin = ends[-1] if ends else 0
        if i:
            start = max(free, begin - problem.ring)
        code += problem.code[i]
        end = max(begin + one["cycles"], code, start + one["paced"])
        free = max(start + one["bus"], end + one["held"])
        last = i + 1 == len(chosen)
        waits = problem.waits[i]
        if last or (waits and one["withheld"] + chosen[i + 1]["need"] > waits):
            end = max(end, begin + one["serial"])
        ends.append(end)
    durations = [end - before for before, end in zip([0, *ends], ends, strict=False)]
    return [durations[0] + problem.overhead, *durations[1:]]


@dataclass
class Lessons:
    """What the judge has shown of a network's layers.

    Attributes:
        exact: cycles to add to a candidate, by its position in its front.
        alike: what to add to those of one structure, in 1/1024 of their cycles.
    """

    shapes: Sequence[LayerShape]
    fronts: Fronts
    exact: dict[tuple[_Key, int], int] = field(default_factory=dict)
    alike: dict[tuple[_Key, tuple[object, ...]], int] = field(default_factory=dict)

    def originals(self, choice: Choice) -> list[Candidate]:
        """The chosen candidates as the model has them."""
        return [
            option.candidate if option.place == OUTSIDE else dict(own)[option.mode][option.place]
            for own, option in zip(self.fronts, choice.options, strict=True)
        ]

    def learn(self, choice: Choice, expected: Sequence[int], measured: Sequence[int]) -> None:
        """Takes what each layer lasted in comparison with what the model had expected."""
        for shape, option, one, model, cycles in zip(
            self.shapes, choice.options, self.originals(choice), expected, measured, strict=True
        ):
            key, extra = (shape, option.mode.mode), cycles - model
            place, kind = (key, option.place), (key, structure(one.tiling))
            self.exact[place] = max(self.exact.get(place, extra), extra)
            share = max(0, extra) * 1024 // max(1, one["cycles"])
            self.alike[kind] = min(self.alike.get(kind, share), share)

    def nudge(self, choice: Choice, nth: int) -> None:
        """Makes the search look past the chosen candidate of the `nth` longest layer."""
        chosen = self.originals(choice)
        order = sorted(range(len(chosen)), key=lambda i: (-chosen[i]["cycles"], i))
        i = order[nth % len(order)]
        place = (self.shapes[i], choice.options[i].mode.mode), choice.options[i].place
        self.exact[place] = self.exact.get(place, 0) + chosen[i]["cycles"] // NUDGE + 1

    def corrected(self) -> Fronts:
        """The fronts with what was learnt added to their cycles."""
        touched = {key for key, _ in self.exact}
        known: dict[_Key, tuple[Candidate, ...]] = {}
        found = []
        for shape, own in zip(self.shapes, self.fronts, strict=True):
            row: list[Front] = []
            for mode, rows in own:
                key = shape, mode.mode
                if key in touched and key not in known:
                    known[key] = tuple(self._corrected(key, n, one) for n, one in enumerate(rows))
                row.append((mode, known.get(key, rows)))
            found.append(tuple(row))
        return tuple(found)

    def _corrected(self, key: _Key, place: int, one: Candidate) -> Candidate:
        extra = self.exact.get((key, place))
        if extra is None:
            share = self.alike.get((key, structure(one.tiling)), 0)
            extra = share * one["cycles"] // 1024
        if not extra:
            return one
        costs = list(one.costs)
        for name in ("cycles", "serial", "paced"):
            costs[COLUMN[name]] = max(1, costs[COLUMN[name]] + extra)
        return replace(one, costs=tuple(costs))


def structure(tiling: Tiling) -> tuple[object, ...]:
    """What two tilings share that the model misjudges alike: all but sizes and slots."""
    return (
        tiling.order,
        tiling.source_depth,
        tiling.second_depth,
        tiling.weight_depth,
        tiling.feed,
        tiling.ports,
    )
