"""Counts of one compute node: accesses, operations and busy time, in exact integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import prod

from dataflow.arch import Architecture, Compute, FanOut, Memory
from dataflow.cost.columns import Chain, Column, Cut, Once, evaluate
from dataflow.cost.rules import Action, Side
from dataflow.cost.terms import Ports, Term, Transfer, transfers
from dataflow.mapping.chains import Turn, complete, partial_bits, shared, stops, sunk, turns
from dataflow.mapping.tree import Path
from dataflow.mapping.workload import Operand, Work


@dataclass(frozen=True)
class Moved:
    """Words of one operand at one level, in one direction.

    Attributes:
        level: name of the memory.
        operand: whose elements.
        action, side: read or write, for the neighbour towards the unit (low) or the root (high).
        words: elements, all instances and the whole run.
        instance: elements of the busiest instance.
        bits: width of an element; partial sums are wider than finished ones.
        hold: place of the hold below, which the words fill or leave; empty: the compute node.
        accesses: of the memory, all instances: of lines, in which neighbours along the last
            dimension stand side by side.
    """

    level: str
    operand: Operand
    action: Action
    side: Side
    words: int
    instance: int
    bits: int
    hold: str = ""
    accesses: int = 0


@dataclass(frozen=True)
class Counts:
    """What one Einsum does under a mapping.

    Attributes:
        einsum, unit: names.
        moved: all transfers, outermost level first, operand by operand.
        points: executions of the compute node, recomputation included.
        operations: operators executed, all instances.
        cycles: busy cycles of the busiest instance of the unit.
        energy_pj: of the operations.
        steps: iterations of the temporal loops.
    """

    einsum: str
    unit: str
    moved: tuple[Moved, ...]
    points: int
    operations: int
    cycles: Fraction
    energy_pj: Fraction
    steps: int


def chains_of(loops: tuple[Turn, ...], work: Work) -> dict[str, Chain]:
    """The chain of loops of every variable; foreign ones are called ``(name)``."""
    cuts: dict[str, list[Cut]] = {v: [] for v in work.sizes}
    sizes = dict(work.sizes)
    for turn in loops:
        name = turn.variable if turn.variable is not None else foreign_name(turn)
        sizes.setdefault(name, turn.size)
        fanout = None if turn.fanout is None else turn.fanout.name
        cuts.setdefault(name, []).append(Cut(turn.at, turn.tile, fanout, turn.pieces))
    return {v: Chain(sizes[v], tuple(c)) for v, c in cuts.items()}


def foreign_name(turn: Turn) -> str:
    """The key of a variable that the Einsum does not have."""
    return f"({turn.name})"


class Counter:
    """Counts one compute node; columns that several counts share are evaluated once."""

    def __init__(
        self, path: Path, work: Work, sizes: Mapping[str, int], arch: Architecture
    ) -> None:
        unit = arch.find(path.compute.unit)
        assert isinstance(unit, Compute)
        self.path = path
        self.work = work
        self.arch = arch
        self.unit = unit
        self.loops = turns(path, work, sizes, arch)
        self.chains = chains_of(self.loops, work)
        self.foreign = tuple(v for v in self.chains if v not in work.sizes)
        self._values: dict[Column, int] = {}

    def counts(self) -> Counts:
        """All of it."""
        moved = [m for operand in self.work.operands for m in self._moved(operand)]
        return replace(self.operations(), moved=tuple(moved))

    def operations(self) -> Counts:
        """Points, cycles and energy of the unit; nothing is moved."""
        end = len(self.path.steps)
        everything = [Column((v,), (), end) for v in self.chains]
        points = prod(self.value(c) for c in everything)
        lanes = Once(0, end)
        steps = prod(self.value(Column(c.variables, (), end, (lanes,))) for c in everything)
        slots, energy, each = Fraction(0), Fraction(0), 0
        for name, times in self.work.operators:
            operation = self.unit.operation(name)
            assert operation is not None, f"{self.unit.name} does not execute {name}"
            slots += times * operation.cycles
            picojoules = operation.energy_pj
            energy += times * (self.unit.energy_pj if picojoules is None else picojoules)
            each += times
        return Counts(
            self.work.name,
            self.unit.name,
            (),
            points,
            points * each,
            steps * slots / self.unit.per_cycle,
            points * energy,
            steps,
        )

    def value(self, column: Column) -> int:
        """A column's value."""
        if column not in self._values:
            self._values[column] = evaluate(column, self.chains)
        return self._values[column]

    def total(self, terms: tuple[Term, ...], chains: Mapping[str, Chain]) -> int:
        """A sum of terms over these chains of loops."""
        if chains is self.chains:
            return sum(t.factor * prod(self.value(c) for c in t.columns) for t in terms)
        return sum(t.factor * prod(evaluate(c, chains) for c in t.columns) for t in terms)

    def transfers(self, operand: Operand, widths: Sequence[int] = ()) -> list[Transfer]:
        """The transfers of one operand, not yet evaluated; ``widths``: bits on each link."""
        fanouts = [node for node in self.arch.nodes if isinstance(node, FanOut)]
        networks = frozenset(f.name for f in fanouts if shared(f, operand))
        unshared = frozenset(f.name for f in fanouts) - networks
        chain = stops(self.path, operand, self.arch)
        bits = widths or [operand.bits] * (len(chain) - 1)
        ports = ports_of(self.arch, self.unit)
        return transfers(self.work, operand, chain, self.foreign, networks, unshared, bits, ports)

    def _moved(self, operand: Operand) -> list[Moved]:
        chain = stops(self.path, operand, self.arch)
        own = sunk(self.loops, chain, self.arch)
        chains = self.chains if own == self.loops else chains_of(own, self.work)
        places = [self.path.steps[stop.at].place for stop in chain[:-1]] + [""]
        widths = []
        for parent, child in pairwise(chain):
            wide = operand.role == "output" and not complete(self.work, own, parent, child)
            widths.append(partial_bits(self.work, self.unit) if wide else operand.bits)
        found = []
        for row in self.transfers(operand, widths):
            memory = self.arch.find(row.level)
            if not isinstance(memory, Memory):
                continue  # registers that pass words on are no level of their own
            words, bits = self.total(row.terms, chains), widths[row.link]
            packed = -(-words * bits // memory.line_bits)
            pieces = -(-bits // memory.line_bits)
            found.append(
                Moved(
                    row.level,
                    row.operand,
                    row.action,
                    row.side,
                    words,
                    self.total(row.instance, chains),
                    bits,
                    places[row.link + 1],
                    self.total(row.lines, chains) * pieces if row.lines else packed,
                )
            )
        return found


def ports_of(arch: Architecture, unit: Compute) -> Ports:
    """What the accesses of an architecture's memories for a unit depend on.

    Multiply-accumulates take zeros where their operand is padded; other units leave such taps out.
    """
    memories = arch.memories
    fed = unit.operation("mac") is not None
    return Ports(
        {m.name: m.line_bits for m in memories},
        frozenset(m.name for m in memories if m.bus is not None),
        frozenset(m.name for m in memories if m.reads_padding and fed),
    )
