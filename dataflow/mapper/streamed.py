"""The mapping that keeps nothing on chip: every operand streams, with the smallest buffers.

Needs no search: a baseline, and what makes the self-test's tiles small.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from dataflow.layers.boxes import second_box, sink_box, slot_bytes, source_box
from dataflow.layers.layer import Dim, Layer, LayerGraph
from dataflow.layers.legality import verify_tiling
from dataflow.layers.plan import NetworkMapping
from dataflow.layers.tiled import TiledLayer
from dataflow.layers.tiling import Tiling
from dataflow.machine import DEFAULT, Machine
from dataflow.mapper.modes import layer_modes
from dataflow.mapper.place import place
from dataflow.mapper.problem import Choice, Option
from dataflow.mapper.tensors import tensor_plans
from dataflow.tiling.candidates import candidates
from dataflow.tiling.options import tile_pitch
from dataflow.tiling.shape import LayerShape, shape_of

SMALLEST = 48
"""A random choice is one of so many candidates with the smallest buffers."""


def streamed_mapping(
    graph: LayerGraph, machine: Machine, seed: int | None = None, *, whole: bool = False
) -> NetworkMapping | None:
    """Each layer with its smallest buffers; None where a layer cannot be streamed.

    Args:
        seed: draws among the smallest candidates of every layer instead of the very smallest.
        whole: no tiles at all where a layer fits, the array fed by as many ports and filter taps
            as can be.
    """
    rng = None if seed is None else Random(seed)
    shapes = tuple(shape_of(layer, machine.cols) for layer in graph.layers)
    plans = tensor_plans(graph, shapes, machine)
    chosen: list[Option] = []
    for i, (layer, shape) in enumerate(zip(graph.layers, shapes, strict=True)):
        options = [
            Option(mode, one, at)
            for mode in layer_modes(graph, i, plans, shape, stream=True)
            if not mode.mode.keep and {mode.mode.source, mode.mode.second} <= {"stream", "none"}
            for at, one in enumerate(candidates(shape, machine, DEFAULT, mode.mode))
        ]
        if not options:
            return None
        options.sort(key=lambda o: (o.candidate["buffer"], -o.candidate["tiles"]))
        if whole:
            chosen.append(_whole(options, layer, shape, machine) or options[0])
        else:
            chosen.append(options[0] if rng is None else _drawn(options, rng))
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


def _whole(
    options: list[Option], layer: Layer, shape: LayerShape, machine: Machine
) -> Option | None:
    """One tile, fed by the most filter taps and ports that can be; None where no such tile fits."""

    def width(option: Option) -> tuple[int, int]:
        feed = TiledLayer(layer, option.candidate.tiling, machine).feed
        return feed.taps, feed.ports

    widest = sorted(options, key=width, reverse=True)
    tried: dict[tuple[object, ...], Option] = {}
    for option in widest:
        now = option.candidate.tiling
        tried.setdefault((option.mode, _feed(now), "b" in now.order), option)
    found = (_untiled(option, layer, shape, machine) for option in tried.values())
    return next((one for one in found if one is not None), None)


def _untiled(option: Option, layer: Layer, shape: LayerShape, machine: Machine) -> Option | None:
    """The option with one tile; None where the machine cannot run, feed or hold that."""
    now = option.candidate.tiling
    order: tuple[Dim, ...] = ("b",) if "b" in now.order else ()
    inner = len(order)
    tiling = replace(
        now,
        order=order,
        tile={"b": 1} if order else {},
        source_depth=min(now.source_depth, inner),
        source_slots=1,
        second_depth=min(now.second_depth, inner),
        second_slots=min(now.second_slots, 1),
        sink_slots=1,
        weight_depth=0,
        param_depth=0,
    )
    tiled = TiledLayer(layer, tiling, machine)
    source = source_box(tiled)
    boxes = [source, sink_box(tiled)]
    boxes += [second_box(tiled)] if now.second != "none" else []
    line = machine.line_bytes
    needed = sum(slot_bytes(box, box.row_bytes + line, line) for box in boxes)
    if verify_tiling(tiled) or needed > machine.act_bytes // 2:
        return None
    if not tile_pitch(shape, tiled.feed, shape.c, source.cols, source.chan, machine):
        return None  # its ports would meet in one bank
    return replace(option, candidate=replace(option.candidate, tiling=tiling))


def _drawn(options: list[Option], rng: Random) -> Option:
    """One of the smallest, or as often one that feeds the array in another way than they do."""
    first = options[0].candidate.tiling
    others = [o for o in options if _feed(o.candidate.tiling) != _feed(first)]
    return rng.choice(others if others and rng.random() < 0.5 else options[:SMALLEST])


def _feed(tiling: Tiling) -> tuple[object, ...]:
    return tiling.feed, tiling.ports, tiling.swap
