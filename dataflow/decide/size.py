"""Sizes: what no tiling fits, and what exceeds the DRAM address space of an architecture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dataflow.errors import DataflowError
from dataflow.layers.layer import LayerGraph
from dataflow.machine import Machine
from dataflow.machine.latencies import DEFAULT
from dataflow.mapper.modes import LayerMode, layer_modes
from dataflow.mapper.place import require_dram
from dataflow.mapper.tensors import TensorPlan, tensor_plans
from dataflow.tiling.candidates import fits
from dataflow.tiling.shape import LayerShape, shape_of


@dataclass(frozen=True)
class TooLarge:
    """A size that the machine has no room for.

    Attributes:
        einsums: of the layer that is too large; empty when it is the whole network.
        reason, fix: for people.
    """

    einsums: tuple[str, ...]
    reason: str
    fix: str


def size_refusals(graph: LayerGraph, machine: Machine) -> tuple[TooLarge, ...]:
    """Everything about the sizes of a network that ``compile`` would refuse."""
    if not graph.layers:
        return (
            TooLarge(
                (),
                "has no layer for the machine: nothing in it computes",
                "compile a network with at least one operator that computes",
            ),
        )
    shapes = tuple(shape_of(layer, machine.cols) for layer in graph.layers)
    plans = tensor_plans(graph, shapes, machine)
    found = list(_dram(graph, plans, machine))
    return tuple(found) if found else tuple(_tilings(graph, shapes, plans, machine))


def _dram(graph: LayerGraph, plans: dict[str, TensorPlan], machine: Machine) -> Iterator[TooLarge]:
    try:
        require_dram(graph, plans, machine)
    except DataflowError as error:
        yield TooLarge((), error.what, error.fix)
        return
    stored = sum(len(data) for data in graph.constants.values())
    stored += sum(int(np.asarray(data).size) for data in graph.weights.values())
    ends = sum(s.bytes for s in graph.storage.values() if s.role in ("input", "output"))
    if stored + ends > machine.dram_bytes:
        yield TooLarge(
            (),
            f"its weights, inputs and outputs take {stored + ends} bytes of DRAM; "
            f"{machine.name} addresses {machine.dram_bytes}",
            "use an architecture with a larger address space, or a smaller network",
        )


def _tilings(
    graph: LayerGraph,
    shapes: tuple[LayerShape, ...],
    plans: dict[str, TensorPlan],
    machine: Machine,
) -> Iterator[TooLarge]:
    known: dict[tuple[object, ...], bool] = {}
    for index, (layer, shape) in enumerate(zip(graph.layers, shapes, strict=True)):
        modes = sorted(layer_modes(graph, index, plans, shape, stream=True), key=_streams)
        key = (shape, *(mode.mode for mode in modes))
        if key not in known:
            known[key] = any(fits(shape, machine, DEFAULT, mode.mode) for mode in modes)
        if not known[key]:
            yield TooLarge(
                layer.einsums,
                f"no tile of it fits the memories of {machine.name}: {machine.act_bytes} bytes of "
                f"activations, {machine.wbuf_lines} lines of weights for a reduction of "
                f"{layer.reduction}",
                "use an architecture with larger memories, or split the operator",
            )


def _streams(mode: LayerMode) -> tuple[bool, bool, bool]:
    """Sorts the modes that need least memory first."""
    return mode.mode.source != "stream", mode.mode.second not in ("stream", "none"), mode.mode.keep
