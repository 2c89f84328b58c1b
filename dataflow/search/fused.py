"""Fused groups: runs of Einsums whose intermediates stay in the first buffer.

All Einsums of a run share the loops that stand above the intermediates' holds. Given the tiles of
these loops and what is held whole above them, the Einsums are independent: the search of each one
knows how much of the buffer the others take. So a group is the least over those few choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from math import prod

from dataflow import mapping as mp
from dataflow.arch import Architecture, Compute, Memory
from dataflow.mapping.chains import partial_bits
from dataflow.search.build import split_nest
from dataflow.search.chains import PERFECT, TooManyChainsError
from dataflow.search.frame import Frame
from dataflow.search.pose import UnsupportedError, pose, units_for
from dataflow.search.problem import Level, Problem
from dataflow.search.single import Solution, frame, search
from dataflow.search.skeleton import Skeleton


@dataclass(frozen=True)
class Run:
    """Consecutive Einsums, each reading what the one before writes, and nobody else.

    Attributes:
        works: the Einsums.
        tensors: the intermediates.
        shared: for each common loop, the variable of each Einsum.
    """

    works: tuple[mp.Work, ...]
    tensors: tuple[str, ...]
    shared: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class FusedChoice:
    """A nest of a whole run and its cost; ``bound``: of the first objective, over its mapspace."""

    nest: mp.Nest
    energy_pj: float
    latency_cycles: float
    bound: float


def runs(workload: mp.Workload, most: int) -> dict[tuple[int, int], Run]:
    """Runs of 2 to ``most`` Einsums, by first and last index."""
    readers: dict[str, int] = {}
    for work in workload.works:
        for operand in work.inputs:
            readers[operand.tensor] = readers.get(operand.tensor, 0) + 1
    found = {}
    for start in range(len(workload.works)):
        for end in range(start + 1, min(start + most, len(workload.works))):
            works = workload.works[start : end + 1]
            run = _run(works, readers)
            if run is None:
                break
            if run.shared:
                found[start, end] = run
    return found


def _run(works: tuple[mp.Work, ...], readers: dict[str, int]) -> Run | None:
    tensors = []
    names: list[list[tuple[str, str]]] = []  # (writer's, reader's) variable of plain dimensions
    for writer, reader in pairwise(works):
        written = writer.output
        access = next((o for o in reader.inputs if o.tensor == written.tensor), None)
        if access is None or not written.intermediate or readers.get(written.tensor) != 1:
            return None
        if written.state or len(written.dims) != len(access.dims):
            return None
        tensors.append(written.tensor)
        pairs = []
        for mine, theirs in zip(written.dims, access.dims, strict=True):
            plain = all(
                len(d.terms) == 1 and d.terms[0][1] == 1 and not d.offset and not d.indirect
                for d in (mine, theirs)
            )
            if plain and writer.sizes[mine.variables[0]] == reader.sizes[theirs.variables[0]]:
                pairs.append((mine.variables[0], theirs.variables[0]))
        names.append(pairs)
    shared = [list(pair) for pair in names[0]]
    for pairs in names[1:]:
        follow = dict(pairs)
        shared = [[*line, follow[line[-1]]] for line in shared if line[-1] in follow]
    return Run(works, tuple(tensors), tuple(tuple(line) for line in shared))


class Fuser:
    """Searches one run."""

    def __init__(self, run: Run, arch: Architecture) -> None:
        self.run, self.arch = run, arch
        self.units = [units_for(work, arch)[0] for work in run.works]
        self.buffer = self._buffer()

    def _buffer(self) -> Memory | None:
        """The first memory below the root that all units have and that may hold the tensors."""
        paths = [self._memories(unit) for unit in self.units]
        if any(len(path) < 2 for path in paths) or len({path[1].name for path in paths}) > 1:
            return None
        memory = paths[0][1]
        operands = [o for w in self.run.works for o in w.operands if o.tensor in self.run.tensors]
        return memory if all(mp.may_hold(memory, o) for o in operands) else None

    def _memories(self, unit: Compute) -> list[Memory]:
        return [node for node in self.arch.path(unit.name) if isinstance(node, Memory)]

    def search(self, objectives: Sequence[str], budget: int) -> FusedChoice | None:
        """The best choice of the run, or None where it cannot be fused or nothing fits."""
        if self.buffer is None or self.buffer.size_bits is None:
            return None
        try:
            frames = [self._frames(i) for i in range(len(self.run.works))]
        except (UnsupportedError, TooManyChainsError):
            return None
        size = float(self.buffer.size_bits)
        best: tuple[tuple[float, ...], list[Solution], tuple[frozenset[str], ...]] | None = None
        least = float("inf")
        tiles = [self._tiles(line, frames) for line in self.run.shared]
        memory: dict[object, tuple[Solution | None, float]] = {}
        for chosen in product(*tiles):
            held = self._held_bits(chosen)
            if sum(held.values()) > size:
                continue
            for whole in product(*(list(options) for options in frames)):
                fixed = sum(self._whole_bits(i, names) for i, names in enumerate(whole))
                if sum(held.values()) + fixed > size:
                    continue
                solutions, bound = [], 0.0
                for i, names in enumerate(whole):
                    own = self._whole_bits(i, names)
                    mine = sum(held[t] for t in self._residents(i))
                    other = sum(held.values()) - mine + fixed - own + self._wider(i, held)
                    mark = (i, names, chosen, other)
                    if mark not in memory:
                        posed = frames[i][names]
                        at = {
                            line[i]: tile
                            for line, tile in zip(self.run.shared, chosen, strict=True)
                        }
                        solution, low, _ = search(
                            posed,
                            objectives,
                            budget,
                            roots=posed.roots_at(at),
                            reserved={self.buffer.name: other},
                        )
                        memory[mark] = (solution, low)
                    solution, low = memory[mark]
                    bound += low
                    if solution is None:
                        break
                    solutions.append(solution)
                least = min(least, bound)
                if len(solutions) < len(whole):
                    continue
                rank = _rank(objectives, solutions)
                if best is None or rank < best[0]:
                    best = (rank, solutions, whole)
        if best is None:
            return None
        _, solutions, whole = best
        problems = [frames[i][names].problem for i, names in enumerate(whole)]
        return FusedChoice(
            self._nest(problems, solutions),
            sum(s.energy_pj for s in solutions),
            sum(s.latency_cycles for s in solutions),
            least,
        )

    def _residents(self, i: int) -> tuple[str, ...]:
        names = {o.tensor for o in self.run.works[i].operands}
        return tuple(t for t in self.run.tensors if t in names)

    def _frames(self, i: int) -> dict[frozenset[str], Frame]:
        """Frames of an Einsum by the tensors that it holds whole above the common loops."""
        work = self.run.works[i]
        resident = self._residents(i)
        walked = frozenset(line[i] for line in self.run.shared)
        problem = pose(work, self.arch, self.units[i], PERFECT, frozenset(resident))
        problem = replace(problem, frontier=resident, frontier_at=self._at(problem), walked=walked)
        level = problem.path[problem.frontier_at]
        assert isinstance(level, Level)
        still = [
            o.tensor
            for o in work.operands
            if o.tensor in level.may and o.tensor not in resident and not walked & set(o.variables)
        ]
        found = {}
        for names in (frozenset(), *(frozenset([name]) for name in still)):
            found[names] = frame(problem, PERFECT, _Prefix(problem, names, resident))
        return found

    def _at(self, problem: Problem) -> int:
        assert self.buffer is not None
        return [part.name for part in problem.path].index(self.buffer.name)

    def _tiles(
        self, line: tuple[str, ...], frames: Sequence[dict[frozenset[str], Frame]]
    ) -> list[int]:
        """Tiles of a common loop that every Einsum can have."""
        sets = [set(options[frozenset()].tiles_at(line[i])) for i, options in enumerate(frames)]
        return sorted(set.intersection(*sets), reverse=True)

    def _held_bits(self, chosen: Sequence[int]) -> dict[str, float]:
        """Bits of the tile of each intermediate."""
        found = {}
        for n, tensor in enumerate(self.run.tensors):
            work = self.run.works[n]
            extents = dict(work.sizes)
            for line, tile in zip(self.run.shared, chosen, strict=True):
                extents[line[n]] = tile
            width = partial_bits(work, self.units[n])
            found[tensor] = float(prod(extents[v] for v in work.output.variables) * width)
        return found

    def _wider(self, i: int, held: dict[str, float]) -> float:
        """What unfinished sums that the Einsum reads take beyond their finished width."""
        total = 0.0
        for n, tensor in enumerate(self.run.tensors):
            if n + 1 == i:
                work = self.run.works[n]
                total += held[tensor] * (1 - work.output.bits / partial_bits(work, self.units[n]))
        return total

    def _whole_bits(self, i: int, names: frozenset[str]) -> float:
        total = 0
        for operand in self.run.works[i].operands:
            if operand.tensor in names:
                total += operand.bits * prod(self.run.works[i].sizes[v] for v in operand.variables)
        return float(total)

    def _nest(self, problems: Sequence[Problem], solutions: Sequence[Solution]) -> mp.Nest:
        """Holds of the root, what is held whole, the common loops, the intermediates, branches."""
        assert self.buffer is not None
        outside, whole, loops, parts = [], [], [], []
        for i, (problem, solution) in enumerate(zip(problems, solutions, strict=True)):
            work = self.run.works[i]
            above, below = split_nest(problem, solution, work.name)
            parts.append(below)
            for node in above:
                if isinstance(node, mp.Hold) and node.level != self.buffer.name:
                    outside += [t for t in node.tensors if t not in outside]
                elif isinstance(node, mp.Hold):
                    whole += [t for t in node.tensors if t not in self.run.tensors]
                elif i == 0:
                    loops.append(node)
        nodes: list[mp.Node] = []
        root = self._memories(self.units[0])[0]
        nodes.append(mp.Hold(root.name, tuple(outside)))
        if whole:
            nodes.append(mp.Hold(self.buffer.name, tuple(dict.fromkeys(whole))))
        lines = {line[0]: tuple(dict.fromkeys(line)) for line in self.run.shared}
        for node in loops:
            assert isinstance(node, mp.Loop)
            nodes.append(mp.Loop(lines[node.variables[0]], node.tile))
        nodes.append(mp.Hold(self.buffer.name, self.run.tensors))
        nodes.append(mp.Branches(tuple(parts)))
        return tuple(nodes)


def _rank(objectives: Sequence[str], solutions: Sequence[Solution]) -> tuple[float, ...]:
    energy = sum(s.energy_pj for s in solutions)
    latency = sum(s.latency_cycles for s in solutions)
    values = {"energy": energy, "latency": latency, "edp": energy * latency}
    return tuple(values[name] for name in (*objectives, "latency", "energy"))


@dataclass(frozen=True)
class _Prefix:
    """Skeletons whose frontier level begins with what is held whole, then the intermediates."""

    problem: Problem
    whole: frozenset[str]
    resident: tuple[str, ...]

    def __call__(self, skeleton: Skeleton) -> bool:
        order = [n.tensor for n in skeleton if n.at == self.problem.frontier_at]
        wanted = [*sorted(self.whole), *self.resident]
        return order[: len(wanted)] == wanted
