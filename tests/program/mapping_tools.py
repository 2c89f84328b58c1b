"""Hand-made mappings for the tests of the program builder: no search, but legal."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from dataflow.layers.axis import ceil_div
from dataflow.layers.boxes import second_box, sink_box, slot_bytes, source_box
from dataflow.layers.layer import Dim, Layer, LayerGraph
from dataflow.layers.legality import verify_tiling
from dataflow.layers.plan import MemoryMap, NetworkMapping, Placement
from dataflow.layers.tiled import TiledLayer
from dataflow.layers.tiling import Tiling
from dataflow.machine import Machine
from dataflow.program.verify import feed_conflicts


def base_tiling(layer: Layer) -> Tiling:
    """Everything resident, tiled only where the machine has no choice (batch)."""
    order: tuple[Dim, ...] = ("b",) if layer.batch > 1 else ()
    second = layer.second is not None or (
        layer.stationary is not None and layer.stationary.view is not None
    )
    return Tiling(
        order=order,
        tile={"b": 1} if order else {},
        source="resident",
        source_depth=0,
        source_slots=0,
        second="resident" if second else "none",
        second_depth=0,
        second_slots=0,
        sink="resident",
        sink_slots=0,
        weight_depth=0,
        param_depth=0,
    )


def default_tiling(layer: Layer, machine: Machine) -> Tiling:
    """Tiles that fit the accumulators and the rings, resident, shrunk one dim at a time."""
    tiling = base_tiling(layer)
    dims: list[Dim] = ["g", "n", "p", "q", "k"]
    if layer.groups > 1 and layer.n * layer.c > 1:
        tiling = _with_tile(layer, tiling, "g", 1)
    for _ in range(64):
        reasons = verify_tiling(TiledLayer(layer, tiling, machine))
        if not reasons:
            return tiling
        for dim in dims:
            size = TiledLayer(layer, tiling, machine).tile(dim)
            limit = machine.cols if dim in ("g", "n") else 1
            if layer.flat and dim == "q":
                limit = machine.cols
            if size > limit and not (dim == "g" and layer.groups == 1):
                half = max(limit, ceil_div(size, 2))
                if dim in ("g", "n") or (layer.flat and dim == "q"):
                    half = ceil_div(half, machine.cols) * machine.cols
                if half < size:
                    tiling = _with_tile(layer, tiling, dim, half)
                    break
        else:
            raise AssertionError(f"{layer.name}: {reasons}")
    raise AssertionError(f"{layer.name}: no legal tiling")


def _with_tile(layer: Layer, tiling: Tiling, dim: Dim, size: int) -> Tiling:
    order = list(tiling.order)
    if dim not in order:
        order.append(dim)
    rank: dict[Dim, int] = {"b": 0, "g": 1, "n": 2, "p": 3, "q": 4, "k": 5}
    order.sort(key=lambda d: rank[d])
    outer = order.index("n") + 1 if "n" in order else 0
    outer = max(outer, order.index("g") + 1 if "g" in order else 0)
    return replace(
        tiling,
        order=tuple(order),
        tile={**tiling.tile, dim: size},
        weight_depth=outer,
        param_depth=outer,
    )


def place(
    graph: LayerGraph,
    tilings: dict[str, Tiling],
    machine: Machine,
    rng: random.Random | None = None,
) -> NetworkMapping:
    """Addresses: resident tensors and buffers, each free again after its last layer."""
    lb = machine.line_bytes
    last: dict[str, int] = {}
    first: dict[str, int] = {}
    resident: set[str] = set()
    # First layer, last layer, bytes; a resident tensor, or a layer, its role and bytes of a row.
    needs: list[tuple[int, int, int, str | tuple[str, str, int]]] = []
    for at, layer in enumerate(graph.layers):
        t = tilings[layer.name]
        uses: list[tuple[str, str]] = [
            (layer.source.tensor, t.source),
            (layer.output.tensor, t.sink),
        ]
        view = layer.stationary.view if layer.stationary and layer.stationary.view else layer.second
        if view is not None:
            uses.append((view.tensor, t.second))
        for name, how in uses:
            if how != "stream":
                resident.add(name)
                first[name] = min(first.get(name, at), at)
                last[name] = max(last.get(name, at), at)
        for role, how, box, slots in (
            ("source", t.source, source_box(TiledLayer(layer, t, machine)), t.source_slots),
            (
                "second",
                t.second,
                second_box(TiledLayer(layer, t, machine)) if view is not None else None,
                t.second_slots,
            ),
            ("sink", t.sink, sink_box(TiledLayer(layer, t, machine)), t.sink_slots),
        ):
            if how == "stream" and box is not None:
                size = slots * slot_bytes(box, 0, lb)
                needs.append((at, at, size, (layer.name, role, box.row_bytes)))
    for name in sorted(resident):
        needs.append((first[name], last[name], graph.storage[name].bytes, name))
    placed: list[tuple[int, int, int, int]] = []
    maps: dict[str, Placement] = {}
    buffers: dict[tuple[str, str], Placement] = {}
    for low, high, size, key in sorted(needs, key=lambda n: (-n[2], str(n[3]))):
        size = ceil_div(size, lb) * lb
        taken = sorted((o, o + s) for (a, b, o, s) in placed if not (b < low or high < a))
        offset = 0
        for start, end in taken:
            if offset + size <= start:
                break
            offset = max(offset, end)
        assert offset + size <= machine.act_lines * lb, "the test network does not fit on chip"
        placed.append((low, high, offset, size))
        if isinstance(key, str):
            storage = graph.storage[key]
            from dataflow.program.addressing import storage_row_bytes

            maps[key] = Placement(offset, storage.bytes, storage_row_bytes(storage))
        else:
            buffers[key[:2]] = Placement(offset, size, key[2])
    dram: dict[str, int] = {}
    at = 0
    for name in sorted(graph.storage):
        if graph.storage[name].alias_of is None:
            dram[name] = at
            at += ceil_div(graph.storage[name].bytes, lb) * lb
    del rng
    dram = {n: a for n, a in dram.items() if n not in graph.constants}
    return NetworkMapping(machine.name, tilings, MemoryMap(maps, buffers, dram), 0, 0, False)


def with_sinks(graph: LayerGraph, tilings: dict[str, Tiling]) -> dict[str, Tiling]:
    """Network outputs are stored as well as kept on chip."""
    result = {}
    for layer in graph.layers:
        tiling = tilings[layer.name]
        if graph.storage[layer.output.tensor].role == "output" and tiling.sink == "resident":
            tiling = replace(tiling, sink="both")
        result[layer.name] = tiling
    return result


__all__ = [
    "base_tiling",
    "default_tiling",
    "place",
    "with_sinks",
]


def random_tiling(layer: Layer, machine: Machine, rng: random.Random) -> Tiling:
    """Any legal tiling: sizes, orders, depths, streams, slots, feeds."""
    for _ in range(200):
        tiling = _draw(layer, machine, rng)
        if not verify_tiling(TiledLayer(layer, tiling, machine)):
            return tiling
    return default_tiling(layer, machine)


def _draw(layer: Layer, machine: Machine, rng: random.Random) -> Tiling:
    dims: list[Dim] = ["q"] if layer.flat else ["g", "p", "q", "n", "k"]
    if layer.kind == "vector":
        dims = [d for d in dims if d not in ("g", "k")]
    order: list[Dim] = ["b"] if layer.batch > 1 else []
    tile: dict[Dim, int] = {"b": 1} if order else {}
    for dim in dims:
        size = layer.extent(dim)
        if size > 1 and rng.random() < 0.5:
            tile[dim] = rng.randint(1, size)
            if layer.flat:
                tile[dim] = max(1, ceil_div(tile[dim], machine.cols)) * machine.cols
                if tile[dim] > size:
                    del tile[dim]
                    continue
            order.append(dim)
    rng.shuffle(order)
    if "k" in order:
        order.remove("k")
        order.append("k")
    base = base_tiling(layer)
    free = len(order) - ("k" in order)
    tiling = replace(
        base,
        order=tuple(order),
        tile=tile,
        weight_depth=rng.randint(0, len(order)),
        param_depth=rng.randint(0, free),
    )
    if rng.random() < 0.5:
        tiling = replace(
            tiling,
            source="stream",
            source_depth=rng.randint(0, len(order)),
            source_slots=rng.randint(1, 3),
        )
    if tiling.second != "none" and rng.random() < 0.5:
        top = free if layer.second is not None else len(order)
        tiling = replace(
            tiling,
            second="stream",
            second_depth=rng.randint(0, top),
            second_slots=rng.randint(1, 3),
        )
    tiling = replace(tiling, sink=rng.choice(["resident", "stream", "both"]))
    if tiling.sink == "stream":
        tiling = replace(tiling, sink_slots=rng.randint(1, 3))
    if layer.kind == "array":
        tiling = replace(tiling, **_draw_feed(layer, tiling, machine, rng))
    return tiling


def _draw_feed(
    layer: Layer, tiling: Tiling, machine: Machine, rng: random.Random
) -> dict[str, Any]:
    depthwise = layer.groups > 1 and layer.c == 1 and layer.n == 1
    chosen: dict[str, Any] = {"swap": rng.random() < 0.3, "ports": rng.randint(1, 3)}
    if layer.stationary is not None and layer.stationary.view is not None:
        chosen["ports"] = 1
    if depthwise and rng.random() < 0.6:
        taps = layer.taps_r if chosen["swap"] else layer.taps_s
        chosen |= {"feed": "fir", "fir_taps": rng.randint(1, taps)}
    elif TiledLayer(layer, tiling, machine).tile("g") > 1:
        chosen["group_pack"] = rng.randint(1, max(1, machine.cols // layer.n))
    return chosen


def random_tilings(graph: LayerGraph, machine: Machine, rng: random.Random) -> dict[str, Tiling]:
    """Random tilings of a network, agreeing on which tensors reach DRAM."""
    tilings = {layer.name: random_tiling(layer, machine, rng) for layer in graph.layers}
    streamed: set[str] = set()
    for layer in graph.layers:
        t = tilings[layer.name]
        view = layer.stationary.view if layer.stationary and layer.stationary.view else layer.second
        streamed |= {layer.source.tensor} if t.source == "stream" else set()
        streamed |= {view.tensor} if view is not None and t.second == "stream" else set()
    kind: dict[str, str] = {}
    for layer in graph.layers:
        name, t = layer.output.tensor, tilings[layer.name]
        needed = name in streamed or graph.storage[name].role == "output"
        want = kind.setdefault(name, "both" if needed and t.sink == "resident" else t.sink)
        slots = max(1, t.sink_slots) if want == "stream" else 0
        tilings[layer.name] = replace(t, sink=want, sink_slots=slots)  # type: ignore[arg-type]
    return tilings


def without_conflicts(
    graph: LayerGraph, mapping: NetworkMapping, machine: Machine
) -> NetworkMapping:
    """One port where several would hit the same bank."""
    tilings = dict(mapping.tilings)
    for layer in graph.layers:
        if feed_conflicts(graph, mapping, TiledLayer(layer, mapping.tilings[layer.name], machine)):
            tilings[layer.name] = replace(tilings[layer.name], ports=1)
    return replace(mapping, tilings=tilings)
