"""Maps a whole network: `map_network` is the mapper's entry."""

from __future__ import annotations

import time
from dataclasses import replace

from dataflow.arch import Machine
from dataflow.cost.latencies import DEFAULT, Latencies
from dataflow.cost.shape import LayerShape, shape_of
from dataflow.errors import DataflowError
from dataflow.ir.mapping import Layer, LayerGraph, MemoryMap, NetworkMapping, Placement, Tiling
from dataflow.mapper.candidates import Candidate, Mode, candidates
from dataflow.mapper.modes import layer_modes
from dataflow.mapper.place import place
from dataflow.mapper.solve import Choice, Option, Problem, solve
from dataflow.mapper.tensors import TensorPlan, root_of, second_view, tensor_plans

RETRIES = 6
"""Smaller capacities tried when the chosen buffers cannot be packed."""


def map_network(
    graph: LayerGraph,
    machine: Machine,
    objective: str = "latency",
    latencies: Latencies = DEFAULT,
) -> NetworkMapping:
    """The mapping of `graph` with the fewest predicted cycles that the search finds.

    Ties are broken by DRAM bytes, then energy. The bound holds for the cost model and the
    mapspace that `dataflow.mapper.grid` states.

    Raises:
        DataflowError: a layer has no legal tiling, or the tensors exceed the memories; the
            message says which and why.
    """
    started = time.perf_counter()
    if objective != "latency":
        raise DataflowError(
            "objective", f"{objective!r} is not an objective of the RTL mapper", "use latency"
        )
    if not graph.layers:
        raise DataflowError(f"network {graph.name}", "has no layer to map", "give it an operator")
    shapes = tuple(shape_of(layer, machine.cols) for layer in graph.layers)
    plans = tensor_plans(graph, shapes, machine)
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
    found: list[tuple[Option, ...]] = []
    for i, shape in enumerate(shapes):
        options: list[Option] = []
        for mode in layer_modes(graph, i, plans, shape, stream=stream):
            for one in candidates(shape, machine, latencies, mode.mode):
                options.append(Option(mode, one))
        found.append(tuple(options))
    return tuple(found)


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
    return _finish(graph, shapes, plans, choice, machine)


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
    bound = 0
    capacity = machine.act_bytes
    for attempt in range(RETRIES + 1):
        problem = _problem(graph, options, plans, machine, latencies, capacity)
        choice = solve(problem, machine)
        if choice is None:
            break
        if attempt == 0:
            bound = choice.bound
        mapping = _finish(graph, shapes, plans, choice, machine)
        if mapping is not None:
            return replace(mapping, bound=bound, optimal=mapping.objective == bound)
        capacity -= machine.act_bytes // 16
    raise DataflowError(
        f"network {graph.name}",
        f"its tensors and buffers do not fit into {machine.act_bytes} bytes of activation memory",
        "use an architecture with a larger activations memory",
    )


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
    overhead = (
        latencies.fetch_start + machine.dram_read_latency + latencies.dispatch + latencies.done
    )
    return Problem(options, plans, tuple(waits), capacity, overhead)


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
    choice: Choice,
    machine: Machine,
) -> NetworkMapping | None:
    memory = place(graph, shapes, plans, choice, machine)
    if memory is None:
        return None
    tilings: dict[str, Tiling] = {}
    for layer, option in zip(graph.layers, choice.options, strict=True):
        tilings[layer.name] = option.candidate.tiling
    if len(tilings) != len(graph.layers):
        raise DataflowError(f"network {graph.name}", "has two layers of one name", "rename one")
    return NetworkMapping(
        arch=machine.name,
        tilings=tilings,
        memory=memory,
        objective=choice.cycles,
        bound=choice.bound,
        optimal=choice.optimal,
    )
