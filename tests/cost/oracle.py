"""Counts of a mapping by running its loops one iteration and one lane after another.

Shares no code with the cost model: it walks every iteration, writes down which elements each level
holds there, and counts what is distinct.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import pairwise, product

from dataflow.arch import Architecture, FanOut, Memory
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
    read_lines: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    write_lines: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
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
        starts = list(range(low, high, node.tile))
        ends = [min(high, start + node.tile) for start in starts]
        if node.pieces:
            starts = [low + sum(node.pieces[:k]) for k in range(len(node.pieces))]
            ends = [start + size for start, size in zip(starts, node.pieces, strict=True)]
        for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
            inner = {**ranges, name: (start, end)}
            if node.fanout is None:
                yield from self._run(at + 1, upto, inner, lanes, (*times, (at, number)))
            else:
                yield from self._run(at + 1, upto, inner, (*lanes, (at, number)), times)

    def elements(
        self,
        operand: Operand,
        ranges: dict[str, Range],
        *,
        whole: bool = False,
        masked: bool = False,
    ) -> frozenset[Element]:
        """The elements of an operand's tile.

        Args:
            whole: dimensions whose variables are not cut are taken as the tensor has them.
            masked: also what lies outside the tensor.
        """
        if operand.role == "output":
            names = list(dict.fromkeys(v for d in operand.dims for v in d.variables))
            return frozenset(product(*(range(*ranges[v]) for v in names)))
        sides: list[list[int]] = []
        for dim in operand.dims:
            names = list(dim.variables)
            if whole and all(ranges[v] == (0, self.work.sizes[v]) for v in names):
                sides.append(list(range(dim.extent)))
                continue
            points = list(product(*(range(*ranges[v]) for v in names)))
            if dim.indirect:
                sides.append(list(range(min(len(points), dim.extent))))
                continue
            values = []
            for point in points:
                at = dict(zip(names, point, strict=True))
                value = dim.offset + sum(a * at[v] for v, a in dim.terms)
                for d in dim.digits:
                    value += d.coefficient * (at[d.variable] // d.divisor % d.size)
                values.append(value)
            low, high = min(values), max(values)
            if not masked:
                low, high = max(0, low), min(dim.extent - 1, high)
            sides.append(list(range(low, high + 1)))
        return frozenset(product(*sides))

    def runs(self, operand: Operand, ranges: dict[str, Range]) -> list[dict[str, Range]]:
        """The ranges cut where a flattened variable goes on to the next outer rank."""
        found = [ranges]
        digits = {d.variable: d for dim in operand.dims for d in dim.digits if d.divisor == 1}
        for variable, digit in digits.items():
            low, high = ranges[variable]
            cuts = [low, *(x for x in range(low + 1, high) if x % digit.size == 0), high]
            found = [{**r, variable: pair} for r in found for pair in pairwise(cuts)]
        return found

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
            and {operand.tensor, operand.access} & {*step.node.tensors}
            and step.node.level in self.chain
        ]
        for at in stops:
            hold = self.path.steps[at].node
            assert isinstance(hold, Hold)
            sizes = [
                len(self.elements(operand, e.ranges, whole=hold.whole)) for e in self.events(at)
            ]
            key = (at, operand.tensor)
            if operand.access:  # each access of the tensor has a tile
                seen.tiles[key] = seen.tiles.get(key, 0) + max(sizes)
            else:
                seen.tiles[key] = max(sizes)
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
        indexing = {v for d in operand.dims for v in d.variables}
        above = self._level(parent)
        below = self.path.steps[child].node if not last else None
        whole = isinstance(below, Hold) and below.whole
        factor = 1
        to_memory = isinstance(below, Hold) and isinstance(self.arch.find(below.level), Memory)
        if operand.role != "output" and not to_memory:
            factor = operand.uses
        stored = operand.line if operand.role != "output" and self._bus(parent) else 0
        moved: dict[object, int] = defaultdict(int)
        via: dict[object, int] = defaultdict(int)
        first_above: dict[object, set[object]] = defaultdict(set)
        first_below: dict[object, set[object]] = defaultdict(set)
        passed: set[object] = set()
        for event in self.events(child):
            tile = self.elements(operand, event.ranges, whole=whole)
            words = len(tile) * factor
            if stored:
                words = factor * in_lines(tile, stored, operand.block) * stored
            of_parent = tuple(x for x in event.lanes if x[0] < parent)
            moved[event.lanes] += words
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
                via[of_parent] += words
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
        if not self._bus(parent):
            count_lines(self, operand, parent, None if last else child, factor, seen)
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

    def _bus(self, at: int) -> bool:
        memory = self.arch.find(self._level(at))
        return isinstance(memory, Memory) and memory.bus is not None


def in_lines(tile: Collection[Element], per: int, block: int = 0) -> int:
    """Lines of a box of elements whose neighbours along the last dimension stand side by side."""
    rows: dict[Element, int] = defaultdict(int)
    for element in tile:
        rows[element[:-1]] += 1
    total = 0
    for size in rows.values():
        parts = [block] * (size // block) + [size % block] if block else [size]
        total += sum(-(-part // per) for part in parts)
    return total


@dataclass(frozen=True)
class _Request:
    """What is asked of a memory at one time.

    Attributes:
        key: tells requests for the same elements in the same copy of a sum apart from others.
        lines: how many.
    """

    key: object
    lines: int


def count_lines(
    oracle: Oracle, operand: Operand, parent: int, child: int | None, factor: int, seen: Seen
) -> None:
    """Accesses of a parent and its child (None: the compute node).

    Lanes that ask at one time for neighbours along the last dimension get them in one line.
    """
    output = operand.role == "output"
    below = len(oracle.path.steps) if child is None else child
    events = list(oracle.events(below))
    node = oracle.path.steps[child].node if child is not None else None
    whole = isinstance(node, Hold) and node.whole
    side = _side_lanes(oracle, operand, parent, below)
    shared = {
        at
        for at in _lanes(oracle, parent, below)
        if not _indexes(oracle, at, operand) and oracle._shares(at, operand)
    }
    groups: dict[object, list[Event]] = defaultdict(list)
    for event in events:
        apart = tuple(x for x in event.lanes if x[0] not in side and x[0] not in shared)
        groups[event.times, apart].append(event)
    above = oracle.arch.find(oracle._level(parent))
    if isinstance(above, Memory):  # not registers that pass words on
        per, pieces = _per_line(above, operand), _pieces(above, operand)
        asked = [
            _request(oracle, operand, group, per, parent, whole, above) for group in groups.values()
        ]
        via = sum(r.lines for r in asked) * pieces * factor
        here = (above.name, operand.tensor, "low")
        if output:
            first = sum({r.key: r.lines for r in asked}.values()) * pieces
            seen.write_lines[here] += via
            seen.read_lines[here] += via - first
        else:
            seen.read_lines[here] += via
    level = oracle.arch.find(node.level) if isinstance(node, Hold) else None
    if not isinstance(level, Memory):
        return
    per, pieces = _per_line(level, operand), _pieces(level, operand)
    filled = [_request(oracle, operand, [e], per, parent, whole, None) for e in events]
    moved = sum(r.lines for r in filled) * pieces
    here = (level.name, operand.tensor, "high")
    if output:
        first = sum({r.key: r.lines for r in filled}.values()) * pieces
        seen.read_lines[here] += moved
        seen.write_lines[here] += moved - first
    else:
        seen.write_lines[here] += moved


def _per_line(memory: Memory, operand: Operand) -> int:
    return max(1, memory.line_bits // operand.bits)


def _pieces(memory: Memory, operand: Operand) -> int:
    return -(-operand.bits // memory.line_bits)


def _lanes(oracle: Oracle, parent: int, below: int) -> list[int]:
    """Places of the spatial loops between two holders, innermost first."""
    found = []
    for at in range(below - 1, parent, -1):
        node = oracle.path.steps[at].node
        if isinstance(node, Loop) and node.fanout is not None:
            found.append(at)
    return found


def _name(oracle: Oracle, at: int) -> str:
    node = oracle.path.steps[at].node
    assert isinstance(node, Loop)
    return oracle.name_of(node)


def _indexes(oracle: Oracle, at: int, operand: Operand) -> bool:
    return _name(oracle, at) in {v for d in operand.dims for v in d.variables}


def _side_lanes(oracle: Oracle, operand: Operand, parent: int, below: int) -> set[int]:
    """Spatial loops whose lanes are neighbours: nothing cuts their variable again."""
    last = set(operand.dims[-1].variables) if operand.dims else set()
    cut: set[str] = set()
    found = set()
    lanes = set(_lanes(oracle, parent, below))
    for at in range(below - 1, -1, -1):
        if not isinstance(oracle.path.steps[at].node, Loop):
            continue
        name = _name(oracle, at)
        if at in lanes and name in last and name not in cut:
            found.add(at)
        else:
            cut.add(name)
    return found


def _request(
    oracle: Oracle,
    operand: Operand,
    events: list[Event],
    per: int,
    parent: int,
    whole: bool,
    memory: Memory | None,
) -> _Request:
    """The request of lanes that ask together; ``memory``: the one that is asked, None: a fill."""
    ranges = dict(events[0].ranges)
    indexing = {v for d in operand.dims for v in d.variables}
    for v in indexing:
        ranges[v] = min(e.ranges[v][0] for e in events), max(e.ranges[v][1] for e in events)
    if operand.role != "output":
        masked = memory is not None and memory.reads_padding
        tiles = [
            oracle.elements(operand, run, whole=whole, masked=masked)
            for run in (oracle.runs(operand, ranges) if memory and not whole else [ranges])
        ]
        return _Request(None, sum(in_lines(tile, per) for tile in tiles))
    # Points write distinct elements; those of the last dimension are side by side.
    last = dict(operand.dims[-1].terms) if operand.dims else {}
    span = 1 + sum(abs(a) * (ranges[v][1] - ranges[v][0] - 1) for v, a in last.items())
    lines = -(-span // per)
    for v in indexing - set(last):
        lines *= ranges[v][1] - ranges[v][0]
    reduced = oracle.work.reduced
    copies = []
    for at, lane in events[0].lanes:
        inside = at < parent or (memory is None and oracle._shares(at, operand))
        if inside and _name(oracle, at) in reduced:
            copies.append((at, lane))
    fresh = [(v, r) for v, r in ranges.items() if v not in indexing and v not in reduced]
    where = sorted((v, ranges[v]) for v in indexing)
    return _Request((tuple(where), tuple(copies), tuple(sorted(fresh))), lines)
