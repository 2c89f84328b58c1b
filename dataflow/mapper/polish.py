"""The last cycles of a small network: one layer's tiling changed at a time, by the judge alone.

The mapper's model places a layer's tail and its successor's start to within tens of cycles. In a
network of a few layers that is most of what is left to gain, and the judge measures such a network
in a hundredth of a second; so the best mapping known is improved by coordinate descent: each layer
in turn takes every tiling of its mode that the model holds for nearly as fast, and the first that
the judge finds faster stays. Residency stays as it was chosen.

Tiles of equal size are what the mapspace has: the least work for so many of them. But what follows
a layer waits for its last tile alone, so tiles with a small rest behind them are tried too. They
are counted with the cycles of the tiling that they were made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from dataflow.layers.axis import ceil_div
from dataflow.layers.layer import Dim
from dataflow.layers.tiling import Tiling
from dataflow.mapper.problem import OUTSIDE, Choice, Option
from dataflow.mapper.refine import Fronts, Judged
from dataflow.tiling.shape import LayerShape

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


def polish(
    shapes: Sequence[LayerShape],
    fronts: Fronts,
    best: Judged,
    judge: Callable[[Choice], Judged | None],
) -> Judged:
    """The best mapping that changing one layer's candidate at a time reaches.

    Args:
        fronts: candidates of each layer's modes, as the model has them.
        judge: measures a choice; None where the machine cannot run it or its buffers cannot be
            packed.
    """
    left = trials(len(fronts), sum(best.measured))
    seen = {_key(best.choice)}
    for options in (_near, partial(_rests, shapes)):
        changed = True
        while changed:
            changed = False
            for layer in _order(fronts, best):
                for option in options(fronts, best.choice, layer):
                    chosen = best.choice.options
                    tried = replace(
                        best.choice, options=(*chosen[:layer], option, *chosen[layer + 1 :])
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


def _rests(
    shapes: Sequence[LayerShape], fronts: Fronts, best: Choice, layer: int
) -> Iterator[Option]:
    """Tiles with a rest, in the place of the chosen ones and of those that are nearly as fast."""
    for option in (best.options[layer], *_near(fronts, best, layer)):
        for tiling in _with_rests(shapes[layer], option.candidate.tiling):
            yield Option(option.mode, replace(option.candidate, tiling=tiling), OUTSIDE)


def _with_rests(shape: LayerShape, tiling: Tiling) -> Iterator[Tiling]:
    """The tiling with tiles along one axis that leave a small rest."""
    extents: dict[Dim, int] = {"p": shape.p, "q": shape.q}
    for dim, extent in extents.items():
        if dim not in tiling.tile or (dim == "q" and shape.q_unit > 1):
            continue
        trips = ceil_div(extent, tiling.tile[dim])
        for size in (ceil_div(extent, n - 1) - 1 for n in (trips, trips + 1)):
            if 0 < size < extent and size != tiling.tile[dim]:
                yield replace(tiling, tile={**tiling.tile, dim: size})


def _near(fronts: Fronts, best: Choice, layer: int) -> Iterator[Option]:
    option = best.options[layer]
    rows = dict(fronts[layer])[option.mode]
    limit = option.candidate["cycles"] if option.place == OUTSIDE else rows[option.place]["cycles"]
    limit += max(SLACK, limit // NEAR)
    places = sorted(range(len(rows)), key=lambda n: (rows[n]["cycles"], n))
    for n in places[:TRIED]:
        if n != option.place and rows[n]["cycles"] <= limit:
            yield Option(option.mode, rows[n], n)


def _key(choice: Choice) -> tuple[object, ...]:
    return tuple(
        (option.place, *sorted(option.candidate.tiling.tile.items())) for option in choice.options
    )
