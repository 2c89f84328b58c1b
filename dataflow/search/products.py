"""Products: what is counted, and what it costs, apart from any one skeleton.

Every count is a sum of products of one column per group of variables (cost_model reference,
section 2). A product is named by the link between two holders that it counts, not by where their
holds stand, so all skeletons share the coefficients.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dataflow.search.problem import Fan, Level, Operand, Problem
from dataflow.search.skeleton import Skeleton

UNIT = -1
"""Stands for the compute unit where the path index of a level is expected."""
Fans = frozenset[int]
NOWHERE: Fans = frozenset()


@dataclass(frozen=True)
class Moved:
    """Elements that pass a link: summed over the iterations above the child.

    Attributes:
        tensor, parent, child: the link, by path indices; a child UNIT is the compute unit.
        once: fan-outs of which one instance is followed (time of one instance).
        shared: fan-outs on which a loop that does not index the tensor counts once (multicast,
            reduction).
    """

    tensor: str
    parent: int
    child: int
    once: Fans
    shared: Fans


@dataclass(frozen=True)
class First:
    """First fills of a holder: elements of the tensor, once for each lane that reduces it above.

    ``lanes`` are the fan-outs above the holder, ``each``: of one instance only.
    """

    tensor: str
    parent: int
    child: int
    lanes: Fans
    each: bool


@dataclass(frozen=True)
class Tile:
    """Elements of the tile that a level holds."""

    tensor: str
    level: int


@dataclass(frozen=True)
class Trips:
    """Instances in use on a fan-out; ``least``: as a lower limit."""

    fan: int
    least: bool


@dataclass(frozen=True)
class Steps:
    """Iterations of the busiest instance of the unit."""

    fans: Fans


Product = Moved | First | Tile | Trips | Steps


@dataclass
class Form:
    """A linear form over products; at most ``limit`` where it is a constraint."""

    name: str
    terms: dict[Product, float] = field(default_factory=dict)
    limit: float = 0.0

    def add(self, product: Product, weight: float) -> None:
        if weight:
            self.terms[product] = self.terms.get(product, 0.0) + weight


@dataclass(frozen=True)
class Costs:
    """Energy, the channels whose maximum is the latency, and what must fit."""

    energy: Form
    times: tuple[Form, ...]
    rooms: tuple[Form, ...]


Link = tuple[str, int, int]


def links_of(operands: Iterable[Operand], skeleton: Skeleton) -> set[Link]:
    """(tensor, parent, child) of every pair of neighbouring holders."""
    found = set()
    for operand in operands:
        parent = None if operand.resident else 0
        for node in skeleton:
            if node.tensor == operand.name:
                if parent is not None:
                    found.add((operand.name, parent, node.at))
                parent = node.at
        if parent is not None:
            found.add((operand.name, parent, UNIT))
    return found


class _Costs:
    """Collects the costs of links."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.operands = {operand.name: operand for operand in problem.operands}
        self.fans = {i: p for i, p in enumerate(problem.path) if isinstance(p, Fan) and p.size > 1}
        self.levels = {i: p for i, p in enumerate(problem.path) if isinstance(p, Level)}
        self.energy = Form("energy")
        self.times: dict[str, Form] = {}

    def above(self, at: int) -> Fans:
        """Fan-outs above a level (all, for the unit)."""
        return frozenset(f for f in self.fans if at == UNIT or f < at)

    def _charge(
        self, at: int, tensor: str, read: bool, total: Product, each: Product, weight: float
    ) -> None:
        """Energy by the count of all instances, time by that of the busiest."""
        level = self.levels[at]
        self.energy.add(total, weight * (level.read_pj if read else level.write_pj)[tensor])
        for channel in level.channels:
            cycles = (channel.reads if read else channel.writes).get(tensor, 0.0)
            if cycles:
                name = f"{level.name}.{channel.name}"
                self.times.setdefault(name, Form(name)).add(each, weight * cycles)

    def link(self, tensor: str, parent: int, child: int) -> None:
        """The traffic of one link, as in the reference's rules for input and output."""
        over, under = self.above(parent), self.above(child)
        shared = frozenset(f for f in under - over if tensor in self.fans[f].shares)
        via = Moved(tensor, parent, child, NOWHERE, shared)
        via_each = Moved(tensor, parent, child, over, shared)
        moved = Moved(tensor, parent, child, NOWHERE, NOWHERE)
        moved_each = Moved(tensor, parent, child, under, NOWHERE)
        if not self.operands[tensor].output:
            self._charge(parent, tensor, True, via, via_each, 1)
            if child != UNIT:
                self._charge(child, tensor, False, moved, moved_each, 1)
            return
        first = First(tensor, parent, child, over, False)
        self._charge(parent, tensor, False, via, via_each, 1)
        self._charge(parent, tensor, True, via, via_each, 1)
        self._charge(
            parent, tensor, True, first, First(tensor, parent, child, over, bool(over)), -1
        )
        if child != UNIT:
            first = First(tensor, parent, child, under, False)
            each = First(tensor, parent, child, under, bool(under))
            self._charge(child, tensor, True, moved, moved_each, 1)
            self._charge(child, tensor, False, moved, moved_each, 1)
            self._charge(child, tensor, False, first, each, -1)

    def rooms(self) -> list[Form]:
        """Capacities, sizes of fan-outs and their least use."""
        found = []
        for at, level in self.levels.items():
            if level.capacity_bits is not None and at:
                form = Form(level.name, limit=level.capacity_bits)
                for tensor in sorted(level.may):
                    form.add(Tile(tensor, at), level.bits[tensor])
                found.append(form)
        for at, fan in self.fans.items():
            if sum(v in fan.variables for v in self.problem.sizes) > 1:
                found.append(Form(fan.name, {Trips(at, False): 1.0}, fan.size))
            if fan.least > 1:
                found.append(Form(fan.name, {Trips(at, True): -1.0}, -fan.least))
        return found


def costs(problem: Problem, links: Iterable[Link]) -> Costs:
    """The forms of a problem whose skeletons have these links."""
    made = _Costs(problem)
    for tensor, parent, child in sorted(links):
        made.link(tensor, parent, child)
    steps = Form("compute", {Steps(made.above(UNIT)): problem.unit.cycles})
    return Costs(made.energy, (steps, *made.times.values()), tuple(made.rooms()))
