"""The candidates of a layer: every tiling of its mapspace that no other one dominates.

A candidate is a row of integers (`COLUMNS`, less is better) and what is needed to write down its
Tiling. Enumeration is vectorised over tiles; loops run over feeds, k tiles, loop orders, hold
depths and slots. Dominance keeps every row that could be part of an optimum of the network model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dataflow.arch import Machine
from dataflow.cost.axis import Ints, prefix_need
from dataflow.cost.feed import conflict_free, pass_kinds
from dataflow.cost.latencies import Latencies
from dataflow.cost.shape import LayerShape
from dataflow.ir.mapping import Dim, Tiling
from dataflow.mapper.grid import Plane, orders, planes
from dataflow.mapper.options import (
    Order,
    RingUse,
    Traffic,
    depths,
    fires,
    output_traffic,
    param_ring,
    second_traffic,
    source_traffic,
    undominated,
    undominated_rings,
    weight_ring,
)
from dataflow.mapper.pareto import Front

SLOTS = ((1, 2, 3), (1, 2), (1, 2))
"""Buffer slots in the mapspace of a streamed source, second source and output."""

COLUMNS = (
    "cycles",  # of the layer when its ends overlap with its neighbours
    "serial",  # when its successor waits for its last tile
    "bus",  # DRAM bus cycles of everything read
    "paced",  # from the first weights being requested to the end, if nothing was loaded ahead
    "buffer",  # bytes of stream buffers
    "withheld",  # resident output bytes that come only with the last outer iteration
    "need",  # leading resident source bytes that the first tile reads
    "dram",  # bytes read and written
    "energy",  # pJ that differ between tilings
    "tiles",  # iterations of the tile loops
)
CRITERIA = COLUMNS.index("dram")
"""Columns before this one decide dominance; the others break ties."""
COLUMN = {name: i for i, name in enumerate(COLUMNS)}

Place = Literal["none", "resident", "fill", "stream"]
"""`fill`: resident, but this layer loads it from DRAM first."""


@dataclass(frozen=True)
class Mode:
    """Where a layer's tensors stand.

    Attributes:
        source, second: see `Place`.
        fill_bytes: bytes that a `fill` brings in.
        keep, store: the output stays on chip; the output is written to DRAM.
        pitch: row pitch of the resident source, bytes.
        cold: the network starts here: the first weights and the first tile are waited for.
        lead: the source comes from DRAM and is there only when the layer before has ended: its
            first tile is waited for.
        tail: the output goes to DRAM only and the next layer waits for it.
    """

    source: Place
    second: Place
    keep: bool
    store: bool
    pitch: int = 0
    fill_bytes: int = 0
    cold: bool = False
    lead: bool = False
    tail: bool = False


@dataclass(frozen=True)
class Candidate:
    """One tiling with its costs by `COLUMNS`."""

    costs: tuple[int, ...]
    tiling: Tiling

    def __getitem__(self, name: str) -> int:
        return self.costs[COLUMN[name]]

    def stored_too(self, size: int, beats: int) -> Candidate:
        """The candidate when its kept output of `size` bytes is also written to DRAM."""
        costs = dict(zip(COLUMNS, self.costs, strict=True))
        tail = costs["serial"] - costs["cycles"]
        costs["cycles"] = max(costs["cycles"], beats)
        costs["serial"] = costs["cycles"] + tail
        costs["dram"] += size
        return Candidate(tuple(costs.values()), replace(self.tiling, sink="both"))


@dataclass(frozen=True)
class _Common:
    """Columns that do not depend on the placement; one value for each tile of the plane."""

    withheld: Ints
    need: Ints
    energy: Ints


@dataclass(frozen=True)
class _Placed:
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
    origin: list[_Placed] = []
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
    origin: list[_Placed],
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
    common = _Common(*_overlap(plane, order), _energy(plane, machine))
    rings = undominated_rings(
        [(depth, weight_ring(plane, order, depth, machine)) for depth in useful]
    )
    if mode_without_weights(plane.shape):
        rings = rings[:1]
    for w_depth, ring in rings:
        for s_depth, source in sources:
            for o_depth, second in seconds:
                table, rows = _costs(
                    plane, order, common, machine, lat, mode, ring, params, source, second, sink
                )
                if len(rows):
                    front.add(table, rows, len(origin))
                    origin.append(_Placed(plane, order, w_depth, param_depth, s_depth, o_depth))


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


def _costs(
    plane: Plane,
    order: Order,
    common: _Common,
    machine: Machine,
    lat: Latencies,
    mode: Mode,
    ring: RingUse,
    params: RingUse,
    source: Traffic | None,
    second: Traffic | None,
    sink: Traffic | None,
) -> tuple[Ints, Ints]:
    """Cost rows of all legal tiles and slot counts, and what names each: (tile, slots) digits."""
    shape, work = plane.shape, plane.work
    zero = np.zeros_like(plane.ip)
    busy = np.maximum(work.array, work.vector)
    tail = np.maximum(work.array + work.vector_last, work.array_first + work.vector) - busy
    valid = ring.valid & (ring.lines <= machine.wbuf_lines) & (params.lines <= machine.param_lines)
    bus = ring.total + 4 * params.total
    dram, bus_act, lead, buffer = bus * machine.line_bytes, zero, zero, zero
    cycles = busy
    turn = machine.dram_read_latency + lat.load_first + lat.load_write + lat.array_drain
    turn += machine.rows if shape.kind == "array" else machine.vector_latency
    again = np.where(ring.scopes > 1, ring.total, 0)
    for axis, traffic in enumerate((source, second)):
        if traffic is None:
            continue
        slots = _slot_axis(axis)
        valid = valid & traffic.valid & ((slots == 1) | (traffic.fires >= slots))
        bus_act = bus_act + traffic.cycles
        # A slot is taken from the request of its tile until the compute unit releases it; the
        # load engine works in order, so weights that are loaded again come in between.
        latency = traffic.fires * turn
        cycles = np.maximum(cycles, -(-(busy + traffic.cycles + again + latency) // slots))
        buffer = buffer + slots * traffic.tile_bytes
        dram = dram + traffic.bytes
        lead = lead + traffic.tile_cycles
    if mode.source == "fill" or mode.second == "fill":
        fill = -(-mode.fill_bytes // machine.line_bytes)
        bus_act, dram, lead = bus_act + fill, dram + mode.fill_bytes, lead + fill
    if mode.source != "resident" or mode.second in ("fill", "stream"):
        lead = lead + machine.dram_read_latency
    # A ring that holds s scopes behaves like s slots; lines are used as soon as they arrive.
    shared = -(-(busy + ring.total) * ring.lines // machine.wbuf_lines)
    cycles = np.where(ring.scopes > 1, np.maximum(cycles, shared), cycles)
    if sink is not None:
        dram = dram + sink.bytes
        cycles = np.maximum(cycles, sink.cycles)
        if not mode.keep:
            slots = _slot_axis(2)
            valid = valid & ((slots == 1) | (sink.fires >= slots))
            latency = sink.fires * (lat.store_first + lat.store_data)
            cycles = np.maximum(cycles, -(-(busy + sink.cycles + latency) // slots))
            buffer = buffer + slots * sink.tile_bytes
            tail = tail + sink.tile_cycles + lat.store_first + lat.store_data
            tail = tail + machine.dram_write_latency
    cycles = np.maximum(cycles, bus_act)
    if mode.cold:
        lead = lead + ring.lines + 4 * params.lines + machine.dram_read_latency
    if mode.cold or mode.lead:
        cycles = cycles + lead
    if not mode.keep:
        cycles, tail = cycles + (tail if mode.tail else zero), zero
    # The first parameters come behind the first weights, and until then two accumulator halves
    # are all that the array can fill.
    late = np.maximum(0, busy - 2 * work.array_first) if shape.param_lines else zero
    # All loads of earlier layers are over when a layer starts, so `cycles` is a floor here too.
    paced = np.maximum(np.maximum(bus + bus_act, ring.lines + late), cycles)
    columns = (
        cycles,
        cycles + tail,
        bus + bus_act,
        paced,
        buffer,
        common.withheld if mode.keep else zero,
        common.need if mode.source == "resident" else zero,
        dram,
        common.energy + dram * round(machine.energies.dram_byte * 16) // 16,
        fires(order, len(order), plane.trips),
    )
    valid = valid & (buffer <= machine.act_bytes)
    full = np.broadcast_shapes(valid.shape, *(column.shape for column in columns))
    chosen = np.flatnonzero(np.broadcast_to(valid, full))
    table = np.stack([np.broadcast_to(column, full).ravel()[chosen] for column in columns], axis=1)
    return table, _named(chosen, full, len(plane.ip))


def _slot_axis(axis: int) -> Ints:
    """The slot counts as an array along one of the three axes before the tiles' axis."""
    shape = [1, 1, 1, 1]
    shape[axis] = len(SLOTS[axis])
    return np.array(SLOTS[axis], dtype=np.int64).reshape(shape)


def _named(chosen: NDArray[np.intp], full: tuple[int, ...], tiles: int) -> Ints:
    """Flat positions in `full` (slots of source, second, sink; tiles) as mixed-radix numbers."""
    padded = (1,) * (4 - len(full)) + full
    index = np.unravel_index(chosen, padded)
    named = np.zeros(len(chosen), dtype=np.int64)
    for digit, slots in zip(index[:3], SLOTS, strict=True):
        named = named * len(slots) + digit
    return named * tiles + index[3]


def _slots_of(named: int) -> list[int]:
    """Slots of source, second and sink from the digits of `_named`."""
    found: list[int] = []
    for slots in reversed(SLOTS):
        named, digit = divmod(named, len(slots))
        found.append(slots[digit])
    return found[::-1]


def _overlap(plane: Plane, order: Order) -> tuple[Ints, Ints]:
    """Output bytes withheld to the last outer iteration; leading source bytes of the first tile.

    Both count in storage order, where a prefix of rows is a prefix of bytes.
    """
    shape = plane.shape
    trips = plane.trips
    out_row = shape.q * shape.n * shape.groups
    out_all = np.full_like(plane.ip, shape.p * out_row)
    source_row = shape.source_x * shape.source_channels
    need = np.full_like(plane.ip, shape.source_y * source_row)
    withheld = out_all * shape.batch
    blocked = np.zeros_like(plane.ip, dtype=bool)
    for dim in order:
        walks = (trips[dim] > 1) & ~blocked
        if dim == "b":
            withheld = np.where(walks, out_all, withheld)
        elif dim == "p":
            last = shape.p - (trips["p"] - 1) * plane.p
            withheld = np.where(walks, last * out_row, withheld)
            rows = _need_rows(shape.source_y, plane.p_sizes, shape, "p")[plane.ip]
            need = np.where(walks, rows * source_row, need)
        elif dim == "q" and shape.p == 1:
            last = shape.q - (trips["q"] - 1) * plane.q
            withheld = np.where(walks, last * shape.n * shape.groups, withheld)
            if shape.source_y == 1:
                points = _need_rows(shape.source_x, plane.q_sizes, shape, "q")[plane.iq]
                need = np.where(walks, points * shape.source_channels, need)
        blocked = blocked | walks
    return withheld, need


def _need_rows(size: int, sizes: tuple[int, ...], shape: LayerShape, dim: Dim) -> Ints:
    stride, taps, dilation, pad = (
        (shape.stride_p, shape.taps_r, shape.dilation_r, shape.pad_p)
        if dim == "p"
        else (shape.stride_q, shape.taps_s, shape.dilation_s, shape.pad_q)
    )
    return np.array(
        [prefix_need(size, tile, stride, taps, dilation, pad) for tile in sizes], dtype=np.int64
    )


def _energy(plane: Plane, machine: Machine) -> Ints:
    """On-chip energy that depends on the tiling, pJ: weight re-reads, feed and accumulators."""
    shape, energies = plane.shape, machine.energies
    if shape.kind == "vector":
        return np.zeros_like(plane.ip)
    trips = plane.trips
    kinds = pass_kinds(shape, plane.feed, shape.c, machine.rows)
    outer = shape.batch * plane.blocks * (shape.groups if plane.block_dim == "n" else 1)
    points = outer * shape.p * shape.q
    lines = outer * sum(kind.times * kind.lines for kind in kinds)
    feed = points * sum(kind.times * kind.ports for kind in kinds) * round(energies.act_line_read)
    accumulate = points * sum(kind.times for kind in kinds)
    accumulate *= round(energies.acc_line_read + energies.acc_line_write)
    reads = lines * trips["p"] * trips["q"] * round(energies.wbuf_line_read)
    return reads + (feed + accumulate)


def _tiling(placed: _Placed, name: int, mode: Mode, costs: Ints) -> Tiling:
    """The Tiling of a row: dims with one trip leave the order, depths follow."""
    plane = placed.plane
    digits, row = divmod(name, len(plane.ip))
    slots = _slots_of(digits)
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
