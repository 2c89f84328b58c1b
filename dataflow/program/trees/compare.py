"""Loop trees against the Program's own access counts, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dataflow.cost import Cost
from dataflow.machine import Machine
from dataflow.machine.program import Program
from dataflow.program.accesses import Accesses, network_accesses
from dataflow.program.trees.export import einsum_names

MEMORIES = {
    "activations": "act",
    "weights": "wbuf",
    "parameters": "param",
    "accumulators": "acc",
}
"""Names in `Accesses` of the memories on chip."""

COMPARED = (
    "macs",
    "dram_bytes",
    *(f"{short}_{action}s" for short in MEMORIES.values() for action in ("read", "write")),
)
"""Fields of `Accesses` that loop trees say; the others are of micro-programs and cycles."""


@dataclass(frozen=True)
class Difference:
    """A count of a layer that its loop tree does not say: ``counted`` by the tree, ``stated`` by
    the Program; ``field`` of `Accesses`."""

    layer: str
    field: str
    counted: int
    stated: int


def layer_counts(cost: Cost, number: int) -> Accesses:
    """What the general model counts for a layer: bytes of DRAM, lines on chip, operations."""
    found = dict.fromkeys(COMPARED, 0)
    array, vector = einsum_names(number)
    for counts in cost.counts:
        if counts.einsum not in (array, vector):
            continue
        if counts.einsum == array:
            found["macs"] += counts.points
        for m in counts.moved:
            if m.level in MEMORIES:
                found[f"{MEMORIES[m.level]}_{m.action}s"] += m.accesses
            elif m.level == "dram":
                found["dram_bytes"] += m.words * m.bits // 8
    return Accesses(**found)


def differences(cost: Cost, program: Program, machine: Machine) -> Iterator[Difference]:
    """Where the counts of a network's loop trees are not those of its Program."""
    stated = network_accesses(program, machine)
    for number, (layer, accesses) in enumerate(zip(program.layers, stated, strict=True)):
        counted = layer_counts(cost, number)
        for name in COMPARED:
            one, other = getattr(counted, name), getattr(accesses, name)
            if one != other:
                yield Difference(layer.name, name, one, other)
