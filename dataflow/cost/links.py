"""Transfers of one Einsum as periods and windows: what the port-stall model reckons with.

Each operand has its own list of levels, and each level a slice of the one order of temporal loops.
Irrelevant loops innermost in a level move to the level below, which keeps its tile over them
(ZigZag 3.9.1). Trips are rounded up where tiles do not divide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import Literal

from dataflow.arch import Architecture, Compute, FanOut, Memory, Port
from dataflow.cost.busy import first_port
from dataflow.cost.rules import Action, Side
from dataflow.mapping.chains import (
    Stop,
    Turn,
    extents_at,
    partial_bits,
    stops,
    sunk,
    tile_size,
    turns,
)
from dataflow.mapping.tree import Path
from dataflow.mapping.workload import Operand, Work

Rounding = Literal["up", "zigzag"]
"""What transfers carry where lanes do not divide a variable. ``up``: each as much as the fullest.
``zigzag``, to compare with that tool's values alone: 1000 outputs on 32 lanes, 32 times, are 31.25
lanes for the energy, and 31 for the time, which forgets 8 outputs; a part of a word access, summed
over the whole run, costs nothing."""


@dataclass(frozen=True)
class Trip:
    """A loop with its trips: temporal where ``fanout`` is None.

    ``mean``: its trips, less where a variable is cut into more tiles than it has; see `Rounding`.
    """

    at: int
    variable: str | None
    trips: int
    fanout: FanOut | None
    mean: Fraction


@dataclass(frozen=True)
class Move:
    """Transfers of one operand at one level in one direction.

    Attributes:
        operand: whose elements.
        memory: the level.
        port: that carries them.
        action, side: read or write, for the neighbour below (low) or above (high).
        link: number of the pair of levels from the innermost outwards, 0 with the array.
        elements: of all instances in the whole run; first reads of sums left out.
        per_period: elements of one transfer of one instance.
        charged: the same as the energy has it.
        bits: of an element.
        period, periods: cycles between transfers, and how many there are.
        instances: of the memory.
        real, allowed: cycles that a transfer takes, and may take without a stall.
        whole: whether a part of a word access costs nothing.
    """

    operand: Operand
    memory: Memory
    port: Port
    action: Action
    side: Side
    link: int
    elements: int
    per_period: int
    charged: Fraction
    bits: int
    period: int
    periods: int
    instances: Fraction
    real: int
    allowed: int
    whole: bool = False

    @property
    def word_accesses(self) -> Fraction:
        """Accesses of the full width; shorter ones pay in units of the port's least width."""
        least = self.port.min_bits
        units = -(-self.charged * self.bits // least)
        each = Fraction(units * least, self.memory.energy.bits)
        accesses = each * self.periods * self.instances
        return Fraction(int(accesses)) if self.whole else accesses

    @property
    def energy_pj(self) -> Fraction:
        """Picojoules of the word accesses."""
        energy = self.memory.energy
        cost = energy.read_pj if self.action == "read" else energy.write_pj
        return self.word_accesses * cost


@dataclass(frozen=True)
class Level:
    """A level of one operand, or the array (``memory`` None).

    Attributes:
        memory: the level.
        stop: its hold.
        instances: copies of the memory in use.
        charged: the same as the energy has it.
        tile: elements of one instance.
        bits: of an element as it leaves the level upwards.
        own: temporal loops of the level, innermost first.
        cycles: product of the temporal loops at or below it, after those that moved down.
        below: number of those loops.
    """

    memory: Memory | None
    stop: Stop
    instances: int
    charged: Fraction
    tile: int
    bits: int
    own: tuple[Trip, ...]
    cycles: int
    below: int


def without_gaps(operand: Operand, work: Work) -> Operand:
    """The operand with strides that nothing fills left out: where one variable alone walks a
    dimension, the elements that it steps over are not moved."""
    dims = []
    for dim in operand.dims:
        walked = [v for v, _ in dim.terms if work.sizes[v] > 1]
        alone = len(walked) == 1 and not dim.indirect and not dim.digits
        dims.append(replace(dim, terms=((walked[0], 1),)) if alone else dim)
    return operand if operand.role == "output" else replace(operand, dims=tuple(dims))


class Links:
    """All transfers of one compute node."""

    def __init__(
        self,
        path: Path,
        work: Work,
        sizes: dict[str, int],
        arch: Architecture,
        rounding: Rounding = "up",
    ) -> None:
        unit = arch.find(path.compute.unit)
        assert isinstance(unit, Compute)
        self.path, self.work, self.arch, self.unit = path, work, arch, unit
        self.rounding = rounding
        self.loops = turns(path, work, sizes, arch)
        temporal = [t for t in self.trips(self.loops) if t.fanout is None]
        self.temporal = tuple(reversed(temporal))  # innermost first
        self.total = prod(t.trips for t in temporal)
        self.levels = {o: self._levels(o) for o in work.operands}
        self.double = self._double_buffered()
        self.moves = tuple(m for o in work.operands for m in self._moves(o))

    def trips(self, loops: tuple[Turn, ...]) -> list[Trip]:
        """Loops with their trips, outermost first."""
        extents = dict(self.work.sizes)
        found = []
        for turn in sorted(loops, key=lambda t: t.at):
            key = turn.variable if turn.variable is not None else f"({turn.name})"
            extent = extents.get(key, turn.size)
            extents[key] = min(extent, turn.tile)
            trips = len(turn.pieces) or -(-extent // turn.tile)
            found.append(Trip(turn.at, turn.variable, trips, turn.fanout, Fraction(trips)))
        return found if self.rounding == "up" else self._thinned(found)

    def _thinned(self, loops: list[Trip]) -> list[Trip]:
        """The loops with what they have too many of taken from each variable's first lanes."""
        found = list(loops)
        for variable, size in self.work.sizes.items():
            own = [i for i, t in enumerate(loops) if t.variable == variable]
            lanes = [i for i in own if loops[i].fanout is not None]
            points = prod(loops[i].trips for i in own)
            if lanes and points > size:
                first = loops[lanes[0]]
                found[lanes[0]] = replace(first, mean=Fraction(first.trips * size, points))
        return found

    def relevant(self, operand: Operand, trip: Trip) -> bool:
        """Whether a loop's variable indexes the operand."""
        return trip.variable in operand.variables

    def _levels(self, operand: Operand) -> list[Level]:
        """From the array outwards."""
        chain = [
            stop
            for stop in stops(self.path, operand, self.arch)
            if isinstance(self.arch.find(stop.level), Memory) or stop.at == len(self.path.steps)
        ]
        own = sunk(self.loops, tuple(chain), self.arch)
        spatial = [t for t in self.trips(own) if t.fanout is not None]
        inwards = list(reversed(chain))
        # Loops below each hold, then those that move down to it.
        base = [sum(t.at >= stop.at for t in self.temporal) for stop in inwards]
        base[-1] = len(self.temporal)
        bounds = list(base)
        for k in range(len(base) - 1):
            if k == 0 and operand.role == "output":
                continue
            while bounds[k] < base[k + 1] and not self.relevant(operand, self.temporal[bounds[k]]):
                bounds[k] += 1
        found = []
        for k, stop in enumerate(inwards):
            memory = self.arch.find(stop.level) if k else None
            assert memory is None or isinstance(memory, Memory)
            inner = base[0] if k == 1 else bounds[k - 1] if k else 0
            loops = self.temporal[inner : bounds[k]] if k else ()
            wide = operand.role == "output" and self._sums_above(operand, bounds[k])
            found.append(
                Level(
                    memory,
                    stop,
                    prod(t.trips for t in spatial if t.at < stop.at),
                    prod((t.mean for t in spatial if t.at < stop.at), start=Fraction(1)),
                    self._elements(operand, extents_at(own, self.work, stop.at)),
                    partial_bits(self.work, self.unit) if wide else operand.bits,
                    loops,
                    prod(t.trips for t in self.temporal[: bounds[k]]),
                    bounds[k],
                )
            )
        return found

    def _sums_above(self, operand: Operand, bound: int) -> bool:
        """Whether sums pass the link above the ``bound`` innermost loops more than once."""
        return any(t.trips > 1 and not self.relevant(operand, t) for t in self.temporal[bound:])

    def _double_buffered(self) -> set[tuple[Operand, str]]:
        """Levels that refill a tile while it is used, by the space that is free."""
        found: set[tuple[Operand, str]] = set()
        memories = {
            level.memory.name: level.memory
            for levels in self.levels.values()
            for level in levels
            if level.memory is not None
        }
        for name, memory in memories.items():
            users = [
                (o, level)
                for o, levels in self.levels.items()
                for level in levels
                if level.memory is not None and level.memory.name == name
            ]
            if memory.size_bits is None:
                found.update((o, name) for o, _ in users)
                continue
            need = {o: self._effective_bits(o, level) for o, level in users}
            if 2 * sum(need.values()) <= memory.size_bits:
                found.update((o, name) for o, _ in users)
                continue
            free = memory.size_bits - sum(level.tile * level.bits for _, level in users)
            for operand, _ in users:
                if need[operand] <= free:
                    free -= need[operand]
                    found.add((operand, name))
        return found

    def _effective_bits(self, operand: Operand, level: Level) -> int:
        bits = level.tile * level.bits
        return -(-bits // self._run(operand, level, relevant=True))

    def _run(self, operand: Operand, level: Level, *, relevant: bool) -> int:
        """Product of the outermost loops of a level that are all (ir)relevant."""
        run = 1
        for trip in reversed(level.own):
            if self.relevant(operand, trip) != relevant:
                break
            run *= trip.trips
        return run

    def _moves(self, operand: Operand) -> list[Move]:
        levels = self.levels[operand]
        found: list[Move] = []
        for k in range(len(levels) - 1):
            lower, upper = levels[k], levels[k + 1]
            periods = self.total // lower.cycles
            allowed = lower.cycles
            if lower.memory is not None and (operand, lower.memory.name) not in self.double:
                allowed //= self._run(operand, lower, relevant=False)
            trips = self._distinct(operand, upper, lower)
            distinct = prod(t.trips for t in trips)
            timed = prod(int(t.mean) for t in trips)
            charged = prod((t.mean for t in trips), start=Fraction(1))
            ups = operand.role == "output"
            repeats = periods * distinct * lower.tile * upper.instances
            again = repeats - self.work_size(operand) if ups else repeats
            back = ups and self._sums_above(operand, lower.below)
            rows: list[tuple[Level, Action, Side, int]] = []
            if ups:
                rows.append((lower, "read", "high", repeats))
                rows.append((upper, "write", "low", repeats))
            if back or not ups:
                rows.append((upper, "read", "low", again))
                lanes = lower.instances // upper.instances // max(1, distinct)
                rows.append((lower, "write", "high", again * max(1, lanes)))
            for level, action, side, elements in rows:
                if level.memory is None:
                    continue
                per_period = lower.tile * (timed if level is upper else 1)
                port = self._port(level.memory, operand, action, side)
                width = port.bits_per_cycle
                bits = per_period * lower.bits
                real = 0 if width is None else -(-bits // (width * port.count))
                found.append(
                    Move(
                        operand,
                        level.memory,
                        port,
                        action,
                        side,
                        k,
                        elements,
                        per_period,
                        lower.tile * (charged if level is upper else Fraction(1)),
                        lower.bits,
                        lower.cycles,
                        periods,
                        level.charged,
                        int(real),
                        allowed,
                        self.rounding == "zigzag",
                    )
                )
        return found

    def work_size(self, operand: Operand) -> int:
        """Elements of the whole operand."""
        return self._elements(operand, self.work.sizes)

    def _elements(self, operand: Operand, extents: Mapping[str, int]) -> int:
        return tile_size(without_gaps(operand, self.work), extents)

    def _distinct(self, operand: Operand, upper: Level, lower: Level) -> list[Trip]:
        """The loops that make distinct tiles of the lower instances that one upper one serves."""
        own = sunk(self.loops, stops(self.path, operand, self.arch), self.arch)
        return [
            t
            for t in self.trips(own)
            if t.fanout is not None
            and upper.stop.at <= t.at < lower.stop.at
            and self.relevant(operand, t)
        ]

    def _port(self, memory: Memory, operand: Operand, action: Action, side: Side) -> Port:
        none = Port("none", (action,), None, 1, 1, ())
        return first_port(memory, operand, action, side) or none
