"""A tile of a plane as the tiling that the program is built from: other code, same loops."""

from __future__ import annotations

from dataflow.layers.layer import Dim, Layer
from dataflow.layers.tiled import TiledLayer
from dataflow.layers.tiling import Tiling
from dataflow.machine import Machine
from dataflow.tiling.grid import Plane


def tiled_of(
    layer: Layer, plane: Plane, order: tuple[Dim, ...], row: int, depth: int, machine: Machine
) -> tuple[TiledLayer, int]:
    """Tile number ``row`` of a plane under a loop order, and what ``depth`` means in it.

    Loops of a single trip are left out; every hold depth of the tiling is the one returned.
    """
    trips = {dim: int(plane.trips[dim][row]) for dim in order}
    blocks, feed = int(plane.tile_blocks[row]), plane.feed
    wide = plane.block_dim == "n"
    sizes: dict[Dim, int] = {
        "b": 1,
        "p": int(plane.p[row]),
        "q": int(plane.q[row]),
        "k": plane.k,
        "g": 1 if wide else min(layer.groups, blocks * feed.packed(machine.cols)),
        "n": min(layer.n, blocks * machine.cols) if wide else layer.n,
    }
    own = sum(trips[dim] > 1 for dim in order[:depth])
    kept = tuple(dim for dim in order if trips[dim] > 1)
    tiling = Tiling(
        order=kept,
        tile={dim: sizes[dim] for dim in kept},
        source="stream",
        source_depth=own,
        source_slots=1,
        second="none",
        second_depth=own,
        second_slots=1,
        sink="stream",
        sink_slots=1,
        weight_depth=own,
        param_depth=own,
        **vars(feed),
    )
    return TiledLayer(layer, tiling, machine), own
