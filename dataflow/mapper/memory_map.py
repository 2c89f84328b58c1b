"""`memory_map.json`: where every tensor and buffer stands, how long, and what bounds it."""

from __future__ import annotations

from collections.abc import Mapping

from dataflow.layers.layer import LayerGraph
from dataflow.layers.plan import MemoryMap, NetworkMapping, Placement
from dataflow.layers.tiling import Tiling
from dataflow.mapper.tensors import root_of, second_view

Life = tuple[int, int]
"""Half-open interval of layer indices."""


def lifetimes(graph: LayerGraph, tilings: Mapping[str, Tiling]) -> dict[str, Life]:
    """The layers over which each tensor that a tiling keeps on chip is there, by root name.

    A tensor lives from its first writer, or from its first resident read when nobody writes it, to
    its last resident read.
    """
    found: dict[str, Life] = {}

    def touch(name: str, layer: int) -> None:
        root = root_of(graph, name)
        low, high = found.get(root, (layer, layer + 1))
        found[root] = min(low, layer), max(high, layer + 1)

    for i, layer in enumerate(graph.layers):
        tiling = tilings[layer.name]
        if tiling.source == "resident":
            touch(layer.source.tensor, i)
        second = second_view(layer)
        if tiling.second == "resident" and second is not None:
            touch(second.tensor, i)
        if tiling.sink != "stream":
            touch(layer.output.tensor, i)
    return found


def memory_map(graph: LayerGraph, mapping: NetworkMapping, capacity: int) -> dict[str, object]:
    """The document: bytes throughout.

    Beside the places: `capacity` of the activation memory, `top` (end of the highest region), and
    `peak`: the most bytes alive in one layer, which layer, and the regions alive there, largest
    first. No offsets fit into less than the peak.
    """
    memory = mapping.memory
    tensors = lifetimes(graph, mapping.tilings)
    position = {layer.name: i for i, layer in enumerate(graph.layers)}
    regions: dict[str, tuple[Placement, Life]] = {}
    resident: dict[str, dict[str, object]] = {}
    for name, place in sorted(memory.resident.items()):
        root = root_of(graph, name)
        life = tensors.get(root)
        resident[name] = {**vars(place), **({"lifetime": list(life)} if life else {})}
        if life:
            regions[root] = place, life
    buffers: dict[str, dict[str, object]] = {}
    for (layer, role), place in sorted(memory.buffers.items()):
        at = position[layer]
        buffers[f"{layer}/{role}"] = {**vars(place), "lifetime": [at, at + 1]}
        regions[f"{layer}/{role}"] = place, (at, at + 1)
    return {
        "capacity": capacity,
        "top": _top(memory),
        "peak": _peak(graph, regions),
        "resident": resident,
        "buffers": buffers,
        "dram": dict(sorted(memory.dram.items())),
    }


def _top(memory: MemoryMap) -> int:
    places = (*memory.resident.values(), *memory.buffers.values())
    return max((place.offset + place.bytes for place in places), default=0)


def _peak(graph: LayerGraph, regions: Mapping[str, tuple[Placement, Life]]) -> dict[str, object]:
    """The layer at which most bytes are alive."""
    alive = [
        [(place.bytes, name) for name, (place, (low, high)) in regions.items() if low <= i < high]
        for i in range(len(graph.layers))
    ]
    most = max(range(len(alive)), key=lambda i: (sum(size for size, _ in alive[i]), -i))
    return {
        "bytes": sum(size for size, _ in alive[most]),
        "layer": graph.layers[most].name,
        "regions": [name for size, name in sorted(alive[most], key=lambda e: (-e[0], e[1]))],
    }
