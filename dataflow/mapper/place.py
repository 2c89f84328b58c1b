"""From the solver's choice to addresses: regions of the activation memory and of DRAM."""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.errors import DataflowError
from dataflow.layers.boxes import TileBox, second_box, sink_box, slot_bytes, source_box
from dataflow.layers.layer import LayerGraph
from dataflow.layers.plan import MemoryMap, Placement
from dataflow.layers.tiled import TiledLayer
from dataflow.layers.tiling import Tiling
from dataflow.machine import Machine
from dataflow.mapper.problem import Choice
from dataflow.mapper.tensors import TensorPlan, row_bytes
from dataflow.memory import Buffer, pack, validate
from dataflow.tiling.options import tile_pitch
from dataflow.tiling.shape import LayerShape

DRAM_ALIGN = 4096
"""Tensors start at 4 KiB, where no burst is cut."""


@dataclass(frozen=True)
class Region:
    """A stream buffer of a layer: all slots, row pitch of a tile."""

    layer: int
    role: str
    bytes: int
    pitch: int


def place(
    graph: LayerGraph,
    shapes: tuple[LayerShape, ...],
    plans: dict[str, TensorPlan],
    choice: Choice,
    machine: Machine,
) -> MemoryMap | None:
    """Addresses for a choice, or None when its buffers cannot be packed."""
    line = machine.line_bytes
    regions = [
        region
        for i, option in enumerate(choice.options)
        for region in layer_regions(graph, i, shapes[i], option.candidate.tiling, machine)
    ]
    tensors = {
        root: life
        for root, plan in plans.items()
        if (life := lifetime(plan, choice.resident_reads[root])) is not None
    }
    offsets = None
    for slack in (1, 0):
        # A stream that may start a layer early and end a layer late is not held up by reuse of
        # its memory, if there is room for that.
        buffers = [
            Buffer(root, plans[root].resident_bytes(line), *life) for root, life in tensors.items()
        ]
        for region in regions:
            low, high = region.layer, region.layer + 1
            if region.role == "sink":
                high = min(len(graph.layers), high + slack)
            else:
                low = max(0, low - slack)
            buffers.append(Buffer(f"{region.layer}/{region.role}", region.bytes, low, high))
        offsets = pack(buffers, machine.act_bytes, line).offsets
        if offsets is not None:
            validate(buffers, offsets, machine.act_bytes, line)
            break
    if offsets is None:
        return None
    resident: dict[str, Placement] = {}
    for root in tensors:
        plan = plans[root]
        for name in plan.names:
            dense = row_bytes(graph.storage[name])
            pitch = plan.pitch if plan.pitch != plan.row else dense
            resident[name] = Placement(offsets[root], plan.resident_bytes(line), pitch)
    placed = {
        (graph.layers[r.layer].name, r.role): Placement(
            offsets[f"{r.layer}/{r.role}"], r.bytes, r.pitch
        )
        for r in regions
    }
    return MemoryMap(resident, placed, _dram(graph, plans, choice, machine))


def lifetime(plan: TensorPlan, resident_reads: int) -> tuple[int, int] | None:
    """Half-open interval of layers over which the tensor is on chip, or None."""
    if not resident_reads:
        return None
    start = plan.readers[0].layer if plan.external else min(plan.writers)
    return start, plan.readers[resident_reads - 1].layer + 1


def layer_regions(
    graph: LayerGraph, index: int, shape: LayerShape, tiling: Tiling, machine: Machine
) -> list[Region]:
    """The stream buffers of a layer under a tiling."""
    layer = graph.layers[index]
    tiled = TiledLayer(layer, tiling, machine)
    line = machine.line_bytes
    found: list[Region] = []

    def add(role: str, box: TileBox, pitch: int, slots: int) -> None:
        found.append(Region(index, role, slots * slot_bytes(box, pitch, line), pitch))

    def whole_lines(box: TileBox) -> int:
        return -(-box.row_bytes // line) * line

    if tiling.source == "stream":
        box = source_box(tiled)
        k = tiling.tile["k"] if "k" in tiling.order else shape.c
        pitch = 0
        if not layer.flat:
            pitch = tile_pitch(shape, tiled.feed, k, box.cols, box.chan, machine)
        add("source", box, pitch or whole_lines(box), tiling.source_slots)
    if tiling.second == "stream":
        box = second_box(tiled)
        add("second", box, whole_lines(box), tiling.second_slots)
    if tiling.sink == "stream":
        box = sink_box(tiled)
        add("sink", box, whole_lines(box), tiling.sink_slots)
    return found


def require_dram(graph: LayerGraph, plans: dict[str, TensorPlan], machine: Machine) -> None:
    """Raises DataflowError when inputs and outputs alone exceed the DRAM: before any search."""
    fixed = (plan for plan in plans.values() if plan.external or plan.output)
    _require_dram(graph, sum(_dram_bytes(plan) for plan in fixed), machine)


def _require_dram(graph: LayerGraph, needed: int, machine: Machine) -> None:
    if needed > machine.dram_bytes:
        raise DataflowError(
            f"network {graph.name}",
            f"its tensors need {needed} bytes of DRAM; the address space has {machine.dram_bytes}",
            "use a smaller network, input or batch",
        )


def _dram_bytes(plan: TensorPlan) -> int:
    return -(-max(plan.bytes, 1) // DRAM_ALIGN) * DRAM_ALIGN


def _dram(
    graph: LayerGraph, plans: dict[str, TensorPlan], choice: Choice, machine: Machine
) -> dict[str, int]:
    """DRAM offsets of every tensor that touches DRAM, aliases at their root's offset."""
    offsets: dict[str, int] = {}
    at = 0
    for root, plan in plans.items():
        spilled = choice.resident_reads[root] < len(plan.readers)
        if not (plan.external or plan.output or spilled):
            continue
        for name in plan.names:
            offsets[name] = at
        at += _dram_bytes(plan)
    _require_dram(graph, at, machine)
    return offsets
