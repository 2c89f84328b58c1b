"""From an Einsum and an Architecture to a :class:`~dataflow.search.problem.Problem`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import prod

from dataflow import mapping as mp
from dataflow.arch import Architecture, Compute, FanOut, Memory, Port
from dataflow.cost import leakage_pj
from dataflow.cost.busy import carries
from dataflow.errors import DataflowError
from dataflow.mapping.chains import partial_bits, shared
from dataflow.search.chains import PERFECT
from dataflow.search.problem import (
    Channel,
    Fan,
    Level,
    Operand,
    Problem,
    Rank,
    Transfer,
    Unit,
)

MOST_PADDED = 1 << 22
"""Longest variable of a padded index: its tiles are looked at one by one."""


class UnsupportedError(DataflowError):
    """An Einsum that the exact search does not count."""


def units_for(work: mp.Work, arch: Architecture) -> tuple[Compute, ...]:
    """Units that execute all operators of an Einsum, those that name them first.

    Raises DataflowError where there is none.
    """
    able = [u for u in arch.computes if all(u.operation(name) for name, _ in work.operators)]
    if not able:
        names = ", ".join(name for name, _ in work.operators)
        raise DataflowError(
            f"{arch.source}: nodes",
            f"no unit executes {names}, which {work.name} needs",
            "add a compute node for it (operators: [any] stands for all), or use another machine",
        )
    named = [u for u in able if all(u.can(name) for name, _ in work.operators)]
    return tuple(named or able)


def pose(
    work: mp.Work,
    arch: Architecture,
    unit: Compute,
    factors: int,
    resident: frozenset[str] = frozenset(),
) -> Problem:
    """The problem of running ``work`` on ``unit``.

    Args:
        factors: with PERFECT, a fan-out's ``largest`` use is that of perfect factors; otherwise
            it is not asked for, so that the mapspace contains the perfect one.
        resident: tensors that live on chip.

    Raises UnsupportedError where the Einsum cannot be searched exactly.
    """
    if any(operand.tensor == work.output.tensor for operand in work.inputs):
        raise _unsupported(work, f"reads {work.output.tensor} and writes it")
    operands = tuple(_operand(work, o, unit, resident) for o in work.operands)
    for posed in operands:
        seen = [v for rank in posed.ranks for v, _ in rank]
        if len(seen) != len(set(seen)):
            raise _unsupported(work, f"indexes {posed.name} twice by one variable")
        if posed.bounds and max(work.sizes[v] for v in seen) > MOST_PADDED:
            raise _unsupported(work, f"indexes {posed.name} with padding by a very long variable")
        if posed.gathers and any(
            len(rank) > 2 for rank, n in zip(posed.ranks, posed.gathers, strict=True) if n
        ):
            raise _unsupported(work, f"indexes {posed.name} by data of three variables")
        if any(len(rank) > 2 for rank in posed.ranks) and posed.bounds:
            raise _unsupported(work, f"indexes {posed.name} by a padded sum of three variables")
    path: list[Level | Fan] = []
    for node in arch.path(unit.name):
        if isinstance(node, Memory):
            path.append(_level(node, work, unit, arch, root=not path))
        elif isinstance(node, FanOut):
            path.append(_fan(node, work, factors))
    slots, energy = 0.0, 0.0
    for name, times in work.operators:
        operation = unit.operation(name)
        assert operation is not None
        slots += times * float(operation.cycles)
        each = unit.energy_pj if operation.energy_pj is None else operation.energy_pj
        energy += times * float(each)
    return Problem(
        dict(work.sizes),
        operands,
        tuple(path),
        Unit(unit.name, slots / float(unit.per_cycle), energy),
        float(leakage_pj(arch, 1)),  # type: ignore[arg-type]
    )


def _unsupported(work: mp.Work, what: str) -> UnsupportedError:
    return UnsupportedError(
        work.name, f"{what}, which the exact search does not count", "give its mapping by hand"
    )


def _operand(
    work: mp.Work, operand: mp.Operand, unit: Compute, resident: frozenset[str]
) -> Operand:
    output = operand.role == "output"
    ranks: list[Rank] = []
    bounds: list[tuple[int, int] | None] = []
    gathers: list[int] = []
    if output:  # distinct points write distinct elements
        ranks = [((v, 1),) for v in operand.variables if work.sizes[v] > 1]
    else:
        for dim in operand.dims:
            terms = tuple((v, a) for v, a in dim.terms if work.sizes[v] > 1)
            if dim.indirect:
                clipped = prod(work.sizes[v] for v, _ in terms) > dim.extent
                # Where no tile meets an element twice, each variable walks a rank of its own.
                apart = [terms] if clipped else [(term,) for term in terms]
                ranks += apart
                bounds += [None] * len(apart)
                gathers += [dim.extent if clipped else 0] * len(apart)
                continue
            if not terms:  # one index: its variables are 0
                if not 0 <= dim.offset < dim.extent:
                    raise _unsupported(work, f"reads nothing of {operand.tensor} but its padding")
                continue
            reach = [a * (work.sizes[v] - 1) for v, a in dim.terms]
            low = dim.offset + sum(min(0, r) for r in reach)
            high = dim.offset + sum(max(0, r) for r in reach)
            inside = low >= 0 and high < dim.extent
            ranks.append(terms)
            bounds.append(None if inside else (dim.offset, dim.extent))
            gathers.append(0)
    wide = partial_bits(work, unit) / operand.bits if output else 1.0
    return Operand(
        operand.name,
        tuple(ranks),
        output,
        operand.tensor in resident,
        wide,
        tuple(bounds) if any(bounds) else (),
        tuple(gathers) if any(gathers) else (),
    )


def _level(
    memory: Memory, work: mp.Work, unit: Compute, arch: Architecture, *, root: bool
) -> Level:
    by_name = {operand.name: operand for operand in work.operands}
    may = {t for t, o in by_name.items() if mp.may_hold(memory, o)}
    must = {t for t, o in by_name.items() if t in may and mp.must_hold(memory, o, root=root)}
    bits = {t: o.bits for t, o in by_name.items()}
    energy = memory.energy
    return Level(
        memory.name,
        memory.size_bits,
        frozenset(must),
        frozenset(may),
        bits,
        {t: float(energy.read_pj * b / energy.bits) for t, b in bits.items()},
        {t: float(energy.write_pj * b / energy.bits) for t, b in bits.items()},
        channels(memory, by_name),
    )


def _roles(operand: mp.Operand) -> frozenset[str]:
    roles: set[str] = {operand.role}
    if operand.role == "output":
        roles.add("partial")
    if operand.role == "weight":
        roles.add("parameter")
    if operand.intermediate:
        roles.add("intermediate")
    return frozenset(roles)


def channels(memory: Memory, operands: Mapping[str, mp.Operand]) -> tuple[Channel, ...]:
    """Sets of ports and the transfers that can use no other: the slowest sets the time (the ports
    share what they can carry in the best way, :mod:`dataflow.cost.busy`)."""
    ports: dict[Transfer, frozenset[int]] = {}
    for tensor, operand in operands.items():
        for action in ("read", "write"):
            for side in ("low", "high"):
                kind = (action, _roles(operand), side)
                able = frozenset(n for n, p in enumerate(memory.ports) if carries(p, kind))
                if not any(memory.ports[n].bits_per_cycle is None for n in able):
                    ports[tensor, action, side] = able
    kinds = sorted(set(ports.values()), key=sorted)
    unions = {
        frozenset().union(*chosen)
        for size in range(1, len(kinds) + 1)
        for chosen in combinations(kinds, size)
    }
    found = []
    for union in sorted(unions, key=sorted):
        members = [memory.ports[n] for n in sorted(union)]
        rate = float(sum(_rate(port) for port in members))
        cycles = {
            kind: operands[kind[0]].bits / rate
            for kind, able in ports.items()
            if rate and able <= union
        }
        if cycles:
            found.append(Channel("+".join(port.name for port in members), cycles))
    return tuple(found)


def _rate(port: Port) -> float:
    return port.count * float(port.bits_per_cycle or 0)


def _fan(fanout: FanOut, work: mp.Work, factors: int) -> Fan:
    barred = {v for o in work.operands if o.role in fanout.only_irrelevant_to for v in o.variables}
    free = frozenset(v for v in work.sizes if v not in barred)
    shares = frozenset(o.name for o in work.operands if shared(fanout, o))
    least = fanout.least_use
    if least is None:
        least = largest_use(fanout.size, {v: work.sizes[v] for v in free}, factors)
    return Fan(fanout.name, fanout.size, free, shares, least)


def largest_use(size: int, variables: Mapping[str, int], factors: int) -> int:
    """The most instances that perfect factors of the variables use together; 1 for others."""
    if factors != PERFECT:
        return 1
    reached = {1}
    for extent in variables.values():
        reached |= {r * d for r in reached for d in range(1, size // r + 1) if extent % d == 0}
    return max(reached)
