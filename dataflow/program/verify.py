"""Checks of a whole mapping before a Program is built from it."""

from __future__ import annotations

from dataflow.errors import DataflowError
from dataflow.layers.layer import LayerGraph
from dataflow.layers.legality import ports_conflict_free, verify_tiling
from dataflow.layers.plan import NetworkMapping
from dataflow.layers.tiled import TiledLayer
from dataflow.machine import Machine
from dataflow.program.fields import source_base
from dataflow.program.operands import Operand, second_operand, sink_operand, source_operand


def verify_program(graph: LayerGraph, mapping: NetworkMapping, machine: Machine) -> None:
    """Raises DataflowError with all reasons why the machine cannot run the mapping."""
    reasons: list[str] = []
    for layer in graph.layers:
        if layer.name not in mapping.tilings:
            reasons.append(f"{layer.name}: has no tiling")
            continue
        tiled = TiledLayer(layer, mapping.tilings[layer.name], machine)
        own = verify_tiling(tiled)
        try:
            own = own or _places(graph, mapping, tiled)
        except DataflowError as error:
            own = [f"{error.what}"]
        reasons += [f"{layer.name}: {reason}" for reason in own]
    reasons += _writers(graph, mapping)
    if reasons:
        raise DataflowError(
            f"mapping of {graph.name}",
            f"{machine.name} cannot run it\n  " + "\n  ".join(reasons),
            "map again, or correct these lines of the mapping file",
        )


def _places(graph: LayerGraph, mapping: NetworkMapping, tiled: TiledLayer) -> list[str]:
    machine = tiled.machine
    lb = machine.line_bytes
    reasons = []
    found: list[tuple[str, Operand | None]] = [
        ("source", source_operand(graph, mapping, tiled, lb)),
        ("second", second_operand(graph, mapping, tiled, lb)),
        ("sink", sink_operand(graph, mapping, tiled, lb)),
    ]
    for role, operand in found:
        if operand is None:
            continue
        local = operand.local
        low, high = local.region
        if low < 0 or high > machine.act_lines * lb:
            reasons.append(f"its {role} stands at {low}..{high}, outside the activation memory")
        if local.slots and local.slots * local.slot_bytes > high - low:
            reasons.append(
                f"{local.slots} slots of {local.slot_bytes} bytes for its {role} need more than "
                f"{high - low} bytes"
            )
    if feed_conflicts(graph, mapping, tiled):
        reasons.append(f"{tiled.tiling.ports} feed reads of one cycle hit the same bank")
    return reasons


def feed_conflicts(graph: LayerGraph, mapping: NetworkMapping, tiled: TiledLayer) -> bool:
    """Whether the ports of an array layer can hit the same bank in one cycle."""
    if tiled.layer.kind != "array":
        return False
    source = source_operand(graph, mapping, tiled, tiled.machine.line_bytes)
    moves = [s for s in source.strides(tiled) if s]
    if source.local.slots:
        moves.append(source.local.slot_bytes)
    return not ports_conflict_free(
        tiled,
        source_base(tiled.layer, source),
        source.local.y_step,
        source.local.x_step,
        tuple(moves),
    )


def _writers(graph: LayerGraph, mapping: NetworkMapping) -> list[str]:
    """Layers that write parts of one tensor must agree on where it goes."""
    kept: dict[str, bool] = {}
    reasons = []
    for layer in graph.layers:
        if layer.name not in mapping.tilings:
            continue
        on_chip = mapping.tilings[layer.name].sink != "stream"
        name = layer.output.tensor
        if kept.setdefault(name, on_chip) != on_chip:
            reasons.append(f"{layer.name}: other parts of {name} go elsewhere")
    return reasons
