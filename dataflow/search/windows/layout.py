"""From an Einsum, a machine and its lanes to the arrays of the compiled count."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import permutations
from math import lcm, prod

import numpy as np

from dataflow import mapping as mp
from dataflow.arch import Architecture, Compute, FanOut, Memory
from dataflow.cost.busy import first_port
from dataflow.cost.links import Rounding, without_gaps
from dataflow.errors import DataflowError
from dataflow.mapping.chains import partial_bits, shared
from dataflow.search.windows.kernel import Layout

UNBOUNDED = 1 << 62
Lanes = Mapping[str, Mapping[str, int]]
"""Trips of each variable on each fan-out."""


def levels_of(operand: mp.Operand, arch: Architecture, unit: Compute) -> tuple[Memory, ...]:
    """Memories that may hold an operand, outermost first; all that have room for an element do."""
    found = [node for node in arch.path(unit.name) if isinstance(node, Memory)]
    return tuple(
        node
        for node in found
        if mp.may_hold(node, operand) and (node.size_bits is None or operand.bits <= node.size_bits)
    )


def layout(
    work: mp.Work, arch: Architecture, unit: Compute, lanes: Lanes, rounding: Rounding = "up"
) -> Layout:
    """The arrays. Raises DataflowError for indices that the window arithmetic does not reckon."""
    for operand in work.operands:
        if any(dim.indirect or dim.digits for dim in operand.dims) or operand.state:
            raise DataflowError(
                work.name,
                f"indexes {operand.tensor} in a way that the time with stalls does not reckon",
                "map it without --stalls",
            )
    variables = list(work.sizes)
    memories = arch.memories
    path = list(arch.path(unit.name))
    fans = [node for node in path if isinstance(node, FanOut)]
    place = {node.name: at for at, node in enumerate(path)}
    chains = [list(reversed(levels_of(o, arch, unit))) for o in work.operands]
    operands, deep = len(chains), 1 + max(len(chain) for chain in chains)
    relevant = np.array([[v in o.variables for v in variables] for o in work.operands])
    dims: list[tuple[int, int, list[int]]] = []
    for n, operand in enumerate(work.operands):
        for extent, steps in _steps(without_gaps(operand, work)):
            dims.append((n, extent, [steps.get(v, 0) for v in variables]))
    ports: dict[tuple[str, str], tuple[float, int]] = {}
    index: dict[tuple[str, str], int] = {}
    memory = np.full((operands, deep), -1, np.int64)
    inside = np.ones((operands, deep, len(variables)), np.int64)
    means = _means(work, lanes, rounding)
    charged: dict[tuple[int, int, int], Fraction] = {}
    distinct = np.ones((operands, deep), np.int64)
    port = np.zeros((operands, deep, 4), np.int64)
    sums = np.zeros((operands, deep), np.bool_)
    over = np.zeros((len(fans), operands, deep), np.bool_)
    for n, (operand, chain) in enumerate(zip(work.operands, chains, strict=True)):
        for k, level in enumerate([None, *chain]):
            at = len(path) if level is None else place[level.name]
            below = [f for f in fans if place[f.name] > at]
            above = [f for f in fans if f not in below]
            charged[n, k, 0] = prod(
                (t for f in above for t in means[f.name].values()), start=Fraction(1)
            )
            for v, name in enumerate(variables):
                inside[n, k, v] = prod(lanes[f.name].get(name, 1) for f in below)
            if level is None:
                continue
            memory[n, k] = memories.index(level)
            child = len(path) if k == 1 else place[chain[k - 2].name]
            between = [f for f in below if place[f.name] < child]
            trips = [t for f in between for v, t in means[f.name].items() if v in operand.variables]
            distinct[n, k] = prod(int(t) for t in trips)
            charged[n, k, 1] = prod(trips, start=Fraction(1))
            alone = [f for f in fans if place[f.name] < child]
            alone = [f for f in alone if f not in between or not shared(f, operand)]
            sums[n, k] = any(
                t > 1 and v in work.reduced for f in alone for v, t in lanes[f.name].items()
            )
            for f, fan in enumerate(fans):
                over[f, n, k] = fan in below
            for side, (action, end) in enumerate(
                (("read", "low"), ("write", "low"), ("read", "high"), ("write", "high"))
            ):
                found = first_port(level, operand, action, end)
                key = (level.name, found.name if found else "none")
                rate = None if found is None else found.bits_per_cycle
                width = float("inf") if rate is None or found is None else float(rate) * found.count
                ports[key] = (width, 1 if found is None else found.min_bits)
                port[n, k, side] = index.setdefault(key, len(index))
    share = lcm(*(t.denominator for t in charged.values()))
    paid = np.full((operands, deep, 2), share, np.int64)
    for spot, mean in charged.items():
        paid[spot] = int(mean * share)
    energy, slots = _operations(work, unit)
    inputs = [n for n, o in enumerate(work.operands) if o.role != "output"]
    systolic = [prod(lanes[f.name].values()) for f in fans if f.systolic]
    wide = partial_bits(work, unit)
    return Layout(
        np.array(list(work.sizes.values()), np.int64),
        operands - 1,
        np.array([len(chain) + 1 for chain in chains], np.int64),
        relevant,
        np.array([d[0] for d in dims], np.int64),
        np.array([d[1] for d in dims], np.int64),
        np.array([d[2] for d in dims], np.int64).reshape(len(dims), len(variables)),
        memory,
        inside,
        distinct,
        paid,
        share,
        rounding == "zigzag",
        port,
        sums,
        np.array([o.bits for o in work.operands], np.int64),
        np.array([wide if o.role == "output" else o.bits for o in work.operands], np.int64),
        np.array([-1 if m.size_bits is None else m.size_bits for m in memories], np.int64),
        np.array([ports[key][0] for key in index]),
        np.array([ports[key][1] for key in index], np.int64),
        np.array([float(m.energy.bits) for m in memories]),
        np.array([float(m.energy.read_pj) for m in memories]),
        np.array([float(m.energy.write_pj) for m in memories]),
        np.array([[lanes[f.name].get(v, 1) for v in variables] for f in fans], np.int64).reshape(
            len(fans), len(variables)
        ),
        over,
        np.array(list(permutations(inputs)), np.int64).reshape(-1, len(inputs)),
        sum(n - 1 for n in systolic),
        slots / float(unit.per_cycle),
        work.points * energy,
    )


def _means(work: mp.Work, lanes: Lanes, rounding: Rounding) -> dict[str, dict[str, Fraction]]:
    """The trips of each variable on each fan-out as transfers have them; see `Rounding`."""
    found = {fan: {v: Fraction(t) for v, t in trips.items()} for fan, trips in lanes.items()}
    if rounding == "zigzag":
        for v, size in work.sizes.items():
            own = prod(trips.get(v, 1) for trips in lanes.values())
            first = next((fan for fan, trips in lanes.items() if v in trips), None)
            if first is not None:
                found[first][v] *= Fraction(size, own * -(-size // own))
    return found


def _steps(operand: mp.Operand) -> list[tuple[int, dict[str, int]]]:
    """(elements, absolute coefficients) of each dimension; distinct points write distinct ones."""
    if operand.role == "output":
        return [(UNBOUNDED, {v: 1}) for v in operand.variables]
    return [(dim.extent, {v: abs(a) for v, a in dim.terms}) for dim in operand.dims]


def _operations(work: mp.Work, unit: Compute) -> tuple[float, float]:
    """(picojoules, cycles of a unit that does one at a time) of a point."""
    energy = slots = 0.0
    for name, times in work.operators:
        operation = unit.operation(name)
        assert operation is not None
        each = unit.energy_pj if operation.energy_pj is None else operation.energy_pj
        energy += times * float(each)
        slots += times * float(operation.cycles)
    return energy, slots
