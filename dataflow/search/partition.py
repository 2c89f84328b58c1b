"""Partition: a network into groups, and what stays on chip between them.

Dynamic programming over the cuts of the network's order. A state of a cut is the set of tensors
that lie whole in the buffer there; a step is a group of consecutive Einsums. Each tensor is either
off chip between its writer and its readers, or whole in the buffer for its whole life, or handed
over tile by tile inside one group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from dataflow import mapping as mp
from dataflow.arch import Memory
from dataflow.search.bundle import Bundle, Choice, Member, best, floor
from dataflow.search.parts import INFINITE, Goal, Part, less
from dataflow.search.segments import Segment, segment

MOST_EINSUMS = 8
"""Einsums of a group, at most."""
MOST_LIVE = 5
"""Tensors at a cut that may lie whole in the buffer, at most: those with the shortest lives."""
TRIES = 16
"""Combinations of tiles and kept tensors that are tried for a group."""

Tensors = frozenset[str]


@dataclass(frozen=True)
class Alone:
    """An Einsum whose mapping is given: a group of its own, all its tensors off chip.

    Attributes:
        nest: its loop tree.
        energy_pj, latency_cycles: what it costs.
        bounds: by objective.
        taken_bits: of each memory.
    """

    nest: mp.Nest
    energy_pj: float
    latency_cycles: float
    bounds: Mapping[str, float]
    taken_bits: Mapping[str, int]


@dataclass(frozen=True)
class Step:
    """A group of the partition: Einsums ``start`` to ``end`` - 1; exactly one of the two is set."""

    start: int
    end: int
    bundle: Bundle | None
    choice: Choice | None
    alone: Alone | None = None


@dataclass
class _State:
    key: tuple[float, float]
    bound: float
    step: Step | None = None
    before: tuple[int, Tensors] | None = None


@dataclass(frozen=True)
class Plan:
    """The best partition found and a bound of the goal's first key over all of the mapspace."""

    steps: tuple[Step, ...]
    bound: float


@dataclass
class Network:
    """A workload ready for partitions.

    Attributes:
        works: in order.
        parts: the searches of each Einsum, shared by equal ones; None where it stands alone.
        names: for each Einsum the actual name of each name of its part.
        alone: Einsums whose mapping is given, by index.
        buffer: where tensors stay; None: nowhere.
        tries: see TRIES; more never end worse.
        most: Einsums of a group at most; 1: nothing is fused, and no tensor stays on chip.
    """

    works: tuple[mp.Work, ...]
    parts: tuple[Part | None, ...]
    names: tuple[Mapping[str, str], ...]
    alone: Mapping[int, Alone]
    buffer: Memory | None
    tries: int = TRIES
    most: int = MOST_EINSUMS
    _whole: set[str] = field(default_factory=set)
    _lives: dict[str, tuple[int, int]] = field(default_factory=dict)
    _segments: dict[tuple[int, int], Segment | None] = field(default_factory=dict)
    _bits: dict[str, float] = field(default_factory=dict)
    _best: dict[object, tuple[tuple[float, float], Choice | None, float]] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        if self.buffer is None or self.most == 1:
            return
        writers: dict[str, list[int]] = {}
        readers: dict[str, list[int]] = {}
        for i, work in enumerate(self.works):
            writers.setdefault(work.output.tensor, []).append(i)
            for operand in work.inputs:
                readers.setdefault(operand.tensor, []).append(i)
        size = float(self.buffer.size_bits or 0)
        for tensor, made in writers.items():
            read = readers.get(tensor, [])
            operand = self.works[made[0]].output
            if len(made) > 1 or not read or not operand.intermediate or operand.state:
                continue
            if min(read) <= made[0] or not all(self._holds(i, tensor) for i in (*made, *read)):
                continue
            self._bits[tensor] = max(self._touched(i, tensor) for i in (*made, *read))
            self._lives[tensor] = (made[0], max(read))
        self._crowd(size)

    def _holds(self, i: int, tensor: str) -> bool:
        part = self.parts[i]
        return part is not None and part.can_hold(self._inner(i, tensor))

    def _inner(self, i: int, tensor: str) -> str:
        work = self.works[i]
        names = self.names[i]
        return next(f"T{n}" for n in range(len(work.tensors)) if names[f"T{n}"] == tensor)

    def _touched(self, i: int, tensor: str) -> float:
        part = self.parts[i]
        assert part is not None
        return part.operand_bits(self._inner(i, tensor))

    def _crowd(self, size: float) -> None:
        """Leaves few tensors that may lie whole in the buffer at any cut."""
        self._whole = {
            t for t, (start, end) in self._lives.items() if self._bits[t] <= size and end > start
        }
        for cut in range(1, len(self.works)):
            live = sorted(
                (t for t in self._whole if self._lives[t][0] < cut <= self._lives[t][1]),
                key=lambda t: (self._lives[t][1] - self._lives[t][0], t),
            )
            self._whole -= set(live[MOST_LIVE:])

    # ---------------------------------------------------------------------------------- the states

    def stays(self, i: int) -> Tensors:
        """Tensors of an Einsum (names of its part) that some mapping leaves on chip."""
        part = self.parts[i]
        assert part is not None
        tensors = (o.tensor for o in part.work.operands)
        return frozenset(t for t in tensors if self.names[i][t] in self._lives)

    def solve(self, goal: Goal, step: Callable[[int], None] = lambda cut: None) -> Plan:
        """The best partition for a goal."""
        many = len(self.works)
        table: list[dict[Tensors, _State]] = [{} for _ in range(many + 1)]
        table[0][frozenset()] = _State((0.0, 0.0), 0.0)
        for end in range(1, many + 1):
            for start in range(end - 1, max(-1, end - self.most - 1), -1):
                if start < end - 1 and self._segment(start, end) is None:
                    continue
                for inside, state in sorted(table[start].items(), key=lambda s: sorted(s[0])):
                    if state.key[0] < INFINITE:
                        self._extend(table, start, end, inside, state, goal)
            step(end)
        last = table[many].get(frozenset())
        if last is None or last.step is None:
            return Plan((), INFINITE)
        steps, at = [], last
        while at.step is not None and at.before is not None:
            steps.append(at.step)
            at = table[at.before[0]][at.before[1]]
        return Plan(tuple(reversed(steps)), last.bound)

    def _extend(
        self,
        table: list[dict[Tensors, _State]],
        start: int,
        end: int,
        inside: Tensors,
        state: _State,
        goal: Goal,
    ) -> None:
        """Puts one group behind a state."""
        stay = frozenset(t for t in inside if self._lives[t][1] >= end)
        made = [
            t
            for t in sorted(self._whole)
            if start <= self._lives[t][0] < end and self._lives[t][1] >= end
        ]
        for many in range(len(made) + 1):
            for chosen in combinations(made, many):
                outside = stay | set(chosen)
                bar = table[end].get(outside, _State((INFINITE, INFINITE), INFINITE))
                room = (bar.key[0] - state.key[0], bar.key[1] - state.key[1])
                found = self._group(start, end, inside, outside, goal, room)
                if found is None:
                    continue
                choice, key, bound = found
                bar.bound = min(bar.bound, state.bound + bound)
                whole = (state.key[0] + key[0], state.key[1] + key[1])
                if choice is not None and less(whole, bar.key):
                    bar.key, bar.step, bar.before = whole, choice, (start, inside)
                if bar.bound < INFINITE:
                    table[end][outside] = bar

    def _group(
        self,
        start: int,
        end: int,
        inside: Tensors,
        outside: Tensors,
        goal: Goal,
        room: tuple[float, float],
    ) -> tuple[Step | None, tuple[float, float], float] | None:
        """(group, its key, bound); no group where none is below ``room``. None: there is none."""
        taken = sum(self._bits[t] for t in sorted(inside | outside))
        size = float(self.buffer.size_bits or 0) if self.buffer is not None else INFINITE
        if taken > size:
            return None
        if start in self.alone:
            if end > start + 1:
                return None
            given = self.alone[start]
            mine = given.taken_bits.get(self.buffer.name, 0) if self.buffer is not None else 0
            if taken + mine > size:
                return None
            key = goal.key(given.energy_pj, given.latency_cycles)
            low = given.bounds[goal.first]
            if goal.price:
                low += goal.price * given.bounds["latency"]
            return Step(start, end, None, None, given), key, low
        bundle = self._bundle(start, end, inside, outside)
        if bundle is None:
            return None
        mark = (self._mark(bundle), goal)
        if mark in self._best:
            tried, choice, bound = self._best[mark]
            known = choice is not None or not less(tried, room)
        else:
            known, choice, bound = False, None, 0.0
        if not known:
            least = floor(bundle, goal)
            if not less(least, room):
                return _nothing(least[0])
            choice, bound = best(bundle, goal, self.tries, room)
            self._best[mark] = (room, choice, bound)
        if choice is None:
            return _nothing(bound)
        return Step(start, end, bundle, choice), choice.key, bound

    # --------------------------------------------------------------------------------- the bundles

    def _segment(self, start: int, end: int) -> Segment | None:
        at = (start, end)
        if at not in self._segments:
            fits = self.buffer is not None and all(p is not None for p in self.parts[start:end])
            found = segment(self.works[start:end]) if fits else None
            if found is not None and not all(t in self._lives for t in found.inner):
                found = None
            self._segments[at] = found
        return self._segments[at]

    def _bundle(self, start: int, end: int, inside: Tensors, outside: Tensors) -> Bundle | None:
        stored = inside | outside
        found = self._segment(start, end) if end > start + 1 else None
        inner = set() if found is None else set(found.inner) - stored
        members = []
        for i in range(start, end):
            part = self.parts[i]
            assert part is not None
            names = self.names[i]
            tensors = [o.tensor for o in part.work.operands]
            tiled = frozenset(t for t in tensors if names[t] in inner)
            if end > start + 1 and not tiled:
                return None
            output = part.work.output.tensor
            outlives = output in tiled and self._lives[names[output]][1] >= end
            members.append(
                Member(
                    part,
                    names,
                    frozenset(t for t in tensors if names[t] in stored),
                    tiled,
                    frozenset({output}) if outlives else frozenset(),
                )
            )
        lines = []
        for line in found.lines if found is not None else ():
            lines.append(tuple(_variable(m, v) for m, v in zip(members, line, strict=True)))
        lines = self._apart(members, lines)
        whole, passing = [], 0.0
        for tensor in sorted(stored):
            own = [(m, t) for m in members for t in m.whole if m.names[t] == tensor]
            sizes = [m.part.operand_bits(t) for m, t in own]
            if sizes:
                whole.append(tensor)
            passing += self._bits[tensor] - max(sizes, default=0.0)
        return Bundle(tuple(members), tuple(lines), tuple(whole), passing)

    @staticmethod
    def _apart(members: Sequence[Member], lines: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Lines without those that share an index with one before."""
        found: list[tuple[str, ...]] = []
        for line in lines:
            more = [*found, line]
            if all(m.part.walkable([x[i] for x in more]) for i, m in enumerate(members)):
                found = more
        return found

    def _mark(self, bundle: Bundle) -> object:
        """Equal for bundles that cost the same: names numbered in the order of their use."""
        numbers: dict[str, int] = {}
        marks = []
        for m in bundle.members:
            tensors = [o.tensor for o in m.part.work.operands]
            order = tuple(numbers.setdefault(m.names[t], len(numbers)) for t in tensors)
            marks.append((id(m.part), order, m.whole, m.tiled, m.through))
        return tuple(marks), bundle.lines, bundle.passing


def _nothing(bound: float) -> tuple[None, tuple[float, float], float] | None:
    return None if bound == INFINITE else (None, (INFINITE, INFINITE), bound)


def _variable(member: Member, actual: str) -> str:
    """The part's name of a variable."""
    return next(v for v in member.part.work.sizes if member.names[v] == actual)
