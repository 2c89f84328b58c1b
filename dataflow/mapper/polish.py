"""The last cycles of a small network: one layer's tiling changed at a time, by the judge alone.

The mapper's model places a layer's tail and its successor's start to within tens of cycles. In a
network of a few layers that is most of what is left to gain, and the judge measures such a network
in a hundredth of a second; so the best mapping known is improved by coordinate descent: each layer
in turn takes every tiling of its mode that the model holds for nearly as fast, and the first that
the judge finds faster stays. Residency stays as it was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from dataflow.mapper.problem import Choice, Option
from dataflow.mapper.refine import Fronts, Judged

NEAR = 32
SLACK = 128
"""A tiling is tried when the model holds it for at most one part in `NEAR`, or `SLACK` cycles,
slower than the chosen one."""

TRIED = 8
"""Most tilings of a layer that are tried in a sweep, the fastest of the model first."""

POLISHED_LAYERS = 2000
POLISHED_CYCLES = 40_000_000
"""Layers and cycles that the judge runs in all: what limits the effort, the same on every
computer."""


def trials(layers: int, cycles: int) -> int:
    """Mappings of so many layers and about so many cycles that are tried: none of a network that
    allows less than one a layer, whose gain would be small beside its cycles.
    """
    most = min(POLISHED_LAYERS // layers, POLISHED_CYCLES // max(1, cycles))
    return most if most >= layers else 0


def polish(fronts: Fronts, best: Judged, judge: Callable[[Choice], Judged | None]) -> Judged:
    """The best mapping that changing one layer's candidate at a time reaches.

    Args:
        fronts: candidates of each layer's modes, as the model has them.
        judge: measures a choice; None where its buffers cannot be packed.
    """
    left = trials(len(fronts), sum(best.measured))
    seen = {_key(best.choice)}
    changed = True
    while changed:
        changed = False
        for layer in _order(fronts, best):
            for option in _near(fronts, best.choice, layer):
                options = best.choice.options
                tried = replace(
                    best.choice, options=(*options[:layer], option, *options[layer + 1 :])
                )
                if _key(tried) in seen:
                    continue
                if left <= 0:
                    return best
                seen.add(_key(tried))
                left -= 1
                found = judge(tried)
                if found is not None and found.key < best.key:
                    best, changed = found, True
    return best


def _order(fronts: Fronts, best: Judged) -> list[int]:
    """Layers, those first that lose most against the fastest candidate of their mode."""
    lost = [
        cycles - min(one["cycles"] for one in dict(own)[option.mode])
        for own, option, cycles in zip(fronts, best.choice.options, best.measured, strict=True)
    ]
    return sorted(range(len(fronts)), key=lambda i: (-lost[i], i))


def _near(fronts: Fronts, best: Choice, layer: int) -> Iterator[Option]:
    option = best.options[layer]
    rows = dict(fronts[layer])[option.mode]
    limit = rows[option.place]["cycles"]
    limit += max(SLACK, limit // NEAR)
    places = sorted(range(len(rows)), key=lambda n: (rows[n]["cycles"], n))
    for n in places[:TRIED]:
        if n != option.place and rows[n]["cycles"] <= limit:
            yield Option(option.mode, rows[n], n)


def _key(choice: Choice) -> tuple[int, ...]:
    return tuple(option.place for option in choice.options)
