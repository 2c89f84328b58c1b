"""Ideal time: all transfers overlap, the busiest port or unit sets the pace.

The ports of a memory share the transfers that they can carry in the best way. Transfers of classes
S can only use the ports that carry one of them, so the time is at least bits(S) / bandwidth of
those ports; by the max-flow min-cut theorem the largest such ratio over all S is reached.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import combinations

from dataflow.arch import Architecture, Memory, Port
from dataflow.cost.counts import Counts
from dataflow.mapping.workload import Operand

Class = tuple[str, frozenset[str], str]
"""Transfers that the same ports carry: action, roles, side."""

Load = dict[tuple[str, Class], int]
"""Bits of the busiest instance, by level and class."""


def load(counts: Counts) -> Load:
    """The bits that an Einsum moves at each level."""
    found: Load = {}
    for m in counts.moved:
        key = (m.level, (m.action, _roles(m.operand), m.side))
        found[key] = found.get(key, 0) + m.instance * m.bits
    return found


def _roles(operand: Operand) -> frozenset[str]:
    roles: set[str] = {operand.role}
    if operand.role == "output":
        roles.add("partial")
    if operand.role == "weight":
        roles.add("parameter")
    if operand.intermediate:
        roles.add("intermediate")
    return frozenset(roles)


def carries(port: Port, kind: Class) -> bool:
    """Whether a port can carry transfers of a class."""
    action, roles, side = kind
    return (
        action in port.does
        and (not port.carries or bool(roles & set(port.carries)))
        and (not port.sides or side in port.sides)
    )


def first_port(memory: Memory, operand: Operand, action: str, side: str) -> Port | None:
    """The first port that carries a transfer of an operand; None: no port does."""
    kind = action, _roles(operand), side
    return next((port for port in memory.ports if carries(port, kind)), None)


def memory_cycles(memory: Memory, bits: dict[Class, int]) -> Fraction:
    """Cycles that a memory needs for these transfers of one instance."""
    classes: dict[frozenset[int], int] = {}
    for kind, count in bits.items():
        ports = frozenset(n for n, port in enumerate(memory.ports) if carries(port, kind))
        if count and not any(memory.ports[n].bits_per_cycle is None for n in ports):
            classes[ports] = classes.get(ports, 0) + count
    worst = Fraction(0)
    for size in range(1, len(classes) + 1):
        for chosen in combinations(classes.items(), size):
            ports = frozenset().union(*(p for p, _ in chosen))
            rates = (memory.ports[n] for n in ports)
            rate = sum((p.count * (p.bits_per_cycle or 0) for p in rates), Fraction(0))
            if rate:
                worst = max(worst, Fraction(sum(b for _, b in chosen)) / rate)
    return worst


def busy_cycles(einsums: Iterable[Counts], arch: Architecture) -> dict[str, Fraction]:
    """Cycles that each memory and unit is busy with some Einsums, by name."""
    bits: dict[str, dict[Class, int]] = {}
    found: dict[str, Fraction] = {}
    for counts in einsums:
        found[counts.unit] = found.get(counts.unit, Fraction(0)) + counts.cycles
        for (level, kind), count in load(counts).items():
            at = bits.setdefault(level, {})
            at[kind] = at.get(kind, 0) + count
    for level, classes in bits.items():
        memory = arch.find(level)
        assert isinstance(memory, Memory)
        found[level] = memory_cycles(memory, classes)
    return found
