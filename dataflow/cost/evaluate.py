"""The cost of a mapping: counts, energy, ideal time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from dataflow.arch import Architecture, FanOut, Memory
from dataflow.cost.busy import busy_cycles
from dataflow.cost.columns import Column, Once
from dataflow.cost.counts import Counter, Counts, Moved
from dataflow.mapping.check import verify
from dataflow.mapping.occupancy import occupied_bits, tiles, variable_sizes
from dataflow.mapping.tree import Branches, Compute, Group, Loop, Mapping, Nest, group_paths
from dataflow.mapping.workload import Workload


@dataclass(frozen=True)
class BlockTime:
    """Einsums that run beside each other.

    Attributes:
        einsums: names.
        cycles: time of the block in the whole run, its drains included.
        drain: cycles of those.
        busy: cycles that each memory and unit is busy.
        bound: name of what sets the time; ``interval`` where a stated schedule does.
    """

    einsums: tuple[str, ...]
    cycles: Fraction
    drain: Fraction
    busy: dict[str, Fraction]
    bound: str


@dataclass(frozen=True)
class Cost:
    """The cost of a mapping on an architecture.

    Attributes:
        counts: of each Einsum, in the order of the text.
        blocks: in order; their cycles add up.
        cycles: ideal time.
        energy_pj: accesses, operations and leakage.
        access_pj: of each Einsum without leakage.
        occupancy_bits: of one instance of each level, the most at any time.
        macs: multiply-accumulates executed.
        mac_units: multipliers of the architecture.
    """

    counts: tuple[Counts, ...]
    blocks: tuple[BlockTime, ...]
    cycles: Fraction
    energy_pj: Fraction
    access_pj: dict[str, Fraction]
    occupancy_bits: dict[str, int]
    macs: int
    mac_units: int

    @property
    def edp(self) -> Fraction:
        """Energy times time, pJ x cycles."""
        return self.energy_pj * self.cycles

    @property
    def levels(self) -> dict[str, dict[str, tuple[int, int]]]:
        """Reads and writes in elements, by level and tensor."""
        found: dict[str, dict[str, tuple[int, int]]] = {}
        for counts in self.counts:
            for m in counts.moved:
                reads, writes = found.setdefault(m.level, {}).get(m.operand.tensor, (0, 0))
                more = (m.words, 0) if m.action == "read" else (0, m.words)
                found[m.level][m.operand.tensor] = (reads + more[0], writes + more[1])
        return found

    @property
    def accesses(self) -> dict[str, dict[str, tuple[int, int]]]:
        """Reads and writes in accesses of the memory (lines), by level and tensor."""
        found: dict[str, dict[str, tuple[int, int]]] = {}
        for counts in self.counts:
            for m in counts.moved:
                reads, writes = found.setdefault(m.level, {}).get(m.operand.tensor, (0, 0))
                more = (m.accesses, 0) if m.action == "read" else (0, m.accesses)
                found[m.level][m.operand.tensor] = (reads + more[0], writes + more[1])
        return found


def cost(mapping: Mapping, workload: Workload, arch: Architecture, where: str = "mapping") -> Cost:
    """Costs a mapping. Raises DataflowError when it is not legal."""
    verify(mapping, workload, arch, where)
    sizes = variable_sizes(workload)
    counters: dict[str, Counter] = {}
    for number, group in enumerate(mapping.groups):
        for path in group_paths(group, number):
            work = workload.work(path.compute.einsum)
            counters[work.name] = Counter(path, work, sizes, arch)
    counts = filled_once({name: counter.counts() for name, counter in counters.items()})
    blocks = [
        block for group in mapping.groups for block in _group_blocks(group, counters, counts, arch)
    ]
    cycles = sum((b.cycles for b in blocks), Fraction(0))
    access = {name: access_energy(c, arch) for name, c in counts.items()}
    energy = sum(access.values(), Fraction(0)) + leakage_pj(arch, cycles)
    macs = sum(c.points for name, c in counts.items() if workload.work(name).contraction)
    return Cost(
        tuple(counts.values()),
        tuple(blocks),
        cycles,
        energy,
        access,
        occupied_bits(mapping, tiles(mapping, workload, arch)),
        macs,
        mac_units(arch),
    )


def filled_once(counts: dict[str, Counts]) -> dict[str, Counts]:
    """Counts of Einsums that share holds: a tile is filled once for all that read it.

    The reader that needs most of it is charged. Nobody is when the Einsum that makes the tensor
    puts it into the same tile.
    """
    made: set[tuple[str, str]] = set()
    most: dict[tuple[str, str], tuple[int, str]] = {}
    for name, found in counts.items():
        words: dict[tuple[str, str], dict[tuple[str, str], int]] = {}
        for m in found.moved:
            key = (m.operand.tensor, m.hold)
            if m.hold and m.operand.role == "output":
                made.add(key)
            elif m.hold:  # each access of the tensor has a tile
                end = (m.level, m.action)
                own = words.setdefault(key, {})
                own[end] = own.get(end, 0) + m.words
        for key, ends in words.items():
            if max(ends.values()) > most.get(key, (-1, ""))[0]:
                most[key] = (max(ends.values()), name)

    def charged(name: str, m: Moved) -> bool:
        key = (m.operand.tensor, m.hold)
        if not m.hold or m.operand.role == "output":
            return True
        return key not in made and most[key][1] == name

    return {
        name: replace(found, moved=tuple(m for m in found.moved if charged(name, m)))
        for name, found in counts.items()
    }


def access_energy(counts: Counts, arch: Architecture) -> Fraction:
    """Picojoules of an Einsum's accesses and operations."""
    total = counts.energy_pj
    for m in counts.moved:
        memory = arch.find(m.level)
        assert isinstance(memory, Memory)
        energy = memory.energy
        each = energy.read_pj if m.action == "read" else energy.write_pj
        total += each * m.words * m.bits / energy.bits
    return total


def leakage_pj(arch: Architecture, cycles: Fraction) -> Fraction:
    """Picojoules that all instances leak in ``cycles``: mW x ns."""
    power = sum((n.leakage_mw for n in arch.nodes if not isinstance(n, FanOut)), Fraction(0))
    return power * cycles * 1000 / arch.clock_mhz


def mac_units(arch: Architecture) -> int:
    """Multipliers: instances of the units that execute multiply-accumulates by name."""
    return sum(arch.instances(unit.name) for unit in arch.computes if unit.can("mac"))


# ----------------------------------------------------------------------------------------- blocks


def _group_blocks(
    group: Group,
    counters: dict[str, Counter],
    counts: dict[str, Counts],
    arch: Architecture,
) -> list[BlockTime]:
    if group.blocks:
        return [
            _block(b.einsums, b.drain, Fraction(0), counters, counts, arch) for b in group.blocks
        ]
    return [
        _block(einsums, (), floor, counters, counts, arch)
        for einsums, floor in _parts(group.nest, counters)
    ]


def _parts(
    nest: Nest, counters: dict[str, Counter], depth: int = 0
) -> list[tuple[tuple[str, ...], Fraction]]:
    """Einsums of each block of a nest, with the least time that a stated interval leaves."""
    last = nest[-1]
    above = depth + len(nest) - 1
    if isinstance(last, Compute):
        return [((last.einsum,), Fraction(0))]
    assert isinstance(last, Branches)
    inner = [p for part in last.parts for p in _parts(part, counters, above)]
    if not last.together:
        return inner
    einsums = tuple(name for names, _ in inner for name in names)
    floor = max((f for _, f in inner), default=Fraction(0))
    if last.interval is not None:
        floor = max(floor, last.interval * _iterations(counters[einsums[0]], above))
    return [(einsums, floor)]


def _iterations(counter: Counter, upto: int) -> int:
    """Iterations of the temporal loops among the first steps of a path."""
    lanes = Once(0, upto)
    total = 1
    for variable in counter.chains:
        total *= counter.value(Column((variable,), (), upto, (lanes,)))
    return total


def _block(
    einsums: Sequence[str],
    drain: Sequence[str],
    floor: Fraction,
    counters: dict[str, Counter],
    counts: dict[str, Counts],
    arch: Architecture,
) -> BlockTime:
    busy = busy_cycles((counts[name] for name in einsums), arch)
    bound, cycles = max(busy.items(), key=lambda item: item[1])
    if floor > cycles:
        bound, cycles = "interval", floor
    crossing = Fraction(0)
    if drain:
        counter = counters[einsums[0]]
        splits = counter.path.splits
        upto = splits[-1][0] if splits else 0
        each = sum(_lanes(name, counters) for name in drain)
        crossing = Fraction(each * _iterations(counter, upto))
    return BlockTime(tuple(einsums), cycles + crossing, crossing, busy, bound)


def _lanes(fanout: str, counters: dict[str, Counter]) -> int:
    """Most instances of a fan-out that a mapping uses at once."""
    return max((_in_use(fanout, c) for c in counters.values()), default=1)


def _in_use(fanout: str, counter: Counter) -> int:
    extents = {v: c.size for v, c in counter.chains.items()}
    lanes = 1
    for step in counter.path.steps:
        if isinstance(step.node, Loop):
            for v in step.node.variables:
                if v in extents:
                    if step.node.fanout == fanout:
                        lanes *= -(-extents[v] // step.node.tile)
                    extents[v] = min(extents[v], step.node.tile)
    return lanes
