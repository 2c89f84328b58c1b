"""Maps a whole network: `map_network` is the mapper's entry."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from dataflow.errors import DataflowError
from dataflow.layers.layer import Layer, LayerGraph
from dataflow.layers.plan import NetworkMapping
from dataflow.layers.tiling import Tiling
from dataflow.machine import Machine, isa
from dataflow.machine.latencies import DEFAULT, Latencies
from dataflow.mapper.floor import floor_cycles
from dataflow.mapper.modes import LayerMode, layer_modes
from dataflow.mapper.place import place, require_dram
from dataflow.mapper.solve import Choice, Option, Problem, solve
from dataflow.mapper.tensors import TensorPlan, root_of, tensor_plans
from dataflow.tiling.candidates import Candidate, candidates, fronts
from dataflow.tiling.columns import Mode
from dataflow.tiling.shape import LayerShape, shape_of
from dataflow.tiling.thin import ideals, representatives

SEARCH_GAP = 3e-4
"""Relative gap at which the choice of residency stops; the tilings are refined after it."""

RETRIES = 6
"""Smaller capacities tried when the chosen buffers cannot be packed."""


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
    names = (objective,) if isinstance(objective, str) else tuple(objective)
    if names[:1] != ("latency",):
        raise DataflowError(
            "objective",
            f"{', '.join(names) or 'nothing'} cannot come first when hardware is generated",
            "use latency; ties are broken by DRAM bytes, then energy",
        )
    if not graph.layers:
        raise DataflowError(f"network {graph.name}", "has no layer to map", "give it an operator")
    shapes = tuple(shape_of(layer, machine.cols) for layer in graph.layers)
    plans = tensor_plans(graph, shapes, machine)
    require_dram(graph, plans, machine)
    mapping = _resident(graph, shapes, plans, machine, latencies)
    if mapping is None:
        mapping = _mixed(graph, shapes, plans, machine, latencies)
    return replace(mapping, search_seconds=time.perf_counter() - started)


def map_layer(
    layer: Layer, machine: Machine, mode: Mode, latencies: Latencies = DEFAULT
) -> tuple[Candidate, ...]:
    """All undominated tilings of one layer in a mode, fastest first."""
    return candidates(shape_of(layer, machine.cols), machine, latencies, mode)


def _options(
    graph: LayerGraph,
    shapes: tuple[LayerShape, ...],
    plans: dict[str, TensorPlan],
    machine: Machine,
    latencies: Latencies,
    *,
    stream: bool,
) -> tuple[tuple[Option, ...], ...]:
    modes = [
        layer_modes(graph, i, plans, shape, stream=stream) for i, shape in enumerate(shapes)
    ]
    wanted: dict[LayerShape, list[Mode]] = {}
    for shape, own in zip(shapes, modes, strict=True):
        wanted.setdefault(shape, []).extend(mode.mode for mode in own)
    found = {
        shape: fronts(shape, machine, latencies, own) for shape, own in wanted.items()
    }
    return tuple(
        tuple(Option(mode, one) for mode in own for one in found[shape][mode.mode])
        for shape, own in zip(shapes, modes, strict=True)
    )


def _resident(
    graph: LayerGraph,
    shapes: tuple[LayerShape, ...],
    plans: dict[str, TensorPlan],
    machine: Machine,
    latencies: Latencies,
) -> NetworkMapping | None:
    """The mapping that keeps every intermediate on chip, if it fits; then nothing beats it."""
    live = max(
        sum(
            plan.resident_bytes(machine.line_bytes)
            for plan in plans.values()
            if not plan.external and _alive(plan, i)
        )
        for i in range(len(shapes))
    )
    if live > machine.act_bytes:
        return None
    options = _options(graph, shapes, plans, machine, latencies, stream=False)
    if not all(options):
        return None
    choice = solve(_problem(graph, options, plans, machine, latencies, machine.act_bytes), machine)
    if choice is None:
        return None
    return _finish(graph, shapes, plans, options, choice, machine, latencies)


def _alive(plan: TensorPlan, layer: int) -> bool:
    if not plan.readers:
        return False
    return min(plan.writers) <= layer <= plan.readers[-1].layer


def _mixed(
    graph: LayerGraph,
    shapes: tuple[LayerShape, ...],
    plans: dict[str, TensorPlan],
    machine: Machine,
    latencies: Latencies,
) -> NetworkMapping:
    """Residency and streams chosen together; packed, with less capacity if need be."""
    options = _options(graph, shapes, plans, machine, latencies, stream=True)
    for layer, found in zip(graph.layers, options, strict=True):
        if not found:
            raise _no_tiling(layer, machine)
    size = machine.act_bytes
    ideal = _thinned(options, lambda front: ideals(front, size))
    relaxed = solve(_problem(graph, ideal, plans, machine, latencies, size), machine, ranks=1)
    bound = relaxed.bound if relaxed is not None else 0
    thin = _thinned(options, lambda front: representatives(front, size))
    capacity = size
    for _ in range(RETRIES + 1):
        problem = _problem(graph, thin, plans, machine, latencies, capacity)
        choice = solve(problem, machine, ranks=1, gap=SEARCH_GAP, known_bound=bound)
        if choice is None:
            break
        # Residency is decided; now every candidate of the chosen modes.
        full = tuple(
            tuple(o for o in found if o.mode == chosen.mode)
            for found, chosen in zip(options, choice.options, strict=True)
        )
        problem = _problem(graph, full, plans, machine, latencies, capacity)
        choice = solve(problem, machine, gap=SEARCH_GAP, known_bound=bound, start=choice)
        assert choice is not None, "the representatives are among the candidates"
        mapping = _finish(graph, shapes, plans, options, choice, machine, latencies)
        if mapping is not None:
            return replace(mapping, bound=bound, optimal=mapping.objective == bound)
        capacity -= size // 16
    raise DataflowError(
        f"network {graph.name}",
        f"its tensors and buffers do not fit into {machine.act_bytes} bytes of activation memory",
        "use an architecture with a larger activations memory",
    )


def _thinned(
    options: tuple[tuple[Option, ...], ...],
    thin: Callable[[tuple[Candidate, ...]], tuple[Candidate, ...]],
) -> tuple[tuple[Option, ...], ...]:
    """The options with each front, one mode of one layer, passed through `thin`."""
    result: list[tuple[Option, ...]] = []
    for found in options:
        by_mode: dict[LayerMode, list[Candidate]] = {}
        for option in found:
            by_mode.setdefault(option.mode, []).append(option.candidate)
        row: list[Option] = []
        for mode, members in by_mode.items():
            front = tuple(members)
            row += [Option(mode, one) for one in thin(front)]
        result.append(tuple(row))
    return tuple(result)


def _problem(
    graph: LayerGraph,
    options: tuple[tuple[Option, ...], ...],
    plans: dict[str, TensorPlan],
    machine: Machine,
    latencies: Latencies,
    capacity: int,
) -> Problem:
    waits = []
    for i, layer in enumerate(graph.layers):
        size = 0
        if i + 1 < len(graph.layers):
            output = root_of(graph, layer.output.tensor)
            if root_of(graph, graph.layers[i + 1].source.tensor) == output:
                size = max(1, plans[output].bytes)
        waits.append(size)
    line = machine.line_bytes
    overhead = latencies.fetch_start + machine.dram_read_latency + beats_of(isa.LOAD, line)
    overhead += latencies.dispatch + latencies.done
    return Problem(
        options,
        plans,
        tuple(waits),
        capacity,
        overhead,
        tuple(code_beats(layer, line) for layer in graph.layers),
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


def _finish(
    graph: LayerGraph,
    shapes: tuple[LayerShape, ...],
    plans: dict[str, TensorPlan],
    options: tuple[tuple[Option, ...], ...],
    choice: Choice,
    machine: Machine,
    latencies: Latencies,
) -> NetworkMapping | None:
    memory = place(graph, shapes, plans, choice, machine)
    if memory is None:
        return None
    tilings: dict[str, Tiling] = {}
    for layer, found, option in zip(graph.layers, options, choice.options, strict=True):
        bound = min(other.candidate["cycles"] for other in found)
        tilings[layer.name] = replace(option.candidate.tiling, bound=bound)
    if len(tilings) != len(graph.layers):
        raise DataflowError(f"network {graph.name}", "has two layers of one name", "rename one")
    return NetworkMapping(
        arch=machine.name,
        tilings=tilings,
        memory=memory,
        objective=choice.cycles,
        bound=choice.bound,
        optimal=choice.optimal,
        floor=floor_cycles(shapes, options, machine, latencies),
    )
