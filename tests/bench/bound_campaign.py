"""Looks for legal programs below the published bound: ``python -m tests.bench.bound_campaign``.

Each case is compiled; then its mapping is changed, again and again, beyond the mapspace that the
mapper enumerates, keeping what is no slower. A program whose predicted cycles (those of the RTL)
lie below the bound refutes it. Exit status 1 when one is found. Small layers are tried under every
legal tiling without streams of more than two slots.

    python -m tests.bench.bound_campaign --layers 2000 --networks 100 --small 40
    python -m tests.bench.bound_campaign --model M.onnx --published 11584
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from dataflow import frontend, rewrite
from dataflow.arch import load_architecture
from dataflow.errors import DataflowError
from dataflow.layers.layer import Dim, Layer, LayerGraph, Storage
from dataflow.layers.legality import verify_tiling
from dataflow.layers.tiled import TiledLayer
from dataflow.layers.tiling import Tiling
from dataflow.lower import lower
from dataflow.machine import Machine, machine_of
from dataflow.mapper import map_network
from tests.bench.perturb import Case, State, case_of, changed, cycles_of, state_of
from tests.cosim.random_networks import random_network
from tests.mapper.graphs import Builder
from tests.mapper.layers import random_array_layer


@dataclass(frozen=True)
class Attack:
    """What the changes to one case led to.

    Attributes:
        cycles: the fewest that a legal program took; `start` those of the compiled one.
        tried: legal programs that were judged.
    """

    start: int
    cycles: int
    tried: int
    best: State


def attack(case: Case, start: State, tries: int, rng: random.Random, stop: int = 0) -> Attack:
    """Changes a state `tries` times, each time going on from the best one; ends below `stop`."""
    least = cycles_of(case, start)
    assert least is not None, "the compiled mapping runs"
    found = Attack(least, least, 1, start)
    for _ in range(tries):
        if found.cycles < stop:
            break
        other = changed(case, found.best, rng)
        cycles = cycles_of(case, other)
        if cycles is None:
            continue
        found = replace(found, tried=found.tried + 1)
        if cycles <= found.cycles:
            found = replace(found, cycles=cycles, best=other)
    return found


def layer_graph(layer: Layer) -> LayerGraph:
    """A network of one layer, its constants zero."""
    storage: dict[str, Storage] = {}
    for view, role in ((layer.source, "input"), (layer.second, "input"), (layer.output, "output")):
        if view is not None:
            size = int(np.prod(view.shape))
            storage[view.tensor] = Storage(
                view.tensor,
                view.shape,
                (0, 1, 2, 3),
                size,
                role,  # type: ignore[arg-type]
            )
    shape = (layer.groups, layer.taps_r, layer.taps_s, layer.c, layer.n)
    channels = layer.groups * layer.n
    weights = {}
    if layer.stationary is not None:
        weights[layer.stationary.tensor] = np.zeros(shape, dtype=np.int16)
    params: dict[str, object] = {}
    for at, name in enumerate(layer.params):
        kind = np.int32 if layer.bias and not at else np.float32
        params[name] = np.zeros(channels, dtype=kind)
    return LayerGraph("layer", (layer,), storage, weights, params)


def random_layer(rng: random.Random) -> Layer:
    """A convolution or pool, small enough to be judged in milliseconds."""
    if rng.random() < 0.15:
        net = Builder("net", rng.randint(2, 20), rng.randint(2, 20), rng.choice((3, 16, 24, 40)))
        kernel = rng.randint(1, 2), rng.randint(1, 2)
        net.pool("pool", "input", kernel, rng.randint(1, 2), 0)
        return net.graph().layers[0]
    layer = random_array_layer(rng)
    if rng.random() < 0.4:  # larger maps: then the bound is near
        net = Builder("net", rng.randint(8, 28), rng.randint(8, 28), 1)
        groups = rng.choice((1, 1, 3, 6, 9, 10, 24))
        c, n = rng.choice((1, 2, 3, 5, 9)), rng.choice((1, 2, 3, 5))
        net.shapes["input"] = (*net.shapes["input"][:2], groups * c)
        net.conv(
            "conv", "input", groups * n, rng.choice((1, 3)), rng.choice((1, 2)), 1, None, groups
        )
        layer = net.graph().layers[0]
    return layer


def small_tilings(layer: Layer, machine: Machine) -> Iterator[Tiling]:
    """Every legal tiling of a small layer: all tiles, feeds and loop nests p, q, blocks, k."""
    dims: list[Dim] = ["g", "n", "p", "q", "k"]
    if layer.kind == "vector":
        dims = ["n", "p", "q"]
    sizes = {"g": layer.groups, "n": layer.n, "p": layer.p, "q": layer.q, "k": layer.c}
    feeds: list[dict[str, object]] = [{}]
    if layer.kind == "array":
        packs = range(1, min(layer.groups, max(1, machine.cols // layer.n)) + 1)
        feeds = [
            {"ports": ports, "group_pack": pack}
            for ports in range(1, machine.feed_ports + 1)
            for pack in packs
        ]
        if layer.groups > 1 and layer.n == layer.c == 1:
            feeds += [
                {"feed": "fir", "ports": ports, "fir_taps": taps, "swap": swap}
                for ports in range(1, machine.feed_ports + 1)
                for swap in (False, True)
                for taps in range(1, (layer.taps_r if swap else layer.taps_s) + 1)
            ]
    for chosen in product(*(range(1, sizes[dim] + 1) for dim in dims)):
        tile = {d: s for d, s in zip(dims, chosen, strict=True) if s < sizes[d]}
        order: tuple[Dim, ...] = ("b",) if layer.batch > 1 else ()
        order += tuple(dim for dim in dims if dim in tile)
        if layer.batch > 1:
            tile["b"] = 1
        for feed in feeds:
            tiling = Tiling(
                order=order,
                tile=tile,
                source="stream",
                source_depth=len(order),
                source_slots=2,
                second="none" if layer.second is None else "stream",
                second_depth=len(order) - ("k" in order),
                second_slots=0 if layer.second is None else 2,
                sink="stream",
                sink_slots=2,
                weight_depth=0,
                param_depth=0,
            )
            tiling = replace(tiling, **feed)  # type: ignore[arg-type]
            if not verify_tiling(TiledLayer(layer, tiling, machine)):
                yield tiling


def published(case: Case) -> tuple[State, int] | None:
    """The compiled state of a case and the bound that goes with it; None when nothing fits."""
    try:
        mapping = map_network(case.graph, case.machine)
    except DataflowError:
        return None
    return state_of(case, mapping), mapping.bound


def layer_cases(count: int, seed: int, machine: Machine) -> Iterator[tuple[str, Case]]:
    """Random layers."""
    for n in range(count):
        rng = random.Random(f"layer {seed} {n}")
        yield f"layer {n}", case_of(layer_graph(random_layer(rng)), machine)


def network_cases(count: int, seed: int, machine: Machine) -> Iterator[tuple[str, Case]]:
    """Random networks."""
    for n in range(count):
        model = random_network(seed * 1000 + n, machine)
        yield f"network {n}", case_of(graph_of(model), machine)


def graph_of(model: object) -> LayerGraph:
    """The layers of an ONNX model."""
    return lower(rewrite.legalise(frontend.load_model(model, {})))  # type: ignore[arg-type]


def small_cases(count: int, seed: int, machine: Machine) -> Iterator[tuple[str, Case]]:
    """Layers of few points and channels."""
    n = made = 0
    while made < count:
        layer = random_array_layer(random.Random(f"small {seed} {n}"))
        n += 1
        if layer.p * layer.q * layer.groups * layer.n * layer.c <= 400:
            made += 1
            yield f"small {n}", case_of(layer_graph(layer), machine)


def brute_force(case: Case, tries: int, rng: random.Random) -> int:
    """Fewest cycles over all small tilings, at most `tries` of them, drawn evenly."""
    layer = case.graph.layers[0]
    found = list(small_tilings(layer, case.machine))
    if len(found) > tries:
        found = rng.sample(found, tries)
    kept = dict.fromkeys(case.plans, 0)
    cycles = (cycles_of(case, State({layer.name: tiling}, kept)) for tiling in found)
    return min((c for c in cycles if c is not None), default=1 << 62)


def main(arguments: list[str] | None = None) -> int:
    """Runs the campaign; 1 when a bound is beaten."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arch", default="edge16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, default=0)
    parser.add_argument("--networks", type=int, default=0)
    parser.add_argument("--small", type=int, default=0)
    parser.add_argument("--tries", type=int, default=40, help="changes to each case")
    parser.add_argument("--model", type=Path, help="a quantised ONNX model")
    parser.add_argument("--published", type=int, help="the bound to attack instead of today's")
    asked = parser.parse_args(arguments)
    machine = machine_of(load_architecture(asked.arch))
    beaten = judged = cases = 0
    nearest = float("inf")

    def report(name: str, cycles: int, bound: int) -> None:
        nonlocal beaten, nearest, cases
        cases += 1
        nearest = min(nearest, cycles / bound)
        if cycles < bound:
            beaten += 1
            print(f"{name}: a legal program takes {cycles} cycles, bound {bound}", flush=True)

    rounds: list[Iterator[tuple[str, Case]]] = [
        layer_cases(asked.layers, asked.seed, machine),
        network_cases(asked.networks, asked.seed, machine),
    ]
    if asked.model is not None:
        graph = graph_of(frontend.load_proto(asked.model))
        rounds.append(iter([(asked.model.name, case_of(graph, machine))]))
    for kind in rounds:
        for name, case in kind:
            start = published(case)
            if start is None:
                continue
            bound = asked.published or start[1]
            found = attack(case, start[0], asked.tries, random.Random(name), bound)
            judged += found.tried
            report(name, found.cycles, bound)
    for name, case in small_cases(asked.small, asked.seed, machine):
        start = published(case)
        if start is not None:
            report(name, brute_force(case, 40 * asked.tries, random.Random(name)), start[1])
    print(
        f"{cases} cases, {judged} changed programs; nearest to its bound {nearest:.4f}; "
        f"{beaten} bounds beaten"
    )
    return int(beaten > 0)


if __name__ == "__main__":
    sys.exit(main())
