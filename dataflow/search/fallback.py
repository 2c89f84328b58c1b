"""A plain legal mapping for Einsums that the exact search does not count.

Those are states that are read and written again, and some indices. Everything streams from the
root; levels that have to hold a tensor hold one element.
"""

from __future__ import annotations

from dataflow import mapping as mp
from dataflow.arch import Architecture, Compute, Memory
from dataflow.cost import cost as cost_of


def plain_nest(work: mp.Work, arch: Architecture, unit: Compute) -> mp.Nest:
    """The nest of the plain mapping."""
    nodes: list[mp.Node] = []
    memories = [node for node in arch.path(unit.name) if isinstance(node, Memory)]
    nodes.append(mp.Hold(memories[0].name, work.tensors))
    nodes += [mp.Loop.of(v, 1) for v, size in work.sizes.items() if size > 1]
    for memory in memories[1:]:
        held = [
            o.name
            for o in work.operands
            if mp.may_hold(memory, o) and mp.must_hold(memory, o, root=False)
        ]
        if held:
            nodes.append(mp.Hold(memory.name, tuple(dict.fromkeys(held))))
    nodes.append(mp.Compute(work.name, unit.name))
    return tuple(nodes)


def plain_cost(nest: mp.Nest, work: mp.Work, arch: Architecture) -> tuple[float, float]:
    """(energy in pJ, latency in cycles) of a nest, by the general cost model."""
    made = mp.Mapping((mp.Group("plain", nest),))
    counted = cost_of(made, mp.Workload(work.name, (work,)), arch)
    return float(counted.energy_pj), float(counted.cycles)


def floor(work: mp.Work, arch: Architecture, unit: Compute) -> tuple[float, float]:
    """(energy, latency) that no mapping on the unit is below: its operations on all instances."""
    slots, energy = 0.0, 0.0
    for name, times in work.operators:
        operation = unit.operation(name)
        assert operation is not None
        slots += times * float(operation.cycles)
        each = unit.energy_pj if operation.energy_pj is None else operation.energy_pj
        energy += times * float(each)
    latency = work.points * slots / float(unit.per_cycle) / arch.instances(unit.name)
    return work.points * energy, latency
