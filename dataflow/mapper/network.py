"""Maps a whole network: `map_network` is the mapper's entry."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from heapq import heappop, heappush

from dataflow.errors import DataflowError
from dataflow.layers.layer import Layer, LayerGraph
from dataflow.layers.legality import verify_tiling
from dataflow.layers.plan import MemoryMap, NetworkMapping
from dataflow.layers.tiled import TiledLayer
from dataflow.layers.tiling import Tiling
from dataflow.machine import Machine, isa
from dataflow.machine.latencies import DEFAULT, Latencies
from dataflow.mapper.bound import bound_cycles
from dataflow.mapper.modes import LayerMode, layer_modes
from dataflow.mapper.place import crowd, place, require_dram
from dataflow.mapper.polish import polish
from dataflow.mapper.problem import OUTSIDE, Choice, Problem
from dataflow.mapper.refine import Fronts, Judge, Judged, Lessons, durations, rounds
from dataflow.mapper.solve import solve
from dataflow.mapper.tensors import TensorPlan, root_of, tensor_plans
from dataflow.mapper.ways import Ways
from dataflow.tiling.candidates import Candidate, candidates, fronts
from dataflow.tiling.columns import Mode
from dataflow.tiling.shape import LayerShape, shape_of

REFUSED = 64
"""Choices that cannot be packed before the search for one that can is given up."""

Placed = tuple[Choice, MemoryMap]
"""A choice and where its buffers stand."""

TIES: dict[str, tuple[str, ...]] = {"latency": (), "energy": ("energy",), "edp": ("energy",)}
"""Columns that an objective behind the first one compares; with equal cycles least energy has the
least product of energy and delay too."""


def map_network(
    graph: LayerGraph,
    machine: Machine,
    objective: Sequence[str] = ("latency",),
    latencies: Latencies = DEFAULT,
    judge: Judge | None = None,
) -> NetworkMapping:
    """The mapping of `graph` with the fewest cycles that the search finds.

    Without a judge these are cycles of the mapper's model; ties are broken by the other objectives,
    then DRAM bytes, then energy. The model bound holds for that model and the mapspace that
    `dataflow.tiling.grid` states. A judge measures what the model estimates: several mappings are
    shown to it, and the best for it is taken.

    Raises:
        DataflowError: a layer has no legal tiling, or the tensors exceed the memories; the
            message says which and why.
    """
    started = time.perf_counter()
    ties = tie_columns(objective)
    if not graph.layers:
        raise DataflowError(f"network {graph.name}", "has no layer to map", "give it an operator")
    shapes = tuple(shape_of(layer, machine.cols) for layer in graph.layers)
    plans = tensor_plans(graph, shapes, machine)
    require_dram(graph, plans, machine)
    ways = Ways(plans, machine.line_bytes, machine.act_bytes)
    search = _Search(graph, shapes, plans, machine, latencies, ties, ways)
    return replace(search.best(judge), search_seconds=time.perf_counter() - started)


def tie_columns(objective: Sequence[str]) -> tuple[str, ...]:
    """The columns that break ties of cycles.

    Raises:
        DataflowError: the first objective is not latency.
    """
    names = (objective,) if isinstance(objective, str) else tuple(objective)
    if names[:1] != ("latency",):
        raise DataflowError(
            "objective",
            f"{', '.join(names) or 'nothing'} cannot come first when hardware is generated: the "
            "machine's mapper searches for the fewest cycles",
            "put latency first; the others then decide between mappings of equal cycles",
        )
    wanted = [column for name in names for column in TIES[name]]
    return tuple(dict.fromkeys([*wanted, "dram", "energy"]))


def map_layer(
    layer: Layer, machine: Machine, mode: Mode, latencies: Latencies = DEFAULT
) -> tuple[Candidate, ...]:
    """All undominated tilings of one layer in a mode, fastest first."""
    return candidates(shape_of(layer, machine.cols), machine, latencies, mode)


_known_fronts = lru_cache(maxsize=1024)(fronts)
"""Networks that differ in few layers, such as those of some layers in bands, share the others."""


@dataclass(frozen=True)
class _Search:
    """One network's search: what it is asked for, and its steps."""

    graph: LayerGraph
    shapes: tuple[LayerShape, ...]
    plans: dict[str, TensorPlan]
    machine: Machine
    latencies: Latencies
    ties: tuple[str, ...]
    ways: Ways | None = None

    def best(self, judge: Judge | None) -> NetworkMapping:
        """The best mapping in the model, or of several the best for the judge.

        Everything on chip is searched first, then residency and streams together: the first is a
        part of the second, but it is quickly found and easily packed.
        """
        fronts = self._fronts()
        for layer, found in zip(self.graph.layers, fronts, strict=True):
            if not any(rows for _, rows in found):
                raise _no_tiling(layer, self.machine)
        size = self.machine.act_bytes
        on_chip = self._placed(solve(self._problem(self._on_chip(fronts), {}), self.ties))
        known, bound = self._best_placed(fronts, on_chip)
        if known is None:
            raise DataflowError(
                f"network {self.graph.name}",
                f"its tensors and buffers do not fit into {size} bytes of activation memory",
                "use an architecture with a larger activations memory",
            )
        floor = bound_cycles(self.graph, self.shapes, self.plans, self.machine, self.latencies)
        mapping = self._mapping(fronts, known, bound, floor)
        if judge is None:
            return mapping
        return self._judged(fronts, known, mapping, judge)

    def _best_placed(self, fronts: Fronts, known: Placed | None) -> tuple[Placed | None, int]:
        """The best choice whose buffers can be packed, at least as good as `known`; the bound.

        The best choices are tried in order of their cycles. One that cannot be packed shows a few
        layers that are to blame: one of them must carry less. Each of them in turn is asked to,
        and the best choices under these conditions join the others. So only choices are left out
        that fill every one of these layers at least as much as one that does not fit.
        """
        start = known[0] if known else None
        first = solve(self._problem(fronts, {}), self.ties, start)
        if first is None:
            return known, 0
        waiting: list[tuple[int, int, Choice, dict[int, int]]] = [(first.cycles, 0, first, {})]
        asked: set[tuple[tuple[int, int], ...]] = set()
        refused = 0
        while waiting and refused < REFUSED:
            cycles, _, choice, withheld = heappop(waiting)
            if known is not None and cycles == known[0].cycles:
                return known, first.bound
            placed = self._placed(choice)
            if placed is not None:
                return placed, first.bound
            refused += 1
            for less in self._lighter(choice, withheld):
                name = tuple(sorted(less.items()))
                if name in asked:
                    continue
                asked.add(name)
                found = solve(self._problem(fronts, less), self.ties, start)
                if found is not None:
                    heappush(waiting, (found.cycles, len(asked), found, less))
        return known, first.bound

    def _lighter(self, choice: Choice, withheld: dict[int, int]) -> list[dict[int, int]]:
        """What may be asked of layers so that a choice which cannot be packed is left out."""
        found = crowd(self.graph, self.shapes, self.plans, choice, self.machine)
        machine = self.machine
        return [
            {**withheld, layer: machine.act_bytes - load + machine.line_bytes}
            for layer, load in enumerate(found.loads, found.first)
            if load > 0
        ]

    def _judged(
        self, fronts: Fronts, known: Placed, mapping: NetworkMapping, judge: Judge
    ) -> NetworkMapping:
        """The best for the judge of the model's best mapping and those that its errors suggest."""
        problem = self._problem(fronts, {})
        lessons = Lessons(self.shapes, fronts)

        def judged(choice: Choice, memory: MemoryMap | None = None) -> Judged | None:
            """A choice, its buffers placed (None: they cannot be), as the judge sees it."""
            if not self._legal(choice):
                return None
            chosen = lessons.originals(choice)
            told = replace(choice, cycles=sum(durations(problem, chosen)))
            placed = self._placed(told) if memory is None else (told, memory)
            if placed is None:
                return None
            found = self._mapping(fronts, placed, mapping.model_bound, mapping.bound)
            measured = judge(found)
            ties = tuple(sum(one[column] for one in chosen) for column in self.ties)
            return Judged((sum(measured), *ties), choice, measured, found)

        seen: list[Judged] = []
        names: set[tuple[tuple[LayerMode, int], ...]] = set()
        nudges, most = 0, rounds(len(self.shapes), mapping.objective)
        while len(seen) < most and nudges < 2 * most:
            choice, memory = known
            if _name(choice) in names:
                lessons.nudge(choice, nudges)
                nudges += 1
            else:
                names.add(_name(choice))
                one = judged(choice, memory)
                assert one is not None
                seen.append(one)
                expected = durations(problem, lessons.originals(choice))
                lessons.learn(choice, expected, one.measured)
            placed, _ = self._best_placed(lessons.corrected(), None)
            if placed is None:
                break
            known = placed
        best = min(seen, key=lambda one: one.key)
        return polish(self.shapes, fronts, best, judged).mapping

    def _legal(self, choice: Choice) -> bool:
        """Whether the machine runs what is outside the mapspace."""
        return not any(
            verify_tiling(TiledLayer(layer, option.candidate.tiling, self.machine))
            for layer, option in zip(self.graph.layers, choice.options, strict=True)
            if option.place == OUTSIDE
        )

    def _fronts(self) -> Fronts:
        """The candidates of every mode of every layer; equal layers are costed once."""
        modes = [
            layer_modes(self.graph, i, self.plans, shape, stream=True)
            for i, shape in enumerate(self.shapes)
        ]
        wanted: dict[LayerShape, list[Mode]] = {}
        for shape, own in zip(self.shapes, modes, strict=True):
            wanted.setdefault(shape, []).extend(mode.mode for mode in own)
        found = {
            shape: _known_fronts(shape, self.machine, self.latencies, tuple(dict.fromkeys(own)))
            for shape, own in wanted.items()
        }
        return tuple(
            tuple((mode, found[shape][mode.mode]) for mode in own)
            for shape, own in zip(self.shapes, modes, strict=True)
        )

    def _on_chip(self, fronts: Fronts) -> Fronts:
        """The fronts of the modes that keep on chip whatever a later layer reads."""
        kept = []
        for i, (shape, found) in enumerate(zip(self.shapes, fronts, strict=True)):
            modes = set(layer_modes(self.graph, i, self.plans, shape, stream=False))
            kept.append(tuple(front for front in found if front[0] in modes))
        return tuple(kept)

    def _problem(self, fronts: Fronts, withheld: Mapping[int, int]) -> Problem:
        waits = []
        for i, layer in enumerate(self.graph.layers):
            size = 0
            if i + 1 < len(self.graph.layers):
                output = root_of(self.graph, layer.output.tensor)
                if root_of(self.graph, self.graph.layers[i + 1].source.tensor) == output:
                    size = max(1, self.plans[output].bytes)
            waits.append(size)
        machine, latencies, line = self.machine, self.latencies, self.machine.line_bytes
        beats = machine.beats_per_line
        overhead = latencies.fetch_start + machine.dram_read_latency
        overhead += lines_of(isa.LOAD, line) * beats
        overhead += latencies.dispatch + latencies.done
        return Problem(
            fronts,
            self.plans,
            tuple(waits),
            machine.act_bytes,
            machine.wbuf_lines * beats,
            line,
            overhead,
            tuple(code_lines(layer, line) * beats for layer in self.graph.layers),
            withheld,
            self.ways,
        )

    def _placed(self, choice: Choice | None) -> Placed | None:
        if choice is None:
            return None
        memory = place(self.graph, self.shapes, self.plans, choice, self.machine)
        return None if memory is None else (choice, memory)

    def _mapping(self, fronts: Fronts, placed: Placed, bound: int, floor: int) -> NetworkMapping:
        choice, memory = placed
        tilings: dict[str, Tiling] = {}
        for layer, found, option in zip(self.graph.layers, fronts, choice.options, strict=True):
            least = min(one["cycles"] for _, rows in found for one in rows)
            tiling = option.candidate.tiling
            tilings[layer.name] = replace(tiling, model_bound=least)
        if len(tilings) != len(self.graph.layers):
            raise DataflowError(
                f"network {self.graph.name}", "has two layers of one name", "rename one"
            )
        return NetworkMapping(
            arch=self.machine.name,
            tilings=tilings,
            memory=memory,
            objective=choice.cycles,
            model_bound=min(bound, choice.cycles),
            model_optimal=choice.cycles <= bound,
            bound=floor,
        )


def _name(choice: Choice) -> tuple[tuple[LayerMode, int], ...]:
    """What tells two choices of one network apart."""
    return tuple((option.mode, option.place) for option in choice.options)


def lines_of(struct: isa.Struct, line_bytes: int) -> int:
    """Lines of an instruction's fixed fields."""
    return -(-struct.bits // (8 * line_bytes))


def code_lines(layer: Layer, line_bytes: int) -> int:
    """Lines of the instructions of a layer that stays on chip."""
    structs = (isa.LOAD, isa.VECTOR, *((isa.ARRAY,) if layer.kind == "array" else ()))
    micro = layer.micro
    ops = len(micro.init) + len(micro.body) + len(micro.final)
    payload = -(-ops * isa.MICRO_OP.bits // (8 * line_bytes))
    table = -(-len(micro.table or b"") // line_bytes)
    return sum(lines_of(struct, line_bytes) for struct in structs) + payload + table


def _no_tiling(layer: Layer, machine: Machine) -> DataflowError:
    row = layer.reduction
    return DataflowError(
        f"layer {layer.name}",
        f"no tiling fits the machine {machine.name}: a column block of its smallest tile needs "
        f"up to {row} weight lines of {machine.wbuf_lines}, and its source, second and output "
        f"tiles must fit into {machine.act_bytes} bytes",
        "use an architecture with larger weights and activations memories",
    )
