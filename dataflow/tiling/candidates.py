"""The candidates of a layer: every tiling of its mapspace that no other one dominates.

A candidate is a row of integers (`COLUMNS`, less is better) and the Tiling that costs so. Loops
over feeds, k tiles and loop orders are here; the kernel walks tiles, hold depths and slots.
Dominance keeps every row that could be part of an optimum of the network model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from dataflow.layers.axis import Ints
from dataflow.layers.layer import Dim
from dataflow.layers.tiling import Tiling
from dataflow.machine import Machine
from dataflow.machine.latencies import Latencies
from dataflow.tiling import kernel
from dataflow.tiling.columns import COLUMN, CRITERIA, SLOTS, Mode
from dataflow.tiling.feed import conflict_free
from dataflow.tiling.grid import Plane, orders, planes
from dataflow.tiling.options import (
    Order,
    Traffic,
    depths,
    fires,
    output_traffic,
    second_traffic,
    source_traffic,
    undominated,
)
from dataflow.tiling.overlap import common_columns
from dataflow.tiling.pareto import empty_front, pareto_rows
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
class _Walk:
    """A plane under a loop order, with the hold depths that are worth a look and their tables.

    Attributes:
        params: hold depth of the parameters, one for each tile of the plane.
        weights, sources, seconds: hold depths, in the order of the tables' first axis.
    """

    plane: Plane
    order: Order
    params: Ints
    weights: tuple[int, ...]
    sources: tuple[int, ...]
    seconds: tuple[int, ...]


@dataclass
class _Front:
    """The undominated rows of one mode, and the walks that they come from."""

    mode: Mode
    facts: kernel.Facts
    rows: Ints
    names: Ints
    recent: Ints
    walks: list[_Walk]
    size: int = 0


@lru_cache(maxsize=4096)
def candidates(
    shape: LayerShape, machine: Machine, lat: Latencies, mode: Mode
) -> tuple[Candidate, ...]:
    """All undominated candidates of a layer in a mode; empty when none is legal.

    Sorted by the columns in order.
    """
    return fronts(shape, machine, lat, (mode,))[mode]


def fronts(
    shape: LayerShape, machine: Machine, lat: Latencies, modes: Sequence[Mode]
) -> dict[Mode, tuple[Candidate, ...]]:
    """`candidates` of several modes; what they share is computed once."""
    found = [_front(shape, machine, lat, mode) for mode in dict.fromkeys(modes)]
    for _ in _grown(shape, machine, lat, found):
        pass
    return {front.mode: _candidates(front) for front in found}


def fits(shape: LayerShape, machine: Machine, lat: Latencies, mode: Mode) -> bool:
    """Whether `candidates` has any: the first one that is found ends the search."""
    front = _front(shape, machine, lat, mode)
    return any(front.size for _ in _grown(shape, machine, lat, (front,)))


def _grown(
    shape: LayerShape, machine: Machine, lat: Latencies, found: Sequence[_Front]
) -> Iterator[None]:
    """Adds plane by plane and order by order to the fronts."""
    # The fastest first: they beat most of what comes later before it is costed in full.
    for plane in sorted(planes(shape, machine, lat), key=_fastest):
        if not len(plane.ip):
            continue
        fitting = [front for front in found if _resident_feed_fits(plane, front.mode, machine)]
        try:
            for order in orders(shape, plane) if fitting else ():
                _collect(plane, order, machine, fitting)
                yield
        finally:
            plane.memo.clear()


def _fastest(plane: Plane) -> int:
    return int(np.maximum(plane.work.array, plane.work.vector).min(initial=1 << 62))


def _front(shape: LayerShape, machine: Machine, lat: Latencies, mode: Mode) -> _Front:
    rows, names, recent = empty_front(kernel.WIDTH)
    return _Front(mode, _facts(shape, machine, lat, mode), rows, names, recent, [])


def _facts(shape: LayerShape, machine: Machine, lat: Latencies, mode: Mode) -> kernel.Facts:
    turn = machine.dram_read_latency + lat.load_first + lat.load_write + lat.array_drain
    turn += machine.rows if shape.kind == "array" else machine.vector_latency
    source, second = mode.source == "stream", mode.second == "stream"
    return kernel.Facts(
        line=machine.line_bytes,
        beats=machine.beats_per_line,
        act_bytes=machine.act_bytes,
        wbuf_lines=machine.wbuf_lines,
        param_lines=machine.param_lines,
        read_latency=machine.dram_read_latency,
        write_latency=machine.dram_write_latency,
        turn=turn,
        store_start=lat.store_first + lat.store_data,
        dram_energy=round(machine.energies.dram_byte * 16),
        fill=mode.fill_bytes if "fill" in (mode.source, mode.second) else 0,
        source=int(source),
        second=int(second),
        waits=int(mode.source != "resident" or mode.second in ("fill", "stream")),
        resident=int(mode.source == "resident"),
        keep=int(mode.keep),
        store=int(mode.store),
        cold=int(mode.cold),
        lead=int(mode.lead),
        tail=int(mode.tail),
        source_slots=max(SLOTS[0]) if source else 1,
        second_slots=max(SLOTS[1]) if second else 1,
        sink_slots=max(SLOTS[2]) if mode.store and not mode.keep else 1,
        late=int(shape.param_lines > 0),
    )


def _candidates(front: _Front) -> tuple[Candidate, ...]:
    rows, names = front.rows[: front.size], front.names[: front.size]
    kept = pareto_rows(rows[:, :CRITERIA], rows[:, CRITERIA:])
    return tuple(
        Candidate(
            tuple(int(v) for v in rows[i]),
            _tiling(front.walks[int(names[i, 0])], int(names[i, 1]), front.mode, rows[i]),
        )
        for i in kept
    )


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


def _collect(plane: Plane, order: Order, machine: Machine, found: Sequence[_Front]) -> None:
    """Adds the undominated rows of one plane and order to the front of every mode."""
    trips = plane.trips
    useful = depths(order, trips)
    params, param_depth = _best_params(plane, order, useful, machine)
    if params is None:
        return
    tile = _tile_table(plane, order, params, machine)
    rings = undominated_rings(
        [(depth, weight_ring(plane, order, depth, machine)) for depth in useful]
    )
    if mode_without_weights(plane.shape):
        rings = rings[:1]
    ring_table = np.stack([_ring_table(ring) for _, ring in rings])
    sources: list[tuple[tuple[int, ...], Ints]] = [((0,), _still(plane))]
    seconds: list[tuple[tuple[int, ...], Ints]] = [((0,), _still(plane))]
    if any(front.mode.source == "stream" for front in found):
        sources.append(_streams(source_traffic, plane, order, useful, machine))
    if any(front.mode.second == "stream" for front in found):
        seconds.append(_streams(second_traffic, plane, order, useful, machine))
    sink = _still(plane)[0]
    if any(front.mode.store for front in found):
        sink = _traffic_table(output_traffic(plane, order, machine))
    weights = tuple(depth for depth, _ in rings)
    for front in found:
        source_depths, source = sources[front.facts.source]
        second_depths, second = seconds[front.facts.second]
        if not len(source) or not len(second):
            continue
        before = front.size
        owner = len(front.walks)
        front.rows, front.names, front.recent, front.size = kernel.cost_plane(
            front.facts,
            tile,
            ring_table,
            source,
            second,
            sink,
            front.rows,
            front.names,
            front.recent,
            before,
            owner,
        )
        front.walks.append(_Walk(plane, order, param_depth, weights, source_depths, second_depths))


def _still(plane: Plane) -> Ints:
    """The table of an operand that is not streamed."""
    table = np.zeros((1, 6, len(plane.ip)), dtype=np.int64)
    table[:, kernel.VALID] = 1
    return table


def _traffic_table(traffic: Traffic) -> Ints:
    return np.stack(
        [
            traffic.cycles,
            traffic.bytes,
            traffic.tile_bytes,
            traffic.tile_cycles,
            traffic.fires,
            traffic.valid.astype(np.int64),
        ]
    )


def _ring_table(ring: RingUse) -> Ints:
    return np.stack([ring.lines, ring.total, ring.scopes, ring.valid.astype(np.int64)])


def _tile_table(plane: Plane, order: Order, params: RingUse, machine: Machine) -> Ints:
    work, common = plane.work, common_columns(plane, order, machine)
    return np.stack(
        [
            work.array,
            work.vector,
            work.array_first,
            work.vector_last,
            common.withheld,
            common.need,
            common.energy,
            fires(order, len(order), plane.trips),
            params.lines,
            params.total,
        ]
    )


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
) -> tuple[tuple[int, ...], Ints]:
    """Hold depths of a streamed operand that differ in traffic or size, and their tables."""
    found = undominated(
        [(depth, traffic(plane, order, depth, machine)) for depth in useful], max(SLOTS[0])
    )
    if not found:
        return (), np.empty((0, 6, len(plane.ip)), dtype=np.int64)
    return tuple(d for d, _ in found), np.stack([_traffic_table(one) for _, one in found])


def _tiling(walk: _Walk, name: int, mode: Mode, costs: Ints) -> Tiling:
    """The Tiling of a row: dims with one trip leave the order, depths follow."""
    plane = walk.plane
    (weights, source, second), slots, row = kernel.named(
        name, len(walk.sources), len(walk.seconds), len(plane.ip)
    )
    shape = plane.shape
    trips = {dim: int(values[row]) for dim, values in plane.trips.items()}
    order = tuple(dim for dim in walk.order if trips[dim] > 1)

    def depth(full: int) -> int:
        return sum(trips[dim] > 1 for dim in walk.order[:full])

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
        source_depth=depth(walk.sources[source]) if mode.source == "stream" else 0,
        source_slots=slots[0] if mode.source == "stream" else 0,
        second="none"
        if mode.second == "none"
        else "stream"
        if mode.second == "stream"
        else "resident",
        second_depth=depth(walk.seconds[second]) if mode.second == "stream" else 0,
        second_slots=slots[1] if mode.second == "stream" else 0,
        sink=sink,
        sink_slots=0 if mode.keep else slots[2],
        weight_depth=depth(walk.weights[weights]),
        param_depth=depth(int(walk.params[row])),
        **vars(plane.feed),
        cycles=int(costs[COLUMN["serial"]]),
    )
