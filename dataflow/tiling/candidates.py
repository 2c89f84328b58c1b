"""The candidates of a layer: every tiling of its mapspace that no other one dominates.

A candidate is a row of integers (`COLUMNS`, less is better) and the Tiling that costs so.
Enumeration is vectorised over tiles and slots; loops run over feeds, k tiles, loop orders and hold
depths. Dominance keeps every row that could be part of an optimum of the network model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from dataflow.layers.axis import Ints
from dataflow.layers.layer import Dim
from dataflow.layers.tiling import Tiling
from dataflow.machine import Machine
from dataflow.machine.latencies import Latencies
from dataflow.tiling.columns import (
    COLUMN,
    CRITERIA,
    SLOTS,
    Mode,
    Place,
    Placed,
    cost_rows,
    slots_of,
)
from dataflow.tiling.feed import conflict_free
from dataflow.tiling.grid import Plane, orders, planes
from dataflow.tiling.options import (
    Order,
    Traffic,
    depths,
    output_traffic,
    second_traffic,
    source_traffic,
    undominated,
)
from dataflow.tiling.overlap import common_columns
from dataflow.tiling.pareto import Front
from dataflow.tiling.rings import RingUse, param_ring, undominated_rings, weight_ring
from dataflow.tiling.shape import LayerShape


@dataclass(frozen=True)
class Candidate:
    """One tiling with its costs by `COLUMNS`."""

    costs: tuple[int, ...]
    tiling: Tiling

    def __getitem__(self, name: str) -> int:
        return self.costs[COLUMN[name]]


@dataclass(frozen=True)
class _Chosen:
    """Hold depths chosen; `params` has one depth for each tile of the plane."""

    plane: Plane
    order: Order
    weights: int
    params: Ints
    source: int
    second: int


@lru_cache(maxsize=4096)
def candidates(
    shape: LayerShape, machine: Machine, lat: Latencies, mode: Mode
) -> tuple[Candidate, ...]:
    """All undominated candidates of a layer in a mode; empty when none is legal.

    Sorted by the columns in order.
    """
    front = Front(CRITERIA)
    origin: list[_Chosen] = []
    for plane in planes(shape, machine, lat):
        if not _resident_feed_fits(plane, mode, machine):
            continue
        for order in orders(shape, plane):
            _collect(plane, order, machine, lat, mode, front, origin)
    costs, owners = front.rows()
    return tuple(
        Candidate(
            tuple(int(v) for v in row),
            _tiling(origin[int(owner)], int(index), mode, row),
        )
        for row, (owner, index) in zip(costs, owners, strict=True)
    )


def feasible(shape: LayerShape, machine: Machine, lat: Latencies, mode: Mode) -> bool:
    """Whether `candidates` finds any tiling; stops at the first."""
    for plane in planes(shape, machine, lat):
        if not _resident_feed_fits(plane, mode, machine):
            continue
        for order in orders(shape, plane):
            found: list[_Chosen] = []
            _collect(plane, order, machine, lat, mode, Front(CRITERIA), found)
            if found:
                return True
    return False


def _resident_feed_fits(plane: Plane, mode: Mode, machine: Machine) -> bool:
    shape = plane.shape
    if shape.kind == "vector" or plane.feed.ports == 1 or mode.source == "stream":
        return True
    origin = shape.offset - shape.pad_p * mode.pitch - shape.pad_q * shape.x_bytes
    return conflict_free(
        shape,
        plane.feed,
        plane.k,
        mode.pitch,
        shape.x_bytes,
        origin,
        machine.line_bytes,
        machine.act_banks,
        machine.rows,
    )


def _collect(
    plane: Plane,
    order: Order,
    machine: Machine,
    lat: Latencies,
    mode: Mode,
    front: Front,
    origin: list[_Chosen],
) -> None:
    """Adds the undominated rows of one plane and order."""
    trips = plane.trips
    useful = depths(order, trips)
    params, param_depth = _best_params(plane, order, useful, machine)
    if params is None:
        return
    sources = _streams(source_traffic, plane, order, useful, machine, mode.source)
    seconds = _streams(second_traffic, plane, order, useful, machine, mode.second)
    sink = output_traffic(plane, order, machine) if mode.store else None
    common = common_columns(plane, order, machine)
    rings = undominated_rings(
        [(depth, weight_ring(plane, order, depth, machine)) for depth in useful]
    )
    if mode_without_weights(plane.shape):
        rings = rings[:1]
    for w_depth, ring in rings:
        for s_depth, source in sources:
            for o_depth, second in seconds:
                placed = Placed(plane, order, common, mode, ring, params, source, second, sink)
                table, rows = cost_rows(placed, machine, lat)
                if len(rows):
                    front.add(table, rows, len(origin))
                    origin.append(_Chosen(plane, order, w_depth, param_depth, s_depth, o_depth))


def mode_without_weights(shape: LayerShape) -> bool:
    """The layer reads no weight ring."""
    return shape.kind == "vector" or shape.stationary_view


def _best_params(
    plane: Plane, order: Order, useful: tuple[int, ...], machine: Machine
) -> tuple[RingUse, Ints] | tuple[None, Ints]:
    """Per tile the hold depth with the least lines loaded among those that fit, then smallest."""
    total = lines = scopes = best = None
    one = np.ones_like(plane.ip)
    for depth in useful:
        if "k" in order[:depth] and depth == len(order):
            continue
        use = param_ring(plane, order, depth)
        fits = use.lines <= machine.param_lines
        load = np.where(fits, use.total, np.iinfo(np.int64).max)
        if total is None or lines is None or scopes is None or best is None:
            total, lines, scopes, best = load, use.lines, use.scopes, one * depth
            continue
        better = (load < total) | ((load == total) & (use.lines < lines) & fits)
        total, lines = np.where(better, load, total), np.where(better, use.lines, lines)
        scopes, best = np.where(better, use.scopes, scopes), np.where(better, depth, best)
    if total is None or lines is None or scopes is None or best is None:
        return None, one
    return RingUse(lines, total, scopes, lines <= machine.param_lines), best


def _streams(
    traffic: Callable[[Plane, Order, int, Machine], Traffic],
    plane: Plane,
    order: Order,
    useful: tuple[int, ...],
    machine: Machine,
    place: Place,
) -> list[tuple[int, Traffic | None]]:
    """Hold depths of a streamed operand that differ in traffic or size."""
    if place != "stream":
        return [(0, None)]
    return undominated(
        [(depth, traffic(plane, order, depth, machine)) for depth in useful], max(SLOTS[0])
    )


def _tiling(placed: _Chosen, name: int, mode: Mode, costs: Ints) -> Tiling:
    """The Tiling of a row: dims with one trip leave the order, depths follow."""
    plane = placed.plane
    digits, row = divmod(name, len(plane.ip))
    slots = slots_of(digits)
    shape = plane.shape
    trips = {dim: int(values[row]) for dim, values in plane.trips.items()}
    order = tuple(dim for dim in placed.order if trips[dim] > 1)

    def depth(full: int) -> int:
        return sum(trips[dim] > 1 for dim in placed.order[:full])

    blocks = int(plane.tile_blocks[row])
    sizes: dict[Dim, int] = {
        "b": 1,
        "p": int(plane.p[row]),
        "q": int(plane.q[row]) * shape.q_unit,
        "k": plane.k,
        "g": 1 if plane.block_dim == "n" else min(shape.groups, blocks * plane.feed.group_pack),
        "n": shape.n if plane.block_dim == "g" else min(shape.n, blocks * plane.channels),
    }
    sink: Literal["resident", "stream", "both"] = "stream"
    if mode.keep:
        sink = "both" if mode.store else "resident"
    return Tiling(
        order=order,
        tile={dim: sizes[dim] for dim in order},
        source="stream" if mode.source == "stream" else "resident",
        source_depth=depth(placed.source) if mode.source == "stream" else 0,
        source_slots=slots[0] if mode.source == "stream" else 0,
        second="none"
        if mode.second == "none"
        else "stream"
        if mode.second == "stream"
        else "resident",
        second_depth=depth(placed.second) if mode.second == "stream" else 0,
        second_slots=slots[1] if mode.second == "stream" else 0,
        sink=sink,
        sink_slots=0 if mode.keep else slots[2],
        weight_depth=depth(placed.weights),
        param_depth=depth(int(placed.params[row])),
        feed=plane.feed.feed,
        ports=plane.feed.ports,
        fir_taps=plane.feed.fir_taps,
        swap=plane.feed.swap,
        group_pack=plane.feed.group_pack,
        cycles=int(costs[COLUMN["serial"]]),
    )
