"""Counts of a mapping by running its loops one iteration and one lane after another.

Shares no code with the cost model: it walks every iteration, writes down which elements each level
holds there, and counts what is distinct.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise, product

from dataflow.arch import Architecture, FanOut
from dataflow.mapping import Hold, Loop, Path, Work
from dataflow.mapping.workload import Operand

Range = tuple[int, int]
Element = tuple[int, ...]


@dataclass(frozen=True)
class Event:
    """One execution of a hold, or of the compute node.

    Attributes:
        ranges: first value and one behind the last of each variable.
        lanes: (place of a spatial loop, lane) pairs, outermost first.
        times: (place of a temporal loop, iteration) pairs.
    """

    ranges: dict[str, Range]
    lanes: tuple[tuple[int, int], ...]
    times: tuple[tuple[int, int], ...]


@dataclass
class Seen:
    """Reads and writes, in all and of the busiest instance, by (level, tensor, side)."""

    reads: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    writes: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    most_reads: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    most_writes: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    tiles: dict[tuple[int, str], int] = field(default_factory=dict)
    points: int = 0
    steps: int = 0


class Oracle:
    """One compute node."""

    def __init__(self, path: Path, work: Work, sizes: dict[str, int], arch: Architecture) -> None:
        self.path, self.work, self.sizes, self.arch = path, work, sizes, arch
        self.chain = [n.name for n in arch.path(path.compute.unit)]

    def name_of(self, loop: Loop) -> str:
        for v in loop.variables:
            if v in self.work.sizes:
                return v
        return loop.variables[0]

    def events(self, upto: int) -> Iterator[Event]:
        """All executions of what stands below the first ``upto`` steps."""
        ranges = {v: (0, n) for v, n in self.work.sizes.items()}
        for step in self.path.steps:
            if isinstance(step.node, Loop):
                name = self.name_of(step.node)
                ranges.setdefault(name, (0, self.sizes[name]))
        yield from self._run(0, upto, ranges, (), ())

    def _run(
        self,
        at: int,
        upto: int,
        ranges: dict[str, Range],
        lanes: tuple[tuple[int, int], ...],
        times: tuple[tuple[int, int], ...],
    ) -> Iterator[Event]:
        if at == upto:
            yield Event(ranges, lanes, times)
            return
        node = self.path.steps[at].node
        if not isinstance(node, Loop):
            yield from self._run(at + 1, upto, ranges, lanes, times)
            return
        name = self.name_of(node)
        low, high = ranges[name]
        for number, start in enumerate(range(low, high, node.tile)):
            inner = {**ranges, name: (start, min(high, start + node.tile))}
            if node.fanout is None:
                yield from self._run(at + 1, upto, inner, lanes, (*times, (at, number)))
            else:
                yield from self._run(at + 1, upto, inner, (*lanes, (at, number)), times)

    def elements(self, operand: Operand, ranges: dict[str, Range]) -> frozenset[Element]:
        """The elements of an operand's tile."""
        if operand.role == "output":
            names = list(dict.fromkeys(v for d in operand.dims for v, _ in d.terms))
            return frozenset(product(*(range(*ranges[v]) for v in names)))
        sides: list[list[int]] = []
        for dim in operand.dims:
            names = [v for v, _ in dim.terms]
            points = list(product(*(range(*ranges[v]) for v in names)))
            if dim.indirect:
                sides.append(list(range(min(len(points), dim.extent))))
                continue
            values = [
                dim.offset + sum(a * x for (_, a), x in zip(dim.terms, point, strict=True))
                for point in points
            ]
            inside = range(max(0, min(values)), min(dim.extent - 1, max(values)) + 1)
            sides.append(list(inside))
        return frozenset(product(*sides))

    def run(self) -> Seen:
        seen = Seen()
        end = len(self.path.steps)
        busy: dict[tuple[tuple[int, int], ...], int] = defaultdict(int)
        for event in self.events(end):
            seen.points += 1
            busy[event.lanes] += 1
        seen.steps = max(busy.values())
        for operand in self.work.operands:
            self._operand(operand, seen)
        return seen

    def _operand(self, operand: Operand, seen: Seen) -> None:
        stops = [
            at
            for at, step in enumerate(self.path.steps)
            if isinstance(step.node, Hold)
            and operand.tensor in step.node.tensors
            and step.node.level in self.chain
        ]
        for at in stops:
            sizes = [len(self.elements(operand, e.ranges)) for e in self.events(at)]
            seen.tiles[at, operand.tensor] = max(sizes)
        ends = [*stops, len(self.path.steps)]
        for parent, child in pairwise(ends):
            self._pair(operand, parent, child, child == ends[-1], seen)

    def _level(self, at: int) -> str:
        node = self.path.steps[at].node
        assert isinstance(node, Hold)
        return node.level

    def _shares(self, at: int, operand: Operand) -> bool:
        node = self.path.steps[at].node
        assert isinstance(node, Loop) and node.fanout is not None
        fanout = self.arch.find(node.fanout)
        assert isinstance(fanout, FanOut)
        names = {operand.role} | ({"partial"} if operand.role == "output" else set())
        if operand.intermediate:
            names.add("intermediate")
        return any(role in names for role in fanout.shares)

    def _pair(self, operand: Operand, parent: int, child: int, last: bool, seen: Seen) -> None:
        """Parent and child are places on the path."""
        tensor = operand.tensor
        indexing = {v for d in operand.dims for v, _ in d.terms}
        above = self._level(parent)
        moved: dict[object, int] = defaultdict(int)
        via: dict[object, int] = defaultdict(int)
        first_above: dict[object, set[object]] = defaultdict(set)
        first_below: dict[object, set[object]] = defaultdict(set)
        passed: set[object] = set()
        for event in self.events(child):
            tile = self.elements(operand, event.ranges)
            of_parent = tuple(x for x in event.lanes if x[0] < parent)
            moved[event.lanes] += len(tile)
            # One word for all lanes that get the same one over a network that can.
            apart = []
            for at, lane in event.lanes:
                node = self.path.steps[at].node
                assert isinstance(node, Loop)
                same = self.name_of(node) not in indexing and self._shares(at, operand)
                if at < parent or not same:
                    apart.append((at, lane))
            key = (event.times, tuple(apart))
            if key not in passed:
                passed.add(key)
                via[of_parent] += len(tile)
            if operand.role != "output":
                continue
            # What repeats without being summed starts anew each time.
            fresh = tuple(
                (v, r)
                for v, r in sorted(event.ranges.items())
                if v not in indexing and v not in self.work.reduced
            )
            sums = []
            for at, lane in event.lanes:
                node = self.path.steps[at].node
                assert isinstance(node, Loop)
                if self.name_of(node) in self.work.reduced:
                    sums.append((at, lane))
            copies_above = tuple(x for x in sums if x[0] < parent)
            copies_below = tuple(x for x in sums if x[0] < parent or self._shares(x[0], operand))
            for element in tile:
                first_above[of_parent].add((element, copies_above, fresh))
                first_below[event.lanes].add((element, copies_below, fresh))
        if operand.role != "output":
            self._add(seen.reads, seen.most_reads, (above, tensor, "low"), via)
            if not last:
                here = (self._level(child), tensor, "high")
                self._add(seen.writes, seen.most_writes, here, moved)
            return
        self._add(seen.writes, seen.most_writes, (above, tensor, "low"), via)
        back = {k: via[k] - len(first_above[k]) for k in via}
        self._add(seen.reads, seen.most_reads, (above, tensor, "low"), back)
        if not last:
            here = (self._level(child), tensor, "high")
            self._add(seen.reads, seen.most_reads, here, moved)
            distinct = set().union(*first_below.values())
            total = sum(moved.values()) - len(distinct)
            refill = {k: moved[k] - len(first_below[k]) for k in moved}
            seen.writes[here] += total
            most = max(refill.values())
            seen.most_writes[here] += most

    @staticmethod
    def _add(
        total: dict[tuple[str, str, str], int],
        most: dict[tuple[str, str, str], int],
        key: tuple[str, str, str],
        by_instance: dict[object, int],
    ) -> None:
        total[key] += sum(by_instance.values())
        most[key] += max(by_instance.values())
