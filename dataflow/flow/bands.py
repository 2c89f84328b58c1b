"""Neighbouring layers on bands of rows where tensors between them leave the chip.

The mapper says which tensors do not stay on chip; others stay and leave hardly room for the buffers
through which all else streams. The layers that make and read them are run in
turn on bands of rows (`dataflow.rewrite.bands`), so that only a band has to be there; the mapper
maps that network like any other, and it is taken when its program takes fewer cycles. Which layers
and how many bands is estimated from what is alive; of the best by that estimate the best in the
mapper's model are judged. The last band may be small: what ends the network, the last tile's way to
memory, is then short. So may be the first one: its tiles can be small, so that the array begins
early, and those of the others large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dataflow.errors import DataflowError
from dataflow.ir import Cascade
from dataflow.layers.layer import LayerGraph
from dataflow.layers.plan import NetworkMapping
from dataflow.lower.lower import layers_of
from dataflow.lower.pipeline import MACHINE
from dataflow.machine import Machine
from dataflow.mapper import map_network
from dataflow.mapper.tensors import TensorPlan, begins, tensor_plans
from dataflow.rewrite.bands import band_rows
from dataflow.rewrite.passes import Pass, Stage, run_passes
from dataflow.rewrite.patches import patches
from dataflow.tiling.shape import shape_of

COUNTS = (2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Bands that are looked at."""

DEEPER = 4
"""Layers by which a stage may go beyond those that make and read what leaves the chip."""

LAYERS = 400
"""Most layers of a network in bands."""

RESERVE = 16
"""One part in so many of the memory is taken to be needed for buffers."""

RESTART = 100
"""Cycles that one layer more is taken to cost."""

SMALL = 64
"""Rows of a small last band: one part in so many, at least one; twice as many of a first one."""

WORTH = 200
"""Bands are looked for where one part in so many of the cycles, or more, may be saved."""

MOVED = 20
"""And where moving what leaves the chip takes one part in so many of the cycles, or more."""

LONGEST = 2_500_000
"""Cycles of the longest program for which they are looked for: what limits the effort."""

DEEPEST = 32
"""Layers of the deepest network for which they are looked for, likewise."""

FINALISTS = 2
"""Of those that are the fastest in the mapper's model so many are mapped with its judge."""

MAPPED = 240
"""Layers that the mapper is given in all, at least those of one network."""


@dataclass(frozen=True)
class Cut:
    """A stage of a network and the rows of its bands: layers ``[first, behind)``."""

    first: int
    behind: int
    rows: tuple[int, ...]

    @property
    def small_first(self) -> bool:
        """The first band is small, so that the array begins early: equal ones differ by a row."""
        return len(self.rows) > 1 and self.rows[0] + 1 < self.rows[1]


@dataclass(frozen=True)
class First:
    """Bands that were asked for: the first ``layers`` in ``count`` of them."""

    layers: int
    count: int

    def __str__(self) -> str:
        return f"{self.layers}:{self.count}"

    def made(self, stages: Sequence[Stage], graph: LayerGraph) -> Banded:
        """The network in equal bands.

        Raises:
            DataflowError: as `in_bands`; or the network has fewer layers, or its stage's result
                fewer rows.
        """
        _require_layers("--bands", self, graph)
        extent = _extent(stages, graph, 0, self.layers)
        if self.count > extent:
            what = f"{self} asks for {self.count} bands; the last of these layers has {extent} rows"
            raise DataflowError("--bands", what, f"use 2 to {extent} bands")
        return in_bands(stages, graph, Cut(0, self.layers, _equal(extent, self.count)))


@dataclass(frozen=True)
class Patches:
    """Patches that were asked for: the first ``layers`` in ``rows`` x ``cols`` of them."""

    layers: int
    rows: int
    cols: int

    def __str__(self) -> str:
        return f"{self.layers}:{self.rows}x{self.cols}"

    def made(self, stages: Sequence[Stage], graph: LayerGraph) -> Banded:
        """The network with its first layers patch by patch.

        Raises:
            DataflowError: the network has fewer layers, they cannot be cut so
                (`dataflow.rewrite.patches`), or one of what is made cannot run.
        """
        _require_layers("--patches", self, graph)
        legal = stages[len(stages) - len(MACHINE) - 1].cascade
        names = _names(legal, graph, 0, self.layers)
        step = Pass(
            "patches",
            lambda cascade: patches(cascade, names, self.rows, self.cols),
            True,
            "the first layers, whose results are the largest, are made for a patch at a time",
        )
        return _after(stages, step)


def _require_layers(option: str, asked: First | Patches, graph: LayerGraph) -> None:
    if asked.layers > len(graph.layers):
        what = f"{asked} names {asked.layers} layers; the network has {len(graph.layers)}"
        raise DataflowError(option, what, f"use 1 to {len(graph.layers)} of them")


@dataclass(frozen=True, eq=False)
class Banded:
    """A network in bands: the Cascade after each pass, and its layers."""

    stages: tuple[Stage, ...]
    graph: LayerGraph


def in_bands(stages: Sequence[Stage], graph: LayerGraph, cut: Cut) -> Banded:
    """The network with a stage of its layers in bands.

    Args:
        stages: what led to the layers; the last ones are those of `MACHINE`.

    Raises:
        DataflowError: the stage cannot be cut so (`band_rows`), or a layer of it cannot run.
    """
    legal = stages[len(stages) - len(MACHINE) - 1].cascade
    names = _names(legal, graph, cut.first, cut.behind)
    step = Pass(
        "bands",
        lambda cascade: band_rows(cascade, names, cut.rows),
        True,
        "tensors that do not stay on chip as a whole are made and read a band of rows at a time",
    )
    return _after(stages, step)


def _after(stages: Sequence[Stage], step: Pass) -> Banded:
    """The network with one pass more in front of those of the machine."""
    before = stages[: len(stages) - len(MACHINE)]
    made = run_passes(before[-1].cascade, (step, *MACHINE))
    lowered = layers_of(made[0].cascade, made[-1].cascade)
    if lowered.refused:
        raise DataflowError(step.name, lowered.refused[0].reason, "use other layers")
    return Banded((*before, *made), lowered.graph)


def _names(legal: Cascade, graph: LayerGraph, first: int, behind: int) -> list[str]:
    """The Einsums of layers ``[first, behind)``, with those between that have no layer."""
    place = {e.name: n for n, e in enumerate(legal.einsums)}

    def end(layer: int) -> int:
        own = [place[name] for name in graph.layers[layer].einsums if name in place]
        return max(own) + 1 if own else -1

    low = max((end(n) for n in range(first)), default=0)
    high = max(end(n) for n in range(behind))
    return [e.name for e in legal.einsums[max(low, 0) : high]]


def proposals(
    stages: Sequence[Stage], graph: LayerGraph, mapping: NetworkMapping, machine: Machine
) -> list[tuple[Cut, Banded]]:
    """Stages in bands that may be faster than the mapping, the most promising first.

    As many as `MAPPED` allows of those with a small first band, and as many of the others, which
    must not be displaced by them; none when all tensors stay on chip and crowd nothing.
    """
    found: list[tuple[int, Cut, Banded]] = []
    present = _cost(graph, machine)
    for first, behind in _spans(graph, mapping, machine):
        worse = 0
        least = present
        for count in COUNTS:
            if (behind - first) * count + len(graph.layers) > LAYERS or worse > 1:
                break
            for cut in _cuts(stages, graph, first, behind, count):
                try:
                    made = in_bands(stages, graph, cut)
                except DataflowError:
                    worse = 2  # not these layers, whatever the number
                    break
                cost = _cost(made.graph, machine)
                cost += RESTART * (len(made.graph.layers) - len(graph.layers))
                if not cut.small_first:  # a number of bands is judged by those that it has anyway
                    worse = worse + 1 if cost >= least else 0
                    least = min(least, cost)
                found.append((cost, cut, made))
    found.sort(key=lambda one: (one[0], one[1].first, one[1].behind, one[1].rows))
    kept: list[tuple[Cut, Banded]] = []
    left = {True: MAPPED, False: MAPPED}
    for cost, cut, made in found:
        if cost >= present:
            break
        kind = cut.small_first
        left[kind] -= len(made.graph.layers)
        if left[kind] >= 0 or all(other.small_first != kind for other, _ in kept):
            kept.append((cut, made))
    return kept


def _cuts(
    stages: Sequence[Stage], graph: LayerGraph, first: int, behind: int, count: int
) -> Iterator[Cut]:
    """Equal bands, and such with a small one behind where the network ends with them, or also with
    a small one in front where it begins with them.
    """
    extent = _extent(stages, graph, first, behind)
    if extent < count:
        return
    yield Cut(first, behind, _equal(extent, count))
    small = max(1, extent // SMALL)
    if behind == len(graph.layers) and extent - small >= count:
        yield Cut(first, behind, (*_equal(extent - small, count), small))
        if first == 0 and extent - 3 * small >= count:
            inner = _equal(extent - 3 * small, count)
            yield Cut(first, behind, (2 * small, *inner, small))


def _equal(extent: int, count: int) -> tuple[int, ...]:
    return tuple(extent * (n + 1) // count - extent * n // count for n in range(count))


def _extent(stages: Sequence[Stage], graph: LayerGraph, first: int, behind: int) -> int:
    """Rows of a stage's result: as `band_rows` counts them."""
    legal = stages[len(stages) - len(MACHINE) - 1].cascade
    last = {e.name: e for e in legal.einsums}[_names(legal, graph, first, behind)[-1]]
    shape = legal.tensors[last.output.tensor].shape
    return shape[-2 if len(shape) > 2 else -1] if shape else 0


def _spans(graph: LayerGraph, mapping: NetworkMapping, machine: Machine) -> list[tuple[int, int]]:
    """Stages: layers that make and read what leaves the chip or crowds it, and some beyond."""
    plans = _plans(graph, machine)
    crowding, _ = _beyond(graph, machine)
    found: list[tuple[int, int]] = []
    for name, plan in plans.items():
        if plan.external or not plan.readers:
            continue
        if name not in crowding and not _leaves(graph, mapping, plan):
            continue
        low, high = min(plan.writers), plan.readers[-1].layer + 1
        while found and found[-1][1] > low:  # they share a layer
            before = found.pop()
            low, high = min(low, before[0]), max(high, before[1])
        found.append((low, high))
    spans = []
    for low, high in found:
        for first in {low, max(0, low - 1), 0 if low <= DEEPER else low}:
            for behind in range(high, min(high + DEEPER, len(graph.layers)) + 1):
                spans.append((first, behind))
    return sorted(set(spans))


def _leaves(graph: LayerGraph, mapping: NetworkMapping, plan: TensorPlan) -> bool:
    """Whether a reader of a tensor streams it."""
    for access in plan.readers:
        tiling = mapping.tilings[graph.layers[access.layer].name]
        if (tiling.source if access.role == "source" else tiling.second) == "stream":
            return True
    return False


def _plans(graph: LayerGraph, machine: Machine) -> dict[str, TensorPlan]:
    shapes = tuple(shape_of(layer, machine.cols) for layer in graph.layers)
    return tensor_plans(graph, shapes, machine)


def _cost(graph: LayerGraph, machine: Machine) -> int:
    """Cycles that moving takes, roughly: what does not stay on chip, there and back, and what is
    copied on chip.
    """
    copied = sum(2 * layer.q for layer in graph.layers if layer.flat)
    return (_beyond(graph, machine)[1] + copied) // machine.line_bytes


def _beyond(graph: LayerGraph, machine: Machine) -> tuple[set[str], int]:
    """The tensors that do not stay on chip, roughly, and the bytes that moving them takes.

    Layer after layer, what is alive beyond the memory leaves the chip: the smallest tensor that is
    enough, or else the largest. One that could stay, but leaves no room for buffers, is counted.
    """
    line = machine.line_bytes
    alive: list[dict[str, int]] = [{} for _ in graph.layers]
    plans = _plans(graph, machine)
    for name, plan in plans.items():
        if not plan.external and plan.readers:
            for layer in range(begins(plan), plan.readers[-1].layer + 1):
                alive[layer][name] = plan.resident_bytes(line)
    room = machine.act_bytes - machine.act_bytes // RESERVE
    gone: set[str] = set()
    moved = 0
    for there in alive:
        while (over := sum(n for name, n in there.items() if name not in gone) - room) > 0:
            left = [
                (n < over, n if n >= over else -n, m) for m, n in there.items() if m not in gone
            ]
            name = min(left)[2]
            gone.add(name)
            moved += there[name] * (1 + len(plans[name].readers))
    return gone, moved


def best_bands(
    stages: Sequence[Stage],
    graph: LayerGraph,
    mapping: NetworkMapping,
    machine: Machine,
    cycles: int,
    mapped: Callable[[LayerGraph], int],
) -> Banded | None:
    """The network in the bands that make it fastest; None when no bands beat ``cycles``.

    Args:
        mapping: of the network as it is; `cycles` of its program.
        mapped: maps a network and tells the cycles of its program.
    """
    if cycles - mapping.bound < cycles // WORTH or cycles > LONGEST:
        return None
    if len(graph.layers) > DEEPEST or _cost(graph, machine) < cycles // MOVED:
        return None
    ranked: list[tuple[int, int, Cut, Banded]] = []
    for n, (cut, made) in enumerate(proposals(stages, graph, mapping, machine)):
        try:
            model = map_network(made.graph, machine).objective
        except DataflowError:
            continue
        if model < mapping.objective:
            ranked.append((model, n, cut, made))
    best: Banded | None = None
    ranked.sort(key=lambda one: one[:2])
    finalists = ranked[:FINALISTS]
    if all(cut.small_first for _, _, cut, _ in finalists):
        finalists += [one for one in ranked if not one[2].small_first][:1]
    for *_, made in finalists:
        took = mapped(made.graph)
        if took < cycles:
            best, cycles = made, took
    return best
