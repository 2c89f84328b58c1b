"""The search of a whole Workload: one Einsum, Einsums apart (equal ones once), or fused groups."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from dataflow import mapping as mp
from dataflow.arch import Architecture, Compute, Memory
from dataflow.cost import Cost
from dataflow.cost import cost as cost_of
from dataflow.errors import DataflowError
from dataflow.search.build import joined, nest, renamed
from dataflow.search.chains import PERFECT, QUOTIENTS, TooManyChainsError
from dataflow.search.constraints import Fix, constrained
from dataflow.search.explain import diagnosis
from dataflow.search.fallback import floor, plain_cost, plain_nest
from dataflow.search.fused import Alone, Fuser, Partition
from dataflow.search.parts import canonical
from dataflow.search.pose import UnsupportedError, pose, units_for
from dataflow.search.problem import Problem
from dataflow.search.shared import keep_shared
from dataflow.search.single import Solution, frame, search

OBJECTIVES = ("latency", "energy", "edp")
BUDGET = 3_000_000
"""Boxes that a search of one Einsum and one objective looks at, at most."""
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Choice:
    """One mapping of an Einsum and its cost by the search."""

    nest: mp.Nest
    energy_pj: float
    latency_cycles: float


@dataclass(frozen=True)
class Layer:
    """What was found for one Einsum.

    Attributes:
        einsum, unit: names; the unit is that of the best choice.
        choices: the best for each objective, the asked one first.
        bounds: no mapping of the mapspace is below: latency in cycles, energy in pJ, their product.
        proven: whether the search of the asked objective ended before its budget.
        factors: ``imperfect``, ``perfect`` where there were too many imperfect ones, ``none`` where
            the Einsum is not searched but mapped plainly.
        searched: whether it was searched, not copied from an equal Einsum.
    """

    einsum: str
    choices: tuple[Choice, ...]
    bounds: Mapping[str, float]
    proven: bool
    factors: str
    searched: bool


@dataclass(frozen=True)
class Found:
    """The mapping of a Workload.

    Attributes:
        mapping: the groups.
        cost: by the general cost model; the search's own numbers were the same.
        bound: of each objective over the mapspace.
        gap: of the first objective: value / bound - 1.
        optimal: whether the value is proven to be the least of the mapspace, which is then whole:
            a single Einsum with imperfect factors.
        layers: in order.
        fused: whether groups of several Einsums were searched.
    """

    mapping: mp.Mapping
    cost: Cost
    bound: Mapping[str, float]
    gap: float
    optimal: bool
    layers: tuple[Layer, ...]
    fused: bool = False

    def value(self, objective: str) -> float:
        """The cost in an objective."""
        return {
            "latency": float(self.cost.cycles),
            "energy": float(self.cost.energy_pj),
            "edp": float(self.cost.edp),
        }[objective]


def value(objective: str, energy: float, latency: float) -> float:
    """An objective of an energy and a latency."""
    return {"energy": energy, "latency": latency, "edp": energy * latency}[objective]


def map_workload(
    workload: mp.Workload,
    arch: Architecture,
    objectives: Sequence[str] = ("latency",),
    *,
    fixes: Mapping[str, Fix] | None = None,
    budget: int = BUDGET,
    perfect: bool = False,
    fuse: bool = True,
    step: Callable[[str], None] = lambda name: None,
) -> Found:
    """The best mapping found for a Workload.

    Args:
        objectives: lexicographic list of ``latency``, ``energy``, ``edp``.
        fixes: what is asked for, by Einsum; the rest is found.
        budget: see BUDGET; a larger one never ends worse (of a network its multiples by powers of
            two count).
        perfect: only perfect factors.
        fuse: whether Einsums share loops, and tensors stay on chip between groups.
        step: called with the name of each Einsum when it is done.

    Raises DataflowError: no unit for an operator, nothing fits, a fix that does not apply.
    """
    for name in fixes or {}:
        if name not in workload:
            known_names = ", ".join(w.name for w in workload.works[:20])
            raise DataflowError(f"fix: {name}", "is no Einsum", f"use one of {known_names}")
    if fuse and len(workload.works) > 1:
        return _fused(workload, arch, objectives, fixes or {}, budget, perfect, step)
    layers: list[Layer] = []
    known: dict[str, tuple[mp.Work, Layer]] = {}
    for work in workload.works:
        fix = (fixes or {}).get(work.name)
        plain, _ = canonical(work)
        mark = repr((replace(plain, reduced=frozenset()), fix))
        if fix is not None or mark not in known:
            layer = _layer(work, arch, objectives, fix, budget, perfect)
            known[mark] = work, layer
        else:
            twin, shared = known[mark]
            variables = dict(zip(twin.sizes, work.sizes, strict=True))
            tensors = dict(zip(twin.tensors, work.tensors, strict=True))
            layer = replace(
                shared,
                einsum=work.name,
                choices=tuple(
                    replace(c, nest=renamed(c.nest, variables, tensors, work.name))
                    for c in shared.choices
                ),
                searched=False,
            )
        layers.append(layer)
        step(work.name)
    return _assemble(workload, arch, objectives, layers, perfect)


def _fused(
    workload: mp.Workload,
    arch: Architecture,
    objectives: Sequence[str],
    fixes: Mapping[str, Fix],
    budget: int,
    perfect: bool,
    step: Callable[[str], None],
) -> Found:
    """A network: groups of several Einsums, tensors that stay on chip."""
    first = objectives[0]

    def alone(work: mp.Work) -> Alone:
        layer = _layer(work, arch, objectives, fixes.get(work.name), budget, perfect)
        choice = layer.choices[0]
        given = mp.Mapping((mp.Group(work.name, choice.nest),))
        part = mp.Workload(work.name, (work,))
        taken = mp.occupied_bits(given, mp.tiles(given, part, arch))
        bounds = {n: layer.bounds[n] for n in ("latency", "energy", "edp")}
        return Alone(choice.nest, choice.energy_pj, choice.latency_cycles, bounds, taken)

    names = [work.name for work in workload.works]
    given = {i: alone(w) for i, w in enumerate(workload.works) if w.name in fixes}
    found: tuple[Partition, Cost] | None = None
    # Each level begins anew, so the best of all that are asked for is kept: more never ends worse.
    for effort in _levels(max(1, budget // BUDGET)):
        fuser = Fuser(workload, arch, alone, given, effort=effort, perfect=perfect)
        plain = fuser.run(first, lambda cut: step(names[cut - 1]))
        if plain is None:
            continue
        more, cost = _with_shared(plain, workload, arch, fuser.buffer, objectives, fixes)
        if found is not None and _ranks_of(first, found[1]) <= _ranks_of(first, cost):
            old, cost = found
            more = replace(more, mapping=old.mapping)
        found = more, cost
    if found is None:
        work = fuser.misfit() or workload.works[0]
        problems = [pose(work, arch, unit, PERFECT) for unit in units_for(work, arch)]
        raise diagnosis(work.name, arch, problems, False)
    best, counted = found
    reached = value(first, float(counted.energy_pj), float(counted.cycles))
    gap = max(0.0, reached / best.bounds[first] - 1) if best.bounds[first] else 0.0
    layers = tuple(
        Layer(name, (), floor, gap < 1e-9, factors, searched)
        for name, floor, factors, searched in zip(
            names, best.floors, best.factors, best.searched, strict=True
        )
    )
    return Found(best.mapping, counted, best.bounds, gap, False, layers, True)


def _with_shared(
    found: Partition,
    workload: mp.Workload,
    arch: Architecture,
    buffer: Memory | None,
    objectives: Sequence[str],
    fixed: Collection[str],
) -> tuple[Partition, Cost]:
    """The partition with inputs that several groups read fetched once where that is better."""
    counted = cost_of(found.mapping, workload, arch)
    _check(found.energy_pj, found.latency_cycles, counted)

    def ranks(cost: Cost) -> tuple[float, ...]:
        energy, latency = float(cost.energy_pj), float(cost.cycles)
        return tuple(value(name, energy, latency) for name in (*objectives, "latency", "energy"))

    mapping, cost = keep_shared(found.mapping, counted, workload, arch, buffer, ranks, fixed)
    return replace(found, mapping=mapping), cost


def _levels(effort: int) -> list[int]:
    """The powers of two up to an effort."""
    return [1 << n for n in range(effort.bit_length())]


def _ranks_of(first: str, cost: Cost) -> tuple[float, float, float]:
    energy, latency = float(cost.energy_pj), float(cost.cycles)
    return value(first, energy, latency), latency, energy


def _check(energy: float, latency: float, counted: Cost) -> None:
    for mine, theirs in ((energy, counted.energy_pj), (latency, counted.cycles)):
        assert abs(mine - float(theirs)) <= _TOLERANCE * max(mine, 1.0), (
            f"the search counts {mine}, the cost model {float(theirs)}"
        )


def _layer(
    work: mp.Work,
    arch: Architecture,
    objectives: Sequence[str],
    fix: Fix | None,
    budget: int,
    perfect: bool,
) -> Layer:
    units = units_for(work, arch)
    if fix is not None and fix.unit is not None:
        units = tuple(u for u in units if u.name == fix.unit)
        if not units:
            able = ", ".join(u.name for u in units_for(work, arch))
            raise DataflowError(
                f"fix: {work.name}.unit", f"{fix.unit} cannot run it", f"use one of {able}"
            )
    try:
        return _searched(work, arch, units, objectives, fix, budget, perfect)
    except UnsupportedError:
        if fix is not None:
            raise
    nest_ = plain_nest(work, arch, units[0])
    energy, latency = plain_cost(nest_, work, arch)
    floors = [floor(work, arch, unit) for unit in units]
    least_e, least_t = (min(f[i] for f in floors) for i in (0, 1))
    bounds = {"latency": least_t, "energy": least_e, "edp": least_e * least_t}
    return Layer(work.name, (Choice(nest_, energy, latency),), bounds, False, "none", True)


def _searched(
    work: mp.Work,
    arch: Architecture,
    units: Sequence[Compute],
    objectives: Sequence[str],
    fix: Fix | None,
    budget: int,
    perfect: bool,
) -> Layer:
    lists = [tuple(objectives)]
    lists += [(name,) for name in OBJECTIVES if name != objectives[0]]
    best: list[tuple[Solution, Problem] | None] = [None] * len(lists)
    bounds = dict.fromkeys(OBJECTIVES, float("inf"))
    proven, whole = True, True
    posed: list[Problem] = []
    for unit in units:
        found, limits, complete, imperfect, problem = _on_unit(
            work, arch, unit, lists, fix, budget, perfect
        )
        posed.append(problem)
        for i, (wanted, solution) in enumerate(zip(lists, found, strict=True)):
            if solution is None:
                continue
            bounds[wanted[0]] = min(bounds[wanted[0]], limits[i])
            old = best[i]
            if old is None or _ranks(wanted, solution) < _ranks(wanted, old[0]):
                best[i] = (solution, problem)
        proven, whole = proven and complete, whole and imperfect
    if best[0] is None:
        raise diagnosis(work.name, arch, posed, fix is not None)
    choices = [
        Choice(
            joined(nest(problem, solution, work.name), work),
            solution.energy_pj,
            solution.latency_cycles,
        )
        for solution, problem in (item for item in best if item is not None)
    ]
    bounds["edp"] = max(bounds["edp"], bounds["energy"] * bounds["latency"])
    factors = "imperfect" if whole else "perfect"
    return Layer(work.name, tuple(choices), bounds, proven, factors, True)


def _ranks(wanted: Sequence[str], solution: Solution) -> tuple[float, ...]:
    return tuple(
        value(name, solution.energy_pj, solution.latency_cycles)
        for name in (*wanted, "latency", "energy")
    )


def _on_unit(
    work: mp.Work,
    arch: Architecture,
    unit: Compute,
    lists: Sequence[tuple[str, ...]],
    fix: Fix | None,
    budget: int,
    perfect: bool,
) -> tuple[list[Solution | None], list[float], bool, bool, Problem]:
    """Best solution and bound of each list of objectives on a unit; whether the first was proven,
    and whether imperfect factors were searched.

    Perfect factors come first: few, they give the imperfect ones a value to beat.
    """
    found: list[Solution | None] = [None] * len(lists)
    bounds = [float("inf")] * len(lists)
    proven, imperfect = True, not perfect
    for factors in (PERFECT,) if perfect else (PERFECT, QUOTIENTS):
        problem = constrained(pose(work, arch, unit, factors), fix, work.name, arch)
        try:
            posed = frame(problem, factors)
        except TooManyChainsError:
            if factors == PERFECT:
                raise DataflowError(
                    work.name, "has too many mappings to list", "fix some of its tiles"
                ) from None
            imperfect = False
            break
        for i, wanted in enumerate(lists):
            known = found[i]
            solution, bound, complete = search(posed, wanted, budget, known)
            if solution is not None:
                found[i] = solution
            bounds[i] = bound
            if i == 0:
                proven = complete
    return found, bounds, proven, imperfect, problem


def _assemble(
    workload: mp.Workload,
    arch: Architecture,
    objectives: Sequence[str],
    layers: Sequence[Layer],
    perfect: bool,
) -> Found:
    chosen = [layer.choices[0] for layer in layers]
    if objectives[0] == "edp" and len(layers) > 1:
        chosen = _least_product(layers)
    groups = tuple(
        mp.Group(layer.einsum, choice.nest) for layer, choice in zip(layers, chosen, strict=True)
    )
    made = mp.Mapping(groups)
    counted = cost_of(made, workload, arch)
    energy = sum(choice.energy_pj for choice in chosen)
    latency = sum(choice.latency_cycles for choice in chosen)
    _check(energy, latency, counted)
    bound = {name: sum(layer.bounds[name] for layer in layers) for name in ("latency", "energy")}
    bound["edp"] = (
        layers[0].bounds["edp"] if len(layers) == 1 else bound["latency"] * bound["energy"]
    )
    first = objectives[0]
    reached = value(first, float(counted.energy_pj), float(counted.cycles))
    gap = max(0.0, reached / bound[first] - 1) if bound[first] else 0.0
    single = len(layers) == 1 and layers[0].factors == "imperfect" and not perfect
    return Found(
        made, counted, bound, gap, single and layers[0].proven and gap < 1e-9, tuple(layers)
    )


def _least_product(layers: Sequence[Layer]) -> list[Choice]:
    """Choices whose total energy times total latency is least, by single exchanges from the best
    of a few starts."""
    starts = [[layer.choices[min(i, len(layer.choices) - 1)] for layer in layers] for i in range(3)]

    def total(chosen: Sequence[Choice]) -> float:
        energy = sum(c.energy_pj for c in chosen)
        return energy * sum(c.latency_cycles for c in chosen)

    best = min(starts, key=total)
    better = True
    while better:
        better = False
        energy = sum(c.energy_pj for c in best)
        latency = sum(c.latency_cycles for c in best)
        for at, layer in enumerate(layers):
            old = best[at]
            for other in layer.choices:
                e = energy - old.energy_pj + other.energy_pj
                t = latency - old.latency_cycles + other.latency_cycles
                if e * t < energy * latency * (1 - 1e-12):
                    best[at], old, energy, latency, better = other, other, e, t, True
    return best
