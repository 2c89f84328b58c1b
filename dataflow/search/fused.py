"""The search of a network: its partition into fusion groups together with their tilings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from dataflow import mapping as mp
from dataflow.arch import Architecture, Memory
from dataflow.search.bundle import tree
from dataflow.search.partition import MOST_EINSUMS, TRIES, Alone, Network, Plan
from dataflow.search.parts import INFINITE, Goal, Part, Status, canonical, first_buffer
from dataflow.search.pose import units_for
from dataflow.search.shared import lowered, shared_inputs

ROWS = 200_000
"""Rows of imperfect tiles that are listed in all; each Einsum that differs gets an equal share, and
is searched with perfect factors where it has more."""
BUDGET = 300_000
"""Boxes that the search of an Einsum in one group looks at, at most."""
PRICES = 6
"""Prices of a cycle that are tried for a least product of energy and latency."""
GAIN = 1e-3
"""No further price is tried when the last one brought product and bound less than this share."""


@dataclass(frozen=True)
class Partition:
    """What was found for a network.

    Attributes:
        mapping: the groups.
        energy_pj, latency_cycles: by the search.
        bounds: of each objective over the mapspace.
        floors: of each Einsum, by objective, where what may stay on chip is there.
        factors: of each Einsum's tiles where it is alone.
        searched: for each Einsum whether it was searched, not shared with an equal one before.
    """

    mapping: mp.Mapping
    energy_pj: float
    latency_cycles: float
    bounds: Mapping[str, float]
    floors: tuple[Mapping[str, float], ...]
    factors: tuple[str, ...]
    searched: tuple[bool, ...]


class Fuser:
    """A workload on an architecture, ready for its objectives.

    Args:
        given: Einsums that stand alone with these mappings, by index; the search adds those that it
            cannot count, which ``alone`` maps.
        effort: multiplies what is looked at; more never ends worse.
        fuse: whether groups have several Einsums and tensors stay on chip.

    ``shared`` are the inputs that several Einsums read: the bounds hold for mappings that fetch
    them once too.
    """

    def __init__(
        self,
        workload: mp.Workload,
        arch: Architecture,
        alone: Callable[[mp.Work], Alone],
        given: Mapping[int, Alone],
        *,
        effort: int = 1,
        perfect: bool = False,
        fuse: bool = True,
    ) -> None:
        self.workload, self.arch = workload, arch
        self.buffer = _buffer(workload, arch)
        plains = [canonical(work) for work in workload.works]
        marks = [_mark(plain) for plain, _ in plains]
        rows = 0 if perfect else effort * ROWS // len(set(marks))
        known: dict[str, Part | None] = {}
        self.searched = []
        parts: list[Part | None] = []
        singles = dict(given)
        for i, ((plain, _), mark) in enumerate(zip(plains, marks, strict=True)):
            self.searched.append(mark not in known)
            if mark not in known and self.buffer is not None:
                part = Part(plain, arch, self.buffer, rows, effort * BUDGET)
                known[mark] = part if part.units else None
            parts.append(None if i in given else known.setdefault(mark, None))
            if parts[-1] is None and i not in singles:
                singles[i] = alone(workload.works[i])
        names = tuple(back for _, back in plains)
        self.shared = shared_inputs(workload, arch, self.buffer) if fuse else ()
        self._shared = frozenset(s.tensor for s in self.shared)
        self.network = Network(
            workload.works,
            tuple(parts),
            names,
            singles,
            self.buffer,
            effort * TRIES,
            MOST_EINSUMS if fuse else 1,
        )

    def run(
        self, objective: str, step: Callable[[int], None] = lambda cut: None
    ) -> Partition | None:
        """The best partition for an objective; None where nothing fits."""
        if objective == "edp":
            return self._product(step)
        goal = Goal(objective)
        plan = self.network.solve(goal, step)
        if not plan.steps:
            return None
        floors = self._floors()
        bounds = {
            name: plan.bound if name == objective else sum(f[name] for f in floors)
            for name in ("latency", "energy")
        }
        bounds["edp"] = bounds["latency"] * bounds["energy"]
        return self._partition(plan, lowered(bounds, self.shared, floors), floors)

    def misfit(self) -> mp.Work | None:
        """An Einsum of which nothing fits, even alone."""
        for work, part in zip(self.workload.works, self.network.parts, strict=True):
            if part is not None and part.ask(Status(), (), 0.0, Goal("latency")).solution is None:
                return work
        return None

    def _product(self, step: Callable[[int], None]) -> Partition | None:
        """Least energy times latency.

        Both are sums over the groups, and a product is least at a corner of the convex hull of the
        sums: there energy + price x latency is least for some price. Each price that is tried also
        bounds the hull from below.
        """
        plans = [self.network.solve(Goal("latency"), step), self.network.solve(Goal("energy"))]
        if not all(plan.steps for plan in plans):
            return None
        points = [(*_totals(plan), plan) for plan in plans]
        lines = [(0.0, 1.0, plans[0].bound), (1.0, 0.0, plans[1].bound)]
        tried: set[float] = set()
        before = (INFINITE, 0.0)
        for _ in range(PRICES):
            corner = min(_corners(lines), key=lambda c: c[0] * c[1])
            best = min(points, key=lambda p: p[0] * p[1])
            reached, low = best[0] * best[1], corner[0] * corner[1]
            if reached <= low * (1 + 1e-9):
                break
            if reached > before[0] * (1 - GAIN) and low < before[1] * (1 + GAIN):
                break
            before = reached, low
            price = corner[0] / corner[1] if corner[1] else 0.0
            if not price or any(abs(price - old) <= 1e-6 * old for old in tried):
                price = best[0] / best[1]
            if any(abs(price - old) <= 1e-6 * old for old in tried):
                break
            tried.add(price)
            plan = self.network.solve(Goal("energy", price))
            points.append((*_totals(plan), plan))
            lines.append((1.0, price, plan.bound))
        energy, latency, plan = min(points, key=lambda p: (p[0] * p[1], p[1]))
        del energy, latency
        floors = self._floors()
        bounds = {"latency": lines[0][2], "energy": lines[1][2]}
        corner = min(_corners(lines), key=lambda c: c[0] * c[1])
        bounds["edp"] = corner[0] * corner[1]
        return self._partition(plan, lowered(bounds, self.shared, floors), floors)

    def _floors(self) -> tuple[Mapping[str, float], ...]:
        found = []
        for i, part in enumerate(self.network.parts):
            if part is None:
                found.append(self.network.alone[i].bounds)
                continue
            names = self.network.names[i]
            fetched = frozenset(
                o.tensor for o in part.work.inputs if names[o.tensor] in self._shared
            )
            status = Status(anywhere=self.network.stays(i) | fetched)
            floor = {n: part.ask(status, (), 0.0, Goal(n)).bound for n in ("latency", "energy")}
            floor["edp"] = floor["latency"] * floor["energy"]
            found.append(floor)
        return tuple(found)

    def _partition(
        self, plan: Plan, bounds: Mapping[str, float], floors: tuple[Mapping[str, float], ...]
    ) -> Partition:
        groups = []
        root = self.arch.memories[0].name
        for step in plan.steps:
            works = self.workload.works[step.start : step.end]
            if step.alone is not None:
                nest = step.alone.nest
            else:
                assert step.bundle is not None and step.choice is not None
                nest = tree(step.bundle, step.choice, root)
            groups.append(mp.Group(works[0].name, nest))
        energy, latency = _totals(plan)
        factors = tuple("none" if p is None else p.factors for p in self.network.parts)
        return Partition(
            mp.Mapping(tuple(groups)),
            energy,
            latency,
            bounds,
            floors,
            factors,
            tuple(self.searched),
        )


def _totals(plan: Plan) -> tuple[float, float]:
    energy = latency = 0.0
    for step in plan.steps:
        found = step.alone or step.choice
        assert found is not None
        energy += found.energy_pj
        latency += found.latency_cycles
    return energy, latency


def _corners(lines: Sequence[tuple[float, float, float]]) -> list[tuple[float, float]]:
    """Corners of what lies above all lines a x energy + b x latency >= c."""
    found = []
    for (a, b, c), (d, e, f) in combinations(lines, 2):
        under = a * e - b * d
        if abs(under) <= 1e-300:
            continue
        x, y = (c * e - b * f) / under, (a * f - c * d) / under
        if all(p * x + q * y >= r * (1 - 1e-9) for p, q, r in lines):
            found.append((x, y))
    return found


def _buffer(workload: mp.Workload, arch: Architecture) -> Memory | None:
    """The buffer that most Einsums have first below the outermost memory."""
    names = Counter(
        buffer.name
        for work in workload.works
        for buffer in (first_buffer(arch, units_for(work, arch)[0]),)
        if buffer is not None
    )
    if not names:
        return None
    found = arch.find(max(names, key=lambda name: (names[name], name)))
    assert isinstance(found, Memory)
    return found


def _mark(work: mp.Work) -> str:
    """Equal for equal Einsums (a set has no order that a text could show)."""
    return repr((work.sizes, work.inputs, work.output, sorted(work.reduced), work.operators))


__all__ = ["INFINITE", "Alone", "Fuser", "Partition"]
