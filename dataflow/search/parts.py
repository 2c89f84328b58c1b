"""Parts: one Einsum as a member of any fusion group, searched once for all equal ones.

What a group fixes for its Einsums is a :class:`Status`: which tensors lie whole in the buffer and
which ones it hands over tile by tile. Beside that an Einsum only feels how much of the buffer the
others take; a solution is kept with the room that it leaves, so that most of these questions are
answered without a search.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dataflow import mapping as mp
from dataflow.arch import Architecture, Compute, Memory
from dataflow.mapping.chains import partial_bits, tile_size
from dataflow.search.chains import PERFECT, QUOTIENTS, TooManyChainsError
from dataflow.search.frame import Frame, Known
from dataflow.search.pose import UnsupportedError, pose, units_for
from dataflow.search.problem import Level, Problem
from dataflow.search.single import Solution, frame, search
from dataflow.search.tables import MOST_ROWS, groups

INFINITE = float("inf")
EINSUM = "einsum"


@dataclass(frozen=True)
class Goal:
    """What is made least, summed over Einsums.

    Attributes:
        first: ``latency`` or ``energy``; the other one breaks ties.
        price: picojoules for each cycle, added to the energy (first is ``energy`` then).
    """

    first: str
    price: float = 0.0

    def key(self, energy: float, latency: float) -> tuple[float, float]:
        """What is compared."""
        if self.first == "latency":
            return latency, energy
        return energy + self.price * latency, latency


def less(a: tuple[float, float], b: tuple[float, float]) -> bool:
    """Whether a key is lower than another by more than rounding."""
    if a[0] < b[0] * (1 - 1e-12):
        return True
    return a[0] <= b[0] * (1 + 1e-12) and a[1] < b[1] * (1 - 1e-12)


@dataclass(frozen=True)
class Status:
    """What a group fixes for an Einsum.

    Attributes:
        whole: tensors that lie whole in the buffer for their whole life; they are not off chip.
        kept: tensors from off chip that the buffer holds whole above the common loops.
        tiled: tensors handed over tile by tile below the common loops.
        through: of these, an output that goes off chip too.
        walked: the variables of the common loops.
        anywhere: tensors that stay on chip, no matter how: what any status costs at least that
            leaves no others there.
    """

    whole: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    tiled: frozenset[str] = frozenset()
    through: frozenset[str] = frozenset()
    walked: frozenset[str] = frozenset()
    anywhere: frozenset[str] = frozenset()

    @property
    def resident(self) -> frozenset[str]:
        """What does not come from, or go, off chip."""
        return self.whole | (self.tiled - self.through) | self.anywhere


@dataclass(frozen=True)
class Answer:
    """The best of an Einsum under a status, or none that fits; ``bound``: of the goal's first."""

    solution: Solution | None
    problem: Problem | None
    bound: float

    def key(self, goal: Goal) -> tuple[float, float]:
        """Infinite where nothing fits."""
        if self.solution is None:
            return INFINITE, INFINITE
        return goal.key(self.solution.energy_pj, self.solution.latency_cycles)


@dataclass
class _Asked:
    """Answers to one question by the room that others take."""

    found: list[tuple[float, Answer]] = field(default_factory=list)


class Part:
    """One Einsum with all its frames.

    Attributes:
        work: with numbered names.
        buffer: the memory in which tensors stay.
        units: those below the buffer that can run it; none: the Einsum is not searched here.
        factors: of the tiles where the Einsum is alone; in groups they divide.
        root_rate: bits that the outermost memory moves in a cycle at most.
        root_pj: of one bit, ``read`` or ``write`` there.
        several: tensors that it reads in several accesses.
    """

    def __init__(
        self, work: mp.Work, arch: Architecture, buffer: Memory, rows: int, budget: int
    ) -> None:
        self.work, self.arch, self.buffer = work, arch, buffer
        self._rows, self._budget = rows, budget
        root = arch.memories[0]
        self.root_rate = port_rate(root)
        self.root_pj = {
            "read": float(root.energy.read_pj / root.energy.bits),
            "write": float(root.energy.write_pj / root.energy.bits),
        }
        self._frames: dict[tuple[str, int, Status], Frame] = {}
        self._known: dict[str, Known] = {}
        self._groups: tuple[tuple[str, ...], ...] = ()
        self._whole_bits = {name: self._tile_bits(name, work.sizes) for name in work.names}
        self._inside: dict[tuple[frozenset[str], float], float] = {}
        self._asked: dict[object, _Asked] = {}
        self.units: tuple[Compute, ...] = ()
        able = [u for u in units_for(work, arch) if first_buffer(arch, u) is buffer]
        try:
            for unit in able:
                self._groups = groups(pose(work, arch, unit, PERFECT))
            self.units = tuple(able)
        except UnsupportedError:
            pass
        widest = max((partial_bits(work, unit) for unit in self.units), default=1)
        self._widening = widest / work.output.bits
        self.several = frozenset(o.tensor for o in work.operands if o.access)
        self.factors = "imperfect" if rows and self._imperfect() else "perfect"

    def operand_bits(self, tensor: str, extents: Mapping[str, int] | None = None) -> float:
        """Bits of a tile of a finished tensor (of what the Einsum touches of it, by default)."""
        if extents is None:
            return self._whole_bits[tensor]
        return self._tile_bits(tensor, extents)

    def _tile_bits(self, name: str, extents: Mapping[str, int]) -> float:
        """``operand_bits`` of a tensor, each access of which has a tile, or of one access."""
        mine = (o for o in self.work.operands if name in (o.tensor, o.access))
        return float(sum(tile_size(o, extents) * o.bits for o in mine))

    def access_bits(self, operand: mp.Operand) -> float:
        """Bits that the Einsum touches by one access."""
        return self._whole_bits[operand.name]

    def widening(self) -> float:
        """Width of an unfinished output over that of a finished one."""
        return self._widening

    def can_hold(self, tensor: str) -> bool:
        """Whether the buffer may hold it."""
        return all(mp.may_hold(self.buffer, o) for o in self.work.operands if o.tensor == tensor)

    def walkable(self, variables: Sequence[str]) -> bool:
        """Whether common loops may stand on these variables: no two share an index."""
        return all(sum(v in group for v in variables) <= 1 for group in self._groups)

    def floor(self, status: Status, goal: Goal) -> Answer:
        """The best when resident tensors take no room: a bound for each status that leaves the
        same tensors on chip."""
        return self.ask(Status(anywhere=status.resident), (), 0.0, goal)

    def inside(self, status: Status, price: float) -> float:
        """Energy beside that of the outermost memory, at least, under any status that leaves the
        same tensors on chip."""
        mark = (status.resident, price)
        if mark not in self._inside:
            least = INFINITE
            for unit in self.units:
                try:
                    posed = self._frame(unit, Status(anywhere=status.resident), PERFECT)
                except TooManyChainsError:
                    return 0.0
                low = search(posed, ("energy",), self._budget, inner=True, price=price)[1]
                least = min(least, low)
            self._inside[mark] = least
        return self._inside[mark]

    def ask(
        self, status: Status, tiles: tuple[tuple[str, int], ...], taken: float, goal: Goal
    ) -> Answer:
        """The best under a status.

        Args:
            tiles: of the common loops, by variable.
            taken: bits of the buffer that others take.
        """
        asked = self._asked.setdefault((status, tiles, goal), _Asked())
        for before, answer in asked.found:
            if answer.solution is None and taken >= before:
                return answer
            if answer.solution is not None and taken >= before:
                left = answer.solution.slack.get(self.buffer.name, INFINITE)
                if taken <= left + 1e-6:
                    return answer
        best = Answer(None, None, INFINITE)
        for unit in self.units:
            answer = self._on(unit, status, dict(tiles), taken, goal)
            bound = min(best.bound, answer.bound)
            if best.solution is None or less(answer.key(goal), best.key(goal)):
                best = answer
            best = replace(best, bound=bound)
        asked.found.append((taken, best))
        return best

    def _on(
        self,
        unit: Compute,
        status: Status,
        tiles: Mapping[str, int],
        taken: float,
        goal: Goal,
    ) -> Answer:
        best: Solution | None = None
        problem, bound = None, INFINITE
        alone = not status.walked and not status.tiled and self.factors == "imperfect"
        kinds = (PERFECT, QUOTIENTS) if alone else (PERFECT,)
        for factors in kinds:
            try:
                posed = self._frame(unit, status, factors)
            except TooManyChainsError:
                return Answer(None, None, 0.0)
            found, low, _ = search(
                posed,
                (goal.first,),
                self._budget,
                best,
                roots=posed.roots_at(tiles),
                reserved={self.buffer.name: taken},
                price=goal.price,
            )
            if found is not None:
                best, problem = found, posed.problem
            bound = low
        return Answer(best, problem, bound)

    def _imperfect(self) -> bool:
        """Whether imperfect factors are few enough; then they are under each status, as each has
        fewer free tiles."""
        try:
            for unit in self.units:
                self._frame(unit, Status(), QUOTIENTS)
        except TooManyChainsError:
            return False
        return True

    def _frame(self, unit: Compute, status: Status, factors: int) -> Frame:
        at = (unit.name, factors, status)
        if at not in self._frames:
            self._frames[at] = frame(
                self.problem(unit, status, factors),
                factors,
                MOST_ROWS if factors == PERFECT else self._rows,
                self._known.setdefault(unit.name, Known()),
            )
        return self._frames[at]

    def problem(self, unit: Compute, status: Status, factors: int) -> Problem:
        """The problem of a status."""
        made = pose(self.work, self.arch, unit, factors, status.resident)
        at = next(
            i
            for i, part in enumerate(made.path)
            if isinstance(part, Level) and part.name == self.buffer.name
        )
        return replace(
            made,
            whole=self._names(status.whole | status.kept),
            frontier=self._names(status.tiled),
            frontier_at=at,
            walked=status.walked,
        )

    def _names(self, tensors: Collection[str]) -> tuple[str, ...]:
        """All accesses of some tensors."""
        return tuple(sorted(o.name for o in self.work.operands if o.tensor in tensors))


def port_rate(memory: Memory) -> float:
    """Bits that all ports of a memory move in a cycle."""
    rates = [p.bits_per_cycle for p in memory.ports]
    if any(rate is None for rate in rates):
        return INFINITE
    return sum(p.count * float(p.bits_per_cycle or 0) for p in memory.ports) or INFINITE


def canonical(work: mp.Work) -> tuple[mp.Work, dict[str, str]]:
    """The Einsum with numbered names, and the old name of each new one."""
    variables = {v: f"v{i}" for i, v in enumerate(work.sizes)}
    tensors = {t: f"T{i}" for i, t in enumerate(work.tensors)}

    def operand(o: mp.Operand) -> mp.Operand:
        dims = tuple(
            replace(d, terms=tuple(sorted((variables[v], a) for v, a in d.terms))) for d in o.dims
        )
        state = tuple(variables[v] for v in o.state)
        access = mp.renamed_access(o.access, tensors) if o.access else ""
        return replace(o, tensor=tensors[o.tensor], dims=dims, state=state, access=access)

    plain = replace(
        work,
        name=EINSUM,
        sizes={variables[v]: n for v, n in work.sizes.items()},
        inputs=tuple(operand(o) for o in work.inputs),
        output=operand(work.output),
        reduced=frozenset(variables[v] for v in work.reduced),
    )
    back = {EINSUM: work.name}
    back |= {new: old for old, new in (*variables.items(), *tensors.items())}
    return plain, back


def first_buffer(arch: Architecture, unit: Compute) -> Memory | None:
    """The first memory below the root on the way to a unit, if its size is bounded."""
    path = [node for node in arch.path(unit.name) if isinstance(node, Memory)]
    return path[1] if len(path) > 1 and path[1].size_bits is not None else None
