"""Inputs that several groups read: fetched once for all of them where that is better.

The partition lets each group fetch what comes from off chip. Afterwards neighbouring groups that
read one input are put below a hold of it, as branches of one group without common loops; what rests
in the buffer between them is held there too. Such mappings belong to the mapspace, so its bounds
are lowered by what they can save at most.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from dataflow import mapping as mp
from dataflow.arch import Architecture, Memory
from dataflow.cost import Cost
from dataflow.cost import cost as cost_of
from dataflow.errors import DataflowError
from dataflow.mapping.chains import tile_size
from dataflow.search.parts import INFINITE, port_rate

EINSUMS = 1000
"""Einsums that are costed again at most: each way to put groups together costs all of them."""
TRIES = 16
"""Ways that are tried at most."""
WORTH = 1e-8
"""Share of the energy or the time that an input can save at least for it to be tried."""

Ranks = Callable[[Cost], tuple[float, ...]]


@dataclass(frozen=True)
class Shared:
    """An input that several Einsums read and that fits into the buffer.

    Attributes:
        tensor: its name.
        readers: how many Einsums.
        energy_pj, cycles: what a fetch into the buffer costs at most.
    """

    tensor: str
    readers: int
    energy_pj: float
    cycles: float

    @property
    def saving(self) -> tuple[float, float]:
        """Picojoules and cycles that one fetch for all saves at most."""
        return (self.readers - 1) * self.energy_pj, (self.readers - 1) * self.cycles


def shared_inputs(
    workload: mp.Workload, arch: Architecture, buffer: Memory | None
) -> tuple[Shared, ...]:
    """All of them, those first that can save most energy."""
    if buffer is None or buffer.size_bits is None:
        return ()
    written = {work.output.tensor for work in workload.works}
    accesses: dict[str, list[tuple[str, mp.Operand, int]]] = {}
    for work in workload.works:
        for o in work.inputs:
            if o.tensor not in written and not o.intermediate:
                elements = int(tile_size(o, work.sizes))
                accesses.setdefault(o.tensor, []).append((work.name, o, elements))
    root = arch.memories[0]
    found = []
    for tensor, rows in accesses.items():
        readers = len({name for name, _, _ in rows})
        bits = max(o.bits * n for _, o, n in rows)
        if readers < 2 or bits > buffer.size_bits:
            continue
        if not all(mp.may_hold(buffer, o) for _, o, _ in rows):
            continue
        energy = float(root.energy.read_pj / root.energy.bits) * bits
        energy += float(buffer.energy.write_pj / buffer.energy.bits) * bits
        cycles = sum(bits / rate for m in (root, buffer) if (rate := port_rate(m)) < INFINITE)
        found.append(Shared(tensor, readers, energy, cycles))
    return tuple(sorted(found, key=lambda s: (-s.saving[0], -s.saving[1], s.tensor)))


def lowered(
    bounds: Mapping[str, float], inputs: Sequence[Shared], floors: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """Bounds of each objective, also of mappings that fetch these inputs once.

    Whoever reads an input from the buffer could fetch it whole into the same room, so a mapping is
    at most the savings below one without them. Of a product each factor shrinks at most by its
    share of its own bound. Nor is anything below the Einsums' floors together.
    """
    if not inputs:
        return dict(bounds)
    low = {}
    for i, name in enumerate(("energy", "latency")):
        least = bounds[name] - sum(s.saving[i] for s in inputs)
        low[name] = min(bounds[name], max(least, sum(f[name] for f in floors)))
    shares = [low[name] / bounds[name] if bounds[name] else 1.0 for name in low]
    low["edp"] = max(bounds["edp"] * shares[0] * shares[1], low["energy"] * low["latency"])
    return low


def keep_shared(
    mapping: mp.Mapping,
    cost: Cost,
    workload: mp.Workload,
    arch: Architecture,
    buffer: Memory | None,
    ranks: Ranks,
    fixed: Collection[str] = (),
) -> tuple[mp.Mapping, Cost]:
    """The mapping, or a better one (by ``ranks``) that fetches inputs once, with its cost.

    What the ``fixed`` Einsums read is left as it is.
    """
    given = {o.tensor for name in fixed for o in workload.work(name).inputs}
    tries = min(TRIES, EINSUMS // len(workload.works))
    for shared in shared_inputs(workload, arch, buffer):
        energy, cycles = shared.saving
        worth = energy > WORTH * float(cost.energy_pj) or cycles > WORTH * float(cost.cycles)
        if not worth or buffer is None or shared.tensor in given:
            continue
        spans = _spans(mapping, workload, shared.tensor)
        # All at once, otherwise from each reader to the next one.
        if len(spans) > 1:
            spans = [(spans[0][0], spans[-1][1]), *spans]
        joined = 0
        for number, (start, end) in enumerate(spans):
            if not tries:
                return mapping, cost
            tries -= 1
            made = _merged(mapping, start - joined, end - joined, shared.tensor, arch, buffer)
            try:
                counted = cost_of(made, workload, arch)
            except DataflowError:  # no room, or an order that only whole groups have
                continue
            if not _less(ranks(counted), ranks(cost)):
                continue
            mapping, cost = made, counted
            joined += end - start
            if number == 0 and len(spans) > 1:
                break
    return mapping, cost


def _less(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    for one, other in zip(a, b, strict=True):
        if abs(one - other) > 1e-12 * abs(other):
            return one < other
    return False


def _spans(mapping: mp.Mapping, workload: mp.Workload, tensor: str) -> list[tuple[int, int]]:
    """Each group that reads the tensor, with the next one that does."""
    readers = [
        number
        for number, group in enumerate(mapping.groups)
        if any(
            o.tensor == tensor
            for path in mp.group_paths(group)
            for o in workload.work(path.compute.einsum).inputs
        )
    ]
    return list(pairwise(readers))


def _merged(
    mapping: mp.Mapping, start: int, end: int, tensor: str, arch: Architecture, buffer: Memory
) -> mp.Mapping:
    """Groups ``start`` to ``end`` as branches below a hold of the tensor."""
    root = arch.memories[0].name
    inside, rest = mapping.groups[start : end + 1], _resting(mapping, buffer.name)
    stay = sorted({t for g in inside for t in _top(g.nest, buffer.name)} & rest - {tensor})
    parts = []
    for group in inside:
        nest = _without(group.nest, root, {tensor}, deep=True)
        nest = _without(nest, buffer.name, {tensor}, deep=True)
        parts.append(_without(nest, buffer.name, set(stay), deep=False))
    nest = (
        mp.Hold(root, (tensor,)),
        mp.Hold(buffer.name, (tensor, *stay)),
        mp.Branches(tuple(parts)),
    )
    groups = (*mapping.groups[:start], mp.Group(inside[0].name, nest), *mapping.groups[end + 1 :])
    return mp.Mapping(groups)


def _resting(mapping: mp.Mapping, level: str) -> set[str]:
    """Tensors that several groups hold at a level above all of their loops."""
    found: list[str] = []
    for group in mapping.groups:
        found += _top(group.nest, level)
    return {t for t in found if found.count(t) > 1}


def _top(nest: mp.Nest, level: str) -> set[str]:
    """Tensors held at a level above the first loop or split."""
    found: set[str] = set()
    for node in nest:
        if not isinstance(node, mp.Hold):
            break
        if node.level == level:
            found |= {name.partition(".")[0] for name in node.tensors}
    return found


def _without(nest: mp.Nest, level: str, tensors: set[str], *, deep: bool) -> mp.Nest:
    """The nest without holds of some tensors at a level; above the first loop, or anywhere."""
    found: list[mp.Node] = []
    top = True
    for node in nest:
        top = top and isinstance(node, mp.Hold)
        if isinstance(node, mp.Hold) and node.level == level and (deep or top):
            left = tuple(t for t in node.tensors if t.partition(".")[0] not in tensors)
            if left:
                found.append(replace(node, tensors=left))
        elif isinstance(node, mp.Branches) and deep:
            parts = tuple(_without(part, level, tensors, deep=True) for part in node.parts)
            found.append(replace(node, parts=parts))
        else:
            found.append(node)
    return tuple(found)
