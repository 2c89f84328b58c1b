"""Maps a whole network: `map_network` is the mapper's entry."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dataflow.errors import DataflowError
from dataflow.layers.layer import Layer, LayerGraph
from dataflow.layers.plan import MemoryMap, NetworkMapping
from dataflow.layers.tiling import Tiling
from dataflow.machine import Machine, isa
from dataflow.machine.latencies import DEFAULT, Latencies
from dataflow.mapper.floor import floor_cycles
from dataflow.mapper.modes import layer_modes
from dataflow.mapper.place import place, require_dram
from dataflow.mapper.problem import Choice, Front, Problem
from dataflow.mapper.solve import solve
from dataflow.mapper.tensors import TensorPlan, root_of, tensor_plans
from dataflow.tiling.candidates import Candidate, candidates, fronts
from dataflow.tiling.columns import Mode
from dataflow.tiling.shape import LayerShape, shape_of

STEPS = 32
"""Parts of the activation memory: when the chosen buffers cannot be packed, one less is used."""

TIES = {"latency": (), "energy": ("energy",), "edp": ("energy",)}
"""Columns that an objective behind the first one compares; with equal cycles least energy has the
least product of energy and delay too."""


def map_network(
    graph: LayerGraph,
    machine: Machine,
    objective: Sequence[str] = ("latency",),
    latencies: Latencies = DEFAULT,
) -> NetworkMapping:
    """The mapping of `graph` with the fewest predicted cycles that the search finds.

    Ties are broken by DRAM bytes, then energy. The bound holds for the cost model and the
    mapspace that `dataflow.tiling.grid` states.

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
    search = _Search(graph, shapes, plans, machine, latencies, ties)
    return replace(search.best(), search_seconds=time.perf_counter() - started)


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


@dataclass(frozen=True)
class _Search:
    """One network's search: what it is asked for, and its steps."""

    graph: LayerGraph
    shapes: tuple[LayerShape, ...]
    plans: dict[str, TensorPlan]
    machine: Machine
    latencies: Latencies
    ties: tuple[str, ...]

    def best(self) -> NetworkMapping:
        """The better of everything on chip and of residency and streams chosen together.

        The first is a part of the second, but it is quickly found and easily packed.
        """
        fronts = self._fronts()
        for layer, found in zip(self.graph.layers, fronts, strict=True):
            if not any(rows for _, rows in found):
                raise _no_tiling(layer, self.machine)
        size = self.machine.act_bytes
        known = self._placed(solve(self._problem(self._on_chip(fronts), size), self.ties))
        bound: int | None = None
        for part in range(STEPS, 0, -1):
            problem = self._problem(fronts, size * part // STEPS)
            choice = solve(problem, self.ties, known[0] if known else None)
            bound = choice.bound if bound is None and choice is not None else bound
            if choice is None or (known is not None and choice.cycles == known[0].cycles):
                break
            found_place = self._placed(choice)
            if found_place is not None:
                known = found_place
                break
        if known is None or bound is None:
            raise DataflowError(
                f"network {self.graph.name}",
                f"its tensors and buffers do not fit into {size} bytes of activation memory",
                "use an architecture with a larger activations memory",
            )
        return self._finish(fronts, *known, bound)

    def _fronts(self) -> tuple[tuple[Front, ...], ...]:
        """The candidates of every mode of every layer; equal layers are costed once."""
        modes = [
            layer_modes(self.graph, i, self.plans, shape, stream=True)
            for i, shape in enumerate(self.shapes)
        ]
        wanted: dict[LayerShape, list[Mode]] = {}
        for shape, own in zip(self.shapes, modes, strict=True):
            wanted.setdefault(shape, []).extend(mode.mode for mode in own)
        found = {
            shape: fronts(shape, self.machine, self.latencies, own) for shape, own in wanted.items()
        }
        return tuple(
            tuple((mode, found[shape][mode.mode]) for mode in own)
            for shape, own in zip(self.shapes, modes, strict=True)
        )

    def _on_chip(self, fronts: tuple[tuple[Front, ...], ...]) -> tuple[tuple[Front, ...], ...]:
        """The fronts of the modes that keep on chip whatever a later layer reads."""
        kept = []
        for i, (shape, found) in enumerate(zip(self.shapes, fronts, strict=True)):
            modes = set(layer_modes(self.graph, i, self.plans, shape, stream=False))
            kept.append(tuple(front for front in found if front[0] in modes))
        return tuple(kept)

    def _problem(self, fronts: tuple[tuple[Front, ...], ...], capacity: int) -> Problem:
        waits = []
        for i, layer in enumerate(self.graph.layers):
            size = 0
            if i + 1 < len(self.graph.layers):
                output = root_of(self.graph, layer.output.tensor)
                if root_of(self.graph, self.graph.layers[i + 1].source.tensor) == output:
                    size = max(1, self.plans[output].bytes)
            waits.append(size)
        machine, latencies, line = self.machine, self.latencies, self.machine.line_bytes
        overhead = latencies.fetch_start + machine.dram_read_latency + beats_of(isa.LOAD, line)
        overhead += latencies.dispatch + latencies.done
        return Problem(
            fronts,
            self.plans,
            tuple(waits),
            capacity,
            machine.wbuf_lines,
            line,
            overhead,
            tuple(code_beats(layer, line) for layer in self.graph.layers),
        )

    def _placed(self, choice: Choice | None) -> tuple[Choice, MemoryMap] | None:
        if choice is None:
            return None
        memory = place(self.graph, self.shapes, self.plans, choice, self.machine)
        return None if memory is None else (choice, memory)

    def _finish(
        self,
        fronts: tuple[tuple[Front, ...], ...],
        choice: Choice,
        memory: MemoryMap,
        bound: int,
    ) -> NetworkMapping:
        tilings: dict[str, Tiling] = {}
        for layer, found, option in zip(self.graph.layers, fronts, choice.options, strict=True):
            least = min(one["cycles"] for _, rows in found for one in rows)
            tilings[layer.name] = replace(option.candidate.tiling, bound=least)
        if len(tilings) != len(self.graph.layers):
            raise DataflowError(
                f"network {self.graph.name}", "has two layers of one name", "rename one"
            )
        return NetworkMapping(
            arch=self.machine.name,
            tilings=tilings,
            memory=memory,
            objective=choice.cycles,
            bound=min(bound, choice.cycles),
            optimal=choice.cycles <= bound,
            floor=floor_cycles(self.shapes, fronts, self.machine, self.latencies),
        )


def beats_of(struct: isa.Struct, line_bytes: int) -> int:
    """Beats of an instruction's fixed fields."""
    return -(-struct.bits // (8 * line_bytes))


def code_beats(layer: Layer, line_bytes: int) -> int:
    """Beats of the instructions of a layer that stays on chip."""
    structs = (isa.LOAD, isa.VECTOR, *((isa.ARRAY,) if layer.kind == "array" else ()))
    micro = layer.micro
    ops = len(micro.init) + len(micro.body) + len(micro.final)
    payload = -(-ops * isa.MICRO_OP.bits // (8 * line_bytes))
    table = -(-len(micro.table or b"") // line_bytes)
    return sum(beats_of(struct, line_bytes) for struct in structs) + payload + table


def _no_tiling(layer: Layer, machine: Machine) -> DataflowError:
    row = layer.reduction
    return DataflowError(
        f"layer {layer.name}",
        f"no tiling fits the machine {machine.name}: a column block of its smallest tile needs "
        f"up to {row} weight lines of {machine.wbuf_lines}, and its source, second and output "
        f"tiles must fit into {machine.act_bytes} bytes",
        "use an architecture with larger weights and activations memories",
    )
