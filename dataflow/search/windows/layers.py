"""The best mapping of each Einsum by the time with stalls: ZigZag's conventions.

The mapspace: lanes of one or two variables on each fan-out, loops that divide what they leave, in
any order, each level of each operand anywhere in it. Three objectives in one pass. Loops are the
prime factors of what the lanes leave, joined until few enough orders are left; more effort joins
fewer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from math import prod

import numpy as np

from dataflow import mapping as mp
from dataflow.arch import Architecture, Compute, FanOut, Memory
from dataflow.cost.links import Rounding
from dataflow.cost.stalls import stalled
from dataflow.errors import DataflowError
from dataflow.search.build import renamed
from dataflow.search.parts import canonical
from dataflow.search.pose import units_for
from dataflow.search.windows.kernel import VARIABLE, Ints
from dataflow.search.windows.layout import Lanes, layout, levels_of
from dataflow.search.windows.orders import enumerate_orders

OBJECTIVES = ("latency", "energy", "edp")
MOST_LOOPS = 6
"""Loops whose orders are tried; more effort adds one for each power of two, up to MOST_ORDERS."""
MOST_ORDERS = 9
KEPT = 4
"""Orders of each objective of which all levels are tried."""
INFINITE = float("inf")


@dataclass(frozen=True)
class Best:
    """The best mapping of an Einsum in one objective, and its cost with stalls."""

    nest: mp.Nest
    cycles: int
    energy_pj: float


@dataclass(frozen=True)
class StallLayer:
    """What was found for one Einsum.

    Attributes:
        einsum: its name.
        best: by objective.
        tried: mappings that were counted; 0: it is a copy of an equal Einsum's.
    """

    einsum: str
    best: Mapping[str, Best]
    tried: int


@dataclass(frozen=True)
class Stalls:
    """The Einsums of a Workload, one after another."""

    layers: tuple[StallLayer, ...]

    def mapping(self, objective: str) -> mp.Mapping:
        """A group for each Einsum."""
        return mp.Mapping(
            tuple(mp.Group(layer.einsum, layer.best[objective].nest) for layer in self.layers)
        )

    def cycles(self, objective: str) -> int:
        """Of all Einsums."""
        return sum(layer.best[objective].cycles for layer in self.layers)

    def energy_pj(self, objective: str) -> float:
        """Of all Einsums."""
        return sum(layer.best[objective].energy_pj for layer in self.layers)


def map_with_stalls(
    workload: mp.Workload, arch: Architecture, effort: int = 1, rounding: Rounding = "up"
) -> Stalls:
    """The best mapping found for each Einsum and objective, equal ones once.

    Args:
        effort: multiplies the orders that are tried; more never ends worse.
        rounding: of transfers to lanes that do not divide a variable.

    Raises DataflowError: no unit, nothing fits, an index that is not reckoned.
    """
    known: dict[str, tuple[mp.Work, StallLayer]] = {}
    found = []
    for work in workload.works:
        plain, _ = canonical(work)
        mark = repr((replace(plain, reduced=frozenset()), sorted(plain.reduced)))
        if mark not in known:
            layer = _layer(work, arch, effort, rounding)
            known[mark] = work, layer
        else:
            twin, other = known[mark]
            variables = dict(zip(twin.sizes, work.sizes, strict=True))
            tensors = dict(zip(twin.tensors, work.tensors, strict=True))
            best = {
                name: replace(b, nest=renamed(b.nest, variables, tensors, work.name))
                for name, b in other.best.items()
            }
            layer = StallLayer(work.name, best, 0)
        found.append(layer)
    return Stalls(tuple(found))


def _layer(work: mp.Work, arch: Architecture, effort: int, rounding: Rounding) -> StallLayer:
    best: dict[str, Best] = {}
    tried = 0
    for unit in units_for(work, arch):
        for lanes in lane_choices(work, arch, unit):
            found, more = _search(work, arch, unit, lanes, effort, rounding)
            tried += more
            for name, option in found.items():
                if name not in best or _key(name, option) < _key(name, best[name]):
                    best[name] = option
    if not best:
        raise DataflowError(
            f"{arch.source}: {work.name}",
            "no order of loops with all levels in use fits its memories",
            "enlarge them, or map it without stalls",
        )
    for option in {option.nest: option for option in best.values()}.values():
        _judged(work, arch, option, rounding)
    return StallLayer(work.name, best, tried)


def _key(objective: str, option: Best) -> tuple[float, float, float]:
    cycles, energy = float(option.cycles), option.energy_pj
    first = {"latency": cycles, "energy": energy, "edp": cycles * energy}[objective]
    return first, cycles, energy


def _judged(work: mp.Work, arch: Architecture, option: Best, rounding: Rounding) -> None:
    """The chosen row is what the cost model counts."""
    made = mp.Mapping((mp.Group(work.name, option.nest),))
    (counted,) = stalled(made, mp.Workload(work.name, (work,)), arch, rounding=rounding)
    energy = float(counted.energy_pj)
    same = counted.cycles == option.cycles
    assert same and abs(energy - option.energy_pj) <= 1e-9 * max(energy, 1.0), (
        f"{work.name}: the search counts {option.cycles} cycles and {option.energy_pj} pJ, "
        f"the cost model {counted.cycles} and {energy}"
    )


def _search(
    work: mp.Work, arch: Architecture, unit: Compute, lanes: Lanes, effort: int, rounding: Rounding
) -> tuple[dict[str, Best], int]:
    """The best of each objective with these lanes, and how many mappings were counted."""
    given = layout(work, arch, unit, lanes, rounding)
    names = list(work.sizes)
    deep = given.memory.shape[1]
    best: dict[str, Best] = {}
    tried, before = 0, None
    for extra in range(effort.bit_length()):
        loops = loops_of(work, lanes, min(MOST_LOOPS + extra, MOST_ORDERS))
        if loops == before:
            break
        before = loops
        rows = np.array([names.index(v) * VARIABLE + t for v, t in loops], np.int64)
        values = np.full((3, 2), np.inf)
        bases = np.zeros((3, len(work.operands), deep), np.int64)
        orders = np.zeros((3, len(rows)), np.int64)
        keep = KEPT << extra
        tried += int(enumerate_orders(np.sort(rows), given, keep, values, bases, orders))
        for goal, name in enumerate(OBJECTIVES):
            if values[goal, 0] == np.inf:
                continue
            order = [(names[int(x) // VARIABLE], int(x) % VARIABLE) for x in orders[goal]]
            nest = nest_of(work, arch, unit, lanes, order, bases[goal])
            option = Best(nest, int(values[goal, 0]), float(values[goal, 1]))
            if name not in best or _key(name, option) < _key(name, best[name]):
                best[name] = option
    return best, tried


def loops_of(work: mp.Work, lanes: Lanes, most: int) -> list[tuple[str, int]]:
    """(variable, trips): prime factors of what the lanes leave, the least of a variable joined
    until there are few enough; a variable has one loop at least."""
    factors: list[tuple[int, str]] = []
    for variable, size in work.sizes.items():
        left = -(-size // prod(trips.get(variable, 1) for trips in lanes.values()))
        factors += [(p, variable) for p in _primes(left)]
    while len(factors) > most:
        pairs = [
            (a[0] * b[0], i, j)
            for (i, a), (j, b) in combinations(enumerate(factors), 2)
            if a[1] == b[1]
        ]
        if not pairs:
            break
        trips, i, j = min(pairs)
        variable = factors[i][1]
        factors = [f for at, f in enumerate(factors) if at not in (i, j)]
        factors = sorted([*factors, (trips, variable)])
    return sorted((variable, trips) for trips, variable in factors)


def _primes(size: int) -> Iterator[int]:
    """Prime factors, ascending; a large one is given as it is."""
    factor = 2
    while factor * factor <= size:
        while size % factor == 0:
            yield factor
            size //= factor
        factor += 1
    if size > 1:
        yield size


# ------------------------------------------------------------------------------------------- lanes


def lane_choices(work: mp.Work, arch: Architecture, unit: Compute) -> list[Lanes]:
    """Assignments of variables to fan-outs with the fewest steps: of all, of those with one
    variable on each, and of those that divide their variables too."""
    fans = [node for node in arch.path(unit.name) if isinstance(node, FanOut)]
    found = []
    for chosen in product(*(_on_fan(work, fan) for fan in fans)):
        lanes = _balanced(work, {f.name: trips for f, trips in zip(fans, chosen, strict=True)})
        steps = prod(
            -(-size // prod(trips.get(v, 1) for trips in lanes.values()))
            for v, size in work.sizes.items()
        )
        many = sum(len(trips) for trips in lanes.values())
        found.append((steps, many, repr(lanes), lanes))
    found.sort(key=lambda f: f[:3])
    everything = [f[3] for f in found]
    single = [lanes for lanes in everything if all(len(t) < 2 for t in lanes.values())]
    whole = [lanes for lanes in single if _divides(work, lanes)]
    firsts = {repr(kind[0]): kind[0] for kind in (everything, single, whole)}
    return list(firsts.values())


def _divides(work: mp.Work, lanes: Lanes) -> bool:
    return all(
        size % prod(trips.get(v, 1) for trips in lanes.values()) == 0
        for v, size in work.sizes.items()
    )


def _on_fan(work: mp.Work, fan: FanOut) -> list[dict[str, int]]:
    """Nothing, one variable as far as it goes or divides, or two of which the first is whole."""
    barred = {v for o in work.operands if o.role in fan.only_irrelevant_to for v in o.variables}
    free = [v for v, size in work.sizes.items() if v not in barred and size > 1]
    found: list[dict[str, int]] = [{}]
    for v in free:
        found.append({v: min(fan.size, work.sizes[v])})
        found.append({v: max(d for d in range(1, fan.size + 1) if work.sizes[v] % d == 0)})
        rest = fan.size // work.sizes[v]
        if rest > 1:
            found += [{v: work.sizes[v], w: min(rest, work.sizes[w])} for w in free if w != v]
    return found


def _balanced(work: mp.Work, lanes: Lanes) -> Lanes:
    """As few lanes as make the same number of steps."""
    found: dict[str, dict[str, int]] = {}
    left = dict(work.sizes)
    for fan, trips in lanes.items():
        found[fan] = {}
        for v, most in trips.items():
            steps = -(-left[v] // most)
            lane = -(-left[v] // steps)
            if lane > 1:
                found[fan][v] = lane
                left[v] = -(-left[v] // lane)
    return found


# -------------------------------------------------------------------------------------- the nest


def nest_of(
    work: mp.Work,
    arch: Architecture,
    unit: Compute,
    lanes: Lanes,
    order: Sequence[tuple[str, int]],
    base: Ints,
) -> mp.Nest:
    """The loop nest of a row: holds where their loops begin, lanes above the levels they serve."""
    path = list(arch.path(unit.name))
    holds: dict[tuple[str, int], list[str]] = {}
    for n, operand in enumerate(work.operands):
        chain = levels_of(operand, arch, unit)
        for k, memory in enumerate(reversed(chain), 1):
            holds.setdefault((memory.name, int(base[n, k])), []).append(operand.name)
    left = {
        v: prod(t for w, t in order if w == v) * prod(trips.get(v, 1) for trips in lanes.values())
        for v in work.sizes
    }
    nodes: list[mp.Node] = []

    def cut(variable: str, trips: int, fan: str | None = None) -> None:
        left[variable] //= trips
        nodes.append(mp.Loop.of(variable, min(left[variable], work.sizes[variable]), fan))

    for inner in range(len(order), -1, -1):
        for at, node in enumerate(path):
            if isinstance(node, Memory) and (node.name, inner) in holds:
                nodes.append(mp.Hold(node.name, tuple(holds[node.name, inner])))
            elif isinstance(node, FanOut):
                below = {m.name for m in path[at + 1 :] if isinstance(m, Memory)}
                spots = [b for (name, b) in holds if name in below]
                if max(spots, default=0) == inner:
                    for v, trips in lanes[node.name].items():
                        cut(v, trips, node.name)
        if inner:
            variable, trips = order[inner - 1]
            cut(variable, trips)
    nodes.append(mp.Compute(work.name, unit.name))
    return tuple(nodes)
