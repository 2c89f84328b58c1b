"""Products: what is counted, and what it costs, apart from any one skeleton.

Every count is a sum of products of one column per group of variables (cost_model reference,
section 2). A product is named by the link between two holders that it counts, not by where their
holds stand, so all skeletons share the coefficients.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dataflow.cost.rules import Holder, link_rules
from dataflow.search.problem import Fan, Level, Operand, Problem, Transfer
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
class Done:
    """As :class:`Moved`, where the link carries finished sums, otherwise none: no loop above the
    child splits the reduction but over the fan-outs ``adding``, between the two, that add up."""

    tensor: str
    parent: int
    child: int
    once: Fans
    shared: Fans
    adding: Fans


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
class DoneTile:
    """As :class:`Tile`, where the link from the child carries finished sums, otherwise none."""

    tensor: str
    parent: int
    child: int
    adding: Fans


@dataclass(frozen=True)
class Trips:
    """Instances in use on a fan-out; ``least``: as a lower limit."""

    fan: int
    least: bool


@dataclass(frozen=True)
class Steps:
    """Iterations of the busiest instance of the unit."""

    fans: Fans


Product = Moved | Done | First | Tile | DoneTile | Trips | Steps


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
    """Energy, that without the outermost level's, the channels whose maximum is the latency, and
    what must fit."""

    energy: Form
    inner: Form
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

    def __init__(self, problem: Problem, links: Iterable[Link]) -> None:
        self.problem = problem
        self.links = frozenset(links)
        self.operands = {operand.name: operand for operand in problem.operands}
        self.fans = {i: p for i, p in enumerate(problem.path) if isinstance(p, Fan) and p.size > 1}
        self.levels = {i: p for i, p in enumerate(problem.path) if isinstance(p, Level)}
        self.energy, self.inner = Form("energy"), Form("inner")
        self.times: dict[str, Form] = {}

    def above(self, at: int) -> Fans:
        """Fan-outs above a level (all, for the unit)."""
        return frozenset(f for f in self.fans if at == UNIT or f < at)

    def adding(self, tensor: str, parent: int, child: int) -> Fans:
        """Fan-outs of a link that multicast or add up the tensor."""
        between = self.above(child) - self.above(parent)
        return frozenset(f for f in between if tensor in self.fans[f].shares)

    def _charge(
        self, at: int, transfer: Transfer, total: Product, each: Product, weight: float
    ) -> None:
        """Energy by the count of all instances, time by that of the busiest."""
        level = self.levels[at]
        tensor, action, _ = transfer
        energy = (level.read_pj if action == "read" else level.write_pj)[tensor]
        self.energy.add(total, weight * energy)
        if at:
            self.inner.add(total, weight * energy)
        for channel in level.channels:
            cycles = channel.cycles.get(transfer, 0.0)
            if cycles:
                name = f"{level.name}.{channel.name}"
                self.times.setdefault(name, Form(name)).add(each, weight * cycles)

    def link(self, tensor: str, parent: int, child: int) -> None:
        """The traffic of one link, by the rules that count a mapping."""
        shared = self.adding(tensor, parent, child)
        words = _Words(self, tensor, parent, child, shared)
        wide = self.operands[tensor].widening
        for rule in link_rules(words, self.operands[tensor].output, child == UNIT):
            at = parent if rule.holder == "parent" else child
            transfer = (tensor, rule.action, rule.side)
            self._charge(at, transfer, rule.plus, rule.plus_each, wide)
            if rule.up and wide != 1:  # wide until they are finished
                done, each = (_done(p, shared) for p in (rule.plus, rule.plus_each))
                self._charge(at, transfer, done, each, 1 - wide)
            if rule.minus is not None and rule.minus_each is not None:
                self._charge(at, transfer, rule.minus, rule.minus_each, -wide)

    def rooms(self) -> list[Form]:
        """Capacities, sizes of fan-outs and their least use."""
        found = []
        for at, level in self.levels.items():
            if level.capacity_bits is not None and at:
                form = Form(level.name, limit=level.capacity_bits)
                for tensor in sorted(level.may):
                    wide = self.operands[tensor].widening
                    form.add(Tile(tensor, at), level.bits[tensor] * wide)
                    for _, parent, child in sorted(self.links):
                        if wide != 1 and (_, parent) == (tensor, at):
                            adding = self.adding(tensor, parent, child)
                            done = DoneTile(tensor, parent, child, adding)
                            form.add(done, level.bits[tensor] * (1 - wide))
                found.append(form)
        for at, fan in self.fans.items():
            if sum(v in fan.variables for v in self.problem.sizes) > 1:
                found.append(Form(fan.name, {Trips(at, False): 1.0}, fan.size))
            if fan.least > 1:
                found.append(Form(fan.name, {Trips(at, True): -1.0}, -fan.least))
        return found


@dataclass(frozen=True)
class _Words:
    """The products of a link, for `link_rules`."""

    costs: _Costs
    tensor: str
    parent: int
    child: int
    shared: Fans

    def _moved(self, once: Fans, shared: Fans) -> Product:
        return Moved(self.tensor, self.parent, self.child, once, shared)

    def via(self, each: bool) -> Product:
        return self._moved(self.costs.above(self.parent) if each else NOWHERE, self.shared)

    def moved(self, each: bool) -> Product:
        return self._moved(self.costs.above(self.child) if each else NOWHERE, NOWHERE)

    def first(self, holder: Holder, each: bool) -> Product:
        over, under = self.costs.above(self.parent), self.costs.above(self.child)
        lanes = over if holder == "parent" else under
        if holder == "child" and not each:
            # Lanes whose sums the network adds up start from nothing, each for itself.
            lanes = over | self.shared
        return First(self.tensor, self.parent, self.child, lanes, each and bool(lanes))


def _done(product: Product, adding: Fans) -> Product:
    """The same words, where they are finished sums."""
    assert isinstance(product, Moved)
    return Done(product.tensor, product.parent, product.child, product.once, product.shared, adding)


def costs(problem: Problem, links: Iterable[Link]) -> Costs:
    """The forms of a problem whose skeletons have these links."""
    made = _Costs(problem, links)
    for tensor, parent, child in sorted(made.links):
        made.link(tensor, parent, child)
    steps = Form("compute", {Steps(made.above(UNIT)): problem.unit.cycles})
    return Costs(made.energy, made.inner, (steps, *made.times.values()), tuple(made.rooms()))
