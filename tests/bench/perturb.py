"""Changes to compiled mappings that leave the mapper's mapspace but not what the machine can run.

A `State` is what a mapping decides: a tiling for each layer and how many leading reads of each
tensor are resident. `changed` draws a neighbour: other packs, ragged tiles, orders, ports, hold
depths, slots or residency, legal or not; `cycles_of` places and builds it and asks the cycle model.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

from dataflow.errors import DataflowError
from dataflow.layers.layer import Dim, Layer, LayerGraph
from dataflow.layers.legality import verify_tiling
from dataflow.layers.plan import NetworkMapping
from dataflow.layers.tiled import TiledLayer
from dataflow.layers.tiling import Tiling
from dataflow.machine import Machine
from dataflow.mapper.place import place
from dataflow.mapper.tensors import Access, TensorPlan, tensor_plans
from dataflow.program import build
from dataflow.tiling.shape import LayerShape, shape_of
from dataflow.timing.cycles import predict


@dataclass(frozen=True)
class Case:
    """A network on a machine with what never changes."""

    graph: LayerGraph
    machine: Machine
    shapes: tuple[LayerShape, ...]
    plans: dict[str, TensorPlan]


@dataclass(frozen=True)
class State:
    """A tiling for each layer, and leading resident reads of each tensor."""

    tilings: Mapping[str, Tiling]
    kept: Mapping[str, int]


def case_of(graph: LayerGraph, machine: Machine) -> Case:
    """The case of a graph."""
    shapes = tuple(shape_of(layer, machine.cols) for layer in graph.layers)
    return Case(graph, machine, shapes, tensor_plans(graph, shapes, machine))


def state_of(case: Case, mapping: NetworkMapping) -> State:
    """What a mapping decides."""
    kept = {}
    for root, plan in case.plans.items():
        kept[root] = 0
        for access in plan.readers:
            tiling = mapping.tilings[case.graph.layers[access.layer].name]
            how = tiling.source if access.role == "source" else tiling.second
            if how != "resident":
                break
            kept[root] += 1
    return State(dict(mapping.tilings), kept)


def cycles_of(case: Case, state: State) -> int | None:
    """Cycles of the state's program in the cycle model, or None when the machine cannot run it."""
    for layer in case.graph.layers:
        if verify_tiling(TiledLayer(layer, state.tilings[layer.name], case.machine)):
            return None
    options = [
        SimpleNamespace(candidate=SimpleNamespace(tiling=state.tilings[layer.name]))
        for layer in case.graph.layers
    ]
    choice = cast(Any, SimpleNamespace(options=options, resident_reads=state.kept))
    try:
        memory = place(case.graph, case.shapes, case.plans, choice, case.machine)
        if memory is None:
            return None
        mapping = NetworkMapping(case.machine.name, state.tilings, memory, 0, 0, False)
        return predict(build(case.graph, mapping, case.machine), case.machine).cycles
    except DataflowError:
        return None


def changed(case: Case, state: State, rng: random.Random) -> State:
    """A neighbour of a state."""
    if rng.random() < 0.15:
        return _other_residency(case, state, rng)
    layer = rng.choice(case.graph.layers)
    tiling = state.tilings[layer.name]
    for _ in range(rng.choice((1, 1, 2, 3))):
        tiling = _other_tiling(layer, tiling, case.machine, rng)
    return replace(state, tilings={**state.tilings, layer.name: tiling})


def _other_tiling(layer: Layer, tiling: Tiling, machine: Machine, rng: random.Random) -> Tiling:
    kinds = [_other_tile, _other_tile, _other_order, _other_depths, _other_slots]
    if layer.kind == "array":
        kinds += [_other_feed, _other_feed]
    return rng.choice(kinds)(layer, tiling, machine, rng)


def _other_tile(layer: Layer, tiling: Tiling, machine: Machine, rng: random.Random) -> Tiling:
    """Another size of a dim: any integer, or not tiled at all."""
    dims: list[Dim] = ["q"] if layer.flat else ["g", "p", "q", "n", "k"]
    if layer.kind == "vector":
        dims = [dim for dim in dims if dim not in ("g", "k")]
    dims = [dim for dim in dims if layer.extent(dim) > 1]
    if not dims:
        return tiling
    dim = rng.choice(dims)
    whole, now = layer.extent(dim), TiledLayer(layer, tiling, machine).tile(dim)
    size = rng.choice((rng.randint(1, whole), now + rng.randint(-2, 2), now * 2, now // 2, whole))
    if layer.flat:
        size = -(-size // machine.cols) * machine.cols
    size = max(1, min(whole, size))
    order, tile = list(tiling.order), dict(tiling.tile)
    if size == whole and dim in order and rng.random() < 0.7:
        return _without(tiling, dim)
    if dim not in order:
        at = len(order) if dim == "k" else rng.randint(0, len(order) - ("k" in order))
        order.insert(at, dim)
        deeper = {
            name: getattr(tiling, name) + (getattr(tiling, name) > at or rng.random() < 0.5)
            for name in DEPTHS
        }
        tiling = replace(tiling, **deeper)
    tile[dim] = size
    return replace(tiling, order=tuple(order), tile=tile)


DEPTHS = ("source_depth", "second_depth", "weight_depth", "param_depth")


def _without(tiling: Tiling, dim: Dim) -> Tiling:
    at = tiling.order.index(dim)
    order = tuple(d for d in tiling.order if d != dim)
    shallower = {name: getattr(tiling, name) - (getattr(tiling, name) > at) for name in DEPTHS}
    tile = {d: size for d, size in tiling.tile.items() if d != dim}
    return replace(tiling, order=order, tile=tile, **cast(Any, shallower))


def _other_order(layer: Layer, tiling: Tiling, machine: Machine, rng: random.Random) -> Tiling:
    order: list[Dim] = [dim for dim in tiling.order if dim != "k"]
    rng.shuffle(order)
    if "k" in tiling.order:
        order.append("k")
    return replace(tiling, order=tuple(order))


def _other_depths(layer: Layer, tiling: Tiling, machine: Machine, rng: random.Random) -> Tiling:
    name = rng.choice(DEPTHS)
    return replace(tiling, **cast(Any, {name: rng.randint(0, len(tiling.order))}))


def _other_slots(layer: Layer, tiling: Tiling, machine: Machine, rng: random.Random) -> Tiling:
    slots = {}
    for role in ("source", "second", "sink"):
        if getattr(tiling, role) == "stream":
            slots[f"{role}_slots"] = rng.randint(1, 5)
    return replace(tiling, **cast(Any, slots))


def _other_feed(layer: Layer, tiling: Tiling, machine: Machine, rng: random.Random) -> Tiling:
    """Other ports, taps, or number of groups side by side."""
    depthwise = layer.groups > 1 and layer.c == 1 and layer.n == 1
    ports, swap = rng.randint(1, machine.feed_ports), rng.random() < 0.3
    if depthwise and rng.random() < 0.6:
        taps = rng.randint(1, layer.taps_r if swap else layer.taps_s)
        return replace(
            tiling,
            feed="fir",
            ports=ports,
            fir_taps=taps,
            swap=swap,
            group_pack=min(machine.cols, layer.groups),
        )
    pack = 1
    if layer.groups > 1 and layer.n <= machine.cols:
        pack = rng.randint(1, min(layer.groups, machine.cols // layer.n))
    flat = replace(tiling, feed="flat", ports=ports, fir_taps=1, swap=swap, group_pack=pack)
    if pack > 1 and "g" in flat.order:
        blocks = rng.randint(1, -(-layer.groups // pack))
        flat = replace(flat, tile={**flat.tile, "g": min(layer.groups, blocks * pack)})
    return flat


def _other_residency(case: Case, state: State, rng: random.Random) -> State:
    """Another number of resident reads of a tensor; what then streams gets a buffer."""
    roots = [root for root, plan in case.plans.items() if plan.readers]
    if not roots:
        return state
    root = rng.choice(roots)
    plan = case.plans[root]
    kept = {**state.kept, root: rng.randint(0, len(plan.readers))}
    tilings = dict(state.tilings)
    for number, access in enumerate(plan.readers):
        name = case.graph.layers[access.layer].name
        tilings[name] = _read(tilings[name], access, number < kept[root], rng)
    for writer in plan.writers:
        name = case.graph.layers[writer].name
        tilings[name] = _written(tilings[name], plan, kept[root], rng)
    return State(tilings, kept)


def _read(tiling: Tiling, access: Access, resident: bool, rng: random.Random) -> Tiling:
    role = access.role
    if resident:
        new = {role: "resident", f"{role}_depth": 0, f"{role}_slots": 0}
    elif getattr(tiling, role) == "stream":
        return tiling
    else:
        depth = rng.randint(0, len(tiling.order))
        new = {role: "stream", f"{role}_depth": depth, f"{role}_slots": rng.randint(1, 3)}
    return replace(tiling, **cast(Any, new))


def _written(tiling: Tiling, plan: TensorPlan, kept: int, rng: random.Random) -> Tiling:
    if kept:
        stored = plan.output or kept < len(plan.readers)
        return replace(tiling, sink="both" if stored else "resident", sink_slots=0)
    if tiling.sink == "stream":
        return tiling
    return replace(tiling, sink="stream", sink_slots=rng.randint(1, 2))
