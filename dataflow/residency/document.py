"""A plan as data that can be written as JSON and judged without this package."""

from __future__ import annotations

from collections.abc import Mapping

from dataflow.residency.order import peak
from dataflow.residency.planning import Plan


def document(found: Plan, others: Mapping[str, int] | None = None) -> dict[str, object]:
    """Everything that a plan says: what runs, what is where when, what crosses the port when.

    Args:
        others: cycles by simpler rules.
    """
    schedule, machine = found.schedule, found.machine
    return {
        "network": schedule.name,
        "machine": {
            "capacity": machine.capacity,
            "port_bytes": machine.port_bytes,
            "stream_bytes": machine.capacity - machine.room,
            "word": machine.word,
        },
        "steady": found.steady,
        "method": found.method,
        "cycles": found.cycles,
        "bound": found.bound,
        "gap": found.gap,
        "compute_cycles": schedule.cycles,
        "peak_bytes": peak(schedule),
        "bytes": sum(found.costs.moved),
        "whole": found.placed.whole,
        "others": dict(others or {}),
        "tensors": [
            {"name": t.name, "bytes": t.bytes, "kind": t.kind, "output": t.output}
            for t in schedule.tensors.values()
        ],
        "steps": [
            {
                "name": step.name,
                "compute_cycles": step.cycles,
                "cycles": found.costs.cycles[u],
                "bytes": found.costs.moved[u],
                "reads": [{"tensor": a.tensor, "times": a.reads} for a in step.reads],
                "writes": list(step.writes),
                "in_place": [list(pair) for pair in step.in_place],
            }
            for u, step in enumerate(schedule.steps)
        ],
        "regions": [
            {
                "tensor": r.tensor,
                "low": r.low,
                "high": r.high,
                "start": r.start,
                "end": r.end,
                "offset": r.offset,
            }
            for r in found.placed.regions
        ],
        "transfers": [
            {
                "step": t.step,
                "move": t.move,
                "tensor": t.tensor,
                "low": t.low,
                "high": t.high,
                "times": t.times,
            }
            for t in found.transfers
        ],
    }
