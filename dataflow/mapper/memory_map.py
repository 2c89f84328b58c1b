"""`memory_map.json`: where every tensor and buffer of a network stands."""

from __future__ import annotations

import json
from collections.abc import Mapping

from dataflow.layers.plan import MemoryMap, Placement

FORMAT = "memory_map/1"


def memory_map_json(
    memory: MemoryMap, capacity: int, lifetimes: Mapping[str, tuple[int, int]] | None = None
) -> str:
    """The memory map as JSON text: bytes throughout, sorted by offset and name.

    Args:
        capacity: bytes of the activation memory.
        lifetimes: half-open interval of layer indices for each resident tensor and for each
            buffer under "layer/role"; left out where unknown.
    """
    lives = lifetimes or {}

    def entry(name: str, place: Placement) -> dict[str, object]:
        row: dict[str, object] = {
            "name": name,
            "offset": place.offset,
            "bytes": place.bytes,
            "pitch": place.pitch,
        }
        if name in lives:
            row["lifetime"] = list(lives[name])
        return row

    resident = sorted(memory.resident.items(), key=lambda item: (item[1].offset, item[0]))
    buffers = sorted(memory.buffers.items(), key=lambda item: (item[1].offset, item[0]))
    dram = sorted(memory.dram.items(), key=lambda item: (item[1], item[0]))
    document = {
        "format": FORMAT,
        "activation_memory": {
            "capacity": capacity,
            "resident": [entry(name, place) for name, place in resident],
            "buffers": [entry(f"{layer}/{role}", place) for (layer, role), place in buffers],
        },
        "dram": [{"name": name, "offset": offset} for name, offset in dram],
    }
    return json.dumps(document, indent=2) + "\n"
