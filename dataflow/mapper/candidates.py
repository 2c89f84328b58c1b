"""The candidates of a layer: every tiling of its mapspace that no other one dominates.

A candidate is a row of integers (`COLUMNS`, less is better) and what is needed to write down its
Tiling. Enumeration is vectorised over tiles; loops run over feeds, k tiles, loop orders, hold
depths and slots. Dominance keeps every row that could be part of an optimum of the network model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from dataflow.arch import Machine
from dataflow.cost.axis import Ints, prefix_need
from dataflow.cost.feed import conflict_free
from dataflow.cost.latencies import Latencies
from dataflow.cost.shape import LayerShape
from dataflow.ir.mapping import Dim, Tiling
from dataflow.mapper.grid import Plane, orders, planes
from dataflow.mapper.options import (
    Order,
    RingUse,
    Traffic,
    depths,
    output_traffic,
    param_ring,
    second_traffic,
    source_traffic,
    weight_ring,
)
from dataflow.mapper.pareto import pareto_rows

SLOTS = (1, 2, 3)
"""Buffer slots of a streamed operand in the mapspace."""

COLUMNS = (
    "cycles",  # of the layer when its ends overlap with its neighbours
    "serial",  # when its successor waits for its last tile
    "bus",  # DRAM bus cycles of everything read
    "buffer",  # bytes of stream buffers
    "withheld",  # resident output bytes that come only with the last outer iteration
    "need",  # leading resident source bytes that the first tile reads
    "dram",  # bytes read and written
    "energy",  # pJ that differ between tilings
)
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


@dataclass(frozen=True)
class _Placed:
    """Source, second and sink options chosen; arrays over the tiles of a plane."""

    plane: Plane
    order: Order
    weights: int
    params: Ints
    source: int
    source_slots: int
    second: int
    second_slots: int
    sink_slots: int


@lru_cache(maxsize=4096)
def candidates(
    shape: LayerShape, machine: Machine, lat: Latencies, mode: Mode
) -> tuple[Candidate, ...]:
    """All undominated candidates of a layer in a mode; empty when none is legal.

    Sorted by the columns in order.
    """
    blocks: list[Ints] = []
    origin: list[tuple[_Placed, Ints]] = []
    for plane in planes(shape, machine, lat):
        if not _resident_feed_fits(plane, mode, machine):
            continue
        for order in orders(shape, plane):
            _collect(plane, order, machine, lat, mode, blocks, origin)
    if not blocks:
        return ()
    costs = np.concatenate(blocks)
    owner = np.concatenate(
        [np.full(len(rows), i, dtype=np.int64) for i, (_, rows) in enumerate(origin)]
    )
    rows = np.concatenate([rows for _, rows in origin])
    criteria = COLUMN["dram"]
    kept = pareto_rows(costs[:, :criteria], costs[:, COLUMN["energy"]])
    return tuple(
        Candidate(
            tuple(int(v) for v in costs[i]),
            _tiling(origin[owner[i]][0], int(rows[i]), mode, costs[i]),
        )
        for i in kept
    )


def _resident_feed_fits(plane: Plane, mode: Mode, machine: Machine) -> bool:
    shape = plane.shape
    if shape.kind == "vector" or plane.feed.ports == 1 or mode.source == "stream":
        return True
    origin = shape.offset - shape.pad_p * mode.pitch - shape.pad_q * shape.x_bytes
    return conflict_free(
        shape, plane.feed, plane.k, mode.pitch, shape.x_bytes, origin, machine.line_bytes,
        machine.act_banks, machine.rows,
    )


def _collect(
    plane: Plane,
    order: Order,
    machine: Machine,
    lat: Latencies,
    mode: Mode,
    blocks: list[Ints],
    origin: list[tuple[_Placed, Ints]],
) -> None:
    """Adds the undominated rows of one plane and order."""
    trips = plane.trips()
    useful = depths(order, trips)
    params, param_depth = _best_params(plane, order, useful, machine)
    if params is None:
        return
    sources = _sources(plane, order, useful, machine, mode)
    seconds = _seconds(plane, order, useful, machine, mode)
    sink = output_traffic(plane, order, machine) if mode.store else None
    sink_slots = SLOTS if mode.store and not mode.keep else (0,)
    rings = [(depth, weight_ring(plane, order, depth, machine)) for depth in useful]
    if mode_without_weights(plane.shape):
        rings = rings[:1]
    for w_depth, ring in rings:
        for s_depth, s_slots, source in sources:
            for o_depth, o_slots, second in seconds:
                for k_slots in sink_slots:
                    costs, valid = _costs(
                        plane, order, machine, lat, mode, ring, params, source, s_slots, second,
                        o_slots, sink, k_slots,
                    )
                    rows = np.flatnonzero(valid)
                    if not len(rows):
                        continue
                    table = costs[rows]
                    kept = pareto_rows(table[:, : COLUMN["dram"]], table[:, COLUMN["energy"]])
                    placed = _Placed(
                        plane, order, w_depth, param_depth, s_depth, s_slots, o_depth, o_slots,
                        k_slots,
                    )
                    blocks.append(table[kept])
                    origin.append((placed, rows[kept]))


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
    return RingUse(lines, total, scopes), best


def _sources(
    plane: Plane, order: Order, useful: tuple[int, ...], machine: Machine, mode: Mode
) -> list[tuple[int, int, Traffic | None]]:
    if mode.source != "stream":
        return [(0, 0, None)]
    found: list[tuple[int, int, Traffic | None]] = []
    for depth in useful:
        traffic = source_traffic(plane, order, depth, machine)
        found += [(depth, slots, traffic) for slots in SLOTS]
    return found


def _seconds(
    plane: Plane, order: Order, useful: tuple[int, ...], machine: Machine, mode: Mode
) -> list[tuple[int, int, Traffic | None]]:
    if mode.second != "stream":
        return [(0, 0, None)]
    found: list[tuple[int, int, Traffic | None]] = []
    for depth in useful:
        if not plane.shape.stationary_view and depth == len(order):
            continue  # k does not move it
        traffic = second_traffic(plane, order, depth, machine)
        found += [(depth, slots, traffic) for slots in SLOTS]
    return found


def _costs(
    plane: Plane,
    order: Order,
    machine: Machine,
    lat: Latencies,
    mode: Mode,
    ring: RingUse,
    params: RingUse,
    source: Traffic | None,
    source_slots: int,
    second: Traffic | None,
    second_slots: int,
    sink: Traffic | None,
    sink_slots: int,
) -> tuple[Ints, Ints]:
    """The cost columns of every tile of the plane and which rows are legal."""
    shape, work = plane.shape, plane.work
    zero = np.zeros_like(plane.ip)
    busy = np.maximum(work.array, work.vector)
    tail = np.maximum(work.array + work.vector_last, work.array_first + work.vector) - busy
    valid = (ring.lines <= machine.wbuf_lines) & (params.lines <= machine.param_lines)
    bus = ring.total + 4 * params.total
    dram, bus_act, lead, buffer = bus * machine.line_bytes, zero, zero, zero
    cycles = busy
    for traffic, slots in ((source, source_slots), (second, second_slots)):
        if traffic is None:
            continue
        valid = valid & traffic.valid & ((slots == 1) | (traffic.fires >= slots))
        bus_act = bus_act + traffic.cycles
        latency = traffic.fires * (machine.dram_read_latency + lat.load_first + lat.load_write)
        cycles = np.maximum(cycles, -(-(busy + traffic.cycles + latency) // slots))
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
        if sink_slots:
            valid = valid & ((sink_slots == 1) | (sink.fires >= sink_slots))
            latency = sink.fires * (lat.store_first + lat.store_data)
            cycles = np.maximum(cycles, -(-(busy + sink.cycles + latency) // sink_slots))
            buffer = buffer + sink_slots * sink.tile_bytes
            tail = tail + sink.tile_cycles + lat.store_first + lat.store_data
            tail = tail + machine.dram_write_latency
    cycles = np.maximum(cycles, bus_act)
    if mode.cold:
        lead = lead + ring.lines + 4 * params.lines + machine.dram_read_latency
    if mode.cold or mode.lead:
        cycles = cycles + lead
    if not mode.keep:
        cycles, tail = cycles + (tail if mode.tail else zero), zero
    withheld, need = _overlap(plane, order)
    columns = (
        cycles, cycles + tail, bus + bus_act, buffer, withheld if mode.keep else zero,
        need if mode.source == "resident" else zero, dram, _energy(plane, machine, dram),
    )
    fits = buffer <= machine.act_bytes
    return np.stack([zero + column for column in columns], axis=1), valid & fits


def _overlap(plane: Plane, order: Order) -> tuple[Ints, Ints]:
    """Output bytes withheld to the last outer iteration; leading source bytes of the first tile.

    Both count in storage order, where a prefix of rows is a prefix of bytes.
    """
    shape = plane.shape
    trips = plane.trips()
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


def _energy(plane: Plane, machine: Machine, dram: Ints) -> Ints:
    """Energy that depends on the tiling, pJ: DRAM, weight re-reads, feed and accumulators."""
    from dataflow.cost.feed import pass_lines

    shape, energies = plane.shape, machine.energies
    total = dram * round(energies.dram_byte * 16) // 16
    if shape.kind == "vector":
        return total
    trips = plane.trips()
    lines = pass_lines(shape, plane.feed, shape.c, machine.rows)
    outer = shape.batch * plane.blocks * (shape.groups if plane.block_dim == "n" else 1)
    points = outer * shape.p * shape.q * len(lines)
    reads = outer * sum(lines) * trips["p"] * trips["q"]
    feed = points * plane.feed.ports * round(energies.act_line_read)
    accumulate = points * round(energies.acc_line_read + energies.acc_line_write)
    return total + reads * round(energies.wbuf_line_read) + feed + accumulate


def _tiling(placed: _Placed, row: int, mode: Mode, costs: Ints) -> Tiling:
    """The Tiling of a row: dims with one trip leave the order, depths follow."""
    plane = placed.plane
    shape = plane.shape
    trips = {dim: int(values[row]) for dim, values in plane.trips().items()}
    order = tuple(dim for dim in placed.order if trips[dim] > 1)

    def depth(full: int) -> int:
        return sum(trips[dim] > 1 for dim in placed.order[:full])

    blocks = int(plane.tile_blocks[row])
    sizes: dict[Dim, int] = {
        "b": 1,
        "p": int(plane.p[row]),
        "q": int(plane.q[row]) * 1,
        "k": plane.k,
        "g": 1 if plane.block_dim == "n" else min(shape.groups, blocks * plane.feed.group_pack),
        "n": shape.n if plane.block_dim == "g" else min(shape.n, blocks * plane.channels),
    }
    keep = "both" if mode.store else "resident"
    return Tiling(
        order=order,
        tile={dim: sizes[dim] for dim in order},
        source="stream" if mode.source == "stream" else "resident",
        source_depth=depth(placed.source),
        source_slots=placed.source_slots,
        second="none"
        if mode.second == "none"
        else "stream"
        if mode.second == "stream"
        else "resident",
        second_depth=depth(placed.second),
        second_slots=placed.second_slots,
        sink=keep if mode.keep else "stream",
        sink_slots=placed.sink_slots,
        weight_depth=depth(placed.weights),
        param_depth=depth(int(placed.params[row])),
        feed=plane.feed.feed,
        ports=plane.feed.ports,
        fir_taps=plane.feed.fir_taps,
        swap=plane.feed.swap,
        group_pack=plane.feed.group_pack,
        cycles=int(costs[COLUMN["serial"]]),
    )
