"""What compile found: `report/summary.json` and `compile.log`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

import onnx

from dataflow.decide.host import HostPart, Where, host_work
from dataflow.decide.wide import RECOMPUTED
from dataflow.flow.pipeline import Compiled
from dataflow.frontend.onnx.cut import Parts
from dataflow.ir import Cascade
from dataflow.layers.layer import Layer
from dataflow.program.accesses import memory_accesses
from dataflow.program.energy import energy_pj
from dataflow.progress import StepClock
from dataflow.rewrite.passes import Stage


def rewrites(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """The passes that changed something, and whether they kept all bits."""
    return [
        {"name": stage.name, "exact": stage.exact, "einsums": len(stage.changed)}
        for stage in stages
        if stage.changed
    ]


def log_lines(compiled: Compiled, clock: StepClock, *, timed: bool) -> list[str]:
    """What compile found, for `compile.log`; ``timed``: see :func:`summary`."""
    mapping, prediction = compiled.mapping, compiled.prediction
    steps = [f"step {name}: {seconds:.2f} s" for name, seconds in clock.steps()]
    if not timed:
        return ["no cycles are predicted: they are the RTL's", *steps]
    lines = [
        f"mapper's model: {mapping.objective} cycles, bound {mapping.model_bound}, "
        f"gap {mapping.model_gap:.4f}{', optimal' if mapping.model_optimal else ''}",
        f"predicted cycles: {prediction.cycles}; no mapping below {mapping.bound}",
        f"program: {len(compiled.program.code)} bytes; DRAM: {compiled.program.dram_bytes} bytes",
    ]
    for layer, cycles in zip(compiled.graph.layers, prediction.layers, strict=True):
        lines.append(f"layer {layer.name} ({layer.kind}): {cycles} cycles predicted")
    return lines + steps


def hosted(known: Sequence[HostPart], parts: Parts | None) -> list[dict[str, Any]]:
    """What the host does, in order, each operator with its operations and bytes.

    Nodes of the head and tail that only view values have none of either, nor have those that are
    computed in one expression with the node that reads them, where their work is counted.
    """
    named = {part.name for part in known}
    first = [] if parts is None else _idle(parts.head, "head", named)
    last = [] if parts is None else _idle(parts.tail, "tail", named)
    return [asdict(part) for part in (*first, *known, *last)]


def _idle(part: onnx.ModelProto | None, where: Where, named: Collection[str]) -> list[HostPart]:
    """The nodes of a head or tail that have no work: all but those ``named``."""
    nodes = [] if part is None else part.graph.node
    names = [(n.name or next(iter(n.output), ""), n.op_type) for n in nodes]
    return [HostPart(n, op, where, 0, 0) for n, op in names if n not in named]


def summary(model: str, compiled: Compiled, *, timed: bool = True) -> dict[str, Any]:
    """`report/summary.json` without the time.

    Args:
        model: its file name.
        compiled: what was made of it.
        timed: the RTL is emitted. What is predicted holds for it alone; without it the values are
            null.
    """
    graph, machine, prediction = compiled.graph, compiled.machine, compiled.prediction
    macs_of = {layer.name: nominal(compiled.cascade, layer) for layer in graph.layers}
    macs = sum(macs_of.values())
    units, work = machine.mac_units, host_work(compiled.imported)
    layers = []
    for layer, counts, cycles in zip(
        graph.layers, compiled.program.layers, prediction.layers, strict=True
    ):
        layers.append(
            {
                "name": layer.name,
                "operator": layer.kind,
                "einsums": list(layer.einsums),
                "macs": macs_of[layer.name],
                "predicted_cycles": cycles,
                "mac_utilization": macs_of[layer.name] / (cycles * units) if cycles else 0.0,
                "dram_read_bytes": counts.dram_read_bytes,
                "dram_write_bytes": counts.store_bytes,
            }
        )
    result: dict[str, Any] = {
        "model": model,
        "arch": machine.name,
        "macs": macs,
        "operators": operators(compiled.model),
        "predicted": {
            "cycles": prediction.cycles,
            "seconds": prediction.cycles / (machine.clock_mhz * 1e6),
            "mac_utilization": macs / (prediction.cycles * units),
            "dram_read_bytes": compiled.program.dram_read_bytes,
            "dram_write_bytes": compiled.program.dram_write_bytes,
            "energy_pj": energy_pj(compiled.graph, compiled.program, machine),
            "accesses": memory_accesses(compiled.program, machine, prediction.counters),
        },
        "bound": {"cycles": compiled.mapping.bound},
        "mapper": {
            "model_cycles": compiled.mapping.objective,
            "model_bound_cycles": compiled.mapping.model_bound,
            "model_gap": compiled.mapping.model_gap,
            "model_optimal": compiled.mapping.model_optimal,
        },
        "host": hosted(work.parts, compiled.parts),
        "host_operations": work.operations,
        "host_bytes": work.bytes,
        "layers": layers,
    }
    if not timed:
        kept = ("name", "operator", "einsums", "macs")
        for part in (*(result[key] for key in ("predicted", "bound", "mapper")), *layers):
            part.update(dict.fromkeys(part.keys() - kept))
    return result


def nominal(cascade: Cascade, layer: Layer) -> int:
    """Multiply-accumulates of a layer that the model asks for: none of what is computed again."""
    again = {e.name for e in cascade.einsums if e.operator == RECOMPUTED}
    return 0 if layer.einsums[0] in again else layer.macs


def operators(model: onnx.ModelProto) -> dict[str, int]:
    """Nodes of the model by operator."""
    counts: dict[str, int] = {}
    for node in model.graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return dict(sorted(counts.items()))
