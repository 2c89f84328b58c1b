"""From the solver's choice to addresses: regions of the activation memory and of DRAM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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


CROWD_EFFORT = 50_000
"""Nodes of the packer for a few layers: where it gives up, they are taken for unpackable, as the
whole network is that was given up after many more."""


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
    regions = _regions(graph, shapes, choice, machine)
    tensors = _lifetimes(plans, choice)
    offsets = None
    for slack in (1, 0):
        # A stream that may start a layer early and end a layer late is not held up by reuse of
        # its memory, if there is room for that.
        buffers = _buffers(graph, plans, tensors, regions, machine, slack)
        offsets = pack(buffers, machine.act_bytes, machine.line_bytes).offsets
        if offsets is not None:
            validate(buffers, offsets, machine.act_bytes, machine.line_bytes)
            break
    if offsets is None:
        return None
    resident: dict[str, Placement] = {}
    for root in tensors:
        plan = plans[root]
        for name in plan.names:
            dense = row_bytes(graph.storage[name])
            pitch = plan.pitch if plan.pitch != plan.row else dense
            resident[name] = Placement(
                offsets[root], plan.resident_bytes(machine.line_bytes), pitch
            )
    placed = {
        (graph.layers[r.layer].name, r.role): Placement(
            offsets[f"{r.layer}/{r.role}"], r.bytes, r.pitch
        )
        for r in regions
    }
    return MemoryMap(resident, placed, _dram(graph, plans, choice, machine))


@dataclass(frozen=True)
class Crowd:
    """Neighbouring layers whose buffers cannot be packed, and the bytes alive at each of them."""

    first: int
    loads: tuple[int, ...]


def crowd(
    graph: LayerGraph,
    shapes: tuple[LayerShape, ...],
    plans: dict[str, TensorPlan],
    choice: Choice,
    machine: Machine,
) -> Crowd:
    """Few neighbouring layers that show why a choice which `place` refuses cannot be packed.

    Leaving out a layer at either end of them makes what is left fit.
    """
    regions = _regions(graph, shapes, choice, machine)
    buffers = _buffers(graph, plans, _lifetimes(plans, choice), regions, machine, 0)
    count = len(graph.layers)
    last = _first(1, count, lambda high: not _fits(buffers, 0, high, machine))
    first = last - _first(1, last, lambda back: not _fits(buffers, last - back, last, machine))
    return Crowd(
        first,
        tuple(sum(b.size for b in buffers if b.start <= i < b.end) for i in range(first, last)),
    )


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The least number of [low, high] for which `holds`; it holds for `high` and above another."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _fits(buffers: Sequence[Buffer], low: int, high: int, machine: Machine) -> bool:
    """Whether what is alive in layers [low, high) can be packed."""
    alive = [
        replace(b, start=max(b.start, low), end=min(b.end, high))
        for b in buffers
        if b.start < high and b.end > low
    ]
    found = pack(alive, machine.act_bytes, machine.line_bytes, effort=CROWD_EFFORT)
    return found.offsets is not None


def _regions(
    graph: LayerGraph, shapes: tuple[LayerShape, ...], choice: Choice, machine: Machine
) -> list[Region]:
    return [
        region
        for i, option in enumerate(choice.options)
        for region in layer_regions(graph, i, shapes[i], option.candidate.tiling, machine)
    ]


def _lifetimes(plans: dict[str, TensorPlan], choice: Choice) -> dict[str, tuple[int, int]]:
    return {
        root: life
        for root, plan in plans.items()
        if (life := lifetime(plan, choice.resident_reads[root])) is not None
    }


def _buffers(
    graph: LayerGraph,
    plans: dict[str, TensorPlan],
    tensors: dict[str, tuple[int, int]],
    regions: list[Region],
    machine: Machine,
    slack: int,
) -> list[Buffer]:
    """What the packer is asked: residents, and streams that live `slack` layers longer."""
    line = machine.line_bytes
    found = [
        Buffer(root, plans[root].resident_bytes(line), *life) for root, life in tensors.items()
    ]
    for region in regions:
        low, high = region.layer, region.layer + 1
        if region.role == "sink":
            high = min(len(graph.layers), high + slack)
        else:
            low = max(0, low - slack)
        found.append(Buffer(f"{region.layer}/{region.role}", region.bytes, low, high))
    return found


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
