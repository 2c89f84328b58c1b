"""Cycles below which no mapping of the mapspace runs on the machine, whatever overlaps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from dataflow.machine import Machine
from dataflow.machine.latencies import Latencies
from dataflow.mapper.problem import Front
from dataflow.tiling.grid import planes
from dataflow.tiling.shape import LayerShape


def floor_cycles(
    shapes: Iterable[LayerShape],
    fronts: Iterable[tuple[Front, ...]],
    machine: Machine,
    latencies: Latencies,
) -> int:
    """The work of the busiest engine: each does its share of every layer after that of the last.

    Before any of them can start, the first bytes must come from DRAM.
    """
    least = [_least_work(shape, machine, replace(latencies, array_tile=0)) for shape in shapes]
    array = sum(work[0] for work in least)
    vector = sum(work[1] for work in least)
    bus = sum(min(one["bus"] for _, rows in found for one in rows) for found in fronts)
    return machine.dram_read_latency + max(array, vector, bus)


@lru_cache(maxsize=4096)
def _least_work(shape: LayerShape, machine: Machine, latencies: Latencies) -> tuple[int, int]:
    """Fewest busy cycles of the array and of the vector unit over all tilings."""
    found = [plane.work for plane in planes(shape, machine, latencies) if len(plane.ip)]
    return (
        min((int(work.array.min()) for work in found), default=0),
        min((int(work.vector.min()) for work in found), default=0),
    )
