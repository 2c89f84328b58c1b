"""The mapping that keeps nothing on chip: every operand streams, with the smallest buffers.

Needs no search: a baseline, and what makes the self-test's tiles small.
"""

from __future__ import annotations

from random import Random

from dataflow.layers.layer import LayerGraph
from dataflow.layers.plan import NetworkMapping
from dataflow.machine import DEFAULT, Machine
from dataflow.mapper.modes import layer_modes
from dataflow.mapper.place import place
from dataflow.mapper.problem import Choice, Option
from dataflow.mapper.tensors import tensor_plans
from dataflow.tiling.candidates import candidates
from dataflow.tiling.shape import shape_of

SMALLEST = 48
"""A random choice is one of so many candidates with the smallest buffers."""


def streamed_mapping(
    graph: LayerGraph, machine: Machine, seed: int | None = None
) -> NetworkMapping | None:
    """Each layer with its smallest buffers; None where a layer cannot be streamed.

    Args:
        seed: draws among the smallest candidates of every layer instead of the very smallest.
    """
    rng = None if seed is None else Random(seed)
    shapes = tuple(shape_of(layer, machine.cols) for layer in graph.layers)
    plans = tensor_plans(graph, shapes, machine)
    chosen: list[Option] = []
    for i, shape in enumerate(shapes):
        options = [
            Option(mode, one)
            for mode in layer_modes(graph, i, plans, shape, stream=True)
            if not mode.mode.keep and {mode.mode.source, mode.mode.second} <= {"stream", "none"}
            for one in candidates(shape, machine, DEFAULT, mode.mode)
        ]
        if not options:
            return None
        options.sort(key=lambda o: (o.candidate["buffer"], -o.candidate["tiles"]))
        chosen.append(rng.choice(options[:SMALLEST]) if rng else options[0])
    cycles = sum(option.candidate["serial"] for option in chosen)
    choice = Choice(tuple(chosen), dict.fromkeys(plans, 0), cycles, 0)
    memory = place(graph, shapes, plans, choice, machine)
    if memory is None:
        return None
    tilings = {
        layer.name: option.candidate.tiling
        for layer, option in zip(graph.layers, chosen, strict=True)
    }
    return NetworkMapping(machine.name, tilings, memory, cycles, 0, False)
